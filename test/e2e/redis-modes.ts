// Two proxies that share watermarks through what Redis is run as in earnest: Sentinels with a replica, a Cluster, TLS with a user of
// its own. Replicas of the database stand still, so that a read which trusts too much shows it; the figures are told.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { freePort } from '../../src/cli/demo/port.js';
import type { ConfigInput } from '../../src/config/schema.js';
import { redisKeys } from '../../src/consistency/redis-scripts.js';
import { available, availablePeer, type Kind, skipWithout } from '../servers/available.js';
import { startRedis } from '../servers/peers.js';
import { until } from '../servers/poll.js';
import { startRedisCluster, startSentinels, tlsFiles, tlsSettings } from '../servers/redis.js';
import { background, type Clients, writes } from './redis-writes.js';
import { type Front, ONE_PROCESS, Stage } from './stage.js';

const LEASE_MS = 2_000;
/** The machine is busy, and its timers are late. */
const TOLERANCE_MS = 8_000;

type RedisInput = NonNullable<ConfigInput['clusters'][number]['redis']>;

export function redisModesSuite(kind: Kind): void {
  const skip = skipWithout(available(kind)) || skipWithout(availablePeer('redis'));
  test(`${kind}: keys over two proxies and Redis with company`, { skip }, async (t) => {
    const stage = await Stage.open(t, kind);
    await t.test('Sentinels', (t) => sentinelTests(t, stage));
    await t.test('a Cluster', (t) => clusterTests(t, stage));
    await t.test('TLS and a user', (t) => tlsTests(t, stage));
  });
}

/** Two proxies before the stage whose replicas stand still from then on; they share keys already. */
async function pairOn(t: TestContext, stage: Stage, redis: RedisInput) {
  const front = (member: string): Promise<Front> => {
    const shared = {
      consistency: { scope: 'comment' },
      redis: { leaseMs: LEASE_MS, member, ...redis },
    } as const;
    return stage.front(t, shared, ONE_PROCESS);
  };
  const fronts = await Promise.all([front('one'), front('two')]);
  const clients: Clients = [await fronts[0]!.connect(t), await fronts[1]!.connect(t)];
  await trusted(stage, fronts, clients);
  await stage.cluster.waitCaughtUp();
  for (const replica of stage.cluster.replicas) await replica.pauseReplay();
  t.after(async () => {
    for (const replica of stage.cluster.replicas) await replica.resumeReplay();
    await stage.cluster.waitCaughtUp();
  });
  const unrecorded = (): number => fronts.reduce((sum, each) => sum + each.counters().store.unrecorded, 0);
  await until('20 writes that are all recorded', async () => {
    const before = unrecorded();
    await writes(clients, 20);
    return unrecorded() === before;
  });
  return { fronts, clients };
}

/** No process is in doubt, and keys that nobody writes to are read from replicas. */
async function trusted(stage: Stage, fronts: readonly Front[], clients: Clients): Promise<void> {
  await until('all to share', () =>
    fronts.every((front) => {
      const { joined, missing } = front.counters().store;
      return joined === 1 && missing === 0;
    }),
  );
  for (const client of clients)
    await until('a read from a replica', async () => {
      const rows = await client.query('/* scheelite: session=quiet */ SELECT node_port() AS port');
      return stage.nodeAt(rows[0]?.port) !== stage.cluster.primary.name;
    });
}

/** `fault` leaves Redis well; nothing is stale meanwhile, nobody is kept waiting for longer than a lease. */
async function survives(
  t: TestContext,
  stage: Stage,
  { fronts, clients }: { readonly fronts: readonly Front[]; readonly clients: Clients },
  fault: () => Promise<void>,
): Promise<void> {
  const stop = background(clients);
  const before = fronts.map((front) => front.counters().store.recorded);
  await fault();
  const from = performance.now();
  await until('all to share again', () =>
    fronts.every((front, i) => {
      const { joined, missing, recorded } = front.counters().store;
      return joined === 1 && missing === 0 && recorded > before[i]!;
    }),
  );
  const tookMs = performance.now() - from;
  const { done, longestMs } = await stop();
  t.diagnostic(
    `${done} writes seen, none kept for more than ${Math.round(longestMs)} ms; shared ${Math.round(tookMs)} ms later`,
  );
  assert.ok(longestMs < LEASE_MS + TOLERANCE_MS, `${longestMs} ms`);
  for (const replica of stage.cluster.replicas) await replica.resumeReplay();
  await trusted(stage, fronts, clients);
  for (const replica of stage.cluster.replicas) await replica.pauseReplay();
}

async function sentinelTests(t: TestContext, stage: Stage): Promise<void> {
  const redis = await startSentinels(t, 'keys');
  const nodes = redis.sentinels.map(({ port }) => ({ port }));
  const pair = await pairOn(t, stage, { mode: 'sentinel', nodes, sentinel: { name: 'keys' } });
  await t.test('the master dies', (t) => survives(t, stage, pair, () => redis.killMaster()));
  await t.test('one Sentinel is frozen while they fail over', (t) =>
    survives(t, stage, pair, async () => {
      const [frozen, other] = redis.sentinels;
      await frozen!.kill('SIGSTOP');
      t.after(() => frozen!.kill('SIGCONT'));
      await redis.failOver(other!);
    }),
  );
}

async function clusterTests(t: TestContext, stage: Stage): Promise<void> {
  const redis = await startRedisCluster(t, redisKeys('scheelite', 'main').life);
  const nodes = redis.peers.map(({ port }) => ({ port }));
  const pair = await pairOn(t, stage, { mode: 'cluster', nodes });
  await t.test('a replica takes over', (t) => survives(t, stage, pair, () => redis.failOver()));
  await t.test('the master dies', (t) => survives(t, stage, pair, () => redis.killMaster()));
  await t.test('the slot moves', (t) => survives(t, stage, pair, () => redis.moveSlot()));
}

/** No more than this the proxy needs; README says the same. */
const RIGHTS = [
  ...['~scheelite:*', '+info', '+eval', '+time', '+get', '+set', '+pexpire'],
  ...['+hget', '+hset', '+hsetnx', '+hdel', '+hgetall', '+hvals'],
];

async function tlsTests(t: TestContext, stage: Stage): Promise<void> {
  const files = tlsFiles(t);
  const port = await freePort();
  const redis = await startRedis(
    [
      ...tlsSettings(files, port),
      ...['--user', 'default', 'off', '--user', 'keys', 'on', '>secret', ...RIGHTS],
    ],
    port,
  );
  t.after(() => redis.stop());
  const login = { username: 'keys', password: 'secret', tls: { ca: files.ca } };
  const pair = await pairOn(t, stage, { nodes: [{ port }], ...login });
  await t.test('it dies, and comes back empty', (t) =>
    survives(t, stage, pair, async () => {
      await redis.kill('SIGKILL');
      await redis.start();
    }),
  );
}
