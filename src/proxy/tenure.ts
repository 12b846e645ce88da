// The server connection that one session holds, alone or among others' units: how it is cancelled, left and given back.
// It knows no phase of the session and no transaction; when to hold and when to leave is for the session to say.

import type { ClientConnection } from '../protocol/client-connection.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { Unit } from '../protocol/unit.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { LastStatement } from './last-statement.js';
import { discard, giveUpHead, isolate } from './session-rules.js';

/** A statement that has begun answers a cancel within a millisecond or so. */
const FIRST_AGAIN_MS = 50;
/** Some never do: what they wait for lets nobody interrupt them. */
const MAX_AGAIN_MS = 5_000;

export class Tenure {
  readonly #cluster: ClusterRuntime;
  #server: ServerConnection | null = null;
  #isShared = false;
  /** A cancel is on its way to the server connection that runs the unit. */
  #cancelling: Promise<void> | null = null;
  /** The unit goes on although a cancel has arrived. */
  #again: NodeJS.Timeout | null = null;

  constructor(cluster: ClusterRuntime) {
    this.#cluster = cluster;
  }

  /** While a unit runs, for a transaction, or pinned. */
  get server(): ServerConnection | null {
    return this.#server;
  }

  /** Others' units are under way on it too: it is not this session's to give back. */
  get isShared(): boolean {
    return this.#isShared;
  }

  /** The next unit may come, once no cancel is on its way that might hit it here. */
  next(client: ClientConnection): void {
    if (this.#cancelling === null) client.next();
    else this.#cluster.turnAfter(client, this.#cancelling, () => client.next());
  }

  take(server: ServerConnection): void {
    this.#server = server;
  }

  join(server: ServerConnection): void {
    this.#server = server;
    this.#isShared = true;
  }

  /** Nothing is given back: the pool sees by itself when a shared connection is drained, or has been told of a lost one. */
  leave(): void {
    this.unitEnded();
    this.#server = null;
    this.#isShared = false;
    this.#cancelling = null;
  }

  /** There is nothing to cancel any more. */
  unitEnded(): void {
    if (this.#again !== null) clearTimeout(this.#again);
    this.#again = null;
  }

  /** It can never be used again. */
  discard(reason: string): void {
    const server = this.#server!;
    this.leave();
    discard(this.#cluster.pool(server.node), server, reason);
  }

  /** `unit`: what ran on it last, of which `last` may be asked later; null: nothing that counts. */
  giveBack(server: ServerConnection, last: LastStatement, unit: Unit | null): void {
    const cancelling = this.#cancelling;
    const wasShared = this.#isShared;
    this.leave();
    if (wasShared) return;
    const pool = this.#cluster.pool(server.node);
    if (cancelling !== null) {
      // The cancel may still be on its way: nobody else may be on this connection when it arrives.
      void cancelling.finally(() => discard(pool, server, 'a cancel was sent to it'));
      return;
    }
    if (pool === null) {
      server.close('its node is no longer configured');
      return;
    }
    if (unit !== null) last.givenBack(server, unit);
    pool.release(server);
  }

  /** What runs on it is of no interest any more, and is cancelled only if it runs for long. True: a cancel is on its way. */
  setAside(server: ServerConnection): boolean {
    const cancelling = this.#cancelling;
    const wasShared = this.#isShared;
    this.leave();
    const pool = this.#cluster.pool(server.node);
    if (wasShared) return false;
    if (pool === null) server.close('its node is no longer configured');
    else if (cancelling === null) pool.setAside(server);
    else void cancelling.finally(() => discard(pool, server, 'a cancel was sent to it'));
    return cancelling !== null;
  }

  giveBackAfterClient(server: ServerConnection, isPinned: boolean): void {
    if (this.#server !== server) return;
    const isDirty = isPinned || !server.reusable || this.#cancelling !== null;
    this.leave();
    const pool = this.#cluster.pool(server.node);
    if (isDirty || pool === null) discard(pool, server, 'its client is gone');
    else pool.release(server, 'its client is gone');
  }

  /**
   * Sends a cancel for the unit that runs; the connection stays, and is not given to others before the cancel has arrived, which
   * is when the promise resolves. A node drops one that comes before the statement does, or between what goes before it and the
   * statement itself: while the unit goes on, it is sent again.
   */
  cancel(): Promise<void> {
    const server = this.#server!;
    if (this.#isShared) isolate(this.#cluster.pool(server.node), server);
    return this.#cancel(server, FIRST_AGAIN_MS);
  }

  #cancel(server: ServerConnection, againMs: number): Promise<void> {
    this.unitEnded();
    // Each of several cancels is sent; whether any is still on its way matters when the connection is given back.
    const cancelling = Promise.all([this.#cancelling, server.cancel()]).then(() => {});
    this.#cancelling = cancelling;
    this.#again = setTimeout(() => {
      this.#again = null;
      void this.#cancel(server, Math.min(2 * againMs, MAX_AGAIN_MS));
    }, againMs);
    return cancelling;
  }

  /** What runs is asked to end, and answers: as `cancel`. Null: its client does not wait for it any more. */
  stop(client: ClientConnection): Promise<void> | null {
    if (!this.#isShared || client.hasBegun) return this.cancel();
    this.abandonShared(client);
    return null;
  }

  /** Cancels what runs, for nobody: the connection ends. */
  cancelAndDiscard(reason: string): void {
    const server = this.#server!;
    this.leave();
    void server.cancel().finally(() => this.#cluster.pool(server.node)?.discard(server, reason));
  }

  /**
   * The unit that runs in a pipeline is of no interest any more. At the head it may run for long: nobody else stays
   * behind it, it is cancelled, and the connection is not used again, so that the cancel can hit nobody else.
   */
  abandonShared(client: ClientConnection): void {
    const server = this.#server!;
    const wasHead = client.abandon();
    this.leave();
    if (wasHead) giveUpHead(this.#cluster.pool(server.node), server);
  }
}
