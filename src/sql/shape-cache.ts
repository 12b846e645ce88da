// A bounded cache keyed by bytes (a statement's shape), found by a hash of the bytes so that a hit makes no string.
// It knows nothing of what it keeps; it evicts by two generations, which makes a hit free of bookkeeping, and a flood of new keys evicts nothing.

import type { Classified } from './statement.js';

/** FNV-1a over four-byte steps would read past the end; one byte a step is fast enough below 4 kB. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  // FNV leaves the low bits of short inputs poorly mixed; Map hashing wants them spread.
  hash ^= hash >>> 15;
  return hash | 0;
}

const DOOR_PLACES = 8192;

interface Entry<V> {
  readonly key: Uint8Array;
  /** What else must be equal: the caller's settings folded to a number. */
  readonly salt: number;
  readonly value: V;
  /** Of key and value. */
  readonly bytes: number;
}

/** What a class and its shape take in memory, about: objects, reasons, the texts of the changes that it makes. */
export function valueBytes({ shape, statement }: Classified): number {
  let bytes = 500 + shape.length;
  for (const reason of statement.reasons) bytes += reason.length;
  for (const effect of statement.session) bytes += 100 + ('sql' in effect ? 2 * effect.sql.length : 0);
  return bytes;
}

export interface ShapeCacheOptions {
  maxEntries: number;
  /** Bytes of keys and, as the caller estimates them, of values; all entries together. */
  maxBytes: number;
}

/**
 * Bounded by entries and by bytes of keys. Entries live in a young and an old generation of half the bounds each: a
 * hit in the old one moves the entry to the young one, and when the young one is full it becomes the old one and
 * the old one is dropped. That is close to least-recently-used, and a hit in the young one writes nothing.
 * Once it has been full, a new key is kept only when it comes for the second time (a "doorkeeper", as in Einziger, Friedman,
 * Manes: TinyLFU, 2017): keys that come once, however many, push nothing out.
 * Two keys of the same hash do not live side by side (the later one replaces the earlier), so that an attacker who
 * builds collisions makes misses, never long chains.
 */
export class ShapeCache<V> {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  #young = new Map<number, Entry<V>>();
  #old = new Map<number, Entry<V>>();
  #youngBytes = 0;
  #oldBytes = 0;
  /** Hashes of the keys that were sent away lately, each at the place that its low bits name; made when it is needed. */
  #door: Int32Array | null = null;
  /** Keys that were sent away. */
  refused = 0;

  constructor(options: ShapeCacheOptions) {
    this.#maxEntries = Math.max(1, Math.floor(options.maxEntries / 2));
    this.#maxBytes = Math.max(1, Math.floor(options.maxBytes / 2));
  }

  /** Entries held; one that has moved between the generations may count twice for a while. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  /** `hash` is `hashBytes(bytes, start, end)`, given by the caller so that it is computed once for get and set. */
  get(bytes: Uint8Array, start: number, end: number, hash: number, salt: number): V | undefined {
    const young = this.#young.get(hash);
    if (young !== undefined && young.salt === salt && equals(young.key, bytes, start, end))
      return young.value;
    const old = this.#old.get(hash);
    if (old === undefined || old.salt !== salt || !equals(old.key, bytes, start, end)) return undefined;
    this.#old.delete(hash);
    this.#oldBytes -= old.bytes;
    this.#insert(hash, old);
    return old.value;
  }

  /** The key bytes are copied. What is longer, with its value, than half the byte bound is not kept. */
  set(
    bytes: Uint8Array,
    start: number,
    end: number,
    hash: number,
    salt: number,
    value: V,
    valueBytes = 0,
  ): void {
    const total = end - start + valueBytes;
    if (total > this.#maxBytes || !this.#admits(hash, total)) {
      this.refused++;
      return;
    }
    this.#insert(hash, { key: new Uint8Array(bytes.subarray(start, end)), salt, value, bytes: total });
  }

  #admits(hash: number, bytes: number): boolean {
    const isFull = this.#young.size >= this.#maxEntries || this.#youngBytes + bytes > this.#maxBytes;
    if (!isFull && this.#old.size === 0) return true;
    if (this.#young.has(hash) || this.#old.has(hash)) return true;
    this.#door ??= new Int32Array(DOOR_PLACES);
    const place = hash & (DOOR_PLACES - 1);
    if (this.#door[place] === hash) return true;
    this.#door[place] = hash;
    return false;
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngBytes = 0;
    this.#oldBytes = 0;
  }

  #insert(hash: number, entry: Entry<V>): void {
    const before = this.#young.get(hash);
    if (before !== undefined) {
      this.#youngBytes -= before.bytes;
      this.#young.delete(hash);
    }
    if (this.#young.size >= this.#maxEntries || this.#youngBytes + entry.bytes > this.#maxBytes) {
      this.#old = this.#young;
      this.#oldBytes = this.#youngBytes;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(hash, entry);
    this.#youngBytes += entry.bytes;
  }
}

function equals(key: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (key.length !== length) return false;
  // The call into Buffer.compare costs more than this loop for the usual shape.
  if (length > 512) return Buffer.compare(key, bytes.subarray(start, end)) === 0;
  for (let i = 0; i < length; i++) if (key[i] !== bytes[start + i]) return false;
  return true;
}
