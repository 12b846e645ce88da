// The reads that wait for a position of the primary, or for a replica that has what they need: tried again by what may end
// the wait, given up at their deadline. It knows neither sessions nor positions.

import { monotonicMs } from '../lib/clock.js';
import type { Held } from './hold.js';

interface Wait {
  /** A position asked for after this; null: a replica. */
  readonly afterMs: number | null;
  readonly deadlineMs: number;
}

const MAX_WAITING = 10_000;
const TICK_MS = 5;

export class ReadWaits {
  readonly #waits = new Map<Held, Wait>();
  readonly #failed: (held: Held, cause: unknown) => void;
  #timer: NodeJS.Timeout | null = null;
  #wakes = false;

  constructor(failed: (held: Held, cause: unknown) => void) {
    this.#failed = failed;
  }

  get size(): number {
    return this.#waits.size;
  }

  get isFull(): boolean {
    return this.#waits.size >= MAX_WAITING;
  }

  add(held: Held, wait: Wait): void {
    this.#waits.set(held, wait);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  remove(held: Held): void {
    this.#waits.delete(held);
    this.#stopWhenEmpty();
  }

  /** `isThere`: whether a position asked for after that time is known. */
  positionCame(isThere: (afterMs: number) => boolean): void {
    this.#end(({ afterMs }) => (afterMs !== null && isThere(afterMs) ? 'resume' : null));
  }

  /** The primary cannot be asked, or has not answered: who has asked since `afterMs` or before goes on without. */
  noPosition(askedAfterMs: number): void {
    this.#end(({ afterMs }) => (afterMs !== null && afterMs <= askedAfterMs ? 'expired' : null));
  }

  /** More is known of a replica than before. Once a turn, however much it is. */
  wake(): void {
    if (this.#wakes || this.#waits.size === 0) return;
    this.#wakes = true;
    setImmediate(() => {
      this.#wakes = false;
      this.#end(({ afterMs }) => (afterMs === null ? 'resume' : null));
    });
  }

  /** Replicas move on without a word: whether one is there is found out by trying. */
  #tick(): void {
    const now = monotonicMs();
    this.#end(({ afterMs, deadlineMs }) => {
      if (deadlineMs <= now) return 'expired';
      return afterMs === null ? 'resume' : null;
    });
  }

  #end(verdict: (wait: Wait) => 'resume' | 'expired' | null): void {
    for (const [held, wait] of [...this.#waits]) {
      // One turn may end another's wait.
      const turn = this.#waits.get(held) === wait ? verdict(wait) : null;
      if (turn === null) continue;
      this.#waits.delete(held);
      try {
        held[turn]();
      } catch (cause) {
        this.#failed(held, cause);
      }
    }
    this.#stopWhenEmpty();
  }

  #stopWhenEmpty(): void {
    if (this.#waits.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
