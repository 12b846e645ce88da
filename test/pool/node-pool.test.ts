// The pool against a model: random histories with an in-memory `Connect` whose outcomes the test decides, and the rules that hold after each step.
// No socket, no timer and no clock but the test's; a failing history names its seed.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { ProxyError } from '../../src/lib/errors.js';
import { NodePool, type PoolLimits, type PoolWaiter } from '../../src/pool/node-pool.js';
import type { ConnectRequest, PoolKey, ServerConnection } from '../../src/protocol/server-connection.js';

const KEYS: readonly PoolKey[] = [
  { user: 'ann', database: 'app', variant: '' },
  { user: 'ann', database: 'other', variant: '' },
  { user: 'bob', database: 'app', variant: '' },
  { user: 'eve', database: 'app', variant: '' },
];
const LIMITS: PoolLimits = {
  maxServerConnections: 3,
  maxWaiting: 6,
  waitTimeoutMs: 5_000,
  idleTimeoutMs: 60_000,
  maxLifetimeMs: 600_000,
  connectTimeoutMs: 1_000,
  sharing: { maxConnections: 2, growAtDepth: 2, maxDepth: 4, maxHeadMs: 10 },
};

/** The next random numbers of a seed (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

class FakeServer implements ServerConnection {
  static #next = 1;
  readonly id = FakeServer.#next++;
  readonly node = 'n';
  readonly key: PoolKey;
  stateDigest = '';
  reusable = true;
  closed = false;
  readonly openedAtMs = performance.now();
  readonly bytesReceived = 1;
  readonly bytesSent = 2;
  onClosed: ((reason: string) => void) | null = null;
  onDrained: (() => void) | null = null;
  readonly depth = 0;
  readonly headIsAbandoned = false;
  readonly acceptsMore = true;

  constructor(key: PoolKey) {
    this.key = key;
  }

  headAgeMs(): number {
    return 0;
  }

  evacuate(): void {}
  pauseReading(): void {}
  resumeReading(): void {}
  cancel(): Promise<void> {
    return Promise.resolve();
  }

  /** Like the real ones: who listens learns of it before this returns. */
  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    const onClosed = this.onClosed;
    this.onClosed = null;
    onClosed?.(reason);
  }
}

interface Attempt {
  readonly request: ConnectRequest;
  succeed(): void;
  fail(): void;
}

/** A client as the pool sees it; `state` changes only by what the pool may do. */
class Client implements PoolWaiter {
  readonly key: PoolKey;
  readonly #world: World;
  state: 'waiting' | 'holding' | 'refused' | 'withdrawn' | 'lost' | 'done' = 'waiting';
  server: FakeServer | null = null;
  error: ProxyError | null = null;
  readonly sharesNow = false;
  sinceMs = performance.now();

  constructor(world: World, key: PoolKey) {
    this.#world = world;
    this.key = key;
  }

  take(server: ServerConnection): void {
    const taken = server as FakeServer;
    assert.equal(this.state, 'waiting', 'a connection came for somebody who does not wait');
    assert.equal(taken.closed, false, 'a closed connection was lent');
    assert.equal(taken.key.user, this.key.user);
    assert.equal(taken.key.database, this.key.database);
    for (const other of this.#world.clients)
      assert.notEqual(other.server, taken, 'a connection has two holders');
    this.state = 'holding';
    this.server = taken;
  }

  granted(server: ServerConnection): void {
    this.take(server);
  }

  grantedShared(): void {
    assert.fail('a connection was shared with somebody who does not share');
  }

  refused(error: ProxyError): void {
    assert.equal(this.state, 'waiting', 'somebody was refused who does not wait');
    this.state = 'refused';
    this.error = error;
  }

  lost(server: ServerConnection): void {
    assert.equal(this.server, server, 'a connection was lost that its holder did not have');
    this.state = 'lost';
    this.server = null;
  }
}

class World {
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

  constructor(limits: PoolLimits = LIMITS) {
    this.limits = limits;
    this.allowed = limits.maxServerConnections;
    this.pool = new NodePool({ name: 'n', host: 'h', port: 1 }, limits, (request) => this.#connect(request));
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
        fail: () => {
          this.attempts = this.attempts.filter((each) => each !== attempt);
          this.failures++;
          reject(new ProxyError('connect-failed', { node: 'n', detail: 'test' }));
        },
      };
      this.attempts.push(attempt);
    });
  }

  acquire(key: PoolKey): Client {
    const client = new Client(this, key);
    this.clients.add(client);
    const server = this.pool.acquire(key, { kind: 'none' }, '', client);
    if (server !== null) client.take(server);
    return client;
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

  get idle(): FakeServer[] {
    const held = new Set(this.in('holding').map((client) => client.server));
    return this.open.filter((server) => !held.has(server));
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
    assert.equal(pool.outstanding, holding.length + waiting.length);
    assert.equal(pool.counts.opened, this.opened);
    assert.equal(pool.counts.openFailures, this.failures);
    assert.equal(pool.counts.closed, this.servers.size - this.open.length, 'closed');
    assert.equal(pool.bytesReceived, this.servers.size, 'bytes of ended connections are kept');

    const total = this.open.length + this.attempts.length;
    // A limit that was lowered takes effect as connections come back; it is never an excuse to open another one.
    this.allowed = Math.max(this.limits.maxServerConnections, Math.min(this.allowed, total));
    assert.ok(total <= this.allowed, `${total} connections with a limit of ${this.allowed}`);

    for (const client of waiting) {
      const { user, database } = client.key;
      const usable = this.idle.some(({ key }) => key.user === user && key.database === database);
      assert.ok(!usable, `${user}@${database} waits while a connection of its own is idle`);
      const coming = this.attempts.filter(
        ({ request }) => request.key.user === user && request.key.database === database,
      ).length;
      const before = waiting.filter(
        (other) => other.key.user === user && other.key.database === database,
      ).length;
      if (coming >= before) continue;
      const userLimit = this.limits.maxByUser?.get(user) ?? Number.POSITIVE_INFINITY;
      const mayOpenForUser = this.usedBy(user) < userLimit || this.idle.some(({ key }) => key.user === user);
      const hasRoom = total < this.limits.maxServerConnections;
      const mayEvict = total <= this.limits.maxServerConnections && this.idle.length > 0;
      assert.ok(
        !(mayOpenForUser && (hasRoom || mayEvict)),
        `${user}@${database} waits although a connection could be opened for it`,
      );
    }
  }
}

/** Runs with a clock that stands still unless the test moves it; promises settle between steps. */
async function frozenClock(
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
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

async function history(seed: number, steps: number): Promise<void> {
  await frozenClock(async (clock) => {
    const next = random(seed);
    const pick = <T>(list: readonly T[]): T | undefined => list[next(list.length || 1)];
    const byUser = next(2) === 0 ? new Map([['ann', 1 + next(2)]]) : new Map<string, number>();
    const world = new World({ ...LIMITS, maxServerConnections: 1 + next(4), maxByUser: byUser });
    const done: string[] = [];
    const step = (): string => {
      const kind = next(100);
      if (kind < 30) {
        const key = KEYS[next(KEYS.length)]!;
        const client = world.acquire(key);
        return `acquire ${key.user}@${key.database}: ${client.state}`;
      }
      if (kind < 52) {
        const client = pick(world.in('holding'));
        if (client === undefined) return 'nobody holds';
        if (next(6) === 0) client.server!.reusable = false;
        world.release(client);
        return `release ${client.key.user}@${client.key.database}`;
      }
      if (kind < 66) {
        pick(world.attempts)?.succeed();
        return 'connected';
      }
      if (kind < 74) {
        pick(world.attempts)?.fail();
        return 'connect failed';
      }
      if (kind < 80) {
        const client = pick(world.in('waiting'));
        if (client !== undefined) world.withdraw(client);
        return 'withdraw';
      }
      if (kind < 86) {
        pick(world.open)?.close('the node closed it');
        return 'server closed';
      }
      if (kind < 89) {
        const client = pick(world.in('holding'));
        if (client === undefined) return 'nobody holds';
        const server = client.server!;
        client.server = null;
        client.state = 'done';
        world.pool.discard(server, 'test');
        return 'discard';
      }
      if (kind < 92) {
        const maxServerConnections = 1 + next(5);
        world.setLimits({ maxServerConnections });
        return `limit ${maxServerConnections}`;
      }
      if (kind < 93) {
        world.pool.closeIdle('test');
        return 'closeIdle';
      }
      if (kind < 94) {
        world.pool.closeAll('test');
        return 'closeAll';
      }
      const ms = [1, 60, 150, 1_000, 6_000][next(5)]!;
      clock.pass(ms);
      return `${ms} ms pass`;
    };
    try {
      for (let i = 0; i < steps; i++) {
        done.push(step());
        await settle();
        world.check();
      }
      // The end: nobody is left without an answer, nothing is left open.
      if (next(2) === 0) world.pool.retire('test');
      else world.pool.close(new ProxyError('shutting-down'));
      for (const attempt of [...world.attempts]) attempt.succeed();
      await settle();
      for (const client of world.in('holding')) world.release(client);
      assert.deepEqual(world.in('waiting'), [], 'somebody was left waiting');
      assert.deepEqual(world.open, [], 'connections are left open');
      assert.equal(world.pool.idle + world.pool.leased + world.pool.connecting, 0);
      const late = world.acquire(KEYS[0]!);
      await settle();
      assert.equal(late.state, 'refused');
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`seed ${seed}, step ${done.length}: ${message}\n  ${done.slice(-12).join('\n  ')}`, {
        cause: error,
      });
    }
  });
}

test('random histories keep every rule', async () => {
  for (let seed = 1; seed <= 400; seed++) await history(seed, 60);
});

test('a long history keeps every rule', async () => {
  await history(424_242, 5_000);
});

test('the connection that was used last and carries the state is lent first', async () => {
  await frozenClock(async () => {
    const world = new World();
    const [key] = KEYS as [PoolKey];
    const first = world.acquire(key);
    const second = world.acquire(key);
    for (const attempt of [...world.attempts]) attempt.succeed();
    await settle();
    const [a, b] = [first.server!, second.server!];
    a.stateDigest = 'special';
    world.release(first);
    world.release(second);
    assert.equal(world.pool.acquire(key, { kind: 'none' }, '', first), b, 'the last one used');
    world.pool.release(b);
    assert.equal(world.pool.acquire(key, { kind: 'none' }, 'special', first), a, 'the one with the state');
    world.pool.release(a);
    assert.equal(world.pool.acquire(key, { kind: 'none' }, 'unknown', first), a, 'any, if none has it');
    assert.equal(world.opened, 2);
  });
});

test('units of one user are served in the order in which they came', async () => {
  await frozenClock(async () => {
    const world = new World({ ...LIMITS, maxServerConnections: 1 });
    const [key] = KEYS as [PoolKey];
    const clients = [1, 2, 3, 4].map(() => world.acquire(key));
    world.attempts[0]!.succeed();
    await settle();
    for (const client of clients) {
      assert.deepEqual(world.in('holding'), [client]);
      world.release(client);
    }
    assert.equal(world.opened, 1);
  });
});

test('a waiter of another user is overtaken for a moment only', async () => {
  await frozenClock(async (clock) => {
    const world = new World({ ...LIMITS, maxServerConnections: 1 });
    const [ann, , bob] = KEYS as [PoolKey, PoolKey, PoolKey];
    let holder = world.acquire(ann);
    world.attempts[0]!.succeed();
    await settle();
    const other = world.acquire(bob);
    let served = 0;
    // Users of the first key never pause: one always waits when a connection comes back.
    for (; other.state === 'waiting' && world.attempts.length === 0; served++) {
      assert.ok(served < 100, 'starved');
      const next = world.acquire(ann);
      clock.pass(10);
      world.release(holder);
      await settle();
      world.check();
      holder = next;
    }
    assert.ok(served >= 5, 'a connection is not closed at once for the sake of order');
    assert.equal(world.attempts[0]!.request.key.user, 'bob');
    world.attempts[0]!.succeed();
    await settle();
    assert.equal(other.state, 'holding');
  });
});

test('a unit that waits too long is told so, and only that one', async () => {
  await frozenClock(async (clock) => {
    const world = new World({ ...LIMITS, maxServerConnections: 1 });
    const [key] = KEYS as [PoolKey];
    const holder = world.acquire(key);
    world.attempts[0]!.succeed();
    await settle();
    const early = world.acquire(key);
    clock.pass(4_000);
    const late = world.acquire(key);
    clock.pass(2_000);
    assert.equal(early.error?.code, 'pool-timeout');
    assert.equal(late.state, 'waiting');
    world.release(holder);
    assert.equal(late.state, 'holding');
    assert.equal(world.pool.counts.timeouts, 1);
  });
});

test('more than so many do not wait', async () => {
  await frozenClock(async () => {
    const world = new World({ ...LIMITS, maxServerConnections: 1, maxWaiting: 2 });
    const [key] = KEYS as [PoolKey];
    const clients = [1, 2, 3].map(() => world.acquire(key));
    await settle();
    assert.deepEqual(
      clients.map((client) => client.error?.code ?? client.state),
      ['waiting', 'waiting', 'pool-queue-full'],
    );
    assert.equal(world.pool.counts.refusals, 1);
  });
});

test('idle and old connections are closed', async () => {
  await frozenClock(async (clock) => {
    const world = new World();
    const [key] = KEYS as [PoolKey];
    const client = world.acquire(key);
    world.attempts[0]!.succeed();
    await settle();
    world.release(client);
    clock.pass(LIMITS.idleTimeoutMs - 1_000);
    assert.equal(world.pool.idle, 1);
    clock.pass(2_000);
    assert.equal(world.pool.idle, 0, 'idle for too long');
    const second = world.acquire(key);
    world.attempts[0]!.succeed();
    await settle();
    clock.pass(LIMITS.maxLifetimeMs + 1);
    assert.equal(second.state, 'holding', 'nobody loses it in mid-use');
    world.release(second);
    assert.equal(world.open.length, 0, 'too old to be lent again');
  });
});

test('only whoever gave a connection back last may reclaim it, and only while it is idle', async () => {
  await frozenClock(async () => {
    const world = new World();
    const [key] = KEYS as [PoolKey];
    const owner = world.acquire(key);
    world.attempts[0]!.succeed();
    await settle();
    const server = owner.server!;
    world.release(owner);
    assert.equal(world.pool.reclaim(server, new Client(world, key)), false, 'a stranger');
    assert.equal(world.pool.reclaim(server, owner), true);
    assert.equal(world.pool.reclaim(server, owner), false, 'it is lent already');
    world.pool.release(server);
    const other = world.acquire(key);
    assert.equal(other.server, server);
    world.release(other);
    assert.equal(world.pool.reclaim(server, owner), false, 'somebody has used it since');
  });
});
