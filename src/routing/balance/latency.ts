// How long nodes take for a short read, lately: a peak-sensitive moving average for each (peak EWMA, as Finagle defines it:
// com.twitter.finagle.loadbalancer.PeakEwma). A rise counts at once, a fall by the time that passes.
// It reads no clock and knows no load.

interface Estimate {
  ms: number;
  atMs: number;
}

/** What a node has that answers in no time; costs are multiplied. */
const LEAST_MS = 0.01;

export class Latencies {
  /** What was seen so long ago counts 1/e of what it did. */
  decayMs: number;
  readonly #byNode = new Map<string, Estimate>();

  constructor(decayMs: number) {
    this.decayMs = decayMs;
  }

  /**
   * A short read was at the head of its server connection for so long. Of those behind it in the same write the answers come
   * at once: they hardly count, since hardly any time passes between them.
   */
  note(node: string, ms: number, nowMs: number): void {
    const estimate = this.#byNode.get(node);
    if (estimate === undefined) {
      this.#byNode.set(node, { ms, atMs: nowMs });
      return;
    }
    const weight = this.#weightOf(estimate, nowMs);
    const faded = estimate.ms * weight;
    estimate.ms = ms > faded ? ms : faded + ms * (1 - weight);
    estimate.atMs = nowMs;
  }

  /** Null: nothing is known of it. It fades while nothing is heard, so that a node that was slow once is tried again. */
  of(node: string, nowMs: number): number | null {
    const estimate = this.#byNode.get(node);
    return estimate === undefined ? null : Math.max(LEAST_MS, estimate.ms * this.#weightOf(estimate, nowMs));
  }

  /** It has been away: what is known of it was another server's. */
  forget(node: string): void {
    this.#byNode.delete(node);
  }

  #weightOf({ atMs }: Estimate, nowMs: number): number {
    return Math.exp(-Math.max(0, nowMs - atMs) / this.decayMs);
  }
}
