// A worker's part of each limit: what it may use now, what it uses, and the words with the supervisor about it.
// It knows pools and listeners only as what they hold and want.

import { monotonicMs } from '../../lib/clock.js';
import type { Allowed, Use } from './messages.js';

/** Who uses a limit. */
export interface LimitUser {
  held(): number;
  wanted(): number;
  /** What it may use has changed; `final`: and it is all that can be had now. */
  allowed(count: number, final: boolean): void;
}

interface Entry {
  allowed: number;
  seq: number;
  user: LimitUser | null;
  /** What is to be said at the end of this turn. */
  reason: Use['reason'] | null;
  /** When more was asked for last, and the timer for the next time. */
  askedAtMs: number;
  again: NodeJS.Timeout | null;
}

/** Who stays short asks so often: what the others have left over meanwhile is found out by asking. */
const ASK_INTERVAL_MS = 20;

export class Allowances {
  readonly #entries = new Map<string, Entry>();
  readonly #say: (use: Use) => void;

  constructor(shares: readonly Allowed[], say: (use: Use) => void) {
    this.#say = say;
    for (const { key, allowed, seq } of shares) {
      const entry = this.#entry(key);
      entry.allowed = allowed;
      entry.seq = seq;
    }
  }

  /** 0 until the supervisor has said otherwise. */
  of(key: string): number {
    return this.#entry(key).allowed;
  }

  use(key: string, user: LimitUser): void {
    this.#entry(key).user = user;
  }

  /** More is wanted than is allowed. */
  short(key: string): void {
    const entry = this.#entry(key);
    if (entry.user === null || entry.again !== null) return;
    const waitMs = entry.askedAtMs + ASK_INTERVAL_MS - monotonicMs();
    if (waitMs <= 0) this.#ask(key, entry);
    else
      entry.again = setTimeout(() => {
        entry.again = null;
        if (entry.user!.wanted() > entry.allowed) this.#ask(key, entry);
      }, waitMs).unref();
  }

  #ask(key: string, entry: Entry): void {
    entry.askedAtMs = monotonicMs();
    this.#later(key, entry, 'short');
  }

  /** Less is held than before: the supervisor waits for that only when it is owed. */
  fewer(key: string): void {
    const entry = this.#entry(key);
    if (entry.user !== null && entry.user.held() >= entry.allowed) this.#later(key, entry, 'fewer');
  }

  told(share: Allowed): void {
    const entry = this.#entry(share.key);
    entry.allowed = share.allowed;
    entry.seq = share.seq;
    entry.user?.allowed(share.allowed, share.final);
    this.#later(share.key, entry, 'fewer');
  }

  polled(key: string): void {
    const entry = this.#entry(key);
    this.#say({ key, ...this.#numbers(entry), reason: 'polled' });
  }

  #entry(key: string): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        allowed: 0,
        seq: 0,
        user: null,
        reason: null,
        askedAtMs: Number.NEGATIVE_INFINITY,
        again: null,
      };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  #later(key: string, entry: Entry, reason: Use['reason']): void {
    const before = entry.reason;
    entry.reason = before === 'short' ? before : reason;
    if (before !== null) return;
    queueMicrotask(() => {
      const why = entry.reason!;
      entry.reason = null;
      this.#say({ key, ...this.#numbers(entry), reason: why });
    });
  }

  #numbers(entry: Entry): Omit<Use, 'key' | 'reason'> {
    const { user, seq } = entry;
    return { held: user?.held() ?? 0, want: user?.wanted() ?? 0, seq };
  }
}
