// How the proxy knows its users: from the configuration, or by the verifiers that the primary holds.
// It checks no password and knows no protocol; answers of the primary are kept for a moment, so that a storm of logins is one query.

import type { UserConfig } from '../config/schema.js';
import { monotonicMs } from '../lib/clock.js';
import { describeError, ProxyError } from '../lib/errors.js';
import type { UserLookup } from '../protocol/client-connection.js';
import type { StoredVerifier } from '../protocol/node-control.js';

/** A changed password is known after this time at the latest; after a failed login the primary is asked again. */
const KEEP_MS = 2000;
const FORGET_AFTER_MS = 100;
const MAX_KEPT = 10_000;

interface Kept {
  readonly lookup: Promise<UserLookup>;
  readonly atMs: number;
}

/** Asks the primary; rejects when there is none. */
export type ReadVerifier = (user: string) => Promise<StoredVerifier | null>;

export class Users {
  #configured: ReadonlyMap<string, UserConfig> | null = null;
  readonly #readVerifier: ReadVerifier;
  readonly #kept = new Map<string, Kept>();

  constructor(configured: readonly UserConfig[] | null, readVerifier: ReadVerifier) {
    this.#readVerifier = readVerifier;
    this.configure(configured);
  }

  configure(configured: readonly UserConfig[] | null): void {
    this.#configured = configured === null ? null : new Map(configured.map((user) => [user.name, user]));
    this.#kept.clear();
  }

  lookUp(user: string): Promise<UserLookup> {
    if (this.#configured !== null) return Promise.resolve(lookUpConfigured(this.#configured.get(user)));
    const now = monotonicMs();
    const kept = this.#kept.get(user);
    if (kept !== undefined && now - kept.atMs < KEEP_MS) return kept.lookup;
    const lookup = this.#ask(user);
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
    this.#kept.set(user, { lookup, atMs: now });
    lookup.catch(() => this.#kept.delete(user));
    return lookup;
  }

  /** The next login asks anew; a storm of wrong passwords still is one query in so many milliseconds. */
  forget(user: string): void {
    const kept = this.#kept.get(user);
    if (kept !== undefined && monotonicMs() - kept.atMs > FORGET_AFTER_MS) this.#kept.delete(user);
  }

  async #ask(user: string): Promise<UserLookup> {
    try {
      const verifier = await this.#readVerifier(user);
      return verifier === null ? { kind: 'unknown' } : { kind: 'verifier', verifier };
    } catch (cause) {
      throw new ProxyError('authentication-unavailable', { user, detail: describeError(cause) });
    }
  }
}

function lookUpConfigured(user: UserConfig | undefined): UserLookup {
  if (user === undefined) return { kind: 'unknown' };
  if (user.password !== null) return { kind: 'password', password: user.password };
  const secret = user.verifier ?? '';
  return { kind: 'verifier', verifier: { method: methodOf(secret), secret } };
}

/** By the notation in which servers store it. */
function methodOf(secret: string): string {
  if (secret.startsWith('SCRAM-SHA-256$')) return 'scram-sha-256';
  if (/^md5[0-9a-f]{32}$/.test(secret)) return 'md5';
  if (/^\*[0-9A-F]{40}$/i.test(secret)) return 'mysql_native_password';
  if (secret.startsWith('$A$')) return 'caching_sha2_password';
  return 'unknown';
}
