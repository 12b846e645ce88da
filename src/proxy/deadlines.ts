// The deadlines of units that have one: a wheel of short spans, turned by one timer while anybody is on it.
// It knows nothing of what is late.

import { monotonicMs } from '../lib/clock.js';
import type { ProxyError } from '../lib/errors.js';

export interface Late {
  /** Its time is over. Called once. */
  deadlinePassed(): void;
  /** It has thrown when it was told. */
  terminate(error: ProxyError): void;
}

/** A deadline is noticed at most so much later. */
const SPAN_MS = 10;

export class Deadlines {
  readonly #bySpan = new Map<number, Set<Late>>();
  readonly #failed: (late: Late, cause: unknown) => void;
  #timer: NodeJS.Timeout | null = null;
  /** Spans up to it have been looked at. */
  #turned = 0;

  constructor(failed: (late: Late, cause: unknown) => void) {
    this.#failed = failed;
  }

  /** `atMs`: of the monotonic clock. Answers what `remove` needs. */
  add(late: Late, atMs: number): number {
    const now = Math.floor(monotonicMs() / SPAN_MS);
    if (this.#timer === null) {
      this.#turned = now;
      this.#timer = setInterval(() => this.#turn(), SPAN_MS);
    }
    const span = Math.max(Math.ceil(atMs / SPAN_MS), this.#turned + 1);
    let there = this.#bySpan.get(span);
    if (there === undefined) {
      there = new Set();
      this.#bySpan.set(span, there);
    }
    there.add(late);
    return span;
  }

  remove(late: Late, span: number): void {
    const there = this.#bySpan.get(span);
    if (there === undefined || !there.delete(late)) return;
    if (there.size === 0) this.#bySpan.delete(span);
  }

  #turn(): void {
    const now = Math.floor(monotonicMs() / SPAN_MS);
    while (this.#turned < now && this.#bySpan.size > 0) {
      this.#turned++;
      const there = this.#bySpan.get(this.#turned);
      if (there === undefined) continue;
      this.#bySpan.delete(this.#turned);
      for (const late of there) {
        // One that fails must not take the others' turn away.
        try {
          late.deadlinePassed();
        } catch (cause) {
          this.#failed(late, cause);
        }
      }
    }
    this.#turned = now;
    // It goes on for a turn without anybody, so that one at a time does not start and stop it.
    if (this.#bySpan.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
