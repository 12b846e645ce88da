// The logins of a cluster's clients, one object for all clients of the same user, database and credential.
// It checks nothing: a login comes here when its client has been proven.

import { keyTextOf } from '../pool/key-text.js';
import type { Credential } from '../protocol/credential.js';
import type { PoolKey } from '../protocol/server-connection.js';

export interface Login {
  readonly key: PoolKey;
  readonly credential: Credential;
}

/** Beyond, the known ones are forgotten: their clients keep them. */
const MAX_KNOWN = 1000;

export class KnownLogins {
  /** By key: the last one. */
  readonly #known = new Map<string, Login>();

  readonly #latest = new Map<string, Credential>();

  /** Undefined: of none that is known. */
  latestOf(user: string): Credential | undefined {
    return this.#latest.get(user);
  }

  /** This user has just logged in with it. */
  proved(user: string, credential: Credential): void {
    // A listener that asks for no password has none to give.
    if (credential.kind === 'none') return;
    if (this.#latest.size >= MAX_KNOWN) this.#latest.clear();
    this.#latest.set(user, credential);
  }

  intern(key: PoolKey, credential: Credential): Login {
    const text = keyTextOf(key);
    const known = this.#known.get(text);
    if (known !== undefined && isSame(known.credential, credential)) return known;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    const login = { key: known?.key ?? key, credential };
    this.#known.set(text, login);
    return login;
  }
}

function isSame(a: Credential, b: Credential): boolean {
  switch (a.kind) {
    case 'password':
      return b.kind === 'password' && a.password === b.password;
    case 'scram-keys':
      return b.kind === 'scram-keys' && a.clientKey.equals(b.clientKey) && a.serverKey.equals(b.serverKey);
    case 'md5':
      return b.kind === 'md5' && a.hash === b.hash;
    case 'native-stage1':
      return b.kind === 'native-stage1' && a.stage1.equals(b.stage1);
    case 'none':
      return b.kind === 'none';
  }
}
