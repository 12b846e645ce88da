// The coalesced position query: one answer of the primary resolves the watermark of every session that waited for it.
// It knows no session and no protocol; whom to ask comes from the monitor.

import type { Clock } from '../lib/clock.js';
import type { Position } from '../protocol/position.js';

export type PositionQuery = (timeoutMs: number) => Promise<Position>;

interface Sample {
  readonly sentAtMs: number;
  readonly position: Position;
}

interface Waiter {
  readonly afterMs: number;
  readonly callback: (position: Position | null) => void;
}

const CAPACITY = 1_024;
const MAX_WAITERS = 100_000;
const MIN_INTERVAL_MS = 1;

/**
 * At most one query is in flight, and at most one starts in a millisecond. A position that was asked for after a moment covers
 * everything acknowledged before it. No timer runs while nobody asks.
 */
export class PositionResolver {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** Null while there is no primary. */
  #query: PositionQuery | null = null;
  #epoch = 0;
  #samples: Sample[] = [];
  #waiters: Waiter[] = [];
  #inFlight = false;
  #timer: NodeJS.Timeout | null = null;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  /** Answers to queries of an earlier primary are dropped. */
  #generation = 0;
  #queries = 0;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Of the primary that the samples are from. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Position queries sent since the start. */
  get queries(): number {
    return this.#queries;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Another primary, or none; what waits is answered with null, and old samples are forgotten. */
  setPrimary(query: PositionQuery | null, epoch: number): void {
    this.#query = query;
    this.#epoch = epoch;
    this.#generation++;
    this.#inFlight = false;
    this.#samples = [];
    this.#failAll();
  }

  /** A position that the monitor has read anyway. */
  add(sentAtMs: number, position: Position): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && sentAtMs <= last.sentAtMs) return;
    if (this.#samples.length >= CAPACITY) this.#thin();
    this.#samples.push({ sentAtMs, position });
    this.#answerWaiters();
  }

  /** The older they are, the fewer are kept: a later one in the place of one that is gone asks for more, never for less. */
  #thin(): void {
    this.#samples = this.#samples.filter((_, i) => i > CAPACITY / 4 || i % 2 === 1);
  }

  /** The first position of the present primary that was asked for after `ms`; null: there is none yet. */
  firstSampleAfter(ms: number): Position | null {
    const samples = this.#samples;
    let low = 0;
    let high = samples.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (samples[middle]!.sentAtMs > ms) high = middle;
      else low = middle + 1;
    }
    return samples[low]?.position ?? null;
  }

  /**
   * Calls back with a position that was asked for after `afterMs`, at once when there is one; with null when the primary cannot be
   * asked, or does not answer in time.
   */
  request(afterMs: number, callback: (position: Position | null) => void): void {
    const known = this.firstSampleAfter(afterMs);
    if (known !== null || this.#query === null || this.#waiters.length >= MAX_WAITERS) {
      callback(known);
      return;
    }
    this.#waiters.push({ afterMs, callback });
    this.#start();
  }

  close(): void {
    this.setPrimary(null, this.#epoch);
  }

  #start(): void {
    if (this.#inFlight || this.#timer !== null || this.#waiters.length === 0 || this.#query === null) return;
    const now = this.#clock.now();
    const waitMs = this.#lastStartMs + MIN_INTERVAL_MS - now;
    if (waitMs > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#start();
      }, waitMs);
      return;
    }
    const generation = this.#generation;
    this.#inFlight = true;
    this.#lastStartMs = now;
    this.#queries++;
    this.#query(this.#timeoutMs).then(
      (position) => {
        if (generation !== this.#generation) return;
        this.#inFlight = false;
        this.add(now, position);
        this.#start();
      },
      () => {
        if (generation !== this.#generation) return;
        this.#inFlight = false;
        this.#failBefore(now);
        this.#start();
      },
    );
  }

  #answerWaiters(): void {
    const newest = this.#samples.at(-1);
    if (newest === undefined || this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (waiter.afterMs < newest.sentAtMs) waiter.callback(newest.position);
      else this.#waiters.push(waiter);
    }
  }

  #failBefore(sentAtMs: number): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (waiter.afterMs < sentAtMs) waiter.callback(null);
      else this.#waiters.push(waiter);
    }
  }

  #failAll(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.callback(null);
  }
}
