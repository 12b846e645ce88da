// The watermarks that sessions share by a key, in one process: what any of them has written or seen, all of them must see.
// It opens no socket and reads no clock; what other processes know of a key is in a WatermarkStore.

import type { PositionFunctions } from '../protocol/position.js';
import { Watermark } from './watermark.js';

/** One key: its watermark, and what else must be known where several connections use it at a time. */
export class KeyedWatermark {
  readonly key: string;
  readonly watermark: Watermark;
  /** Uses noted so far: a read that was decided before the last one has not been checked against it. */
  uses = 0;
  /** Sessions that hold it now: it is not forgotten meanwhile. */
  holders = 0;
  usedAtMs: number;
  /** What the store has of this process's, and in which of its lives; "": nothing. */
  recorded = '';

  constructor(key: string, watermark: Watermark, nowMs: number) {
    this.key = key;
    this.watermark = watermark;
    this.usedAtMs = nowMs;
  }
}

export interface KeyedLimits {
  readonly maxKeys: number;
  readonly ttlMs: number;
}

export class KeyedWatermarks {
  /** The least recently used first. */
  readonly #byKey = new Map<string, KeyedWatermark>();
  readonly #positions: PositionFunctions;
  limits: KeyedLimits;
  evictions = 0;

  constructor(positions: PositionFunctions, limits: KeyedLimits) {
    this.#positions = positions;
    this.limits = limits;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * What is not there may have been, here before an eviction or in a process before this one: then all that the primary has
   * now is owed, so that nothing that the key has written or seen can be missing.
   */
  obtain(key: string, nowMs: number): KeyedWatermark {
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.#byKey.delete(key);
      this.#byKey.set(key, known);
      known.usedAtMs = nowMs;
      return known;
    }
    this.#makeRoom(nowMs);
    const created = this.#unknown(key, nowMs);
    this.#byKey.set(key, created);
    return created;
  }

  /** What `obtain` would give: nothing is made, forgotten or used. */
  peek(key: string, nowMs: number): KeyedWatermark {
    return this.#byKey.get(key) ?? this.#unknown(key, nowMs);
  }

  #unknown(key: string, nowMs: number): KeyedWatermark {
    const watermark = new Watermark(this.#positions);
    watermark.owe(nowMs);
    return new KeyedWatermark(key, watermark, nowMs);
  }

  /** A few at a time: those that have not been used for long, and the oldest while there are too many. */
  #makeRoom(nowMs: number): void {
    let looked = 0;
    for (const [key, entry] of this.#byKey) {
      if (++looked > MAX_LOOKS) return;
      const isOld = nowMs - entry.usedAtMs > this.limits.ttlMs;
      if (!isOld && this.#byKey.size < this.limits.maxKeys) return;
      if (entry.holders > 0) continue;
      this.#byKey.delete(key);
      this.evictions++;
    }
  }
}

const MAX_LOOKS = 16;
