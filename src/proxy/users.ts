// How the proxy knows its users: from the configuration, or by the verifiers that the primary holds.
// It checks no password and knows no protocol; the primary is asked at each login, once for all that come while it answers.

import type { UserConfig } from '../config/schema.js';
import { describeError, ProxyError } from '../lib/errors.js';
import { Latest } from '../lib/latest.js';
import type { UserLookup } from '../protocol/client-connection.js';
import type { StoredVerifier } from '../protocol/node-control.js';

/** Asks the primary; rejects when there is none. */
export type ReadVerifier = (user: string) => Promise<StoredVerifier | null>;

export class Users {
  #configured: ReadonlyMap<string, UserConfig> | null = null;
  readonly #readVerifier: ReadVerifier;
  readonly #asked = new Latest<UserLookup>();

  constructor(configured: readonly UserConfig[] | null, readVerifier: ReadVerifier) {
    this.#readVerifier = readVerifier;
    this.configure(configured);
  }

  configure(configured: readonly UserConfig[] | null): void {
    this.#configured = configured === null ? null : new Map(configured.map((user) => [user.name, user]));
  }

  lookUp(user: string): Promise<UserLookup> {
    if (this.#configured !== null) return Promise.resolve(lookUpConfigured(this.#configured.get(user)));
    return this.#asked.get(user, () => this.#ask(user));
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
