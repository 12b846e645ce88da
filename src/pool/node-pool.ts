// The server connections of one node: who has which, who waits, how many there may be.
// A connection's state is the list it stands on; nothing here knows a protocol, a statement or a client.

import { monotonicMs } from '../lib/clock.js';
import { connectFailure, ProxyError } from '../lib/errors.js';
import type { Credential } from '../protocol/credential.js';
import type { Connect, PoolKey, ServerConnection } from '../protocol/server-connection.js';
import { Attempts } from './attempts.js';
import { IdleConnections } from './idle-connections.js';
import { keyTextOf } from './key-text.js';
import { SharedConnections } from './shared-connections.js';
import { type Broke, grant, grantShared, refuse } from './telling.js';
import { UserCounts } from './user-counts.js';
import type { Login, PoolLimits, PoolNode, PoolWaiter, Wait } from './waiter.js';

export type { PoolLimits, PoolWaiter } from './waiter.js';

/** A waiter of another user is not overtaken longer than this by users whose connections come free. */
const OVERTAKE_MS = 100;
const SWEEP_MS = 1000;
/** Where connections cannot be opened, or come and go at once, no more often than so. */
const SPARE_EVERY_MS = 20;

export class NodePool {
  readonly node: string;
  #host: string;
  #port: number;
  #limits: PoolLimits;
  readonly #connect: Connect;
  readonly #onBroken: Broke;
  readonly #idle = new IdleConnections();
  readonly #shared: SharedConnections;
  readonly #leased = new Map<ServerConnection, PoolWaiter>();
  readonly #lastHolders = new WeakMap<ServerConnection, PoolWaiter>();
  #waits: Wait[] = [];
  readonly #attempts = new Attempts();
  #opening = false;
  #mustOpen = false;
  #spareAfterMs = 0;
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
  readonly #users = new UserCounts();

  /** `onBroken`: ends a waiter that has thrown. */
  constructor(node: PoolNode, limits: PoolLimits, connect: Connect, onBroken: Broke) {
    this.node = node.name;
    this.#host = node.host;
    this.#port = node.port;
    this.#limits = limits;
    this.#shared = new SharedConnections(limits.sharing, (server, closed) => this.#onDrained(server, closed));
    this.#connect = connect;
    this.#onBroken = onBroken;
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
    return this.#waits.length;
  }

  get bytesReceived(): number {
    return this.#sum(this.#endedBytesReceived, (server) => server.bytesReceived);
  }

  get bytesSent(): number {
    return this.#sum(this.#endedBytesSent, (server) => server.bytesSent);
  }

  #sum(start: number, bytes: (server: ServerConnection) => number): number {
    let sum = start;
    for (const server of this.#idle.servers()) sum += bytes(server);
    for (const server of this.#leased.keys()) sum += bytes(server);
    for (const server of this.#shared.servers()) sum += bytes(server);
    return sum;
  }

  get connecting(): number {
    return this.#attempts.total;
  }

  /** Units under way or waiting: what balancing by least connections compares. */
  get outstanding(): number {
    return this.#leased.size + this.#shared.depth + this.#waits.length;
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
    this.#limits = limits;
    this.#shared.limits = limits.sharing;
    const unused = [...this.#idle.servers(), ...this.#shared.drainedSince(Number.POSITIVE_INFINITY)];
    for (const server of unused) {
      if (this.#total() > limits.maxServerConnections || this.#isUserOver(server.key.user))
        server.close('over the limit');
    }
    this.#closeShared(null, this.#total() - limits.maxServerConnections);
    for (const [user, over] of this.#users.over(limits.maxByUser)) this.#closeShared(user, over);
    this.#openForWaits();
  }

  /** Server connections there are or are being opened, of all users or of one. */
  open(user: string | null): number {
    return user === null ? this.#total() : this.#users.of(user);
  }

  /** How many it would use now if it could. */
  wanted(user: string | null): number {
    if (user === null)
      return this.#leased.size + this.#shared.inUse + this.#attempts.total + this.#waits.length;
    const unused = [...this.#idle.servers(), ...this.#shared.drainedSince(Number.POSITIVE_INFINITY)];
    const idle = unused.filter(({ key }) => key.user === user).length;
    const waits = this.#waits.filter(({ key }) => key.user === user).length;
    return this.#users.of(user) - idle + waits;
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
    if (!this.#waits.some((wait) => wait.keyText === keyText)) {
      const server = this.#takeIdle(keyText, stateDigest, key.user, waiter);
      if (server !== null) {
        this.#lend(server, waiter);
        return server;
      }
    }
    if (this.#closed || this.#waits.length >= this.#limits.maxWaiting) {
      this.counts.refusals++;
      const error = new ProxyError('pool-queue-full', { node: this.node, limit: this.#limits.maxWaiting });
      queueMicrotask(() => refuse(waiter, error, this.#broke));
      return null;
    }
    this.counts.waited++;
    this.#waits.push({ waiter, keyText, key, credential, stateDigest, sinceMs: monotonicMs() });
    this.#openForWaits();
    return null;
  }

  /**
   * A server connection that already carries this state, with others' units under way on it or none; null: none takes
   * one more now. It is nobody's: it comes back by itself when it is drained. `usualMs`: what the unit usually takes.
   */
  share(key: PoolKey, credential: Credential, stateDigest: string, usualMs: number): ServerConnection | null {
    if (this.#closed) return null;
    const keyText = keyTextOf(key);
    if (this.#waits.length > 0) this.#shareWithOvertaken(keyText, stateDigest);
    const { server, wantsMore } = this.#shared.choose(keyText, stateDigest, usualMs);
    if (!wantsMore) return server;
    const idle = this.#idle.takeExactly(keyText, stateDigest, this.#isUnasked);
    if (idle !== null) {
      this.#lastHolders.delete(idle);
      this.#shared.add(idle, keyText, stateDigest);
      return idle;
    }
    if (server !== null) this.#openSpare({ keyText, key, credential });
    return server;
  }

  /** For those whose queues are long; nobody waits for it, so nobody is told if it cannot be opened. */
  #openSpare(login: Login): void {
    const { keyText, key } = login;
    if (this.#attempts.of(keyText) > 0 || this.#isUserFull(key.user) || this.#mustWaitForOwn(keyText)) return;
    if (this.#total() >= this.#limits.maxServerConnections || this.#idle.hasFor(keyText)) return;
    const now = monotonicMs();
    if (now < this.#spareAfterMs) return;
    this.#spareAfterMs = now + SPARE_EVERY_MS;
    this.#open(login);
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
    const isOver =
      this.#total() > this.#limits.maxServerConnections || this.#isUserOver(server.key.user) || this.#closed;
    if (!closed && !isOver && this.#waits.length === 0 && server.reusable) return;
    this.#shared.remove(server);
    if (this.#closed || !server.reusable || this.#isSurplus(server)) server.close('not reusable');
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
    this.#waits = this.#waits.filter((wait) => wait.waiter !== waiter);
  }

  /** Gives a leased connection back; one that is not reusable is closed, with `reason` in the log. */
  release(server: ServerConnection, reason = 'not reusable'): void {
    const wasLeased = this.#leased.delete(server);
    if (server.closed) return;
    if (!wasLeased) {
      server.close('its pool is gone');
      return;
    }
    if (!server.reusable || this.#closed || this.#isSurplus(server)) {
      server.close(server.reusable ? 'too old, or over the limit' : reason);
      this.#openForWaits();
      return;
    }
    this.#offer(server);
  }

  /** Of a connection that has just been taken off its list. */
  #isSurplus(server: ServerConnection): boolean {
    return (
      monotonicMs() - server.openedAtMs > this.#limits.maxLifetimeMs ||
      this.#total() >= this.#limits.maxServerConnections ||
      this.#isUserOver(server.key.user)
    );
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
    this.#openForWaits();
  }

  isAt(host: string, port: number): boolean {
    return this.#host === host && this.#port === port;
  }

  /** The node leaves the configuration: waiters are refused, leased connections end when they come back. */
  retire(reason: string): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    const error = new ProxyError('connect-failed', { node: this.node, detail: reason });
    for (const wait of this.#waits.splice(0)) refuse(wait.waiter, error, this.#broke);
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
    for (const wait of this.#waits.splice(0)) refuse(wait.waiter, error, this.#broke);
    this.closeIdle(reason);
    for (const server of [...this.#leased.keys(), ...this.#shared.servers()]) server.close(reason);
  }

  /** Everything ends; waiters are refused. */
  close(error: ProxyError): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const wait of this.#waits.splice(0)) refuse(wait.waiter, error, this.#broke);
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

  #total(): number {
    return this.#idle.size + this.#leased.size + this.#shared.size + this.#attempts.total;
  }

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
    const mayOpen = this.#total() < this.#limits.maxServerConnections && !this.#isUserFull(user);
    return mayOpen ? null : this.#idle.takeOldest(keyText);
  }

  /** Nobody may ask it back. */
  readonly #isUnasked = (server: ServerConnection): boolean =>
    this.#lastHolders.get(server)?.asksBack !== true;

  /** A free connection goes to whoever has waited longest and can use it, else on the idle list. */
  #offer(server: ServerConnection): void {
    const keyText = keyTextOf(server.key);
    const head = this.#waits[0];
    if (head !== undefined) {
      const at = this.#waits.findIndex((wait) => wait.keyText === keyText);
      const headIsStarved =
        head.keyText !== keyText &&
        this.#attempts.of(head.keyText) === 0 &&
        !this.#isUserFull(head.key.user) &&
        monotonicMs() - head.sinceMs > OVERTAKE_MS;
      // The connection in hand stands on no list.
      const isFull = this.#total() + 1 >= this.#limits.maxServerConnections;
      if (at >= 0 && !(headIsStarved && isFull)) {
        if (this.#shareWithWaiters(server, keyText, this.#waits[at]!)) return;
        const [wait] = this.#waits.splice(at, 1);
        this.#lend(server, wait!.waiter);
        grant(wait!.waiter, server, this.#broke);
        return;
      }
    }
    this.#idle.add(server, keyText);
    this.#openForWaits();
  }

  /**
   * Under load nobody is idle: a connection that comes free serves all who would share it. Not while `first`, who has
   * waited longest, needs it for himself: there would always be somebody to share it with.
   */
  #shareWithWaiters(server: ServerConnection, keyText: string, first: Wait): boolean {
    const digest = server.stateDigest;
    const fits = (wait: Wait): boolean =>
      wait.keyText === keyText && wait.stateDigest === digest && wait.waiter.sharedMs >= 0;
    const usualMs = first.waiter.sharedMs;
    if (!fits(first) || !this.#shared.choose(keyText, digest, usualMs).wantsMore) return false;
    const waits = this.#waits.filter(fits).slice(0, this.#shared.roomFor(usualMs));
    const taken = new Set(waits);
    this.#waits = this.#waits.filter((wait) => !taken.has(wait));
    this.#lastHolders.delete(server);
    this.#shared.add(server, keyText, digest);
    for (const wait of waits) grantShared(wait.waiter, server, this.#broke);
    // They may all have gone elsewhere: then nothing ends here that would tell us so.
    if (server.depth === 0 && this.#shared.has(server)) this.#onDrained(server, false);
    if (this.#waits.length > 0) this.#openForWaits();
    return true;
  }

  /** Whoever has waited too long for room on a shared connection comes before a newcomer. */
  #shareWithOvertaken(keyText: string, digest: string): void {
    const sinceMs = monotonicMs() - OVERTAKE_MS;
    if (this.#waits[0]!.sinceMs > sinceMs || this.#isServing) return;
    const fits = (wait: Wait): boolean =>
      wait.sinceMs <= sinceMs &&
      wait.keyText === keyText &&
      wait.stateDigest === digest &&
      wait.waiter.sharedMs >= 0;
    // One of them may go elsewhere and ask here again.
    this.#isServing = true;
    for (;;) {
      const at = this.#waits.findIndex(fits);
      if (at < 0) break;
      const { waiter } = this.#waits[at]!;
      const { server } = this.#shared.choose(keyText, digest, waiter.sharedMs);
      if (server === null) break;
      this.#waits.splice(at, 1);
      grantShared(waiter, server, this.#broke);
    }
    this.#isServing = false;
  }

  /** Opens connections for waiters that have none coming, as far as the limits allow. Closing one to make room comes back here. */
  #openForWaits(): void {
    this.#mustOpen = true;
    if (this.#opening) return;
    this.#opening = true;
    while (this.#mustOpen && !this.#closed) {
      this.#mustOpen = false;
      this.#openOnce();
    }
    this.#opening = false;
  }

  #openOnce(): void {
    const waitsByKey = new Map<string, number>();
    for (const wait of [...this.#waits]) {
      const { keyText, key } = wait;
      const waits = (waitsByKey.get(keyText) ?? 0) + 1;
      waitsByKey.set(keyText, waits);
      if (this.#attempts.of(keyText) >= waits || this.#mustWaitForOwn(keyText)) continue;
      const isFull = this.#total() >= this.#limits.maxServerConnections || this.#isUserFull(key.user);
      // It left the idle ones to those who may ask them back, for one that a waiter before it gets.
      if (isFull && this.#grantOldest(wait)) continue;
      if (this.#isUserFull(key.user) && !this.#evictIdleOf(key.user, keyText)) {
        this.#closeShared(key.user, this.#wantedOfShared(key.user));
        this.onShort?.(key.user);
        continue;
      }
      if (this.#total() >= this.#limits.maxServerConnections && !this.#evictIdle(keyText)) {
        this.#closeShared(null, this.#wantedOfShared(null));
        this.onShort?.(null);
        return;
      }
      this.#open(wait);
    }
  }

  /** Under load a shared connection is never drained by itself: so many (of this user, or of any) come back when they are. */
  #closeShared(user: string | null, wanted: number): void {
    let more = wanted - this.#shared.closing(user);
    while (more > 0 && this.#shared.closeOne(user)) more--;
  }

  /** One for each who needs it for himself, and one for all of a state of which none is shared. */
  #wantedOfShared(user: string | null): number {
    const states = new Set<string>();
    let alone = 0;
    for (const { waiter, key, keyText, stateDigest } of this.#waits) {
      if (user !== null && key.user !== user) continue;
      if (waiter.sharedMs < 0) alone++;
      else if (this.#attempts.of(keyText) === 0 && !this.#shared.isOpen(keyText, stateDigest))
        states.add(`${keyText} ${stateDigest}`);
    }
    return alone + states.size;
  }

  #isUserFull(user: string): boolean {
    return this.#users.of(user) >= (this.#limits.maxByUser?.get(user) ?? Number.POSITIVE_INFINITY);
  }

  #isUserOver(user: string): boolean {
    return this.#users.of(user) > (this.#limits.maxByUser?.get(user) ?? Number.POSITIVE_INFINITY);
  }

  /** A user at the limit, with idle connections to another database. */
  #evictIdleOf(user: string, keyText: string): boolean {
    const server = this.#findUnused((itsKeyText, { key }) => itsKeyText !== keyText && key.user === user);
    server?.close('makes room for another database');
    return server !== null;
  }

  /** Makes room for another user's connection. */
  #evictIdle(keyText: string): boolean {
    const server = this.#findUnused((itsKeyText) => itsKeyText !== keyText);
    server?.close('makes room for another user');
    return server !== null;
  }

  #findUnused(fits: (keyText: string, server: ServerConnection) => boolean): ServerConnection | null {
    return this.#idle.find(fits) ?? this.#shared.findDrained(fits);
  }

  #open(wait: Login): void {
    this.#attempts.began(wait.keyText);
    this.#users.change(wait.key.user, 1);
    this.#connect({
      node: this.node,
      host: this.#host,
      port: this.#port,
      key: wait.key,
      credential: wait.credential,
      timeoutMs: this.#limits.connectTimeoutMs,
    }).then(
      (server) => {
        this.#attempts.ended(wait.keyText);
        this.counts.opened++;
        server.onClosed = (reason, bug) => this.#onServerClosed(server, reason, bug);
        if (this.#closed || server.closed) server.close('the pool is closed');
        else if (this.#isSurplus(server)) server.close('over the limit');
        else this.#offer(server);
        this.#openForWaits();
      },
      (cause: unknown) => {
        this.#attempts.ended(wait.keyText);
        this.counts.openFailures++;
        this.#users.change(wait.key.user, -1);
        this.onFewer?.();
        this.#attemptFailed(wait, connectFailure(cause, this.node));
        this.#openForWaits();
      },
    );
  }

  #mustWaitForOwn = (keyText: string): boolean =>
    this.#attempts.mustWait(keyText, [this.#leased.keys(), this.#shared.servers()]);

  /** Refuses the waiter on whose account the attempt was made, if it has not been served by another. */
  #attemptFailed(attempt: Login, error: ProxyError): void {
    if (error.isRefusedLogin) this.#attempts.refused(attempt.keyText);
    const wait = this.#waits.find((each) => each === attempt);
    // One that somebody might have asked back is better than none.
    if (wait === undefined || this.#grantOldest(wait) || this.#mustWaitForOwn(wait.keyText)) return;
    this.#waits.splice(this.#waits.indexOf(wait), 1);
    refuse(wait.waiter, error, this.#broke);
  }

  #grantOldest(wait: Wait): boolean {
    const server = this.#waits.includes(wait) ? this.#idle.takeOldest(wait.keyText) : null;
    if (server === null) return false;
    this.#waits.splice(this.#waits.indexOf(wait), 1);
    this.#lend(server, wait.waiter);
    // Who asks right now is first told to wait.
    queueMicrotask(() => grant(wait.waiter, server, this.#broke));
    return true;
  }

  #onServerClosed(server: ServerConnection, reason: string, bug: ProxyError | null): void {
    this.counts.closed++;
    this.#endedBytesReceived += server.bytesReceived;
    this.#endedBytesSent += server.bytesSent;
    this.#users.change(server.key.user, -1);
    this.#idle.remove(server);
    this.#shared.remove(server);
    const holder = this.#leased.get(server);
    this.#leased.delete(server);
    this.onFewer?.();
    if (bug !== null) holder?.terminate(bug);
    holder?.lost(server, reason);
    this.#openForWaits();
  }

  #onSweep(): void {
    const now = monotonicMs();
    this.#shared.closeOlderThan(now - this.#limits.maxLifetimeMs);
    const unusedSinceMs = now - this.#limits.idleTimeoutMs;
    for (const server of [
      ...this.#idle.unusedSince(unusedSinceMs),
      ...this.#shared.drainedSince(unusedSinceMs),
    ])
      server.close('idle for too long');
    const late = this.#waits.filter((wait) => now - wait.sinceMs > this.#limits.waitTimeoutMs);
    if (late.length === 0) return;
    this.#waits = this.#waits.filter((wait) => !late.includes(wait));
    for (const wait of late) {
      this.counts.timeouts++;
      const error = new ProxyError('pool-timeout', { node: this.node, ms: this.#limits.waitTimeoutMs });
      refuse(wait.waiter, error, this.#broke);
    }
  }
}
