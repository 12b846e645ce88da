// Sharing of server connections against the pool's model: who is served, in which order, and what comes back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PoolLimits } from '../../src/pool/node-pool.js';
import type { PoolKey } from '../../src/protocol/server-connection.js';
import { type Client, frozenClock, KEYS, LIMITS, settle, World } from './model.js';

/** A pool with one connection, shared already in the state ''. */
async function sharedWorld(limits: Partial<PoolLimits> = {}): Promise<World> {
  const world = new World({ ...LIMITS, maxServerConnections: 1, maxWaiting: 100, ...limits });
  const first = world.acquire(KEYS[0]!);
  world.attempts[0]!.succeed();
  await settle();
  world.release(first);
  return world;
}

/** Clients that ask again as soon as they are answered: what they share is never drained by itself. */
function restless(world: World, count: number, key = KEYS[0]!, digest = ''): Client[] {
  return Array.from({ length: count }, () => {
    const client = world.share(key, digest);
    client.restless = true;
    return client;
  });
}

/** It had a connection to itself, as happens to those that share too. */
function answerAlone(world: World, client: Client): void {
  client.answers++;
  world.release(client);
  world.place(client);
}

/** The nodes answer until `done`. */
async function answersUntil(
  world: World,
  clock: { pass(ms: number): void },
  what: string,
  done: () => boolean,
): Promise<void> {
  for (let i = 0; !done(); i++) {
    assert.ok(i < 400, `never: ${what}`);
    for (const server of world.shared) if (server.depth > 0) server.answer();
    for (const client of world.in('holding')) if (client.restless) answerAlone(world, client);
    clock.pass(1);
    for (const attempt of [...world.attempts]) attempt.succeed();
    await settle();
    world.check();
  }
}

test('who needs a connection for himself gets one although those that share never pause', async () => {
  for (const maxServerConnections of [1, 2])
    await frozenClock(async (clock) => {
      const world = await sharedWorld({ maxServerConnections });
      const [ann] = KEYS as [PoolKey];
      const crowd = restless(world, 7);
      await answersUntil(world, clock, 'all share', () => crowd.every(({ answers }) => answers > 3));
      // The second one comes while the first holds; it must not be overtaken by all that wait to share.
      const alone = world.acquire(ann);
      await answersUntil(world, clock, 'one is served', () => alone.state === 'holding');
      const next = world.acquire(ann);
      if (next.state === 'waiting') restless(world, 3);
      world.release(alone);
      await answersUntil(world, clock, 'the next one is served', () => next.state === 'holding');
      world.release(next);
      const before = crowd.map(({ answers }) => answers);
      await answersUntil(world, clock, 'the others go on', () =>
        crowd.every(({ answers }, i) => answers > before[i]!),
      );
    });
});

test('another state and another user share too although the first never pause', async () => {
  await frozenClock(async (clock) => {
    const world = await sharedWorld();
    const crowd = restless(world, 4);
    const [ann, , bob] = KEYS as [PoolKey, PoolKey, PoolKey];
    const others = [world.share(ann, 'x'), world.share(bob)];
    for (const other of others) other.restless = true;
    const all = [...crowd, ...others];
    await answersUntil(world, clock, 'the others are served', () =>
      others.every(({ answers }) => answers > 0),
    );
    const before = all.map(({ answers }) => answers);
    await answersUntil(world, clock, 'all go on', () =>
      all.every(({ answers }, i) => answers > before[i]! + 3),
    );
  });
});

test('whoever found no room on a shared connection is not overtaken for ever', async () => {
  await frozenClock(async (clock) => {
    const world = await sharedWorld();
    restless(world, LIMITS.sharing.maxDepth);
    const late = world.share(KEYS[0]!);
    assert.equal(late.state, 'waiting');
    await answersUntil(world, clock, 'the late one is served', () => late.answers > 0);
  });
});

test('all that wait and share are served by one connection that comes free', async () => {
  await frozenClock(async () => {
    const world = new World({ ...LIMITS, maxServerConnections: 1 });
    const holder = world.acquire(KEYS[0]!);
    world.attempts[0]!.succeed();
    await settle();
    const clients = [1, 2, 3].map(() => world.share(KEYS[0]!));
    const stranger = world.share(KEYS[0]!, 'x');
    clients[1]!.declines = true;
    world.release(holder);
    assert.deepEqual(
      clients.map(({ state }) => state),
      ['sharing', 'done', 'sharing'],
    );
    assert.equal(stranger.state, 'waiting');
    for (const server of world.shared) while (server.depth > 0) server.answer();
    assert.equal(stranger.state, 'holding');
  });
});

test('a connection that nobody wanted to share after all goes to whoever waits', async () => {
  await frozenClock(async () => {
    const world = new World({ ...LIMITS, maxServerConnections: 1 });
    const holder = world.acquire(KEYS[0]!);
    world.attempts[0]!.succeed();
    await settle();
    const sharer = world.share(KEYS[0]!);
    sharer.declines = true;
    const alone = world.acquire(KEYS[0]!);
    world.release(holder);
    assert.equal(sharer.state, 'done');
    assert.equal(alone.state, 'holding');
  });
});

test('a lowered limit reaches connections that are shared without a pause', async () => {
  await frozenClock(async (clock) => {
    const world = await sharedWorld({ maxServerConnections: 3 });
    const extra = [world.acquire(KEYS[0]!), world.acquire(KEYS[0]!)];
    for (const attempt of [...world.attempts]) attempt.succeed();
    await settle();
    for (const client of extra) world.release(client);
    restless(world, 8);
    assert.equal(world.shared.length, 2);
    world.setLimits({ maxServerConnections: 1 });
    await answersUntil(world, clock, 'one is left', () => world.open.length === 1);
    world.setLimits({ maxServerConnections: 3, maxByUser: new Map([['ann', 0]]) });
    for (const client of world.clients) client.restless = false;
    await answersUntil(world, clock, 'none is left', () => world.open.length === 0);
  });
});

test('a node that leaves keeps no connection that was busy with units of several clients', async () => {
  await frozenClock(async () => {
    const world = await sharedWorld();
    const clients = [world.share(KEYS[0]!), world.share(KEYS[0]!)];
    world.pool.retire('test');
    assert.equal(world.open.length, 1, 'what is under way is answered');
    for (const server of world.shared) while (server.depth > 0) server.answer();
    assert.ok(clients.every(({ answers }) => answers === 1));
    assert.equal(world.open.length, 0);
  });
});

test('behind a slow head nobody waits; what nobody waits for is cancelled', async () => {
  await frozenClock(async (clock) => {
    const world = await sharedWorld({ maxServerConnections: 2 });
    const [slow, second, third] = [1, 2, 3].map(() => world.share(KEYS[0]!)) as [Client, Client, Client];
    const server = slow.server!;
    clock.pass(LIMITS.sharing.maxHeadMs);
    assert.equal(world.pool.evacuations, 1);
    assert.equal(second.server, null);
    assert.equal(slow.server, server);
    assert.notEqual(world.share(KEYS[0]!).server, server, 'nothing more is queued behind it');
    for (const attempt of [...world.attempts]) attempt.succeed();
    await settle();
    world.check();
    assert.equal(third.server, second.server, 'both run elsewhere');
    assert.notEqual(third.server, server);
    // The slow one is answered, and what is left behind it turns out to be slow too, though nobody waits for it.
    server.answer();
    assert.equal(slow.answers, 1);
    // In small steps: what is seen late says more about the proxy than about the node.
    const passUntil = async (done: () => boolean): Promise<void> => {
      for (let i = 0; i < 400 && !done(); i++) {
        clock.pass(2);
        await settle();
      }
      assert.ok(done());
    };
    await passUntil(() => server.cancels === 1);
    clock.pass(1_000);
    assert.equal(server.cancels, 1, 'each is cancelled once');
    assert.equal(server.closed, false, 'the node would run the next one and not see that we have gone');
    server.answer();
    await passUntil(() => server.cancels === 2);
    assert.equal(server.closed, true);
  });
});

/** One connection in the shared state, and `idle` others. */
async function worldWithIdle(idle: number, maxServerConnections: number): Promise<World> {
  const world = new World({ ...LIMITS, maxServerConnections, maxWaiting: 100 });
  const holders = Array.from({ length: idle + 1 }, () => world.acquire(KEYS[0]!));
  for (const attempt of [...world.attempts]) attempt.succeed();
  await settle();
  for (const holder of holders) world.release(holder);
  return world;
}

/** Every node connection answers one unit in a millisecond, however many there are: the reads wait for something. */
async function waitingReads(
  world: World,
  clock: { pass(ms: number): void },
  count: number,
  opened: (attempt: { succeed(): void; fail(): void }) => void,
): Promise<Client[]> {
  const { spreadMs } = LIMITS.sharing;
  const clients = Array.from({ length: count }, () => world.share(KEYS[0]!, '', spreadMs));
  for (const client of clients) client.restless = true;
  for (let i = 0; i < 3_000; i++) {
    for (const server of world.shared) if (server.depth > 0) server.answer();
    clock.pass(1);
    for (const attempt of [...world.attempts]) opened(attempt);
    await settle();
    world.check();
  }
  return clients;
}

const inUse = (world: World): number => world.shared.filter(({ depth }) => depth > 0).length;

test('what is worth a wait spreads over all idle connections once that has measured better; cheap units do not', async () => {
  await frozenClock(async (clock) => {
    const world = await worldWithIdle(5, 6);
    const clients = await waitingReads(world, clock, 6, () => {});
    assert.equal(inUse(world), 6);
    for (const client of clients) client.restless = false;
    for (const server of world.shared) while (server.depth > 0) server.answer();
    // What they leave behind is more than cheap ones are pipelined on.
    const { maxDepth, maxConnections } = LIMITS.sharing;
    const cheap = Array.from({ length: maxDepth * maxConnections }, () => world.share(KEYS[0]!));
    assert.equal(new Set(cheap.map(({ server }) => server)).size, maxConnections);
  });
});

test('where none is idle connections are opened for them, and nobody is refused if one cannot be', async () => {
  for (const [outcome, used] of [
    ['succeed', 4],
    ['fail', 1],
  ] as const)
    await frozenClock(async (clock) => {
      const world = await worldWithIdle(0, 4);
      let most = 0;
      const clients = await waitingReads(world, clock, 4, (attempt) => {
        most = Math.max(most, world.attempts.length);
        attempt[outcome]();
      });
      assert.equal(most, 1, 'one at a time');
      assert.ok(clients.every(({ state }) => state === 'sharing'));
      assert.equal(inUse(world), used);
    });
});

test('nothing that was shared is kept longer than it may be', async () => {
  await frozenClock(async (clock) => {
    const world = await sharedWorld();
    world.share(KEYS[0]!);
    for (const server of world.shared) server.answer();
    clock.pass(LIMITS.idleTimeoutMs - 1_000);
    assert.equal(world.pool.shared, 1);
    clock.pass(2_000);
    assert.equal(world.open.length, 0, 'idle for too long');

    const again = await sharedWorld();
    restless(again, 3);
    clock.pass(LIMITS.maxLifetimeMs + 1_000);
    const [old] = again.shared;
    await answersUntil(again, clock, 'it is replaced', () => old!.closed && again.open.length === 1);
  });
});
