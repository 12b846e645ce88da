// The statements that one server connection holds for recurring texts, beside the clients' own named ones.
// It writes nothing: what has to be closed is answered to whoever writes.

import type { PreparedText } from './prepared-statements.js';
import type { RecurringText } from './recurring-texts.js';

/** No name of a client reaches a server connection that begins like this, nor one of its interned texts. */
const NAME_PREFIX = 'scheelite_auto_';
let nextNumber = 1;

/** Of how many a Parse may be one, and since what configuration. */
export interface HeldBound {
  readonly maxHeld: number;
  readonly of: object;
}

/** One Parse of a recurring text. Its name is never given again, so that an old Close or a failed Parse hits no other one. */
export class HeldText implements PreparedText {
  readonly serverName = `${NAME_PREFIX}${nextNumber++}`;
  readonly body: Buffer;
  readonly of: RecurringText;
  readonly parsedAtMs: number;
  readonly generation: number;
  readonly bound: HeldBound;
  /** Errors name it as the client knows it. */
  readonly alias = { server: this.serverName, client: '' };
  /** The transaction, or batch, that last bound it: what it stands on is locked until that ends. */
  era = 0;
  usedAtMs: number;
  /** A Bind to it failed, perhaps because it is outdated. */
  isDoubtful = false;

  constructor(of: RecurringText, nowMs: number, generation: number, bound: HeldBound) {
    this.of = of;
    this.body = of.body;
    this.parsedAtMs = nowMs;
    this.usedAtMs = nowMs;
    this.generation = generation;
    this.bound = bound;
  }
}

export class AutoPreparedOnServer {
  readonly #held = new Map<RecurringText, HeldText>();
  /** Their Close was skipped by the server. */
  #leftovers: HeldText[] = [];

  get(text: RecurringText): HeldText | undefined {
    return this.#held.get(text);
  }

  get size(): number {
    return this.#held.size;
  }

  /**
   * Answers what has to be closed first, or null: there is no room, since all others have been used after
   * `recentMs`. The former Parse of the same text goes in any case. Those count that are bound by as few or fewer, so that a
   * user with a low bound takes none of the others' away, and those of a configuration that is gone.
   */
  add(held: HeldText, recentMs: number): HeldText[] | null {
    const former = this.#held.get(held.of);
    const closes = this.#leftovers;
    if (former === undefined) {
      let over = this.#held.size < held.bound.maxHeld ? null : this.#countedFor(held.bound);
      while (over !== null && over.count >= held.bound.maxHeld) {
        const { oldest } = over;
        if (oldest === null || oldest.usedAtMs > recentMs) return null;
        this.#held.delete(oldest.of);
        closes.push(oldest);
        over = this.#countedFor(held.bound);
      }
    } else closes.push(former);
    this.#leftovers = [];
    this.#held.set(held.of, held);
    return closes;
  }

  /** It is not there (any more). */
  delete(held: HeldText): void {
    if (this.#held.get(held.of) === held) this.#held.delete(held.of);
  }

  /** It was to be closed, but is still there. */
  notClosed(held: HeldText): void {
    this.#leftovers.push(held);
  }

  clear(): void {
    this.#held.clear();
    this.#leftovers = [];
  }

  #countedFor({ maxHeld, of }: HeldBound): { readonly count: number; readonly oldest: HeldText | null } {
    let count = 0;
    let oldest: HeldText | null = null;
    for (const held of this.#held.values()) {
      if (held.bound.maxHeld > maxHeld && held.bound.of === of) continue;
      count++;
      if (oldest === null || held.usedAtMs < oldest.usedAtMs) oldest = held;
    }
    return { count, oldest };
  }
}
