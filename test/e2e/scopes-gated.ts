// Keys and levels together with gates and rules: what one connection of a key has shown, no other one goes back behind, wherever
// its reads run. Replicas stop and go meanwhile.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { ONE_PROCESS, type Stage } from './stage.js';

const READ = 'SELECT value, node_port() AS port FROM counters WHERE id = ?';
const READERS = 3;
const MIN_READS = 300;
const MIN_ON_REPLICAS = 40;

export async function gatedScopeTests(t: TestContext, stage: Stage, set: (level: string) => string) {
  const { cluster } = stage;
  const owner = await stage.direct(t, cluster.primary);
  await owner.query('INSERT INTO counters VALUES (201, 0), (202, 0), (203, 0), (204, 0), (205, 0)');
  await cluster.waitCaughtUp();
  const read = async (client: Client, id: number) => {
    const [row] = await client.query(READ, [id]);
    const node = stage.nodeAt(row?.port);
    return { value: Number(row?.value), onReplica: node !== cluster.primary.name };
  };
  const write = (client: Client, id: number, value: number) =>
    client.query('UPDATE counters SET value = ? WHERE id = ?', [value, id]);
  const rareProbes = { ...cluster.superuser, intervalMs: 2000, timeoutMs: 10_000 };

  await t.test('what another connection of the key has written is read by gate', async (t) => {
    const front = await stage.front(t, { consistency: { scope: 'user' }, monitor: rareProbes });
    const [writer, reader] = await front.connectMany(t, 2);
    let value = 0;
    await until('a read by gate', async () => {
      const before = front.counters().reads['fresh-by-gate'];
      await write(writer!, 201, ++value);
      await cluster.waitCaughtUp();
      const seen = await read(reader!, 201);
      assert.equal(seen.value, value);
      return seen.onReplica && front.counters().reads['fresh-by-gate'] > before;
    });
  });

  await t.test('what one connection of a key has read on a replica, another one reads too', async (t) => {
    const front = await stage.front(t, { consistency: { scope: 'user' } }, ONE_PROCESS);
    const [one, other] = await front.connectMany(t, 2);
    const [behind, ahead] = cluster.replicas;
    const readBy = async (client: Client, hint: string, seconds = 0) => {
      const pause = seconds === 0 ? '' : `, pause(${seconds}) AS paused`;
      const sql = `SELECT value, node_port() AS port${pause} FROM counters WHERE id = 205`;
      const [row] = await client.query(`/* scheelite: ${hint} */ ${sql}`);
      return { value: Number(row?.value), node: stage.nodeAt(row?.port) };
    };
    /** Wherever it is fresh enough; what it sees on the primary is owed from then on. */
    const readAt = (client: Client, { name }: TestNode) => readBy(client, `route=node:${name}`);
    /** There and nowhere else, once it is fresh enough. */
    const readOnly = (client: Client, { name }: TestNode, seconds = 0) =>
      readBy(client, `route=node:${name} fallback=hold`, seconds);
    let value = 0;
    /** One replica has what the other one lacks, and the key has seen neither; it may still read on both. */
    const part = async () => {
      await behind!.resumeReplay();
      await cluster.waitCaughtUp();
      await readOnly(other!, behind!);
      await behind!.pauseReplay();
      // Past the proxy: the key owes it nothing.
      await write(owner, 205, ++value);
      await until('it to be replicated', async () => {
        const [row] = await ahead!.admin('SELECT value FROM counters WHERE id = 205');
        return Number(row?.value) === value;
      });
    };
    t.after(async () => {
      await behind!.resumeReplay();
      await cluster.waitCaughtUp();
    });
    await part();
    assert.deepEqual(await readAt(one!, behind!), { value: value - 1, node: behind!.name }, 'as it may');
    assert.deepEqual(await readOnly(one!, ahead!), { value, node: ahead!.name });
    assert.deepEqual(await readAt(other!, behind!), { value, node: cluster.primary.name });

    // The same while another read is under way on the replica that is behind: its end must not make that one good again.
    for (let seconds = 1, overlapped = false; !overlapped; seconds *= 3) {
      await part();
      let ended = false;
      const { units } = front.node(behind!.name);
      const before = units.replica;
      const slow = readOnly(one!, behind!, seconds).finally(() => {
        ended = true;
      });
      await until('it to run', () => units.replica > before);
      assert.deepEqual(await readOnly(other!, ahead!), { value, node: ahead!.name });
      overlapped = !ended;
      assert.deepEqual(await slow, { value: value - 1, node: behind!.name });
      if (overlapped) assert.deepEqual(await readAt(one!, behind!), { value, node: cluster.primary.name });
    }
  });

  for (const workers of [1, 2])
    await t.test(`connections of a key never go back, ${workers} workers`, async (t) => {
      const consistency = { scope: 'user' as const, waitMs: 20 };
      const front = await stage.front(t, { consistency }, workers === 1 ? {} : { workers });
      const [writer, ...readers] = await front.connectMany(t, READERS + 1);
      const id = 200 + workers + 1;
      let shown = 0;
      let reads = 0;
      let onReplicas = 0;
      const isEnough = () => reads >= MIN_READS && onReplicas >= MIN_ON_REPLICAS;
      const work = [
        (async () => {
          for (let value = 1; !isEnough(); value++) {
            await write(writer!, id, value);
            shown = Math.max(shown, value);
            await sleep(value % 5);
          }
        })(),
        ...readers.map(async (reader) => {
          while (!isEnough()) {
            const floor = shown;
            const seen = await read(reader, id);
            assert.ok(seen.value >= floor, `${seen.value} was read where ${floor} had been shown`);
            shown = Math.max(shown, seen.value);
            reads++;
            if (seen.onReplica) onReplicas++;
          }
        }),
        (async () => {
          while (!isEnough())
            for (const replica of cluster.replicas) {
              await replica.pauseReplay();
              await sleep(30);
              await replica.resumeReplay();
              await sleep(30);
            }
        })(),
      ];
      await Promise.all(work);
    });

  await t.test('a client sets levels strong and bounded for itself', async (t) => {
    const front = await stage.front(t);
    const [writer, reader] = await front.connectMany(t, 2);
    await cluster.waitCaughtUp();
    for (const replica of cluster.replicas) await replica.pauseReplay();
    t.after(async () => {
      for (const replica of cluster.replicas) await replica.resumeReplay();
      await cluster.waitCaughtUp();
    });
    await reader!.query(set('strong'));
    for (let value = 1; value <= 10; value++) {
      await write(writer!, 204, value);
      assert.deepEqual(await read(reader!, 204), { value, onReplica: false });
    }
    await reader!.query(set('bounded'));
    // The replicas stand still: only the bound leads away from them.
    await until('a read within the bound', async () => (await read(reader!, 204)).value === 10);
  });

  await t.test('what a client sets is stronger than a rule, a hint than what it sets', async (t) => {
    const rules = [{ match: {}, action: { consistency: 'primary' as const } }];
    const front = await stage.front(t, { rules });
    const client = await front.connect(t);
    const { primary } = cluster;
    assert.equal(await front.whereIs(client), primary.name, 'the rule');
    await client.query(set('eventual'));
    assert.notEqual(await front.whereIs(client), primary.name, 'the session');
    const [row] = await client.query('/* scheelite: consistency=primary */ SELECT node_port() AS port');
    assert.equal(stage.nodeAt(row?.port), primary.name, 'the hint');
  });
}
