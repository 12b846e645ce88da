// Whether it is worth asking a replica for its position together with a read: by how late each has been found to be.
// It reads no clock and knows no position; being wrong costs a read that is run twice, never a stale one.

interface Delay {
  /** A watermark that is younger has lately not been there. */
  ms: number;
  atMs: number;
}

/** A replica may have caught up meanwhile: what was learnt of it counts half after so long. */
const HALF_LIFE_MS = 250;
const MAX_DELAY_MS = 60_000;
/** A probe is that far out of date, or the sample that it was compared with. */
const PROBE_BLUR_MS = 50;
const LATE_PROBE_BLUR_MS = 500;

export class GateOdds {
  readonly #delays = new Map<string, Delay>();

  /** `ageMs`: of the watermark; `lagMs`: of the node, as the last probe saw it. */
  isWorth(node: string, ageMs: number, lagMs: number, nowMs: number): boolean {
    if (ageMs < lagMs - LATE_PROBE_BLUR_MS) return false;
    return ageMs >= Math.min(this.#delayMs(node, nowMs), lagMs + PROBE_BLUR_MS);
  }

  passed(node: string, ageMs: number, nowMs: number): void {
    const delay = this.#delays.get(node);
    if (delay === undefined) return;
    delay.ms = Math.min(this.#delayMs(node, nowMs), ageMs) * 0.98;
    delay.atMs = nowMs;
  }

  refused(node: string, ageMs: number, nowMs: number): void {
    const ms = Math.min(MAX_DELAY_MS, Math.max(this.#delayMs(node, nowMs), ageMs) * 1.25 + 0.1);
    this.#delays.set(node, { ms, atMs: nowMs });
  }

  forget(node: string): void {
    this.#delays.delete(node);
  }

  #delayMs(node: string, nowMs: number): number {
    const delay = this.#delays.get(node);
    return delay === undefined ? 0 : delay.ms * 2 ** ((delay.atMs - nowMs) / HALF_LIFE_MS);
  }
}
