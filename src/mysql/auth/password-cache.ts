// Passwords that have stood a full caching_sha2_password authentication, so that the next login takes the fast path.
// Bounded; in memory only; never logged. It knows no connection.

import { sha2Stage2 } from './caching-sha2.js';

const ENTRY_LIMIT = 10_000;

export interface CachedPassword {
  readonly password: string;
  readonly stage2: Buffer;
}

interface Entry extends CachedPassword {
  /** The stored verifier it was checked against: a changed password must not be let in by the old one. */
  readonly verifier: string;
}

export class PasswordCache {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;
  /** Under way, by user, verifier and password. */
  readonly #checks = new Map<string, Promise<boolean>>();

  constructor(limit = ENTRY_LIMIT) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(user: string, verifier: string): CachedPassword | null {
    const entry = this.#entries.get(user);
    if (entry === undefined) return null;
    if (entry.verifier !== verifier) {
      this.#entries.delete(user);
      return null;
    }
    // Least recently used goes first: a Map keeps the order of insertion.
    this.#entries.delete(user);
    this.#entries.set(user, entry);
    return entry;
  }

  /**
   * Whether the password is the user's; one that is, is kept. `check` costs milliseconds of processor time, by design, so all
   * clients that come at once with the same password (an application's pool that starts) wait for one.
   */
  check(user: string, verifier: string, password: string, check: () => Promise<boolean>): Promise<boolean> {
    if (this.get(user, verifier)?.password === password) return Promise.resolve(true);
    const key = JSON.stringify([user, verifier, password]);
    const underWay = this.#checks.get(key);
    if (underWay !== undefined) return underWay;
    const result = check().then((isRight) => {
      if (isRight) this.put(user, verifier, password);
      return isRight;
    });
    this.#checks.set(key, result);
    const ended = (): boolean => this.#checks.delete(key);
    result.then(ended, ended);
    return result;
  }

  put(user: string, verifier: string, password: string): void {
    this.#entries.delete(user);
    this.#entries.set(user, { verifier, password, stage2: sha2Stage2(password) });
    if (this.#entries.size > this.#limit) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
  }
}
