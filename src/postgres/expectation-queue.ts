// What one server connection expects of its node, in the order in which it answers: who is at the head and since when, who need not
// stay, who is told when it ends. It holds no socket, reads no reply and tells nobody.

import { monotonicMs } from '../lib/clock.js';
import type { Expectation } from './expectation.js';
import type { GateQuery } from './gate.js';
import type { Run } from './run.js';

export class ExpectationQueue {
  #queue: Expectation[] = [];
  /** Since when the head is the head. */
  #headSinceMs = 0;

  get length(): number {
    return this.#queue.length;
  }

  get head(): Expectation | undefined {
    return this.#queue[0];
  }

  get last(): Expectation | undefined {
    return this.#queue.at(-1);
  }

  headAgeMs(nowMs: number): number {
    return this.#queue.length === 0 ? 0 : nowMs - this.#headSinceMs;
  }

  /** What we tidy up by ourselves, nobody waits for. */
  get isTidying(): boolean {
    return this.#queue.every(({ run, ownDone }) => run === null && ownDone === null);
  }

  push(expectation: Expectation): void {
    if (this.#queue.length === 0) this.#headSinceMs = monotonicMs();
    this.#queue.push(expectation);
  }

  /** The node is ready for what is behind the head. Answers how long it took, in milliseconds. */
  ready(): number {
    const now = monotonicMs();
    const serviceMs = now - this.#headSinceMs;
    this.#headSinceMs = now;
    return serviceMs;
  }

  shift(): void {
    this.#queue.shift();
  }

  refuse(query: GateQuery): Run[] {
    return this.#queue.flatMap((expectation) => expectation.refuse(query) ?? []);
  }

  /** The head has failed: it, and those of its group behind it, which the server skips. They leave the queue. */
  takeFailed(): Expectation[] {
    let size = 1;
    while (this.#queue[size]?.grouped === true) size++;
    return this.#queue.splice(0, size);
  }

  /**
   * Reads of which nobody has had anything, and that run elsewhere now: they are answered here for our books only. `answered`: those
   * of the head's group that have left the queue.
   */
  muteMovable(answered: readonly Expectation[]): Expectation[] {
    const moved = answered.filter(({ muted }) => !muted);
    for (const [index, expectation] of this.#queue.entries()) {
      // In a group it need not be the first that takes long.
      if ((index > 0 || expectation.grouped) && expectation.canMove) moved.push(expectation);
    }
    for (const expectation of moved) expectation.muted = true;
    return moved;
  }

  /** Nothing more of this run reaches its client. Null: it is not here. */
  mute(run: Run): 'head' | 'behind' | null {
    const at = this.#queue.findIndex((expectation) => expectation.run === run);
    if (at < 0) return null;
    this.#queue[at]!.muted = true;
    return at === 0 ? 'head' : 'behind';
  }

  /** The connection has ended: nothing is expected any more. */
  takeAll(): Expectation[] {
    return this.#queue.splice(0);
  }
}
