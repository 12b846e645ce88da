// What the workers of one proxy have let their keys see, as the supervisor keeps it for them where there is no Redis.
// It knows no channel and compares no positions.

import { type SharedPosition, UNKNOWN_POSITION } from '../../consistency/watermark-store.js';
import { monotonicMs } from '../../lib/clock.js';
import type { KeyAnswer } from './messages.js';

interface Entry {
  /** By worker; the newest of each covers those before it. */
  readonly byWorker: Map<number, SharedPosition>;
  usedAtMs: number;
}

const MAX_LOOKS = 16;
/** A position that was asked for before a key was forgotten might be written behind it: until then the key is answered as unknown. */
const SETTLE_MS = 60_000;

export class SupervisedKeys {
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry>();
  limits: { readonly maxKeys: number; readonly keyTtlMs: number };
  /** When a key was last forgotten that had been used not long before. */
  #forgotMs = Number.NEGATIVE_INFINITY;

  constructor(limits: { readonly maxKeys: number; readonly keyTtlMs: number }) {
    this.limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  read(worker: number, keys: readonly string[]): KeyAnswer[] {
    return keys.map((key) => {
      const entry = this.#entries.get(key);
      if (entry === undefined) return null;
      const others = [...entry.byWorker].filter(([index]) => index !== worker);
      return others.map(([, position]) => position);
    });
  }

  written(worker: number, positions: readonly (readonly [string, SharedPosition])[]): void {
    const now = monotonicMs();
    for (const [key, position] of positions) {
      let entry = this.#entries.get(key);
      if (entry === undefined) {
        this.#makeRoom(now);
        entry = { byWorker: new Map(), usedAtMs: now };
        // It may be one that was forgotten a moment ago, and this position older than what another worker wrote of it.
        if (now - this.#forgotMs < SETTLE_MS) entry.byWorker.set(-1, UNKNOWN_POSITION);
      } else this.#entries.delete(key);
      entry.usedAtMs = now;
      entry.byWorker.set(worker, position);
      this.#entries.set(key, entry);
    }
  }

  #makeRoom(now: number): void {
    let looked = 0;
    for (const [key, { usedAtMs }] of this.#entries) {
      if (++looked > MAX_LOOKS) return;
      if (now - usedAtMs <= this.limits.keyTtlMs && this.#entries.size < this.limits.maxKeys) return;
      this.#entries.delete(key);
      if (now - usedAtMs < SETTLE_MS) this.#forgotMs = now;
    }
  }
}
