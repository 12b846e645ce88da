// What one server connection expects of its node, in the order in which it answers: who is at the head and since when, who need not
// stay, who is told when it ends. It holds no socket, reads no packet and tells nobody.

import { monotonicMs } from '../lib/clock.js';
import type { Expectation, Preparation } from './expectation.js';
import type { GateQuery } from './gate.js';
import type { PreparedText } from './prepared-statements.js';
import type { Run } from './run.js';

export class ExpectationQueue {
  #queue: Expectation[] = [];
  #headSinceMs = 0;

  get length(): number {
    return this.#queue.length;
  }

  get head(): Expectation | undefined {
    return this.#queue[0];
  }

  headAgeMs(nowMs: number): number {
    return this.#queue.length === 0 ? 0 : nowMs - this.#headSinceMs;
  }

  push(expectation: Expectation): void {
    if (this.#queue.length === 0) this.#headSinceMs = monotonicMs();
    this.#queue.push(expectation);
  }

  /** The head has been answered. */
  shift(): void {
    const head = this.#queue.shift();
    const now = monotonicMs();
    if (head !== undefined) head.serviceMs = now - this.#headSinceMs;
    this.#headSinceMs = now;
  }

  /** A cancel has been sent: its error is the client's. */
  cancelled(): void {
    // Those of our own do not count: a position query is before the unit that it is asked for.
    const first = this.#queue.find(({ run }) => run !== null)?.run ?? null;
    if (first !== null) first.cancelled = true;
  }

  refuse(query: GateQuery): Run[] {
    return this.#queue.flatMap((expectation) => expectation.refuse(query) ?? []);
  }

  takeMovable(): Run[] {
    return this.#queue.flatMap((expectation, i) => expectation.takeMovable(i === 0));
  }

  /** Nothing more of this run reaches its client. The head, if the node is busy for nobody else now. */
  mute(run: Run): 'head' | 'behind' {
    for (const [i, expectation] of this.#queue.entries()) {
      if (expectation.run === run) expectation.muted = true;
      else if (expectation.preparation?.remove(run) !== true) continue;
      return i === 0 && expectation.isAbandoned ? 'head' : 'behind';
    }
    return 'behind';
  }

  /** The connection has ended: nothing is expected any more. */
  takeAll(): Expectation[] {
    return this.#queue.splice(0);
  }

  preparationOf(text: PreparedText): Preparation | null {
    for (const { preparation } of this.#queue) if (preparation?.text === text) return preparation;
    return null;
  }
}
