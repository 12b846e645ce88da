// The server connections of a node on which units of several clients are under way at once, in pipelines.
// It chooses among them and watches their heads; it knows no statement, and not who the clients are.

import { currentTurn } from '../lib/batched-writer.js';
import { monotonicMs } from '../lib/clock.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import { SpreadTrial } from './spread-trial.js';

export interface SharingLimits {
  /** Server connections of one user, database and session state on which cheap units are pipelined. */
  readonly maxConnections: number;
  /** Another of them joins when at least so many units are under way on each. */
  readonly growAtDepth: number;
  /** A unit that usually takes so long is not cheap: where it measures better it goes behind others only if no connection is idle. */
  readonly spreadMs: number;
  /** Units under way on one of them. */
  readonly maxDepth: number;
  /** A unit at the head for longer makes nobody wait any more: those behind it run elsewhere. On a busy machine, more. */
  readonly maxHeadMs: number;
}

interface Shared {
  readonly server: ServerConnection;
  readonly keyText: string;
  readonly digest: string;
  /** What a unit that is queued here usually takes by itself, on the average. */
  usualMs: number;
  /** The check of the head that is due, while somebody waits behind it. */
  timer: NodeJS.Timeout | null;
  checkDueMs: number;
  drainedAtMs: number;
  /** In which a unit was queued last. */
  turn: number;
  /** Nothing more is queued here until it is drained. */
  closed: boolean;
  /** How many units were under way when its head was last cancelled, because nobody waits for it. */
  cancelledAtDepth: number;
}

/** A check that comes so much too late says more about our own event loop than about the node. */
const MAX_LATENESS_MS = 5;
/** Where heads commonly take long (a busy machine), a head is slow only at so many times that. */
const SLOW_BY_COMMON = 4;
const MAX_HEAD_FACTOR = 20;
/** A cancelled head that is still there is not going to end. */
const MAX_CANCEL_MS = 10_000;
/** Nothing is taken to be cheaper: an answer that came along with others seems to have taken no time at all. */
const MIN_USUAL_MS = 0.02;
/** What one observation of a head's age counts. */
const WEIGHT = 0.05;

export class SharedConnections {
  readonly #byServer = new Map<ServerConnection, Shared>();
  readonly #groups = new Map<string, Map<string, Shared[]>>();
  readonly #onDrained: (server: ServerConnection, closed: boolean) => void;
  limits: SharingLimits;
  /** Since start, for the metrics. */
  readonly counts = { units: 0, evacuations: 0 };
  readonly #trial = new SpreadTrial();
  /** How old heads are when they are looked at, on the average. */
  #commonHeadMs = 0;

  constructor(limits: SharingLimits, onDrained: (server: ServerConnection, closed: boolean) => void) {
    this.limits = limits;
    this.#onDrained = onDrained;
  }

  get size(): number {
    return this.#byServer.size;
  }

  /** Connections with units under way. */
  get inUse(): number {
    let inUse = 0;
    for (const { server } of this.#byServer.values()) if (server.depth > 0) inUse++;
    return inUse;
  }

  /** Units under way on all of them. */
  get depth(): number {
    let depth = 0;
    for (const { server } of this.#byServer.values()) depth += server.depth;
    return depth;
  }

  has(server: ServerConnection): boolean {
    return this.#byServer.has(server);
  }

  servers(): IterableIterator<ServerConnection> {
    return this.#byServer.keys();
  }

  /**
   * The one to which something is going in this turn anyway (one write is cheaper than two), else the one with the shortest
   * queue, null when none takes more. `wantsMore`: another connection should join. Cheap units go many together on few
   * connections; others too, unless it has measured better that they wait for nobody while a connection is idle.
   */
  choose(
    keyText: string,
    digest: string,
    usualMs: number,
  ): { server: ServerConnection | null; wantsMore: boolean } {
    const { maxConnections, growAtDepth, maxDepth } = this.limits;
    const group = this.#groups.get(keyText)?.get(digest);
    if (group === undefined) return { server: null, wantsMore: true };
    const spreads = this.#spreads(usualMs);
    const count = spreads ? group.length : Math.min(group.length, maxConnections);
    const turn = currentTurn();
    let best: Shared | null = null;
    for (let i = 0; i < count; i++) {
      const shared = group[i]!;
      const { server } = shared;
      if (shared.closed || !server.acceptsMore || server.depth >= maxDepth) continue;
      if (!spreads && shared.turn === turn && server.depth < growAtDepth) return { server, wantsMore: false };
      if (best === null || server.depth * shared.usualMs < best.server.depth * best.usualMs) best = shared;
    }
    if (best === null) return { server: null, wantsMore: spreads || group.length < maxConnections };
    const { server } = best;
    const wantsMore = spreads
      ? server.depth > 0
      : server.depth >= growAtDepth && group.length < maxConnections;
    return { server, wantsMore };
  }

  #spreads(usualMs: number): boolean {
    return usualMs >= this.limits.spreadMs && this.#trial.spreads;
  }

  /** How many units that usually take so long begin together on a connection that comes free. */
  roomFor(usualMs: number): number {
    return this.#spreads(usualMs) ? 1 : this.limits.maxDepth;
  }

  add(server: ServerConnection, keyText: string, digest: string): void {
    const shared: Shared = {
      server,
      keyText,
      digest,
      usualMs: MIN_USUAL_MS,
      timer: null,
      checkDueMs: 0,
      drainedAtMs: 0,
      turn: -1,
      closed: false,
      cancelledAtDepth: 0,
    };
    this.#byServer.set(server, shared);
    let states = this.#groups.get(keyText);
    if (states === undefined) {
      states = new Map();
      this.#groups.set(keyText, states);
    }
    const group = states.get(digest);
    if (group === undefined) states.set(digest, [shared]);
    else group.push(shared);
    server.onDrained = () => {
      shared.drainedAtMs = monotonicMs();
      this.#onDrained(server, shared.closed);
    };
  }

  /** Nothing is queued on it; it only stands here until what runs on it has ended. */
  addAbandoned(server: ServerConnection, keyText: string): void {
    this.add(server, keyText, server.stateDigest);
    const shared = this.#byServer.get(server)!;
    shared.closed = true;
    if (server.depth === 0) this.#onDrained(server, true);
    else this.#watch(shared);
  }

  /** A unit that usually takes so long has been queued on it. */
  queued(server: ServerConnection, usualMs: number): void {
    this.counts.units++;
    const shared = this.#byServer.get(server);
    if (shared === undefined) return;
    const atLeast = Math.max(usualMs, MIN_USUAL_MS);
    // The average is of those under way: the first there counts wholly.
    shared.usualMs += (atLeast - shared.usualMs) / Math.max(1, server.depth);
    shared.turn = currentTurn();
    if (usualMs >= this.limits.spreadMs) this.#trial.note(this.depth - 1, monotonicMs());
    if (shared.timer === null) this.#watch(shared);
  }

  /** It has ended, or goes back to the idle ones. False: it was not shared. */
  remove(server: ServerConnection): boolean {
    const shared = this.#byServer.get(server);
    if (shared === undefined) return false;
    server.onDrained = null;
    if (shared.timer !== null) clearTimeout(shared.timer);
    this.#byServer.delete(server);
    const states = this.#groups.get(shared.keyText);
    const group = states?.get(shared.digest);
    if (states === undefined || group === undefined) return true;
    group.splice(group.indexOf(shared), 1);
    if (group.length === 0) states.delete(shared.digest);
    if (states.size === 0) this.#groups.delete(shared.keyText);
    return true;
  }

  /** Nothing more is queued on one of them (of this user, or of any), so that it comes back when it is drained. */
  closeOne(user: string | null): boolean {
    let best: Shared | null = null;
    for (const shared of this.#byServer.values()) {
      const { server, closed } = shared;
      if (closed || server.depth === 0 || (user !== null && server.key.user !== user)) continue;
      if (best === null || server.depth < best.server.depth) best = shared;
    }
    if (best === null) return false;
    best.closed = true;
    return true;
  }

  /** One on which nothing is under way, if there is one in this state; it is not shared any more. */
  takeDrained(keyText: string, digest: string): ServerConnection | null {
    let found: ServerConnection | null = null;
    for (const [state, group] of this.#groups.get(keyText) ?? []) {
      const drained = group.find(({ server }) => server.depth === 0 && !server.closed)?.server;
      if (drained === undefined) continue;
      found = drained;
      if (state === digest) break;
    }
    if (found !== null) this.remove(found);
    return found;
  }

  /** One on which nothing is under way; it stays on the list. */
  findDrained(fits: (keyText: string, server: ServerConnection) => boolean): ServerConnection | null {
    for (const { server, keyText } of this.#byServer.values())
      if (server.depth === 0 && fits(keyText, server)) return server;
    return null;
  }

  /** Those on which nothing has been under way since then, all or to one database; they stay on the list. */
  drainedSince(sinceMs: number, database: string | null = null): ServerConnection[] {
    const drained: ServerConnection[] = [];
    for (const { server, drainedAtMs } of this.#byServer.values()) {
      const fits = database === null || server.key.database === database;
      if (fits && server.depth === 0 && drainedAtMs <= sinceMs) drained.push(server);
    }
    return drained;
  }

  /** Connections (of this user, or of any) that come back when they are drained. */
  closing(user: string | null): number {
    let closing = 0;
    for (const { closed, server } of this.#byServer.values())
      if (closed && server.depth > 0 && (user === null || server.key.user === user)) closing++;
    return closing;
  }

  /** One in this state takes more, if not now, then when something on it has ended. */
  isOpen(keyText: string, digest: string): boolean {
    const group = this.#groups.get(keyText)?.get(digest);
    return group?.some(({ closed, server }) => !closed && server.acceptsMore) === true;
  }

  /** What is drained would not be drained again: it stays open, and is judged when it has been used. */
  closeOlderThan(openedAtMs: number): void {
    for (const shared of this.#byServer.values())
      if (shared.server.depth > 0 && shared.server.openedAtMs < openedAtMs) shared.closed = true;
  }

  /** Nothing more is queued on it, and what waits behind its head runs elsewhere. */
  isolate(server: ServerConnection): void {
    const shared = this.#byServer.get(server);
    if (shared === undefined) return;
    shared.closed = true;
    server.evacuate();
  }

  get #slowHeadMs(): number {
    const { maxHeadMs } = this.limits;
    return Math.min(Math.max(maxHeadMs, SLOW_BY_COMMON * this.#commonHeadMs), MAX_HEAD_FACTOR * maxHeadMs);
  }

  #watch(shared: Shared): void {
    const ms = this.#slowHeadMs;
    shared.checkDueMs = monotonicMs() + ms;
    shared.timer = setTimeout(() => this.#check(shared), ms);
  }

  #check(shared: Shared): void {
    shared.timer = null;
    const { server } = shared;
    if (server.depth === 0) return;
    const now = monotonicMs();
    const ageMs = server.headAgeMs(now);
    this.#commonHeadMs += (ageMs - this.#commonHeadMs) * WEIGHT;
    const weAreLate = now - shared.checkDueMs > MAX_LATENESS_MS;
    if (!weAreLate && ageMs >= this.#slowHeadMs) {
      if (server.headIsAbandoned) this.#giveUpHead(shared, ageMs);
      else if (server.depth > 1 && !shared.closed) {
        this.counts.evacuations++;
        this.isolate(server);
      }
    }
    if (!server.closed) this.#watch(shared);
  }

  /**
   * Nobody waits for its answer; it may run for ever. Nobody waits for what stands behind it either, but the node would
   * run that one too, and not see that we have gone: each is cancelled once.
   */
  #giveUpHead(shared: Shared, ageMs: number): void {
    const { server } = shared;
    this.isolate(server);
    const { depth } = server;
    if (shared.cancelledAtDepth === depth) {
      if (ageMs > MAX_CANCEL_MS) server.close('what ran on it was given up');
      return;
    }
    shared.cancelledAtDepth = depth;
    void server.cancel().finally(() => {
      if (server.depth <= 1) server.close('what ran on it was given up');
    });
  }
}
