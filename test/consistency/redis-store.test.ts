// Keyed watermarks through a real Redis, under faults at random: whatever a process was allowed to tell a client, every other one
// must afterwards find in the store, or be in doubt. Positions are a counter; no database and no proxy take part.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { configFrom } from '../../src/config/resolve.js';
import { openRedis } from '../../src/consistency/redis-port.js';
import { redisKeys } from '../../src/consistency/redis-scripts.js';
import { RedisStore } from '../../src/consistency/redis-store.js';
import type { FloorAnswer } from '../../src/consistency/watermark-store.js';
import { clusterCounters, createCounters } from '../../src/telemetry/counters.js';
import { openLog } from '../../src/telemetry/log.js';
import { Relay } from '../cluster/relay.js';
import { availablePeer, skipWithout } from '../servers/available.js';
import { type RunningPeer, startRedis } from '../servers/peers.js';
import { until } from '../servers/poll.js';

const LEASE_MS = 400;

interface Member {
  readonly name: string;
  readonly store: RedisStore;
  readonly relay: Relay;
  readonly counters: ReturnType<typeof clusterCounters>['store'];
}

/** What all processes work on: one counter that only rises, as a primary's position does. */
class World {
  position = 0;
  primary = 'p';
  /** By key: the highest position that a process was allowed to tell a client, and who. */
  readonly told = new Map<string, Map<string, number>>();
  readonly lines: string[] = [];
  longestHoldMs = 0;

  async member(t: TestContext, name: string, port: number, leaseMs = LEASE_MS): Promise<Member> {
    const relay = new Relay({ host: '127.0.0.1', port });
    await relay.listen();
    const config = configFrom({
      listeners: [{}],
      clusters: [
        {
          protocol: 'postgres',
          nodes: [{ host: 'x' }],
          redis: { nodes: [{ port: relay.port }], leaseMs, timeoutMs: 40 },
        },
      ],
    }).clusters[0]!.redis!;
    const { log } = openLog({ level: 'debug', format: 'json' }, (text) => this.lines.push(text));
    const counters = clusterCounters(createCounters(), 'main').store;
    const store = new RedisStore({
      redis: openRedis(config, () => {}),
      keys: redisKeys('test', 'main'),
      member: name,
      leaseMs: config.leaseMs,
      timeoutMs: config.timeoutMs,
      ttlMs: () => 60_000,
      log: log.child({ member: name }),
      counters,
      positionNow: (callback) => {
        setTimeout(() => callback({ primary: this.primary, text: String(this.position) }), 2);
      },
      primary: () => this.primary,
    });
    t.after(async () => {
      await store.stop();
      await relay.close();
    });
    return { name, store, relay, counters };
  }

  /** A client writes through one process, and is told. */
  async write(member: Member, key: string): Promise<void> {
    const position = ++this.position;
    const startedMs = performance.now();
    await new Promise<unknown>((resolve) =>
      member.store.write(key, { primary: this.primary, text: String(position) }, resolve),
    );
    this.longestHoldMs = Math.max(this.longestHoldMs, performance.now() - startedMs);
    const told = this.told.get(key) ?? new Map<string, number>();
    this.told.set(key, told);
    told.set(member.name, Math.max(told.get(member.name) ?? 0, position));
  }

  /** Writes until one has been recorded: on a busy machine a process may have been late, and have told its client without. */
  async record(member: Member, key: string): Promise<void> {
    const { recorded } = member.counters;
    await until('a write in time', async () => {
      await this.write(member, key);
      return member.counters.recorded > recorded;
    });
  }

  /** A client reads through one process: whatever others had been allowed to tell before must be in the answer. */
  async read(member: Member, key: string): Promise<FloorAnswer['kind']> {
    let must = 0;
    for (const [name, position] of this.told.get(key) ?? [])
      if (name !== member.name) must = Math.max(must, position);
    const answer = await ask(member, key);
    if (answer.kind === 'floor') {
      const floor = Math.max(0, ...answer.positions.map(({ text }) => Number(text)));
      assert.ok(
        floor >= must,
        `${member.name} would read ${key} at ${floor}, behind ${must}\n${this.tail()}`,
      );
    }
    return answer.kind;
  }

  tail(): string {
    return this.lines.slice(-30).join('');
  }
}

function ask(member: Member, key: string): Promise<FloorAnswer> {
  return new Promise((resolve) => member.store.read(key, resolve));
}

const skip = skipWithout(availablePeer('redis'));

test('what one process has told, another finds; keys that nobody wrote are unknown', { skip }, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const world = new World();
  const one = await world.member(t, 'one', redis.port);
  const two = await world.member(t, 'two', redis.port);
  await Promise.all([one.store.start(), two.store.start()]);
  await until('an answer', async () => {
    const { kind } = await ask(two, 'alice');
    return kind === 'unknown';
  });
  for (let i = 0; i < 50; i++) {
    await world.write(one, 'alice');
    // On a busy machine an answer may be late once.
    await until('the floor', async () => (await world.read(two, 'alice')) === 'floor');
  }
  await until('reads of one turn to be one question', async () => {
    const before = two.counters.readBatches;
    await Promise.all(Array.from({ length: 100 }, (_, i) => world.read(two, `key ${i % 10}`)));
    assert.ok(two.counters.readBatches - before <= 1);
    return two.counters.readBatches - before === 1;
  });
  assert.ok(one.counters.recorded > 0);
  assert.equal(one.counters.recorded + one.counters.unrecorded, 50);
});

test('a member that has died keeps the others in doubt until it is back', { skip }, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const world = new World();
  const one = await world.member(t, 'one', redis.port);
  const two = await world.member(t, 'two', redis.port);
  await Promise.all([one.store.start(), two.store.start()]);
  await world.record(one, 'alice');
  // Cut off, it goes on telling its clients, but not at once.
  one.relay.silence();
  const unrecorded = one.counters.unrecorded;
  await world.write(one, 'alice');
  assert.equal(one.counters.unrecorded, unrecorded + 1);
  assert.ok(world.longestHoldMs < 10 * LEASE_MS, `held for ${world.longestHoldMs} ms`);
  // Doubt it is, for whatever reason, until it is known who is missing: on a busy machine an answer may be late.
  const kinds = new Set<string>();
  await until('one to be missed', async () => {
    kinds.add(await world.read(two, 'alice'));
    return two.counters.doubts['member-missing'] > 0;
  });
  assert.deepEqual([...kinds], ['doubt']);
  await world.write(two, 'alice');
  one.relay.open();
  await until('doubt to end', async () => (await world.read(two, 'alice')) === 'floor');
  await until('the other one to be back', async () => (await world.read(one, 'alice')) === 'floor');
  // One that says goodbye is not missed.
  await one.store.stop();
  const missed = two.counters.doubts['member-missing'];
  await until('an answer in time', async () => (await world.read(two, 'alice')) === 'floor');
  assert.equal(two.counters.doubts['member-missing'], missed);
});

test('after a promotion nothing of the former primary is left to be asked for', { skip }, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const world = new World();
  const one = await world.member(t, 'one', redis.port);
  const two = await world.member(t, 'two', redis.port);
  await Promise.all([one.store.start(), two.store.start()]);
  await world.record(one, 'alice');
  world.primary = 'q';
  world.position += 100;
  const promoted = world.position;
  // Until it writes again, what it has recorded under the key is of the former primary; the bases are not.
  await world.record(one, 'alice');
  await until('bases of the present primary', async () => {
    const answer = await ask(two, 'alice');
    assert.equal(answer.kind, 'floor');
    if (answer.kind !== 'floor') return false;
    const all = answer.positions.every(({ primary }) => primary === 'q');
    if (all) for (const { text } of answer.positions) assert.ok(Number(text) >= promoted, text);
    return all;
  });
  // Its lease may have run out on a machine that stood still; what it must not have taken this for is a loss.
  await until('it to share', () => one.store.state.state === 'in');
  assert.ok(!world.lines.some((line) => /lost or changed/.test(line)), world.lines.join('\n'));
});

test('Redis that may forget is refused', { skip }, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const admin = await adminOf(t, redis.port);
  await admin.config('SET', 'maxmemory', '100mb');
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  const world = new World();
  const one = await world.member(t, 'one', redis.port);
  const joined = one.store.start();
  await until('it to say so', () => world.lines.some((line) => line.includes('not noeviction')));
  assert.equal((await ask(one, 'alice')).kind, 'doubt');
  await admin.config('SET', 'maxmemory-policy', 'noeviction');
  await joined;
});

test('a copy that has lost the last writes is known for another one', { skip }, async (t) => {
  const redis = await startRedis();
  const copy = await startRedis();
  t.after(() => Promise.all([redis.stop(), copy.stop()]));
  const world = new World();
  // Renewals are so far apart that nobody hears of the change but by reading.
  const members = [
    await world.member(t, 'one', redis.port, 8_000),
    await world.member(t, 'two', redis.port, 8_000),
  ] as const;
  await Promise.all(members.map(({ store }) => store.start()));
  const [one, two] = members;
  await world.write(one, 'alice');
  const copyAdmin = await adminOf(t, copy.port);
  await copyAdmin.call('REPLICAOF', '127.0.0.1', String(redis.port));
  await until('the copy', async () => (await copyAdmin.exists(redisKeys('test', 'main').key('alice'))) === 1);
  await copyAdmin.call('REPLICAOF', 'NO', 'ONE');
  await world.write(one, 'alice');
  await until('an answer', async () => (await world.read(two, 'alice')) === 'floor');
  two.relay.retarget({ host: '127.0.0.1', port: copy.port });
  const kinds = new Set<string>();
  // Until it has noticed, by the first answer of the copy or by a lease that could not be renewed.
  while (two.store.state.state === 'in') {
    kinds.add(await world.read(two, 'alice'));
    await sleep(5);
  }
  assert.deepEqual([...kinds], ['doubt']);
});

async function adminOf(t: TestContext, port: number): Promise<Redis> {
  const admin = new Redis({ port, lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null });
  admin.on('error', () => {});
  t.after(() => admin.disconnect());
  await admin.connect().catch(() => {});
  return admin;
}

interface Scene {
  readonly world: World;
  readonly members: readonly Member[];
  readonly redis: RunningPeer;
  readonly other: RunningPeer;
  readonly admin: Redis;
  readonly otherAdmin: Redis;
}

/** Each leaves Redis as it was, or healed, and takes a few lease times. */
const FAULTS: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  killed: async ({ redis }) => {
    await redis.kill('SIGKILL');
    await sleep(LEASE_MS * 2);
    await redis.start();
  },
  'killed for a moment': async ({ redis }) => {
    await redis.kill('SIGKILL');
    await redis.start();
  },
  paused: async ({ redis }) => {
    await redis.kill('SIGSTOP');
    await sleep(LEASE_MS * 2);
    await redis.kill('SIGCONT');
  },
  'paused for a moment': async ({ redis }) => {
    await redis.kill('SIGSTOP');
    await sleep(LEASE_MS / 4);
    await redis.kill('SIGCONT');
  },
  emptied: async ({ admin }) => {
    await admin.flushall();
  },
  'made a replica, with older data': async ({ admin, otherAdmin, other, redis }) => {
    // The other one has what there was a while ago, as a replica that has lost the last writes.
    await otherAdmin.call('REPLICAOF', '127.0.0.1', String(redis.port));
    await until('the copy', async () => /master_link_status:up/.test(await otherAdmin.info('replication')));
    await otherAdmin.call('REPLICAOF', 'NO', 'ONE');
    await sleep(LEASE_MS / 2);
    await admin.call('REPLICAOF', '127.0.0.1', String(other.port));
    await until('the older data', async () => /master_link_status:up/.test(await admin.info('replication')));
    await sleep(LEASE_MS / 2);
    await admin.call('REPLICAOF', 'NO', 'ONE');
  },
  'failed over to a stale replica, the old master still there for one process': async (scene) => {
    const { otherAdmin, other, redis, members } = scene;
    await otherAdmin.call('REPLICAOF', '127.0.0.1', String(redis.port));
    await until('the copy', async () => /master_link_status:up/.test(await otherAdmin.info('replication')));
    await otherAdmin.call('REPLICAOF', 'NO', 'ONE');
    await sleep(LEASE_MS / 4);
    members[0]!.relay.retarget({ host: '127.0.0.1', port: other.port });
    await sleep(LEASE_MS * 2);
    for (const { relay } of members) relay.retarget({ host: '127.0.0.1', port: other.port });
    await sleep(LEASE_MS * 2);
    for (const { relay } of members) relay.retarget({ host: '127.0.0.1', port: redis.port });
  },
  'cut off from one process': async ({ members }) => {
    members[1]!.relay.silence();
    await sleep(LEASE_MS * 2);
    members[1]!.relay.open();
  },
  'slow for one process': async ({ members }) => {
    members[1]!.relay.stall();
    await sleep(LEASE_MS * 1.5);
    members[1]!.relay.flow();
  },
};

test('under faults nothing stale is trusted, and nobody is kept waiting', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const redis = await startRedis();
  const other = await startRedis();
  t.after(() => Promise.all([redis.stop(), other.stop()]));
  const world = new World();
  const members = [
    await world.member(t, 'one', redis.port),
    await world.member(t, 'two', redis.port),
    await world.member(t, 'three', redis.port),
  ];
  await Promise.all(members.map(({ store }) => store.start()));
  const admin = await adminOf(t, redis.port);
  const otherAdmin = await adminOf(t, other.port);
  const scene = { world, members, redis, other, admin, otherAdmin };

  let stopped = false;
  let failure: Error | null = null;
  const kinds: Record<FloorAnswer['kind'], number> = { floor: 0, unknown: 0, doubt: 0 };
  const work = async (member: Member, i: number): Promise<void> => {
    for (let n = 0; !stopped; n++) {
      const key = `key ${(i + n) % 7}`;
      if ((i + n) % 3 === 0) await world.write(member, key);
      else kinds[await world.read(member, key)]++;
      await sleep(1);
    }
  };
  const workers = members.flatMap((member) =>
    Array.from({ length: 4 }, (_, i) =>
      work(member, i).catch((error: Error) => {
        failure ??= error;
      }),
    ),
  );
  for (const [name, fault] of Object.entries(FAULTS))
    await t.test(name, async () => {
      assert.ifError(failure);
      await until('all to share', () => members.every(({ store }) => store.state.state === 'in'));
      await fault(scene);
      await until('all to share again', () => {
        return (
          failure !== null ||
          members.every(({ store }) => store.state.state === 'in' && store.state.missing.length === 0)
        );
      });
      const before = kinds.floor;
      await until('watermarks to be trusted again', () => {
        return failure !== null || kinds.floor > before + 20;
      });
    });
  stopped = true;
  await Promise.all(workers);
  assert.ifError(failure);
  assert.ok(kinds.doubt > 0 && kinds.floor > 0, JSON.stringify(kinds));
  t.diagnostic(`${JSON.stringify(kinds)}, ${world.position} writes, held at most ${world.longestHoldMs} ms`);
});
