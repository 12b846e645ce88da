// The pool's surroundings as a model: servers, clients and a `Connect` whose outcomes the test decides, and the rules that hold
// after each step. No socket, no timer and no clock but the test's.

import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { ProxyError } from '../../src/lib/errors.js';
import { NodePool, type PoolLimits, type PoolWaiter } from '../../src/pool/node-pool.js';
import type { ConnectRequest, PoolKey, ServerConnection } from '../../src/protocol/server-connection.js';

export const KEYS: readonly PoolKey[] = [
  { user: 'ann', database: 'app', variant: '' },
  { user: 'ann', database: 'other', variant: '' },
  { user: 'bob', database: 'app', variant: '' },
  { user: 'eve', database: 'app', variant: '' },
];
export const LIMITS: PoolLimits = {
  maxServerConnections: 3,
  maxWaiting: 6,
  waitTimeoutMs: 5_000,
  idleTimeoutMs: 60_000,
  maxLifetimeMs: 600_000,
  connectTimeoutMs: 1_000,
  sharing: { maxConnections: 2, growAtDepth: 2, spreadMs: 1, maxDepth: 4, maxHeadMs: 10 },
};

/** The next random numbers of a seed (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

export class FakeServer implements ServerConnection {
  static #next = 1;
  readonly id = FakeServer.#next++;
  readonly node = 'n';
  readonly key: PoolKey;
  stateDigest = '';
  /** As its protocol would say, apart from what is under way. */
  sound = true;
  closed = false;
  readonly openedAtMs = performance.now();
  readonly bytesReceived = 1;
  readonly bytesSent = 2;
  onClosed: ServerConnection['onClosed'] = null;
  onDrained: (() => void) | null = null;
  /** Whose unit each is; null: nobody waits for the answer. */
  units: (Client | null)[] = [];
  cancels = 0;
  #headSinceMs = 0;

  constructor(key: PoolKey) {
    this.key = key;
  }

  get cancelled(): boolean {
    return this.cancels > 0;
  }

  get depth(): number {
    return this.units.length;
  }

  get reusable(): boolean {
    return this.sound && !this.closed && !this.cancelled && this.units.length === 0;
  }

  get acceptsMore(): boolean {
    return this.sound && !this.closed && !this.cancelled;
  }

  get headIsAbandoned(): boolean {
    return this.units[0] === null;
  }

  headAgeMs(nowMs: number): number {
    return this.units.length === 0 ? 0 : nowMs - this.#headSinceMs;
  }

  queue(client: Client): void {
    if (this.units.length === 0) this.#headSinceMs = performance.now();
    this.units.push(client);
  }

  /** The node answers the head. */
  answer(): void {
    const head = this.units.shift();
    this.#headSinceMs = performance.now();
    head?.answered(this);
    if (this.units.length === 0) this.onDrained?.();
  }

  abandon(client: Client): boolean {
    const at = this.units.indexOf(client);
    assert.ok(at >= 0, 'a unit is lost only with its connection');
    this.units[at] = null;
    return at === 0;
  }

  evacuate(): void {
    const moved = this.units.slice(1);
    this.units = this.units.map((client, at) => (at === 0 ? client : null));
    for (const client of moved) client?.moved(this);
  }

  pauseReading(): void {}
  resumeReading(): void {}
  cancel(): Promise<void> {
    this.cancels++;
    return Promise.resolve();
  }

  /** Like the real ones: who listens learns of it before this returns. */
  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    const units = this.units.splice(0);
    for (const [at, client] of units.entries()) {
      if (at === 0) client?.lost(this);
      else client?.moved(this);
    }
    const onClosed = this.onClosed;
    this.onClosed = null;
    onClosed?.(reason, null);
  }
}

export interface Attempt {
  readonly request: ConnectRequest;
  succeed(): void;
  fail(code?: 'connect-failed' | 'login-refused'): void;
}

/** A client as the pool sees it; `state` changes only by what the pool may do, and by answers. */
export class Client implements PoolWaiter {
  readonly key: PoolKey;
  readonly shares: boolean;
  readonly digest: string;
  /** It may ask its last connection about its last statement, and leaves others theirs. */
  readonly asksBack: boolean;
  readonly #world: World;
  state: 'asking' | 'waiting' | 'holding' | 'sharing' | 'refused' | 'withdrawn' | 'lost' | 'done' = 'waiting';
  server: FakeServer | null = null;
  error: ProxyError | null = null;
  /** Asks again as soon as it is answered. */
  restless = false;
  /** Goes elsewhere when it is granted a share: its roles have changed. */
  declines = false;
  answers = 0;
  usualMs = 0;

  constructor(world: World, key: PoolKey, shares = false, digest = '') {
    this.#world = world;
    this.key = key;
    this.shares = shares;
    this.digest = digest;
    this.asksBack = world.asks;
  }

  get leavesAsked(): boolean {
    return this.asksBack;
  }

  get sharedMs(): number {
    return this.shares && (this.state === 'asking' || this.state === 'waiting') ? this.usualMs : -1;
  }

  take(server: ServerConnection): void {
    const taken = this.#mine(server);
    assert.equal(taken.depth, 0, 'others are on a connection that was lent');
    assert.equal(taken.onDrained, null, 'a connection is lent and shared');
    this.state = 'holding';
    this.server = taken;
    taken.stateDigest = this.digest;
  }

  #mine(server: ServerConnection): FakeServer {
    const mine = server as FakeServer;
    const mayTake = this.state === 'asking' || this.state === 'waiting';
    assert.ok(mayTake, 'a connection came for somebody who does not wait');
    assert.equal(mine.closed, false, 'a closed connection was lent');
    assert.equal(mine.key.user, this.key.user);
    assert.equal(mine.key.database, this.key.database);
    for (const other of this.#world.clients)
      assert.ok(other.state !== 'holding' || other.server !== mine, 'a connection has two holders');
    return mine;
  }

  join(server: ServerConnection): void {
    const shared = this.#mine(server);
    assert.ok(this.shares, 'a connection was shared with somebody who does not share');
    assert.ok(shared.acceptsMore, 'a unit came to a connection that takes none');
    assert.ok(shared.depth < this.#world.limits.sharing.maxDepth, 'too deep');
    assert.notEqual(shared.onDrained, null, 'it stands on no list');
    assert.equal(shared.stateDigest, this.digest, 'states are mixed');
    this.state = 'sharing';
    this.server = shared;
    shared.queue(this);
    this.#world.pool.queued(shared, this.usualMs);
  }

  granted(server: ServerConnection): void {
    // What came while it still asked, a session would give back, and wait on.
    assert.equal(this.state, 'waiting', 'granted before it was told to wait');
    this.take(server);
  }

  grantedShared(server: ServerConnection): void {
    if (!this.declines) this.join(server);
    else this.state = 'done';
  }

  answered(server: FakeServer): void {
    assert.equal(this.server, server, 'an answer came for somebody else');
    assert.equal(this.state, 'sharing');
    this.server = null;
    this.answers++;
    this.state = 'done';
    if (this.restless) this.#world.place(this);
  }

  moved(server: FakeServer): void {
    assert.equal(this.server, server);
    this.server = null;
    this.#world.place(this);
  }

  refused(error: ProxyError): void {
    assert.equal(this.state, 'waiting', 'somebody was refused who does not wait');
    this.state = 'refused';
    this.error = error;
  }

  terminate(error: ProxyError): void {
    assert.fail(error);
  }

  lost(server: ServerConnection): void {
    assert.equal(this.server, server, 'a connection was lost that its holder did not have');
    const wasSharing = this.state === 'sharing';
    this.state = 'lost';
    this.server = null;
    if (wasSharing) this.#world.pool.discard(server, 'lost');
  }
}

export class World {
  readonly pool: NodePool;
  readonly clients = new Set<Client>();
  readonly servers = new Set<FakeServer>();
  attempts: Attempt[] = [];
  limits: PoolLimits;
  opened = 0;
  failures = 0;
  /** The most that `limits` allowed while connections that are open now were opened. */
  allowed: number;
  over = false;
  readonly asks: boolean;

  /** `asks`: of its clients, `asksBack` and `leavesAsked`. */
  constructor(limits: PoolLimits = LIMITS, asks = false) {
    this.limits = limits;
    this.asks = asks;
    this.allowed = limits.maxServerConnections;
    this.pool = new NodePool(
      { name: 'n', host: 'h', port: 1 },
      limits,
      (request) => this.#connect(request),
      (_, cause) => {
        throw cause;
      },
    );
  }

  #connect(request: ConnectRequest): Promise<ServerConnection> {
    return new Promise((resolve, reject) => {
      const attempt: Attempt = {
        request,
        succeed: () => {
          this.attempts = this.attempts.filter((each) => each !== attempt);
          const server = new FakeServer(request.key);
          this.servers.add(server);
          this.opened++;
          resolve(server);
        },
        fail: (code = 'connect-failed') => {
          this.attempts = this.attempts.filter((each) => each !== attempt);
          this.failures++;
          reject(new ProxyError(code, { node: 'n', detail: 'test' }));
        },
      };
      this.attempts.push(attempt);
    });
  }

  acquire(key: PoolKey): Client {
    return this.place(new Client(this, key));
  }

  share(key: PoolKey, digest = '', usualMs = 0): Client {
    const client = new Client(this, key, true, digest);
    client.usualMs = usualMs;
    return this.place(client);
  }

  /** As a session does it. */
  place(client: Client): Client {
    const { key, digest } = client;
    this.clients.add(client);
    client.state = 'asking';
    const shared = client.shares ? this.pool.share(key, { kind: 'none' }, digest, client.usualMs) : null;
    if (shared !== null) {
      client.join(shared);
      return client;
    }
    const server = this.pool.acquire(key, { kind: 'none' }, digest, client);
    if (server !== null) client.take(server);
    else client.state = 'waiting';
    return client;
  }

  /** As a session does it when its client goes away while its unit is in a pipeline. */
  abandon(client: Client): void {
    const server = client.server!;
    client.server = null;
    client.state = 'done';
    if (!server.abandon(client)) return;
    this.pool.isolate(server);
    void server.cancel().finally(() => {
      if (server.depth <= 1) this.pool.discard(server, 'a cancel was sent to it');
    });
  }

  release(client: Client): void {
    const server = client.server!;
    client.server = null;
    client.state = 'done';
    this.pool.release(server);
  }

  withdraw(client: Client): void {
    client.state = 'withdrawn';
    this.pool.withdraw(client);
  }

  setLimits(changes: Partial<PoolLimits>): void {
    this.limits = { ...this.limits, ...changes };
    this.pool.limits = this.limits;
  }

  in(state: Client['state']): Client[] {
    return [...this.clients].filter((client) => client.state === state);
  }

  get open(): FakeServer[] {
    return [...this.servers].filter((server) => !server.closed);
  }

  get shared(): FakeServer[] {
    return this.open.filter((server) => server.onDrained !== null);
  }

  get idle(): FakeServer[] {
    const held = new Set(this.in('holding').map((client) => client.server));
    return this.open.filter((server) => !held.has(server) && server.onDrained === null);
  }

  /** Nobody has them, nothing is under way there. */
  get unused(): FakeServer[] {
    return [...this.idle, ...this.shared.filter((server) => server.depth === 0)];
  }

  /** Of this user: connections open and coming. */
  usedBy(user: string): number {
    return (
      this.open.filter((server) => server.key.user === user).length +
      this.attempts.filter(({ request }) => request.key.user === user).length
    );
  }

  /** What must be true between any two steps. */
  check(): void {
    const { pool } = this;
    const waiting = this.in('waiting');
    const holding = this.in('holding');
    assert.equal(pool.leased, holding.length, 'leased');
    assert.equal(pool.waiting, waiting.length, 'everyone who waits is known to the pool, and nobody else');
    assert.equal(pool.idle, this.idle.length, 'every open connection is held or idle');
    assert.equal(pool.connecting, this.attempts.length, 'connecting');
    const { shared, unused } = this;
    assert.equal(pool.shared, shared.length, 'shared');
    const underWay = shared.reduce((sum, server) => sum + server.depth, 0);
    assert.equal(pool.outstanding, holding.length + waiting.length + underWay);
    for (const client of holding) assert.equal(client.server!.onDrained, null, 'lent and shared');
    for (const client of this.in('sharing'))
      assert.ok(client.server!.units.includes(client), 'a unit is lost only with its connection');
    assert.equal(pool.counts.opened, this.opened);
    assert.equal(pool.counts.openFailures, this.failures);
    assert.equal(pool.counts.closed, this.servers.size - this.open.length, 'closed');
    assert.equal(pool.bytesReceived, this.servers.size, 'bytes of ended connections are kept');

    const total = this.open.length + this.attempts.length;
    // A limit that was lowered takes effect as connections come back; it is never an excuse to open another one.
    this.allowed = Math.max(this.limits.maxServerConnections, Math.min(this.allowed, total));
    assert.ok(total <= this.allowed, `${total} connections with a limit of ${this.allowed}`);

    if (total > this.limits.maxServerConnections) assert.deepEqual(unused, [], 'unused, and over the limit');
    for (const { key } of unused)
      assert.ok(
        this.usedBy(key.user) <= (this.limits.maxByUser?.get(key.user) ?? Number.POSITIVE_INFINITY),
        'unused, and over the limit of its user',
      );

    for (const client of waiting) {
      const { user, database } = client.key;
      const usable = unused.some(({ key }) => key.user === user && key.database === database);
      const coming = this.attempts.filter(
        ({ request }) => request.key.user === user && request.key.database === database,
      ).length;
      const before = waiting.filter(
        (other) => other.key.user === user && other.key.database === database,
      ).length;
      // Who leaves it to whoever may ask it back has one coming in its place.
      assert.ok(
        !usable || (client.leavesAsked && coming >= before),
        `${user}@${database} waits while a connection of its own is idle`,
      );
      if (coming >= before) continue;
      const userLimit = this.limits.maxByUser?.get(user) ?? Number.POSITIVE_INFINITY;
      const mayOpenForUser = this.usedBy(user) < userLimit || unused.some(({ key }) => key.user === user);
      const hasRoom = total < this.limits.maxServerConnections;
      const mayEvict = total <= this.limits.maxServerConnections && unused.length > 0;
      assert.ok(
        !(mayOpenForUser && (hasRoom || mayEvict)),
        `${user}@${database} waits although a connection could be opened for it`,
      );
    }
  }
}

/** Runs with a clock that stands still unless the test moves it; promises settle between steps. */
export async function frozenClock(
  run: (clock: { nowMs: number; pass(ms: number): void }) => Promise<void>,
): Promise<void> {
  const clock = {
    nowMs: 1_000,
    pass(ms: number): void {
      clock.nowMs += ms;
      mock.timers.tick(ms);
    },
  };
  const now = mock.method(performance, 'now', () => clock.nowMs);
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  try {
    await run(clock);
  } finally {
    mock.timers.reset();
    now.mock.restore();
  }
}

/** All microtasks that can run have run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}
