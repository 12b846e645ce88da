// The pool against its model: random histories, and what is known to go wrong by name. A failing history names its seed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyError } from '../../src/lib/errors.js';
import type { PoolKey } from '../../src/protocol/server-connection.js';
import { Client, frozenClock, KEYS, LIMITS, random, settle, World } from './model.js';

async function history(seed: number, steps: number): Promise<void> {
  await frozenClock(async (clock) => {
    const next = random(seed);
    const pick = <T>(list: readonly T[]): T | undefined => list[next(list.length || 1)];
    const isSharing = seed % 4 !== 0;
    const byUser = next(2) === 0 ? new Map([['ann', 1 + next(2)]]) : new Map<string, number>();
    const limits = { ...LIMITS, maxServerConnections: 1 + next(4), maxByUser: byUser };
    const world = new World(limits, seed % 3 === 0);
    const done: string[] = [];
    const step = (): string => {
      const kind = next(isSharing ? 130 : 100);
      if (kind >= 124) {
        const client = pick(world.in('sharing'));
        if (client === undefined) return 'nobody shares';
        world.abandon(client);
        return 'a client that shares dies';
      }
      if (kind >= 100) {
        const busy = pick(world.shared.filter((server) => server.depth > 0));
        for (let n = next(4); n >= 0 && busy !== undefined && busy.depth > 0; n--) busy.answer();
        return 'answered';
      }
      if (kind < 30) {
        const key = KEYS[next(KEYS.length)]!;
        const shares = isSharing && next(3) > 0;
        const client = shares
          ? world.share(key, pick(['', 'x']), pick([0, 0, LIMITS.sharing.spreadMs]))
          : world.acquire(key);
        return `${shares ? 'share' : 'acquire'} ${key.user}@${key.database}: ${client.state}`;
      }
      if (kind < 52) {
        const client = pick(world.in('holding'));
        if (client === undefined) return 'nobody holds';
        if (next(6) === 0) client.server!.sound = false;
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
      const ms = [1, 12, 60, 150, 1_000, 6_000, isSharing ? 70_000 : 1][next(7)]!;
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
      for (const server of world.shared) while (server.depth > 0) server.answer();
      await settle();
      assert.deepEqual(world.in('waiting'), [], 'somebody was left waiting');
      assert.deepEqual(world.open, [], 'connections are left open');
      assert.equal(world.pool.idle + world.pool.leased + world.pool.shared + world.pool.connecting, 0);
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

test('who waits for his user to be let in again is not forgotten while nothing else happens', async () => {
  await frozenClock(async (clock) => {
    const world = new World();
    const [key] = KEYS as [PoolKey];
    const holder = world.acquire(key);
    world.attempts[0]!.succeed();
    await settle();
    assert.equal(holder.state, 'holding');
    const waiting = world.acquire(key);
    world.attempts[0]!.fail('login-refused');
    await settle();
    assert.deepEqual(
      [waiting.state, world.attempts.length],
      ['waiting', 0],
      'his other connection may come free',
    );
    clock.pass(2_500);
    assert.equal(world.attempts.length, 1, 'another login is tried');
    world.attempts[0]!.succeed();
    await settle();
    assert.deepEqual([holder.state, waiting.state], ['holding', 'holding']);
  });
});

test('with room for few, each user and database gets one before the first gets a second', async () => {
  await frozenClock(async () => {
    const world = new World();
    const [ann, annOther, bob] = KEYS as [PoolKey, PoolKey, PoolKey];
    // Nothing may be opened until the limit is raised.
    world.pool.limits = { ...LIMITS, maxServerConnections: 0 };
    for (const key of [ann, ann, ann, bob, annOther]) world.acquire(key);
    assert.equal(world.attempts.length, 0);
    world.pool.limits = { ...LIMITS, maxServerConnections: 4 };
    const users = world.attempts.map(({ request: { key } }) => `${key.user}@${key.database}`);
    assert.deepEqual(users, ['ann@app', 'bob@app', 'ann@other', 'ann@app']);
    for (const attempt of [...world.attempts]) attempt.succeed();
    await settle();
  });
});

test('of thousands who wait, few are asked what they need when one comes, or a connection comes free', async () => {
  await frozenClock(async () => {
    const [key, , bob] = KEYS as [PoolKey, PoolKey, PoolKey];
    const waiting = 2_000;
    for (const maxByUser of [undefined, new Map([[key.user, 3]])]) {
      const limits = {
        ...LIMITS,
        maxServerConnections: maxByUser === undefined ? 4 : 10,
        maxWaiting: waiting,
      };
      const world = new World({ ...limits, ...(maxByUser === undefined ? {} : { maxByUser }) });
      // All there may be are shared, or lent, so that whoever waits would have some closed.
      const holders = [world.share(key, 'x'), world.acquire(key), world.acquire(key), world.acquire(bob)];
      for (const attempt of [...world.attempts]) attempt.succeed();
      await settle();
      let asked = 0;
      for (let i = 0; i < waiting; i++) {
        const client = new Client(world, key, i % 3 > 0, 'y');
        const { sharedMs } = client;
        Object.defineProperty(client, 'sharedMs', {
          get() {
            asked++;
            return client.shares ? 0 : sharedMs;
          },
        });
        world.place(client);
      }
      assert.equal(world.pool.waiting, waiting);
      // Each of them for each that comes would be two million.
      assert.ok(asked < 100 * waiting, `asked ${asked} times for ${waiting} who came`);
      asked = 0;
      const [, , held] = holders;
      world.release(held!);
      assert.ok(asked <= 2 * waiting, `asked ${asked} times for one that came free`);
    }
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

test('nobody waits beside an idle connection for one that another gets', async () => {
  await frozenClock(async () => {
    const world = new World({ ...LIMITS, maxServerConnections: 3 }, true);
    const [key] = KEYS as [PoolKey];
    const before = [world.acquire(key), world.acquire(key)];
    for (const attempt of [...world.attempts]) attempt.succeed();
    await settle();
    for (const client of before) world.release(client);
    // Both leave the idle ones to those who may ask them back, and there is room for one more.
    const first = world.acquire(key);
    const second = world.acquire(key);
    await settle();
    world.check();
    world.attempts[0]!.succeed();
    await settle();
    assert.deepEqual([first.state, second.state], ['holding', 'holding']);
    assert.equal(world.opened, 3);
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
