// How far a replica is behind in time: its applied position is looked up in a history of the primary's positions.
// It reads no clock and opens no socket; both positions and their times come in.

import type { Position, PositionFunctions } from '../protocol/position.js';

interface Sample {
  readonly position: Position;
  /** When the primary was first and last asked and answered with this position. */
  readonly firstMs: number;
  lastMs: number;
}

const CAPACITY = 1_024;

/**
 * A bounded history. When it is full the sample is dropped whose loss leaves the smallest gap for its age, so that it reaches
 * back for hours, the coarser the older.
 */
export class PrimaryHistory {
  readonly #functions: PositionFunctions;
  readonly #samples: Sample[] = [];

  constructor(functions: PositionFunctions) {
    this.#functions = functions;
  }

  /** `sentAtMs` of the query: what the position names existed at the latest when the answer came, and rises. */
  add(sentAtMs: number, position: Position): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && sentAtMs <= last.lastMs) return;
    if (last !== undefined && last.position.text === position.text) {
      last.lastMs = sentAtMs;
      return;
    }
    if (this.#samples.length >= CAPACITY) this.#thin(sentAtMs);
    this.#samples.push({ position, firstMs: sentAtMs, lastMs: sentAtMs });
  }

  #thin(nowMs: number): void {
    let least = Number.POSITIVE_INFINITY;
    let at = 1;
    for (let i = 1; i < this.#samples.length - 1; i++) {
      const gapMs = this.#samples[i + 1]!.firstMs - this.#samples[i - 1]!.lastMs;
      const share = gapMs / (nowMs - this.#samples[i]!.firstMs);
      if (share >= least) continue;
      least = share;
      at = i;
    }
    this.#samples.splice(at, 1);
  }

  get newest(): Position | null {
    return this.#samples.at(-1)?.position ?? null;
  }

  /** After a promotion: positions of the old history say nothing about the new one. */
  clear(): void {
    this.#samples.length = 0;
  }

  /**
   * Milliseconds between the last moment whose state the replica is known to have and `readAtMs`, when it was asked; 0 when it
   * has the newest known position; null when nothing is known of the primary. Exact to the interval of the probes; when
   * it is older than the whole history, the age of the history.
   */
  lagMs(applied: Position, readAtMs: number): number | null {
    const samples = this.#samples;
    if (samples.length === 0) return null;
    // The first sample that the replica does not have; positions only rise, so covered ones come first.
    let low = 0;
    let high = samples.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#functions.covers(applied, samples[middle]!.position)) low = middle + 1;
      else high = middle;
    }
    if (low === samples.length) return 0;
    const since = low === 0 ? samples[0]!.firstMs : samples[low - 1]!.lastMs;
    return Math.max(0, readAtMs - since);
  }
}
