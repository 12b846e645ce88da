// The levels of consistency beside the usual one, and waiting for a replica in place of the primary, over replicas that
// stop and go on.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CONSISTENCY_LEVELS } from '../../src/config/schema.js';
import { configFor } from '../proxy/proxy-under-test.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { type Front, FUNCTIONS, type Stage } from './stage.js';

type Level = (typeof CONSISTENCY_LEVELS)[number];

const READ = 'SELECT value, node_port() AS port FROM counters WHERE id = ?';
const BOUND_MS = 1000;

export async function levelTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const owner = await stage.direct(t, cluster.primary);
  for (let id = 201; id <= 206; id++) await owner.query('INSERT INTO counters VALUES (?, 0)', [id]);
  await cluster.waitCaughtUp();
  const each = (what: 'pauseReplay' | 'resumeReplay') =>
    Promise.all(cluster.replicas.map((node) => node[what]()));

  const read = async (client: Client, id: number, sql = READ) => {
    const [row] = await client.execute(sql, [id]);
    const node = stage.nodeAt(row?.port);
    return { value: Number(row?.value), onReplica: node !== cluster.primary.name };
  };
  const write = (client: Client, id: number, value: number) =>
    client.query('UPDATE counters SET value = ? WHERE id = ?', [value, id]);

  await t.test(
    'by listener, by user, by what the client sets: the later one counts, also after a reload',
    async (t) => {
      const front = await stage.front(t);
      const client = await front.connect(t);
      const { user } = cluster;
      const told = async (listener: Level | null, own: Level | null) => {
        const config = configFor(cluster, {
          routing: { readFunctions: FUNCTIONS },
          users: [{ name: user.user, password: user.password, ...(own && { consistency: { level: own } }) }],
        });
        const listeners = config.listeners.map((each) =>
          listener === null ? each : { ...each, consistency: { level: listener } },
        );
        await front.reload({ ...config, listeners });
      };
      const isOnReplica = async () => (await read(client, 202)).onReplica;
      await told('primary', null);
      assert.equal(await isOnReplica(), false);
      await told('primary', 'eventual');
      assert.equal(await isOnReplica(), true);
      await told('eventual', 'primary');
      assert.equal(await isOnReplica(), false);
      await client.query(
        stage.kind === 'postgres'
          ? "SET scheelite.consistency = 'eventual'"
          : "SET @scheelite_consistency = 'eventual'",
      );
      assert.equal(await isOnReplica(), true);
      await client.query(
        stage.kind === 'postgres' ? 'RESET scheelite.consistency' : 'SET @scheelite_consistency = NULL',
      );
      assert.equal(await isOnReplica(), false);
      await told(null, null);
      await until('reads on replicas again', isOnReplica);
    },
  );

  await t.test('strong: a read sees what any other session has written before it', async (t) => {
    const front = await stage.front(t, { consistency: { level: 'strong' } });
    t.after(() => each('resumeReplay'));
    const writer = await front.connect(t);
    const readers = await front.connectMany(t, 4);
    let value = 0;
    let onReplicas = 0;
    const round = async () => {
      await write(writer, 201, ++value);
      for (const seen of await Promise.all(readers.map((reader) => read(reader, 201)))) {
        assert.equal(seen.value, value);
        if (seen.onReplica) onReplicas++;
      }
    };
    await until('reads from replicas', async () => {
      await round();
      await cluster.waitCaughtUp();
      for (const reader of readers) {
        const seen = await read(reader, 201);
        assert.equal(seen.value, value);
        if (seen.onReplica) onReplicas++;
      }
      return onReplicas > 10;
    });
    await each('pauseReplay');
    for (let i = 0; i < 20; i++) await round();
    await each('resumeReplay');
    for (let i = 0; i < 20; i++) await round();
    await cluster.waitCaughtUp();
  });

  await t.test('strong, by a hint: one statement', async (t) => {
    const front = await stage.front(t);
    t.after(() => each('resumeReplay'));
    await each('pauseReplay');
    const writer = await front.connect(t);
    const reader = await front.connect(t);
    await write(writer, 202, 5);
    assert.equal((await read(reader, 202, `/* scheelite: consistency=strong */ ${READ}`)).value, 5);
    await each('resumeReplay');
    await cluster.waitCaughtUp();
  });

  await t.test('bounded: no read is older than the bound, and replicas within it serve', async (t) => {
    const front = await stage.front(t, { consistency: { level: 'bounded', boundMs: BOUND_MS } });
    t.after(() => each('resumeReplay'));
    const writer = await front.connect(t);
    const written: { value: number; atMs: number }[] = [];
    let ended = false;
    const writing = (async () => {
      for (let value = 1; !ended; value++) {
        await write(writer, 203, value);
        written.push({ value, atMs: performance.now() });
        await sleep(2);
      }
    })();
    const counts = { replica: 0, primary: 0, old: 0 };
    const readers = (await front.connectMany(t, 3)).map(async (client) => {
      while (!ended) {
        const beginMs = performance.now();
        const newest = written.at(-1)?.value ?? 0;
        const seen = await read(client, 203);
        const due = written.findLast(({ atMs }) => atMs < beginMs - BOUND_MS)?.value ?? 0;
        assert.ok(seen.value >= due, `${seen.value} was seen, ${due} is older than the bound`);
        if (seen.value < newest) counts.old++;
        counts[seen.onReplica ? 'replica' : 'primary']++;
        await sleep(2);
      }
    });
    const running = Promise.all([writing, ...readers]).finally(() => {
      ended = true;
    });
    running.catch(() => {});
    try {
      for (let round = 0; round < 2 && !ended; round++) {
        await each('pauseReplay');
        const before = counts.primary;
        await until(
          'the primary to serve in place of late replicas',
          () => ended || counts.primary > before + 20,
        );
        await each('resumeReplay');
        const then = counts.replica;
        await until('replicas to serve again', () => ended || counts.replica > then + 20);
      }
    } finally {
      ended = true;
      await running;
    }
    t.diagnostic(JSON.stringify(counts));
    assert.ok(counts.old > 0, 'within the bound an older state is good enough');
    await cluster.waitCaughtUp();
  });

  await t.test('waitMs: a read waits for a replica that comes to have it', async (t) => {
    const front = await stage.front(t, { consistency: { waitMs: 30_000 } });
    t.after(() => each('resumeReplay'));
    const client = await front.connect(t);
    await read(client, 204);
    await each('pauseReplay');
    await write(client, 204, 9);
    const reading = read(client, 204);
    await waiting(front);
    await each('resumeReplay');
    assert.deepEqual(await reading, { value: 9, onReplica: true });
    assert.ok(front.counters().reads.waited > 0);
    await cluster.waitCaughtUp();
  });

  await t.test('waitMs: the primary answers when the time is over', async (t) => {
    const front = await stage.front(t, { consistency: { waitMs: 300 } });
    t.after(() => each('resumeReplay'));
    const client = await front.connect(t);
    await read(client, 205);
    await each('pauseReplay');
    await write(client, 205, 4);
    const beginMs = performance.now();
    assert.deepEqual(await read(client, 205), { value: 4, onReplica: false });
    assert.ok(performance.now() - beginMs >= 290, 'it did not wait');
    await each('resumeReplay');
    await cluster.waitCaughtUp();
  });

  await t.test('a client that goes while its read waits leaves nothing behind', async (t) => {
    const front = await stage.front(t, { consistency: { waitMs: 60_000 } });
    t.after(() => each('resumeReplay'));
    const client = await front.connect(t);
    await read(client, 206);
    await each('pauseReplay');
    await write(client, 206, 1);
    // A driver that is cut off may say nothing more of it.
    read(client, 206).catch(() => null);
    await waiting(front);
    client.kill();
    await until('nobody to wait', () => front.counters().holding === 0);
    await each('resumeReplay');
    await cluster.waitCaughtUp();
  });
}

const waiting = (front: Front) => until('a read to wait', () => front.counters().holding > 0);
