// Which server connections of a node are opened, for whom, and which ones make room for them.
// It gives them to nobody: who gets one that has been opened, or is told that none can be, the pool says.

import { monotonicMs } from '../lib/clock.js';
import { connectFailure, type ProxyError } from '../lib/errors.js';
import type { Connect, ServerConnection } from '../protocol/server-connection.js';
import type { ConnectionLists } from './connection-lists.js';
import { type Broke, refuse } from './telling.js';
import type { Login, PoolNode, Wait } from './waiter.js';
import type { Waits } from './waits.js';

/** Where connections cannot be opened, or come and go at once, no more often than so. */
const SPARE_EVERY_MS = 20;
/** Of those who wait for a connection of one user and database: each is asked what it needs, and thousands may wait. */
const MAX_LOOKED_AT = 64;

export interface OpeningHost {
  isClosed(): boolean;
  opened(server: ServerConnection): void;
  failed(): void;
  /** One that somebody might have asked back is better than none. False: there is none. */
  grantOldest(wait: Wait): boolean;
  readonly broke: Broke;
  /** A limit keeps a waiter from a server connection: the node's (null), or that of a user. */
  short(user: string | null): void;
}

export class Opening {
  readonly #address: PoolNode;
  readonly #lists: ConnectionLists;
  readonly #waits: Waits;
  readonly #connect: Connect;
  readonly #host: OpeningHost;
  #isOpening = false;
  #mustOpen = false;
  #spareAfterMs = 0;

  constructor(address: PoolNode, lists: ConnectionLists, waits: Waits, connect: Connect, host: OpeningHost) {
    this.#address = address;
    this.#lists = lists;
    this.#waits = waits;
    this.#connect = connect;
    this.#host = host;
  }

  /** For those whose queues are long; nobody waits for it, so nobody is told if it cannot be opened. */
  spare(login: Login): void {
    const { keyText, key } = login;
    const { attempts, idle } = this.#lists;
    if (attempts.of(keyText) > 0 || this.#lists.isUserFull(key.user) || this.#lists.mustWaitForOwn(keyText))
      return;
    if (this.#lists.isFull || idle.hasFor(keyText)) return;
    const now = monotonicMs();
    if (now < this.#spareAfterMs) return;
    this.#spareAfterMs = now + SPARE_EVERY_MS;
    this.#open(login);
  }

  /** For waiters that have none coming, as far as the limits allow. Closing one to make room comes back here. */
  forWaits(): void {
    this.#mustOpen = true;
    if (this.#isOpening) return;
    this.#isOpening = true;
    while (this.#mustOpen && !this.#host.isClosed()) {
      this.#mustOpen = false;
      this.#openOnce();
    }
    this.#isOpening = false;
  }

  /** One for each user and database in turn, whoever has waited longest first. */
  #openOnce(): void {
    let lanes = this.#waits.lanes();
    while (lanes.length > 0) {
      const unserved: typeof lanes = [];
      for (const lane of lanes) {
        const verb = this.#openFor(lane);
        if (verb === 'stop') return;
        if (verb === 'again') unserved.push(lane);
      }
      lanes = unserved;
    }
  }

  /** `enough`: nothing more can be done for these; `stop`: for nobody. */
  #openFor(lane: readonly Wait[]): 'again' | 'enough' | 'stop' {
    const lists = this.#lists;
    if (lane.length === 0) return 'enough';
    const { keyText, key } = lane[0]!;
    // Those in front of it get what is being opened already.
    const wait = lane[lists.attempts.of(keyText)];
    if (wait === undefined || lists.mustWaitForOwn(keyText)) return 'enough';
    // It left the idle ones to those who may ask them back, for one that a waiter before it gets.
    if ((lists.isFull || lists.isUserFull(key.user)) && this.#host.grantOldest(wait)) return 'again';
    if (lists.isUserFull(key.user) && !this.#evictIdleOf(key.user, keyText)) {
      lists.closeShared(key.user, this.#wantedOfShared(key.user));
      this.#host.short(key.user);
      return 'enough';
    }
    if (lists.isFull && !this.#evictIdle(keyText)) {
      lists.closeShared(null, this.#wantedOfShared(null));
      this.#host.short(null);
      return 'stop';
    }
    this.#open(wait);
    return 'again';
  }

  /** One for each who needs it for himself, and one for all of a state of which none is shared; no more than there are. */
  #wantedOfShared(user: string | null): number {
    const { attempts, shared } = this.#lists;
    const states = new Set<string>();
    let alone = 0;
    for (const lane of this.#waits.lanes()) {
      const { key, keyText } = lane[0]!;
      if (user !== null && key.user !== user) continue;
      const isComing = attempts.of(keyText) > 0;
      // Who stands further back is looked at when he has come forward.
      const looked = Math.min(lane.length, MAX_LOOKED_AT);
      for (let i = 0; i < looked; i++) {
        if (alone + states.size >= shared.size) return shared.size;
        const { waiter, stateDigest } = lane[i]!;
        if (waiter.sharedMs < 0) alone++;
        else if (!isComing && !shared.isOpen(keyText, stateDigest)) states.add(`${keyText} ${stateDigest}`);
      }
    }
    return alone + states.size;
  }

  /** A user at the limit, with idle connections to another database. */
  #evictIdleOf(user: string, keyText: string): boolean {
    const server = this.#lists.findUnused(
      (itsKeyText, { key }) => itsKeyText !== keyText && key.user === user,
    );
    server?.close('makes room for another database');
    return server !== null;
  }

  /** Makes room for another user's connection. */
  #evictIdle(keyText: string): boolean {
    const server = this.#lists.findUnused((itsKeyText) => itsKeyText !== keyText);
    server?.close('makes room for another user');
    return server !== null;
  }

  #open(login: Login): void {
    const { keyText, key, credential } = login;
    const { attempts, users, limits } = this.#lists;
    attempts.began(keyText);
    users.change(key.user, 1);
    const { name: node, host, port } = this.#address;
    this.#connect({ node, host, port, key, credential, timeoutMs: limits.connectTimeoutMs }).then(
      (server) => {
        attempts.ended(keyText);
        this.#host.opened(server);
        this.forWaits();
      },
      (cause: unknown) => {
        attempts.ended(keyText);
        users.change(key.user, -1);
        this.#host.failed();
        this.#attemptFailed(login, connectFailure(cause, node));
        this.forWaits();
      },
    );
  }

  /** Refuses the waiter on whose account the attempt was made, if it has not been served by another. */
  #attemptFailed(attempt: Login, error: ProxyError): void {
    if (error.isRefusedLogin) this.#lists.attempts.refused(attempt.keyText);
    if (!this.#waits.has(attempt) || this.#host.grantOldest(attempt)) return;
    if (this.#lists.mustWaitForOwn(attempt.keyText)) return;
    this.#waits.remove(attempt);
    refuse(attempt.waiter, error, this.#host.broke);
  }
}
