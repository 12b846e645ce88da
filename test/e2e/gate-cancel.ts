// What becomes of long reads behind a gate: the copy on a replica that was refused is ended, and a cancel ends the statement
// wherever it runs.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import pg from 'pg';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import * as onMysql from './mysql-activity.js';
import * as onPostgres from './postgres-activity.js';
import { cancelRequest } from './postgres-wire.js';
import type { Stage } from './stage.js';

export async function gateCancelTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  // MySQL lets nobody cancel a statement while it is in a routine of another definer.
  const LONG = stage.kind === 'postgres' ? 'SELECT pause(600) AS n' : 'SELECT SLEEP(600) AS n';
  const owner = await stage.direct(t, cluster.primary);
  await owner.query('INSERT INTO counters VALUES (401, 0)');
  await cluster.waitCaughtUp();
  const front = await stage.front(t, {
    monitor: { ...cluster.superuser, intervalMs: 2000, timeoutMs: 10_000 },
  });
  const pause = () => Promise.all(cluster.replicas.map((node) => node.pauseReplay()));
  const resume = () => Promise.all(cluster.replicas.map((node) => node.resumeReplay()));
  t.after(resume);

  const runningOn = (nodes: readonly TestNode[]): Promise<number> => {
    const { running } = stage.kind === 'postgres' ? onPostgres : onMysql;
    return running(stage, LONG, nodes);
  };
  const refused = () =>
    stage.replicaNames.reduce((sum, name) => sum + front.node(name).retries['gate-failed'], 0);

  await t.test('the copy on a replica that was refused is ended there', async (t) => {
    await pause();
    const before = refused();
    await until('a gate that refuses', async () => {
      const client = await front.connect(t);
      await client.query('UPDATE counters SET value = value + 1 WHERE id = 401');
      // Its position is known by then.
      await client.query('SELECT value FROM counters WHERE id = 401');
      client.query(LONG).catch(() => null);
      await until('it to run on the primary', async () => (await runningOn([cluster.primary])) > 0);
      client.kill();
      await until('it to be ended', async () => (await runningOn(cluster.nodes)) === 0);
      return refused() > before;
    });
    await resume();
    await cluster.waitCaughtUp();
  });

  if (stage.kind !== 'postgres') return;
  for (const late of [false, true])
    await t.test(`a cancel of a gated read, ${late ? 'refused' : 'valid'}`, async (t) => {
      const { host, port } = front.proxy;
      const { user, password, database } = cluster.user;
      for (let i = 0; i < 5; i++) {
        const client = new pg.Client({ host, port, user, password, database });
        client.on('error', () => {});
        await client.connect();
        t.after(() => client.end().catch(() => {}));
        if (late) await pause();
        await client.query('UPDATE counters SET value = value + 1 WHERE id = 401');
        if (!late) await cluster.waitCaughtUp();
        const reading = client.query(LONG).then(
          () => 'answered',
          (error: { code?: string }) => error.code,
        );
        await until('it to run', async () => (await runningOn(cluster.nodes)) > 0);
        const { processID: processId, secretKey } = client as unknown as {
          processID: number;
          secretKey: number;
        };
        await cancelRequest(front.proxy, { processId, secretKey });
        assert.equal(await reading, '57014');
        await until('nothing to run any more', async () => (await runningOn(cluster.nodes)) === 0);
        assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
        if (late) {
          await resume();
          await cluster.waitCaughtUp();
        }
      }
    });
}
