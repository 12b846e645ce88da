// Keys made from passwords, remembered so that a login costs a hash and not 4,096; and verifiers for users that do not exist.
// It must not know a connection. One for a process is enough; nothing of it leaves the process.

import { createHmac, randomBytes } from 'node:crypto';
import {
  deriveScramKeys,
  SCRAM_ITERATIONS,
  SCRAM_KEY_BYTES,
  SCRAM_SALT_BYTES,
  type ScramKeys,
  type ScramVerifier,
  verifierOf,
} from './scram.js';

const MAX_REMEMBERED = 4096;

export class LoginSecrets {
  /** Makes salts that stay the same for a user, so that asking twice does not tell a user from nobody. */
  readonly #key: Buffer;
  readonly #remembered = new Map<string, ScramKeys>();

  /** Several processes behind one address need the same `key`, or an unknown user's salt differs between them. */
  constructor(key: Buffer = randomBytes(SCRAM_KEY_BYTES)) {
    this.#key = key;
  }

  /** `deriveScramKeys`, remembered under a keyed hash of its input: a password is not kept. */
  readonly deriveKeys = (password: string, salt: Buffer, iterations: number): ScramKeys => {
    const id = this.#digest('keys', JSON.stringify([password, salt.toString('base64'), iterations])).toString(
      'base64',
    );
    const found = this.#remembered.get(id);
    if (found !== undefined) {
      // A Map iterates in the order of insertion: what is used again goes to the end.
      this.#remembered.delete(id);
      this.#remembered.set(id, found);
      return found;
    }
    const keys = deriveScramKeys(password, salt, iterations);
    if (this.#remembered.size >= MAX_REMEMBERED) {
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest);
        break;
      }
    }
    this.#remembered.set(id, keys);
    return keys;
  };

  /** The verifier of a password that the configuration holds as text. */
  verifierOf(user: string, password: string): ScramVerifier {
    const salt = this.#salt(user);
    return verifierOf(this.deriveKeys(password, salt, SCRAM_ITERATIONS), salt, SCRAM_ITERATIONS);
  }

  /** A verifier that nobody can satisfy, the same one each time (PostgreSQL: mock_scram_secret). */
  mockVerifier(user: string): ScramVerifier {
    return {
      iterations: SCRAM_ITERATIONS,
      salt: this.#salt(user),
      storedKey: this.#digest('stored key', user),
      serverKey: this.#digest('server key', user),
    };
  }

  #salt(user: string): Buffer {
    return this.#digest('salt', user).subarray(0, SCRAM_SALT_BYTES);
  }

  #digest(purpose: string, text: string): Buffer {
    return createHmac('sha256', this.#key).update(`${purpose}\0${text}`).digest();
  }
}

/** What the login machines use unless they are given another. */
export const processSecrets: LoginSecrets = new LoginSecrets();
