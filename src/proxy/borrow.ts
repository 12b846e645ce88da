// A server connection for a moment, for a login: what the client must be told comes from a node.
// It waits like a unit does; it knows no protocol.

import { monotonicMs } from '../lib/clock.js';
import { ProxyError } from '../lib/errors.js';
import type { NodePool, PoolWaiter } from '../pool/node-pool.js';
import type { LoginCallback } from '../protocol/client-connection.js';
import type { Credential } from '../protocol/credential.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import { isUsable, primaryForUnits, type RoutingSnapshot } from '../routing/decide.js';
import type { Held, HoldQueue } from './hold.js';

export interface BorrowSource {
  readonly snapshot: RoutingSnapshot & { readonly explanation: string };
  readonly hold: HoldQueue;
  readonly holdMs: number;
  pool(node: string): NodePool | null;
  reportFailure(node: string, error: Error): void;
}

export class Borrow implements PoolWaiter, Held {
  readonly #source: BorrowSource;
  readonly #key: PoolKey;
  readonly #credential: Credential;
  readonly #startedMs = monotonicMs();
  readonly #callback: LoginCallback;
  #node = '';

  constructor(source: BorrowSource, key: PoolKey, credential: Credential, callback: LoginCallback) {
    this.#source = source;
    this.#key = key;
    this.#credential = credential;
    this.#callback = callback;
    this.#start();
  }

  #start(): void {
    const { snapshot } = this.#source;
    const node = primaryForUnits(snapshot) ?? snapshot.nodes.find(isUsable)?.name;
    const pool = node === undefined ? null : this.#source.pool(node);
    if (pool === null || node === undefined) {
      this.#hold();
      return;
    }
    this.#node = node;
    const server = pool.acquire(this.#key, this.#credential, '', this);
    if (server !== null) this.granted(server);
  }

  readonly sharedMs = -1;

  grantedShared(): void {}

  granted(server: ServerConnection): void {
    const release = (): void => this.#source.pool(this.#node)?.release(server);
    this.#callback({ server, release }, null);
  }

  refused(error: ProxyError): void {
    if (error.code === 'node-full') {
      this.#hold();
      return;
    }
    if (error.code !== 'connect-failed') {
      this.#callback(null, error);
      return;
    }
    this.#source.reportFailure(this.#node, error);
    this.#hold();
  }

  /** The protocol learns it from what it asked of the server connection. */
  lost(): void {}

  terminate(error: ProxyError): void {
    this.#callback(null, error);
  }

  #hold(): void {
    const deadlineMs = this.#startedMs + this.#source.holdMs;
    if (monotonicMs() >= deadlineMs) this.expired();
    else this.#source.hold.add(this, deadlineMs);
  }

  resume(): void {
    this.#start();
  }

  expired(): void {
    this.#callback(null, new ProxyError('no-primary', { detail: `; ${this.#source.snapshot.explanation}` }));
  }
}
