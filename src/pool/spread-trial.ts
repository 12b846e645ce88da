// Whether reads that are not cheap go behind others on few connections or spread over all that are idle: whichever
// has measured best. What one takes does not tell: where processors are short it takes longer the more connections there are,
// where it waits (for a disk, for the way there and back) it does not. It knows no connection, and time only as it is told.

/** Less says nothing. */
const MIN_WINDOW_MS = 50;
const MIN_WINDOW_UNITS = 32;
const MIN_HOLD_MS = 250;
const MAX_HOLD_MS = 30_000;
/** Of the time a unit takes together: spreading has to be so much better, since it takes connections from others. */
const WORTH = 0.8;

type Phase = 'settled' | 'before' | 'settling' | 'after';

export class SpreadTrial {
  #phase: Phase = 'settled';
  #spreads = false;
  #holdMs = MIN_HOLD_MS;
  /** In milliseconds: when this phase began, and until when `#area` reaches. */
  #sinceMs = 0;
  #untilMs = 0;
  /** Units under way, integrated over time; by the units that came it is how long one takes, queue and all. */
  #area = 0;
  #units = 0;
  #beforeMs = 0;

  get spreads(): boolean {
    return this.#spreads;
  }

  /** A unit has been queued; `depth`: units under way on all connections before it. */
  note(depth: number, nowMs: number): void {
    if (nowMs - this.#untilMs > MIN_WINDOW_MS) this.#paused(nowMs);
    this.#area += depth * (nowMs - this.#untilMs);
    this.#untilMs = nowMs;
    this.#units++;
    const elapsedMs = nowMs - this.#sinceMs;
    if (this.#phase === 'settled') {
      if (elapsedMs >= this.#holdMs) this.#begin('before', nowMs);
    } else if (elapsedMs >= MIN_WINDOW_MS && this.#units >= MIN_WINDOW_UNITS) this.#windowEnded(nowMs);
  }

  /** That is no measurement. */
  #paused(nowMs: number): void {
    if (this.#phase === 'settling' || this.#phase === 'after') this.#spreads = !this.#spreads;
    if (this.#phase !== 'settled') this.#begin('settled', nowMs);
    this.#untilMs = nowMs;
  }

  #windowEnded(nowMs: number): void {
    const unitMs = this.#area / this.#units;
    if (this.#phase === 'before') {
      this.#beforeMs = unitMs;
      this.#spreads = !this.#spreads;
      this.#begin('settling', nowMs);
    } else if (this.#phase === 'settling') this.#begin('after', nowMs);
    else this.#begin(this.#judge(unitMs), nowMs);
  }

  /** Together unless spread is clearly better, whichever of the two was there before. */
  #judge(afterMs: number): Phase {
    const isWorth = this.#spreads ? afterMs < this.#beforeMs * WORTH : this.#beforeMs < afterMs * WORTH;
    if (isWorth !== this.#spreads) return this.#back();
    this.#holdMs = MIN_HOLD_MS;
    return 'settled';
  }

  /** What was there before the trial was better: the next one later. */
  #back(): Phase {
    this.#spreads = !this.#spreads;
    this.#holdMs = Math.min(MAX_HOLD_MS, this.#holdMs * 2);
    return 'settled';
  }

  #begin(phase: Phase, nowMs: number): void {
    this.#phase = phase;
    this.#sinceMs = nowMs;
    this.#untilMs = nowMs;
    this.#area = 0;
    this.#units = 0;
  }
}
