// The cancel keys that clients were given: which client connection a CancelRequest means, and in which worker it is.
// It knows neither sockets nor sessions.

import { randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import type { PeerRequest, Peers } from '../protocol/protocol.js';

/** Of a client that does nothing there is little else: so it is text, which is smaller than a buffer. */
export interface CancelKey {
  readonly processId: number;
  readonly target: Cancellable;
  /** Bytes, each as the character of that code. */
  readonly secretKey: string;
}

export function secretBytes({ secretKey }: CancelKey): Buffer {
  return Buffer.from(secretKey, 'latin1');
}

export interface Cancellable {
  /** Null, or resolves: no cancel is on its way to a node any more. Never rejects. */
  cancel(): Promise<void> | null;
}

/** Process ids are positive 31-bit numbers, as PostgreSQL's are. */
const MAX_PROCESS_ID = 2 ** 31 - 1;

export class CancelKeys {
  readonly #byProcessId = new Map<number, CancelKey>();
  readonly #peers: Peers | null;

  constructor(peers: Peers | null = null) {
    this.#peers = peers;
  }

  /** A process id tells its worker: the remainder of its division by their number. */
  register(target: Cancellable, keyBytes: number): CancelKey {
    const { index, count } = this.#peers ?? { index: 0, count: 1 };
    let processId: number;
    do processId = randomInt(1, Math.floor(MAX_PROCESS_ID / count)) * count + index;
    while (this.#byProcessId.has(processId));
    const key = { processId, target, secretKey: randomBytes(keyBytes).toString('latin1') };
    this.#byProcessId.set(processId, key);
    return key;
  }

  forget(key: CancelKey): void {
    this.#byProcessId.delete(key.processId);
  }

  /** Null for a key that does not fit, without telling why. */
  find(processId: number, secretKey: Uint8Array): Cancellable | null {
    const entry = this.#byProcessId.get(processId);
    if (entry === undefined || entry.secretKey.length !== secretKey.length) return null;
    return timingSafeEqual(secretBytes(entry), secretKey) ? entry.target : null;
  }

  /**
   * Cancels wherever the client is; null: that is done, else it is once the promise resolves. Who waits for the end of the connection of
   * its cancel may send the next statement behind it (libpq, asyncpg), which must not be hit.
   */
  cancel(processId: number, secretKey: Buffer): Promise<unknown> | null {
    const peers = this.#peers;
    if (peers !== null && processId >= 0 && processId % peers.count !== peers.index)
      return peers.ask(processId % peers.count, { processId, secretKey });
    return this.find(processId, secretKey)?.cancel() ?? null;
  }

  /** What another worker's `cancel` asks. */
  async answerPeer({ processId, secretKey }: PeerRequest): Promise<string> {
    if (typeof processId === 'number' && secretKey instanceof Uint8Array)
      await this.find(processId, secretKey)?.cancel();
    return '';
  }
}
