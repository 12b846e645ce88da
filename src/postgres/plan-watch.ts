// Whether one text gets slower when it is prepared: PostgreSQL may go over to a generic plan, which knows no values.
// It reads no clock; times are those of the server, without waiting for others.

/** The prepared runs that are looked at together. */
const WINDOW_RUNS = 20;
const MIN_PLAIN_RUNS = 3;
/** How far back the unprepared runs count, about. */
const PLAIN_RUNS = 16;
const SLOWER_RATIO = 1.5;
const SLOWER_MS = 0.5;
const SAMPLE_EVERY = 64;

/** A window was slow: prepared and unprepared runs take turns until there are so many of each. */
const TRIAL_RUNS = 20;
const TRIAL_SAMPLE_EVERY = 2;
const MAX_TRIAL_RUNS = 200;
/** How many standard errors the difference must be: the load of a busy machine looks like a slow plan for a while. */
const SURE = 4;
/** After a trial that found nothing the next one waits, and the one after that longer. */
const TRUST_MS = 10_000;
/** It is tried again, each time later: a busy machine may have been mistaken, and the data may be others by then. */
const OUT_MS = 10_000;
const MAX_WAIT_MS = 600_000;

/** Mean and variance of times, without keeping them (Welford). */
class Times {
  runs = 0;
  mean = 0;
  #squares = 0;

  add(ms: number): void {
    this.runs++;
    const delta = ms - this.mean;
    this.mean += delta / this.runs;
    this.#squares += delta * (ms - this.mean);
  }

  /** Square of the standard error of the mean. */
  get error2(): number {
    return this.#squares / (this.runs - 1) / this.runs;
  }
}

interface Trial {
  readonly plain: Times;
  readonly prepared: Times;
}

export class PlanWatch {
  #plainRuns = 0;
  #plainMs = 0;
  #windowRuns = 0;
  #windowMs = 0;
  #trial: Trial | null = null;
  #trustMs = TRUST_MS;
  #trustedUntilMs = Number.NEGATIVE_INFINITY;
  #outMs = OUT_MS;
  #outUntilMs = Number.NEGATIVE_INFINITY;

  /** It stays unprepared for now. */
  isOut(nowMs: number): boolean {
    return nowMs < this.#outUntilMs;
  }

  /** Prepared and unprepared runs are being compared. */
  get isOnTrial(): boolean {
    return this.#trial !== null;
  }

  /** One run in so many is to be an unprepared one. */
  get sampleEvery(): number {
    return this.#trial !== null || this.#plainRuns < MIN_PLAIN_RUNS ? TRIAL_SAMPLE_EVERY : SAMPLE_EVERY;
  }

  ranPlain(ms: number): void {
    this.#plainRuns++;
    this.#plainMs += (ms - this.#plainMs) / Math.min(this.#plainRuns, PLAIN_RUNS);
    this.#trial?.plain.add(ms);
  }

  /** True: this run was the one that takes it out. */
  ranPrepared(ms: number, nowMs: number): boolean {
    if (this.#trial !== null) {
      this.#trial.prepared.add(ms);
      return this.#judge(this.#trial, nowMs);
    }
    this.#windowRuns++;
    this.#windowMs += ms;
    if (this.#windowRuns < WINDOW_RUNS || this.#plainRuns < MIN_PLAIN_RUNS) return false;
    const mean = this.#windowMs / this.#windowRuns;
    this.#windowRuns = 0;
    this.#windowMs = 0;
    if (isSlower(mean, this.#plainMs) && nowMs >= this.#trustedUntilMs)
      this.#trial = { plain: new Times(), prepared: new Times() };
    return false;
  }

  #judge({ plain, prepared }: Trial, nowMs: number): boolean {
    if (plain.runs < TRIAL_RUNS || prepared.runs < TRIAL_RUNS) return false;
    const sure = SURE * Math.sqrt(plain.error2 + prepared.error2);
    if (isSlower(prepared.mean, plain.mean) && prepared.mean - plain.mean > sure) {
      this.#trial = null;
      this.#outUntilMs = nowMs + this.#outMs;
      this.#outMs = Math.min(2 * this.#outMs, MAX_WAIT_MS);
      return true;
    }
    if (prepared.runs < MAX_TRIAL_RUNS && isSlower(prepared.mean, plain.mean)) return false;
    this.#trial = null;
    this.#trustedUntilMs = nowMs + this.#trustMs;
    this.#trustMs = Math.min(2 * this.#trustMs, MAX_WAIT_MS);
    this.#outMs = OUT_MS;
    return false;
  }
}

function isSlower(preparedMs: number, plainMs: number): boolean {
  return preparedMs > plainMs * SLOWER_RATIO && preparedMs - plainMs > SLOWER_MS;
}
