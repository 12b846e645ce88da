// What a session may rely on: it reads what it has written, and never an older state than it has seen, on whatever node it
// reads and however late the replicas are.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import type { Front, Stage } from './stage.js';

const READ = 'SELECT value, node_port() AS port FROM counters WHERE id = ?';

interface Seen {
  readonly value: number;
  readonly node: string;
}

export async function consistencyTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const front = await stage.front(t);
  const owner = await front.connect(t);
  for (let id = 1; id <= 8; id++) await owner.query('INSERT INTO counters VALUES (?, 0)', [id]);

  const read = async (client: Client, id: number): Promise<Seen> => {
    const [row] = await client.query(READ, [id]);
    return { value: Number(row?.value), node: stage.nodeAt(row?.port) };
  };
  const isReplica = ({ node }: Seen) => node !== cluster.primary.name;

  await t.test('a session reads its own write at once, through many writes', async (t) => {
    const clients = await front.connectMany(t, 4);
    await Promise.all(
      clients.map(async (client, i) => {
        for (let value = 1; value <= 100; value++) {
          await client.query('UPDATE counters SET value = ? WHERE id = ?', [value, i + 1]);
          assert.equal((await read(client, i + 1)).value, value);
        }
      }),
    );
  });

  await t.test('a session that has written reads from replicas as soon as they have it', async (t) => {
    const client = await front.connect(t);
    for (let value = 1; value <= 10; value++) {
      await client.execute('UPDATE counters SET value = ? WHERE id = ?', [value, 5]);
      await until('a read of the written value from a replica', async () => {
        const seen = await read(client, 5);
        assert.equal(seen.value, value);
        return isReplica(seen);
      });
    }
  });

  await t.test('a session reads its own write while the replicas are late', async (t) => {
    const [late, other] = cluster.replicas;
    await late!.delay(2000);
    await other!.pauseReplay();
    t.after(async () => {
      await late!.delay(0);
      await other!.resumeReplay();
    });
    const writer = await front.connect(t);
    const stranger = await front.connect(t);
    for (let value = 1000; value < 1100; value++) {
      await writer.query('UPDATE counters SET value = ? WHERE id = ?', [value, 6]);
      const seen = await read(writer, 6);
      assert.equal(seen.value, value, `read on ${seen.node}`);
    }
    // Who owes nothing still reads from replicas, late as they are: this is not the primary serving everybody.
    assert.ok(isReplica(await read(stranger, 6)));
  });
  await cluster.waitCaughtUp();

  await t.test('a transaction that was rolled back leaves nothing to wait for, nor to see', async (t) => {
    const client = await front.connect(t);
    const before = await read(client, 6);
    await client.query('BEGIN');
    await client.query('UPDATE counters SET value = -1 WHERE id = 6');
    await client.query('ROLLBACK');
    await until('a read from a replica', async () => {
      const seen = await read(client, 6);
      assert.equal(seen.value, before.value);
      return isReplica(seen);
    });
  });

  await t.test('no session goes back in time while replicas stop and go on', (t) =>
    neverBack(t, stage, front, read),
  );
  await cluster.waitCaughtUp();

  await t.test('eventual: replicas over maxLagMs take no reads, and take them again', async (t) => {
    const strict = await stage.front(t, { consistency: { level: 'eventual', maxLagMs: 1000 } });
    const [stopped, running] = cluster.replicas;
    await stopped!.pauseReplay();
    const resume = () => stopped!.resumeReplay();
    t.after(resume);
    const writer = await strict.connect(t);
    const lag = { at: 0 };
    await until('the stopped replica to lag too much', async () => {
      await writer.query('UPDATE counters SET value = value + 1 WHERE id = 7');
      return (
        !strict.nodeStatus(stopped!.name).takesReads || (strict.nodeStatus(stopped!.name).lagMs ?? 0) > 1000
      );
    });
    lag.at = strict.nodeStatus(stopped!.name).lagMs ?? 0;
    assert.deepEqual(await strict.spread(t, 6), { [running!.name]: 6 }, `lag ${lag.at} ms`);
    await resume();
    await until('it to take reads again', async () => ((await strict.spread(t, 4))[stopped!.name] ?? 0) > 0);
  });
}

async function neverBack(
  t: TestContext,
  stage: Stage,
  front: Front,
  read: (client: Client, id: number) => Promise<Seen>,
): Promise<void> {
  const [first, second] = stage.cluster.replicas;
  let ended = false;
  const writer = await front.connect(t);
  const writing = (async () => {
    while (!ended) {
      await writer.query('UPDATE counters SET value = value + 1 WHERE id = 8');
      await sleep(1);
    }
  })();
  const served = new Map<string, number>();
  const readers = (await front.connectMany(t, 4)).map(async (client, i) => {
    let last: Seen = { value: 0, node: 'none' };
    while (!ended) {
      const seen = await read(client, 8);
      assert.ok(
        seen.value >= last.value,
        `reader ${i}: ${seen.value} on ${seen.node} after ${last.value} on ${last.node}`,
      );
      last = seen;
      served.set(seen.node, (served.get(seen.node) ?? 0) + 1);
    }
  });
  const running = Promise.all([writing, ...readers]).finally(() => {
    ended = true;
  });
  running.catch(() => {});
  try {
    for (let round = 0; round < 3 && !ended; round++) {
      for (const node of [first!, second!]) {
        await node.pauseReplay();
        await sleep(250);
        await node.resumeReplay();
        await sleep(100);
      }
    }
  } finally {
    ended = true;
    await running;
  }
  for (const name of stage.replicaNames) assert.ok((served.get(name) ?? 0) > 0, `${name} served no read`);
  t.diagnostic(`reads: ${[...served].map(([name, count]) => `${name} ${count}`).join(', ')}`);
}
