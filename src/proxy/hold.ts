// The units that wait for a node that may take them: resumed at each new snapshot, given up at their deadline.
// It knows neither why they wait nor what they are.

import { monotonicMs } from '../lib/clock.js';
import type { ProxyError } from '../lib/errors.js';

export interface Held {
  /** Try again; may add itself again. */
  resume(): void;
  /** The time is over. */
  expired(): void;
  /** It has thrown in its turn, and has no other. */
  terminate(error: ProxyError): void;
}

const CHECK_MS = 20;

export class HoldQueue {
  /** In the order in which they came. */
  #deadlines = new Map<Held, number>();
  #timer: NodeJS.Timeout | null = null;
  readonly #failed: (held: Held, cause: unknown) => void;

  constructor(failed: (held: Held, cause: unknown) => void) {
    this.#failed = failed;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** `deadlineMs`: of the monotonic clock. */
  add(held: Held, deadlineMs: number): void {
    this.#deadlines.set(held, deadlineMs);
    this.#timer ??= setInterval(() => this.#expire(), CHECK_MS);
  }

  remove(held: Held): void {
    this.#deadlines.delete(held);
    this.#stopWhenEmpty();
  }

  resumeAll(): void {
    for (const held of [...this.#deadlines.keys()]) {
      // One turn may end another's wait.
      if (this.#deadlines.delete(held)) this.#guarded(held, 'resume');
    }
    this.#stopWhenEmpty();
  }

  #expire(): void {
    const now = monotonicMs();
    for (const [held, deadlineMs] of [...this.#deadlines]) {
      if (deadlineMs > now || this.#deadlines.get(held) !== deadlineMs) continue;
      this.#deadlines.delete(held);
      this.#guarded(held, 'expired');
    }
    this.#stopWhenEmpty();
  }

  /** One that fails must not take the others' turn away. */
  #guarded(held: Held, turn: 'resume' | 'expired'): void {
    try {
      held[turn]();
    } catch (cause) {
      this.#failed(held, cause);
    }
  }

  #stopWhenEmpty(): void {
    if (this.#deadlines.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
