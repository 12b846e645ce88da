// The lists on which a node's server connections stand, and how many the limits let there be: a connection's state is its list.
// It opens nothing, and knows neither who waits nor why one is moved.

import { monotonicMs } from '../lib/clock.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import { Attempts } from './attempts.js';
import { IdleConnections } from './idle-connections.js';
import { SharedConnections } from './shared-connections.js';
import { UserCounts } from './user-counts.js';
import type { PoolLimits, PoolWaiter } from './waiter.js';

export class ConnectionLists {
  readonly idle = new IdleConnections();
  readonly shared: SharedConnections;
  readonly leased = new Map<ServerConnection, PoolWaiter>();
  readonly attempts = new Attempts();
  readonly users = new UserCounts();
  #limits: PoolLimits;

  constructor(limits: PoolLimits, onDrained: (server: ServerConnection, closed: boolean) => void) {
    this.#limits = limits;
    this.shared = new SharedConnections(limits.sharing, onDrained);
  }

  get limits(): PoolLimits {
    return this.#limits;
  }

  set limits(limits: PoolLimits) {
    this.#limits = limits;
    this.shared.limits = limits.sharing;
  }

  /** There are, or are being opened. One in hand, between two lists, is not among them. */
  get total(): number {
    return this.idle.size + this.leased.size + this.shared.size + this.attempts.total;
  }

  get isFull(): boolean {
    return this.total >= this.#limits.maxServerConnections;
  }

  isUserFull(user: string): boolean {
    return this.users.of(user) >= (this.#limits.maxByUser?.get(user) ?? Number.POSITIVE_INFINITY);
  }

  isUserOver(user: string): boolean {
    return this.users.of(user) > (this.#limits.maxByUser?.get(user) ?? Number.POSITIVE_INFINITY);
  }

  /** There are more than there may be, of this user or of all. */
  isOver({ key }: ServerConnection): boolean {
    return this.total > this.#limits.maxServerConnections || this.isUserOver(key.user);
  }

  /** Of a connection that has just been taken off its list. */
  isSurplus(server: ServerConnection): boolean {
    return (
      monotonicMs() - server.openedAtMs > this.#limits.maxLifetimeMs ||
      this.isFull ||
      this.isUserOver(server.key.user)
    );
  }

  /** How many would be used if they could, beside those who wait. */
  get used(): number {
    return this.leased.size + this.shared.inUse + this.attempts.total;
  }

  usedBy(user: string): number {
    return this.users.of(user) - this.unused().filter(({ key }) => key.user === user).length;
  }

  sum(start: number, bytes: (server: ServerConnection) => number): number {
    let sum = start;
    for (const server of this.idle.servers()) sum += bytes(server);
    for (const server of this.leased.keys()) sum += bytes(server);
    for (const server of this.shared.servers()) sum += bytes(server);
    return sum;
  }

  /** Idle, or shared and drained. */
  unused(): ServerConnection[] {
    return [...this.idle.servers(), ...this.shared.drainedSince(Number.POSITIVE_INFINITY)];
  }

  findUnused(fits: (keyText: string, server: ServerConnection) => boolean): ServerConnection | null {
    return this.idle.find(fits) ?? this.shared.findDrained(fits);
  }

  unusedSince(sinceMs: number): ServerConnection[] {
    return [...this.idle.unusedSince(sinceMs), ...this.shared.drainedSince(sinceMs)];
  }

  /** The node has refused this login, and one of its connections will come free. */
  mustWaitForOwn(keyText: string): boolean {
    return this.attempts.mustWait(keyText, [this.leased.keys(), this.shared.servers()]);
  }

  /** Under load a shared connection is never drained by itself: so many (of this user, or of any) come back when they are. */
  closeShared(user: string | null, wanted: number): void {
    let more = wanted - this.shared.closing(user);
    while (more > 0 && this.shared.closeOne(user)) more--;
  }
}
