// Which texts of unnamed statements recur, in bounded memory: a flood of texts that come once or twice pushes none of the
// others out. It knows no connection and reads no clock.

import { PlanWatch } from './plan-watch.js';
import type { PreparedText } from './prepared-statements.js';

/** A longer text is not looked at: it is built by a program and does not come again, or it costs more than its parsing. */
const MAX_TEXT_BYTES = 32 * 1024;
/** Counts of two generations: the older one goes when the younger one is full. */
const MAX_COUNTS = 4096;
/** Texts that have come twice. */
const MAX_CANDIDATES = 512;
/** Texts that have come often enough. */
const MAX_RECURRING = 2048;
const MAX_RECURRING_BYTES = 16 * 1024 * 1024;

/**
 * A text whose meaning is settled when it is parsed must be parsed each time: 'now' and its like, written as a literal, are
 * the time of the Parse. In a literal with backslashes they could hide, and Parse warns of some of those each time.
 */
const SETTLED_BY_PARSE = /\\|\b(?:now|today|tomorrow|yesterday)\b(?!\s*\()/i;

/** One (text, parameter types, tracked settings) of the unnamed statement; kept as long as it recurs. */
export class RecurringText implements PreparedText {
  readonly serverName = '';
  readonly body: Buffer;
  readonly watch = new PlanWatch();
  /** How often it has come, as far as is known. */
  comings = 0;
  /** It has come often enough for somebody. */
  isAdmitted = false;
  /** Of the admitted: it has come since somebody looked for one to forget. */
  isUsed = true;
  sql?: Buffer;
  /** Parse says or does something each time that a statement parsed once would not. */
  needsParse: boolean;
  #uses = 0;

  constructor(body: Buffer) {
    this.body = Buffer.from(body);
    this.needsParse = SETTLED_BY_PARSE.test(body.toString('latin1', 0, body.indexOf(0)));
  }

  /** Now and then it runs unprepared all the same, to know how long that takes. */
  nextIsSample(): boolean {
    this.#uses++;
    return this.#uses % this.watch.sampleEvery === 0;
  }
}

export class RecurringTexts {
  #young = new Map<number, number>();
  #old = new Map<number, number>();
  readonly #candidates = new Map<string, RecurringText>();
  readonly #admitted = new Map<string, RecurringText>();
  #admittedBytes = 0;
  /** The admitted one that came last. */
  #last: RecurringText | null = null;
  #lastSettings = '';

  /** Another one has come. `settings`: what else its meaning depends on. Null: there is nothing to know of it yet. */
  seen(body: Buffer, settings: string, threshold: number): RecurringText | null {
    if (body.length > MAX_TEXT_BYTES) return null;
    const last = this.#last;
    if (last !== null && this.#lastSettings === settings && last.body.equals(body)) {
      last.isUsed = true;
      last.comings++;
      return last;
    }
    const key = keyOf(body, settings);
    const known = this.#admitted.get(key);
    if (known !== undefined) {
      known.isUsed = true;
      known.comings++;
      this.#last = known;
      this.#lastSettings = settings;
      return known;
    }
    const count = this.#count(hashOf(key));
    if (count < Math.min(2, threshold)) return null;
    let candidate = this.#candidates.get(key);
    if (candidate === undefined) {
      candidate = new RecurringText(body);
      this.#candidates.set(key, candidate);
      if (this.#candidates.size > MAX_CANDIDATES)
        this.#candidates.delete(this.#candidates.keys().next().value!);
    }
    candidate.comings = Math.max(candidate.comings + 1, count);
    if (count >= threshold) this.#admit(key, candidate);
    return candidate;
  }

  /** What is known of it, and how often it has come lately; counts nothing. */
  look(body: Buffer, settings: string): { readonly text: RecurringText | null; readonly count: number } {
    const key = keyOf(body, settings);
    const hash = hashOf(key);
    return {
      text: this.#admitted.get(key) ?? this.#candidates.get(key) ?? null,
      count: this.#young.get(hash) ?? this.#old.get(hash) ?? 0,
    };
  }

  /** For tests and status: what is kept. */
  get sizes(): { readonly counts: number; readonly candidates: number; readonly admitted: number } {
    return {
      counts: this.#young.size + this.#old.size,
      candidates: this.#candidates.size,
      admitted: this.#admitted.size,
    };
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#candidates.clear();
    this.#admitted.clear();
    this.#admittedBytes = 0;
    this.#last = null;
  }

  #count(hash: number): number {
    const count = (this.#young.get(hash) ?? this.#old.get(hash) ?? 0) + 1;
    this.#young.set(hash, count);
    if (this.#young.size >= MAX_COUNTS) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    return count;
  }

  #admit(key: string, text: RecurringText): void {
    this.#candidates.delete(key);
    text.isAdmitted = true;
    this.#admitted.set(key, text);
    this.#admittedBytes += 2 * text.body.length;
    while (this.#admitted.size > MAX_RECURRING || this.#admittedBytes > MAX_RECURRING_BYTES) {
      const [oldest, first] = this.#admitted.entries().next().value!;
      this.#admitted.delete(oldest);
      if (first.isUsed && first !== text) {
        // It goes to the end of the queue.
        first.isUsed = false;
        this.#admitted.set(oldest, first);
        continue;
      }
      this.#admittedBytes -= 2 * first.body.length;
      if (first === this.#last) this.#last = null;
      if (first === text) text.isUsed = false;
    }
  }
}

function keyOf(body: Buffer, settings: string): string {
  const text = body.toString('latin1');
  return settings === '' ? text : `${text}\0${settings}`;
}

/** FNV-1a; a collision only lets a text in before its time. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
