// Replicas that die, come back and are gone altogether, under clients that only read and must not notice.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import type { Front, Stage } from './stage.js';

export async function replicaTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const [first, second] = cluster.replicas;

  await t.test('a replica killed under load: no read fails, and it comes back by itself', async (t) => {
    const front = await stage.front(t);
    const load = await readLoad(t, front, 8);
    await load.more(200);
    await first!.kill('SIGKILL');
    await load.more(200);
    await front.seesReplicas([second!.name]);
    // Answers of before may still be on their way.
    await load.everyoneMore(3);
    load.served.clear();
    await load.more(200);
    assert.deepEqual([...load.served.keys()], [second!.name]);
    await first!.start();
    await until('it to serve reads again', () => (load.served.get(first!.name) ?? 0) > 0);
    await load.end();
  });

  await t.test(
    'a replica frozen under load: its reads run elsewhere, and it comes back by itself',
    async (t) => {
      const front = await stage.front(t, {
        monitor: { ...cluster.superuser, intervalMs: 100, timeoutMs: 300 },
      });
      const load = await readLoad(t, front, 6);
      await load.more(50);
      await first!.kill('SIGSTOP');
      try {
        await front.seesReplicas([second!.name]);
        // All six go on, also those that were waiting for an answer of the frozen one.
        await load.everyoneMore(20);
      } finally {
        await first!.kill('SIGCONT');
      }
      await until('it to take reads again', () => front.nodeStatus(first!.name).takesReads);
      load.served.clear();
      await until('it to serve reads again', () => (load.served.get(first!.name) ?? 0) > 0);
      await load.end();
    },
  );

  await t.test('no replica: the primary serves reads, until one is back', async (t) => {
    const front = await stage.front(t);
    const load = await readLoad(t, front, 4);
    await load.more(50);
    await Promise.all([first!.kill('SIGKILL'), second!.kill('SIGKILL')]);
    await front.seesReplicas([]);
    await load.everyoneMore(3);
    load.served.clear();
    await load.more(50);
    assert.deepEqual([...load.served.keys()], [cluster.primary.name]);
    const client = await front.connect(t);
    await client.query("INSERT INTO notes VALUES (500, 'alone')");
    assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 500'), [{ note: 'alone' }]);
    await Promise.all([first!.start(), second!.start()]);
    await until('both to serve reads again', () =>
      stage.replicaNames.every((name) => (load.served.get(name) ?? 0) > 0),
    );
    await load.end();
  });
  await cluster.waitCaughtUp();
}

interface ReadLoad {
  /** Reads by node. */
  readonly served: Map<string, number>;
  /** Resolves after that many more reads. */
  more(reads: number): Promise<void>;
  /** The same, of every single client. */
  everyoneMore(reads: number): Promise<void>;
  /** Ends it; rejects with the first error that a client saw. */
  end(): Promise<void>;
}

/** Autocommit reads by text and by prepared statement, without a pause. */
export async function readLoad(t: TestContext, front: Front, clients: number): Promise<ReadLoad> {
  const served = new Map<string, number>();
  let total = 0;
  const totals: number[] = [];
  let ended = false;
  let failure: unknown = null;
  const sql = 'SELECT name, node_port() AS port FROM items WHERE id = ?';
  const loop = async (client: Client, index: number) => {
    const prepared = index % 2 === 1;
    totals[index] = 0;
    while (!ended) {
      const [row] = await (prepared ? client.execute(sql, [2]) : client.query(sql, [2]));
      assert.equal(row?.name, 'two');
      const node = front.nodeAt(row?.port);
      served.set(node, (served.get(node) ?? 0) + 1);
      total++;
      totals[index]!++;
      await sleep(1);
    }
    assert.equal(client.broken, null);
  };
  const all = (await front.connectMany(t, clients)).map((client, i) => loop(client, i));
  const running = Promise.all(all).catch((error: unknown) => {
    failure = error;
    ended = true;
  });
  const check = () => {
    if (failure !== null) throw new Error('a client saw an error', { cause: failure });
  };
  return {
    served,
    async more(reads) {
      const goal = total + reads;
      await until(`${reads} more reads`, () => failure !== null || total >= goal);
      check();
    },
    async everyoneMore(reads) {
      const goals = totals.map((count) => count + reads);
      await until(
        `${reads} more reads of every client`,
        () => failure !== null || totals.every((count, i) => count >= goals[i]!),
      );
      check();
    },
    async end() {
      ended = true;
      await running;
      check();
    },
  };
}
