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
 * A bounded history. When it is full every second sample of its older half is dropped, so that it reaches back for hours, the
 * coarser the older.
 */
export class PrimaryHistory {
  readonly #functions: PositionFunctions;
  #samples: Sample[] = [];

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
    if (this.#samples.length >= CAPACITY) {
      const half = CAPACITY / 2;
      this.#samples = this.#samples.filter((_, index) => index >= half || index % 2 === 0);
    }
    this.#samples.push({ position, firstMs: sentAtMs, lastMs: sentAtMs });
  }

  get newest(): Position | null {
    return this.#samples.at(-1)?.position ?? null;
  }

  /** After a promotion: positions of the old history say nothing about the new one. */
  clear(): void {
    this.#samples = [];
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
