// Two proxies that share the watermarks of their sessions through a real Redis, with replicas that stand still: what a client has
// written through one, the same session reads through the other, whatever becomes of Redis meanwhile.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { ConfigInput } from '../../src/config/schema.js';
import { Watermark } from '../../src/consistency/watermark.js';
import { Tenure } from '../../src/proxy/tenure.js';
import { Relay } from '../cluster/relay.js';
import { plantError } from '../proxy/planted-error.js';
import { ON_ALL_SERVERS } from '../servers/alike.js';
import { available, availablePeer, type Kind, skipWithout } from '../servers/available.js';
import { startRedis } from '../servers/peers.js';
import { until } from '../servers/poll.js';
import { background, nextId, note, writes } from './redis-writes.js';
import { type Front, ONE_PROCESS, Stage } from './stage.js';

const LEASE_MS = 800;
/** Behind what the store says: a session goes on, and its view of the key is made. */
const OWN_ERRORS = [
  ['when others know of a write', Tenure, 'next'],
  ['when it is known what others have seen', Watermark, 'atLeast'],
] as const;

export function redisSuite(kind: Kind): void {
  const skip = skipWithout(available(kind)) || skipWithout(availablePeer('redis'));
  test(`${kind}: keys over two proxies and Redis`, { skip }, async (t) => {
    const stage = await Stage.open(t, kind);
    await t.test('one process each', (t) => pairTests(t, stage, 1));
    // What workers are to each other is the same before every kind of server.
    if (kind === 'postgres' || ON_ALL_SERVERS)
      await t.test('two workers each', (t) => pairTests(t, stage, 2));
  });
}

async function pairTests(t: TestContext, stage: Stage, workers: number): Promise<void> {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const relays = [
    new Relay({ host: '127.0.0.1', port: redis.port }),
    new Relay({ host: '127.0.0.1', port: redis.port }),
  ] as const;
  for (const relay of relays) {
    await relay.listen();
    t.after(() => relay.close());
  }
  const front = (i: 0 | 1): Promise<Front> => {
    const top: Partial<ConfigInput> = workers === 1 ? ONE_PROCESS : { workers };
    const member = `proxy ${i}`;
    const shared = { nodes: [{ port: relays[i].port }], leaseMs: LEASE_MS, member };
    return stage.front(t, { consistency: { scope: 'comment' }, redis: shared }, top);
  };
  const fronts = [await front(0), await front(1)] as const;
  const clients = [await fronts[0].connect(t), await fronts[1].connect(t)] as const;
  const admin = new Redis({ port: redis.port, maxRetriesPerRequest: null, retryStrategy: () => 50 });
  admin.on('error', () => {});
  t.after(() => admin.disconnect());

  await t.test('reads of a key go to replicas', async () => {
    for (const i of [0, 1] as const)
      await until(`a read through proxy ${i} from a replica`, async () => {
        const rows = await clients[i].query('/* scheelite: session=quiet */ SELECT node_port() AS port');
        return stage.nodeAt(rows[0]?.port) !== stage.cluster.primary.name;
      });
  });

  await stage.cluster.waitCaughtUp();
  for (const replica of stage.cluster.replicas) await replica.pauseReplay();
  t.after(async () => {
    for (const replica of stage.cluster.replicas) await replica.resumeReplay();
  });

  await t.test('a write is seen through the other proxy', async () => {
    await writes(clients, 50);
  });
  await t.test('what was read is not unseen through the other proxy', async () => {
    const id = nextId();
    await clients[0].query(`INSERT INTO notes VALUES (?, 'new')`, [id]);
    // Another session has written it; this one sees it on the primary, and from then on everywhere.
    await clients[0].query('/* scheelite: session=eve route=primary */ SELECT note FROM notes WHERE id = ?', [
      id,
    ]);
    for (let i = 0; i < 10; i++) assert.equal(await note(clients[1], 'eve', id), 'new');
  });
  await t.test('Redis is emptied', async () => {
    const stop = background(clients);
    await admin.flushall();
    await sleep(2 * LEASE_MS);
    await stop();
  });
  await t.test('Redis is paused', async () => {
    const stop = background(clients);
    await redis.kill('SIGSTOP');
    await sleep(2 * LEASE_MS);
    await redis.kill('SIGCONT');
    await sleep(LEASE_MS);
    await stop();
  });
  await t.test('Redis is made a replica', async () => {
    const other = await startRedis();
    t.after(() => other.stop());
    const stop = background(clients);
    await admin.call('REPLICAOF', '127.0.0.1', String(other.port));
    await sleep(2 * LEASE_MS);
    await admin.call('REPLICAOF', 'NO', 'ONE');
    await sleep(LEASE_MS);
    await stop();
  });
  await t.test('one proxy is cut off from Redis', async () => {
    const stop = background(clients);
    relays[0].silence();
    await sleep(3 * LEASE_MS);
    relays[0].open();
    await sleep(LEASE_MS);
    await stop();
  });
  await t.test('Redis is killed, and comes back empty', async () => {
    const stop = background(clients);
    await redis.kill('SIGKILL');
    await sleep(2 * LEASE_MS);
    await redis.start();
    await sleep(2 * LEASE_MS);
    await stop();
  });
  if (workers === 1)
    for (const [what, owner, method] of OWN_ERRORS)
      await t.test(`an error of our own ${what} ends its client`, async (t) => {
        const client = await fronts[0].connect(t);
        const id = nextId();
        // The one that reads has not seen the key: Redis is asked for what it must see.
        await clients[1].query(`/* scheelite: session=own${id} */ INSERT INTO notes VALUES (?, 'new')`, [id]);
        const planted = plantError(t, owner, method);
        const insert = `/* scheelite: session=own${id} */ INSERT INTO notes VALUES (?, 'b')`;
        await assert.rejects(async () => {
          // While its process is in doubt nothing is asked of Redis.
          for (const end = performance.now() + 60_000; performance.now() < end; ) {
            await client.query(insert, [nextId()]);
            await note(client, `own${id}`, id);
          }
        });
        assert.ok(planted.isOver);
        assert.equal(await note(clients[0], `own${id}`, id), 'new');
      });
  await t.test('afterwards reads of a key go to replicas again', async () => {
    for (const replica of stage.cluster.replicas) await replica.resumeReplay();
    for (const i of [0, 1] as const)
      await until(`a read through proxy ${i} from a replica`, async () => {
        const rows = await clients[i].query('/* scheelite: session=later */ SELECT node_port() AS port');
        return stage.nodeAt(rows[0]?.port) !== stage.cluster.primary.name;
      });
    if (workers > 1) return;
    const { store, errors } = fronts[0].counters();
    assert.equal(errors['internal-error'], OWN_ERRORS.length);
    assert.ok(store.recorded > 0 && store.unrecorded > 0, JSON.stringify(store));
    assert.ok(
      Object.values(store.doubts).some((count) => count > 0),
      JSON.stringify(store),
    );
  });
}
