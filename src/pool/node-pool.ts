// The server connections of one node: who gets which, and what becomes of it when it comes back.
// Nothing here knows a protocol, a statement or a client, nor when another one is opened.

import { monotonicMs } from '../lib/clock.js';
import { ProxyError } from '../lib/errors.js';
import type { Credential } from '../protocol/credential.js';
import type { Connect, PoolKey, ServerConnection } from '../protocol/server-connection.js';
import { ConnectionLists } from './connection-lists.js';
import type { IdleConnections } from './idle-connections.js';
import { keyTextOf } from './key-text.js';
import { Opening } from './opening.js';
import type { SharedConnections } from './shared-connections.js';
import { type Broke, grant, grantShared, refuse } from './telling.js';
import type { PoolLimits, PoolNode, PoolWaiter, Wait } from './waiter.js';
import { Waits } from './waits.js';

export type { PoolLimits, PoolWaiter } from './waiter.js';

/** A waiter of another user is not overtaken longer than this by users whose connections come free. */
const OVERTAKE_MS = 100;
const SWEEP_MS = 1000;

export class NodePool {
  readonly node: string;
  readonly #address: PoolNode;
  readonly #onBroken: Broke;
  readonly #lists: ConnectionLists;
  readonly #idle: IdleConnections;
  readonly #shared: SharedConnections;
  readonly #leased: Map<ServerConnection, PoolWaiter>;
  readonly #lastHolders = new WeakMap<ServerConnection, PoolWaiter>();
  readonly #waits = new Waits();
  readonly #opening: Opening;
  #isServing = false;
  #closed = false;
  readonly #sweep: NodeJS.Timeout;
  /** Since start, for the metrics. */
  readonly counts = { opened: 0, openFailures: 0, closed: 0, waited: 0, timeouts: 0, refusals: 0 };
  /** Of connections that have ended. */
  #endedBytesReceived = 0;
  #endedBytesSent = 0;
  /** A limit keeps a waiter from a server connection: the node's (null), or that of a user. Set by whoever shares limits out. */
  onShort: ((user: string | null) => void) | null = null;
  /** There are fewer server connections than before. */
  onFewer: (() => void) | null = null;

  /** `onBroken`: ends a waiter that has thrown. */
  constructor({ name, host, port }: PoolNode, limits: PoolLimits, connect: Connect, onBroken: Broke) {
    this.#onBroken = onBroken;
    this.node = name;
    this.#address = { name, host, port };
    this.#lists = new ConnectionLists(limits, (server, closed) => this.#onDrained(server, closed));
    this.#idle = this.#lists.idle;
    this.#shared = this.#lists.shared;
    this.#leased = this.#lists.leased;
    this.#opening = new Opening(this.#address, this.#lists, this.#waits, connect, {
      isClosed: () => this.#closed,
      opened: (server) => this.#onOpened(server),
      failed: () => this.#onOpenFailed(),
      grantOldest: (wait) => this.#grantOldest(wait),
      broke: this.#broke,
      short: (user) => this.onShort?.(user),
    });
    this.#sweep = setInterval(() => this.#onSweep(), SWEEP_MS);
    this.#sweep.unref();
  }

  get idle(): number {
    return this.#idle.size;
  }

  get leased(): number {
    return this.#leased.size;
  }

  get waiting(): number {
    return this.#waits.size;
  }

  get bytesReceived(): number {
    return this.#lists.sum(this.#endedBytesReceived, (server) => server.bytesReceived);
  }

  get bytesSent(): number {
    return this.#lists.sum(this.#endedBytesSent, (server) => server.bytesSent);
  }

  get connecting(): number {
    return this.#lists.attempts.total;
  }

  /** Units under way or waiting: what balancing by least connections compares. */
  get outstanding(): number {
    return this.#leased.size + this.#shared.depth + this.#waits.size;
  }

  /** Server connections that units of several clients are on. */
  get shared(): number {
    return this.#shared.size;
  }

  get sharedUnits(): number {
    return this.#shared.counts.units;
  }

  get evacuations(): number {
    return this.#shared.counts.evacuations;
  }

  /** Idle ones above the limits are closed at once, others when they come back. */
  set limits(limits: PoolLimits) {
    const lists = this.#lists;
    lists.limits = limits;
    for (const server of lists.unused()) if (lists.isOver(server)) server.close('over the limit');
    lists.closeShared(null, lists.total - limits.maxServerConnections);
    for (const [user, over] of lists.users.over(limits.maxByUser)) lists.closeShared(user, over);
    this.#opening.forWaits();
  }

  /** Server connections there are or are being opened, of all users or of one. */
  open(user: string | null): number {
    return user === null ? this.#lists.total : this.#lists.users.of(user);
  }

  /** How many it would use now if it could. */
  wanted(user: string | null): number {
    if (user === null) return this.#lists.used + this.#waits.size;
    return this.#lists.usedBy(user) + this.#waits.of(user);
  }

  /**
   * Answers a server connection at once when one is free, else null: then `waiter` is called later.
   * `stateDigest`: one that already carries this state is preferred.
   */
  acquire(
    key: PoolKey,
    credential: Credential,
    stateDigest: string,
    waiter: PoolWaiter,
  ): ServerConnection | null {
    const keyText = keyTextOf(key);
    // Whoever waits for a connection of this user and database comes first; others' waiting is no reason to wait.
    if (this.#waits.firstFor(keyText) === null) {
      const server = this.#takeIdle(keyText, stateDigest, key.user, waiter);
      if (server !== null) {
        this.#lend(server, waiter);
        return server;
      }
    }
    const { maxWaiting } = this.#lists.limits;
    if (this.#closed || this.#waits.size >= maxWaiting) {
      this.counts.refusals++;
      const error = new ProxyError('pool-queue-full', { node: this.node, limit: maxWaiting });
      queueMicrotask(() => refuse(waiter, error, this.#broke));
      return null;
    }
    this.counts.waited++;
    this.#waits.add({ waiter, keyText, key, credential, stateDigest, sinceMs: monotonicMs() });
    this.#opening.forWaits();
    return null;
  }

  /**
   * A server connection that already carries this state, with others' units under way on it or none; null: none takes
   * one more now. It is nobody's: it comes back by itself when it is drained. `usualMs`: what the unit usually takes.
   */
  share(key: PoolKey, credential: Credential, stateDigest: string, usualMs: number): ServerConnection | null {
    if (this.#closed) return null;
    const keyText = keyTextOf(key);
    if (this.#waits.size > 0) this.#shareWithOvertaken(keyText, stateDigest);
    const { server, wantsMore } = this.#shared.choose(keyText, stateDigest, usualMs);
    if (!wantsMore) return server;
    const idle = this.#idle.takeExactly(keyText, stateDigest, this.#isUnasked);
    if (idle !== null) {
      this.#lastHolders.delete(idle);
      this.#shared.add(idle, keyText, stateDigest);
      return idle;
    }
    if (server !== null) this.#opening.spare({ keyText, key, credential });
    return server;
  }

  /** The unit has been written; it usually takes so long. */
  queued(server: ServerConnection, usualMs: number): void {
    this.#shared.queued(server, usualMs);
  }

  /** Nobody else is queued on this shared connection any more. */
  isolate(server: ServerConnection): void {
    this.#shared.isolate(server);
  }

  /** It stays shared, unless somebody waits for one, or it has to go. */
  #onDrained(server: ServerConnection, closed: boolean): void {
    const isOver = this.#closed || this.#lists.isOver(server);
    if (!closed && !isOver && this.#waits.size === 0 && server.reusable) return;
    this.#shared.remove(server);
    if (this.#closed || !server.reusable || this.#lists.isSurplus(server)) server.close('not reusable');
    else this.#offer(server);
  }

  /** Takes back exactly this connection if nobody has used it since; for answers that only it can give. */
  reclaim(server: ServerConnection, holder: PoolWaiter): boolean {
    if (this.#lastHolders.get(server) !== holder || !this.#idle.remove(server)) return false;
    this.#lend(server, holder);
    return true;
  }

  /** The waiter does not want one any more. */
  withdraw(waiter: PoolWaiter): void {
    this.#waits.withdraw(waiter);
  }

  /** Gives a leased connection back; one that is not reusable is closed, with `reason` in the log. */
  release(server: ServerConnection, reason = 'not reusable'): void {
    const wasLeased = this.#leased.delete(server);
    if (server.closed) return;
    if (!wasLeased) {
      server.close('its pool is gone');
      return;
    }
    if (!server.reusable || this.#closed || this.#lists.isSurplus(server)) {
      server.close(server.reusable ? 'too old, or over the limit' : reason);
      this.#opening.forWaits();
      return;
    }
    this.#offer(server);
  }

  /** Nobody waits for what still runs on this leased connection: it comes back when that has ended. */
  setAside(server: ServerConnection): void {
    if (!this.#leased.delete(server) || server.closed) return;
    this.#lastHolders.delete(server);
    this.#shared.addAbandoned(server, keyTextOf(server.key));
  }

  /** Closes a leased connection instead of giving it back. */
  discard(server: ServerConnection, reason: string): void {
    this.#leased.delete(server);
    this.#shared.remove(server);
    if (!server.closed) server.close(reason);
    this.#opening.forWaits();
  }

  isAt(host: string, port: number): boolean {
    return this.#address.host === host && this.#address.port === port;
  }

  /** The node leaves the configuration: waiters are refused, leased connections end when they come back. */
  retire(reason: string): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    const error = new ProxyError('connect-failed', { node: this.node, detail: reason });
    for (const wait of this.#waits.takeAll()) refuse(wait.waiter, error, this.#broke);
    this.closeIdle(reason);
  }

  /** The node is gone, or `database` is to be left: idle ones are of no use; leased ones notice by themselves. */
  closeIdle(reason: string, database: string | null = null): void {
    for (const server of this.#idle.takeAll(database)) server.close(reason);
    for (const server of this.#shared.drainedSince(Number.POSITIVE_INFINITY, database)) server.close(reason);
  }

  /** The node has lost its role: whatever is under way there must not go on, and nobody waits for it any more. */
  closeAll(reason: string): void {
    const error = new ProxyError('connect-failed', { node: this.node, detail: reason });
    for (const wait of this.#waits.takeAll()) refuse(wait.waiter, error, this.#broke);
    this.closeIdle(reason);
    for (const server of [...this.#leased.keys(), ...this.#shared.servers()]) server.close(reason);
  }

  /** Everything ends; waiters are refused. */
  close(error: ProxyError): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const wait of this.#waits.takeAll()) refuse(wait.waiter, error, this.#broke);
    this.closeAll(error.message);
  }

  #lend(server: ServerConnection, holder: PoolWaiter): void {
    this.#leased.set(server, holder);
    this.#lastHolders.set(server, holder);
  }

  /** What it was given is not used again. */
  readonly #broke: Broke = (waiter, cause) => {
    this.#onBroken(waiter, cause);
    for (const [server, holder] of this.#leased)
      if (holder === waiter) this.discard(server, 'an error of the proxy itself');
  };

  #takeIdle(keyText: string, stateDigest: string, user: string, waiter: PoolWaiter): ServerConnection | null {
    if (waiter.leavesAsked === true) return this.#takeUnasked(keyText, stateDigest, user, waiter);
    return this.#idle.take(keyText, stateDigest) ?? this.#shared.takeDrained(keyText, stateDigest);
  }

  /**
   * Where clients ask about their last statement: one's own connection, else one that nobody may ask back, else a new one;
   * only at the limit the one that has waited longest to be asked.
   */
  #takeUnasked(
    keyText: string,
    stateDigest: string,
    user: string,
    waiter: PoolWaiter,
  ): ServerConnection | null {
    const isOwn = (server: ServerConnection): boolean => this.#lastHolders.get(server) === waiter;
    const free =
      this.#idle.takeFree(keyText, stateDigest, isOwn, this.#isUnasked) ??
      this.#shared.takeDrained(keyText, stateDigest);
    if (free !== null) return free;
    const mayOpen = !this.#lists.isFull && !this.#lists.isUserFull(user);
    return mayOpen ? null : this.#idle.takeOldest(keyText);
  }

  /** Nobody may ask it back. */
  readonly #isUnasked = (server: ServerConnection): boolean =>
    this.#lastHolders.get(server)?.asksBack !== true;

  /** A free connection goes to whoever has waited longest and can use it, else on the idle list. */
  #offer(server: ServerConnection): void {
    const keyText = keyTextOf(server.key);
    const { first } = this.#waits;
    const wait = first === null ? null : this.#waits.firstFor(keyText);
    if (first !== null && wait !== null && !this.#mustLeaveTo(first, keyText)) {
      if (this.#shareWithWaiters(server, keyText, wait)) return;
      this.#waits.remove(wait);
      this.#lend(server, wait.waiter);
      grant(wait.waiter, server, this.#broke);
      return;
    }
    this.#idle.add(server, keyText);
    this.#opening.forWaits();
  }

  /** Whoever has waited longest has been overtaken for too long by users whose connections come free: this one makes room. */
  #mustLeaveTo(first: Wait, keyText: string): boolean {
    const lists = this.#lists;
    const isStarved =
      first.keyText !== keyText &&
      lists.attempts.of(first.keyText) === 0 &&
      !lists.isUserFull(first.key.user) &&
      monotonicMs() - first.sinceMs > OVERTAKE_MS;
    // The connection in hand stands on no list.
    return isStarved && lists.total + 1 >= lists.limits.maxServerConnections;
  }

  /**
   * Under load nobody is idle: a connection that comes free serves all who would share it. Not while `first`, who has
   * waited longest, needs it for himself: there would always be somebody to share it with.
   */
  #shareWithWaiters(server: ServerConnection, keyText: string, first: Wait): boolean {
    const digest = server.stateDigest;
    const fits = (wait: Wait): boolean => wait.stateDigest === digest && wait.waiter.sharedMs >= 0;
    const usualMs = first.waiter.sharedMs;
    if (!fits(first) || !this.#shared.choose(keyText, digest, usualMs).wantsMore) return false;
    const waits = this.#waits.takeFor(keyText, fits, this.#shared.roomFor(usualMs));
    this.#lastHolders.delete(server);
    this.#shared.add(server, keyText, digest);
    for (const wait of waits) grantShared(wait.waiter, server, this.#broke);
    // They may all have gone elsewhere: then nothing ends here that would tell us so.
    if (server.depth === 0 && this.#shared.has(server)) this.#onDrained(server, false);
    if (this.#waits.size > 0) this.#opening.forWaits();
    return true;
  }

  /** Whoever has waited too long for room on a shared connection comes before a newcomer. */
  #shareWithOvertaken(keyText: string, digest: string): void {
    const sinceMs = monotonicMs() - OVERTAKE_MS;
    if (this.#waits.first!.sinceMs > sinceMs || this.#isServing) return;
    const fits = (wait: Wait): boolean =>
      wait.sinceMs <= sinceMs && wait.stateDigest === digest && wait.waiter.sharedMs >= 0;
    // One of them may go elsewhere and ask here again.
    this.#isServing = true;
    for (;;) {
      const wait = this.#waits.find(keyText, fits);
      if (wait === null) break;
      const { waiter } = wait;
      const { server } = this.#shared.choose(keyText, digest, waiter.sharedMs);
      if (server === null) break;
      this.#waits.remove(wait);
      grantShared(waiter, server, this.#broke);
    }
    this.#isServing = false;
  }

  #onOpened(server: ServerConnection): void {
    this.counts.opened++;
    server.onClosed = (reason, bug) => this.#onServerClosed(server, reason, bug);
    if (this.#closed || server.closed) server.close('the pool is closed');
    else if (this.#lists.isSurplus(server)) server.close('over the limit');
    else this.#offer(server);
  }

  #onOpenFailed(): void {
    this.counts.openFailures++;
    this.onFewer?.();
  }

  #grantOldest(wait: Wait): boolean {
    const server = this.#waits.has(wait) ? this.#idle.takeOldest(wait.keyText) : null;
    if (server === null) return false;
    this.#waits.remove(wait);
    this.#lend(server, wait.waiter);
    // Who asks right now is first told to wait.
    queueMicrotask(() => grant(wait.waiter, server, this.#broke));
    return true;
  }

  #onServerClosed(server: ServerConnection, reason: string, bug: ProxyError | null): void {
    this.counts.closed++;
    this.#endedBytesReceived += server.bytesReceived;
    this.#endedBytesSent += server.bytesSent;
    this.#lists.users.change(server.key.user, -1);
    this.#idle.remove(server);
    this.#shared.remove(server);
    const holder = this.#leased.get(server);
    this.#leased.delete(server);
    this.onFewer?.();
    if (bug !== null) holder?.terminate(bug);
    holder?.lost(server, reason);
    this.#opening.forWaits();
  }

  #onSweep(): void {
    const now = monotonicMs();
    const { maxLifetimeMs, idleTimeoutMs, waitTimeoutMs } = this.#lists.limits;
    this.#shared.closeOlderThan(now - maxLifetimeMs);
    for (const server of this.#lists.unusedSince(now - idleTimeoutMs)) server.close('idle for too long');
    const late = this.#waits.takeOlder(now - waitTimeoutMs);
    for (const wait of late) {
      this.counts.timeouts++;
      const error = new ProxyError('pool-timeout', { node: this.node, ms: waitTimeoutMs });
      refuse(wait.waiter, error, this.#broke);
    }
    // A login that was refused may be tried again after a while, and nothing else may happen meanwhile.
    if (this.#waits.size > 0) this.#opening.forWaits();
  }
}
