// The cancel keys that clients were given: which client connection a CancelRequest means.
// It knows neither sockets nor sessions.

import { randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import type { CancelKey } from './client-startup.js';

export interface Cancellable {
  cancel(): void;
}

/** Process ids are positive 31-bit numbers, as PostgreSQL's are. */
const MAX_PROCESS_ID = 2 ** 31 - 1;

export class CancelKeys {
  readonly #byProcessId = new Map<number, { readonly target: Cancellable; readonly secretKey: Buffer }>();

  register(target: Cancellable, keyBytes: number): CancelKey {
    let processId: number;
    do processId = randomInt(1, MAX_PROCESS_ID);
    while (this.#byProcessId.has(processId));
    const secretKey = randomBytes(keyBytes);
    this.#byProcessId.set(processId, { target, secretKey });
    return { processId, secretKey };
  }

  forget(key: CancelKey): void {
    this.#byProcessId.delete(key.processId);
  }

  /** Null for a key that does not fit, without telling why. */
  find(processId: number, secretKey: Buffer): Cancellable | null {
    const entry = this.#byProcessId.get(processId);
    if (entry === undefined || entry.secretKey.length !== secretKey.length) return null;
    return timingSafeEqual(entry.secretKey, secretKey) ? entry.target : null;
  }
}
