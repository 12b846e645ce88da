// Whether one text gets slower when it is prepared: PostgreSQL may go over to a generic plan, which knows no values.
// It reads no clock; times are those of the server, without waiting for others.

/** The prepared runs that are looked at together. */
const WINDOW_RUNS = 20;
const MIN_PLAIN_RUNS = 3;
/** How far back the unprepared runs count, about. */
const PLAIN_RUNS = 8;
const SLOWER_RATIO = 1.5;
const SLOWER_MS = 0.5;
/** A burst of something else falls into one or two of them; a plan makes all of them slow. */
const SLOW_WINDOWS = 3;
const SAMPLE_EVERY = 64;
/** After a slow window: other times, other load. It is compared again, with unprepared runs in between. */
const SAMPLE_EVERY_IN_DOUBT = 4;
/** The data, and what is asked of them, may be others by then. */
const OUT_MS = 600_000;

export class PlanWatch {
  #plainRuns = 0;
  #plainMs = 0;
  #windowRuns = 0;
  #windowMs = 0;
  #slowWindows = 0;
  #outUntilMs = 0;

  /** It stays unprepared for now. */
  isOut(nowMs: number): boolean {
    return nowMs < this.#outUntilMs;
  }

  /** One run in so many is to be an unprepared one. */
  get sampleEvery(): number {
    return this.#slowWindows > 0 || this.#plainRuns < MIN_PLAIN_RUNS ? SAMPLE_EVERY_IN_DOUBT : SAMPLE_EVERY;
  }

  ranPlain(ms: number): void {
    this.#plainRuns++;
    this.#plainMs += (ms - this.#plainMs) / Math.min(this.#plainRuns, PLAIN_RUNS);
  }

  /** True: this run was the one that takes it out. */
  ranPrepared(ms: number, nowMs: number): boolean {
    this.#windowRuns++;
    this.#windowMs += ms;
    if (this.#windowRuns < WINDOW_RUNS || this.#plainRuns < MIN_PLAIN_RUNS) return false;
    const mean = this.#windowMs / this.#windowRuns;
    this.#windowRuns = 0;
    this.#windowMs = 0;
    const isSlow = mean > this.#plainMs * SLOWER_RATIO && mean - this.#plainMs > SLOWER_MS;
    // What it is compared with has to be of the same time.
    if (isSlow && this.#slowWindows === 0) this.#plainRuns = 0;
    this.#slowWindows = isSlow ? this.#slowWindows + 1 : 0;
    if (this.#slowWindows < SLOW_WINDOWS || this.isOut(nowMs)) return false;
    this.#slowWindows = 0;
    this.#outUntilMs = nowMs + OUT_MS;
    return true;
  }
}
