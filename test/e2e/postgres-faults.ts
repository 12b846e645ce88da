// What goes wrong on PostgreSQL's side and what a client sees of it: backends that are terminated, plans that no longer fit,
// DDL that replicas lack, cancels that come late.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { backends, running } from './postgres-activity.js';
import { openWire, trustingFront } from './postgres-protocol.js';
import { cancelRequest, say } from './postgres-wire.js';
import { readLoad } from './replicas.js';
import { rejects, type Stage } from './stage.js';

export async function faultTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const { primary } = cluster;
  const [replica] = cluster.replicas as [TestNode];
  const front = await stage.front(t);
  const terminate = (node: TestNode) =>
    node.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");

  await t.test('backends of a replica terminated under a read load: no client sees it', async (t) => {
    const load = await readLoad(t, front, 8);
    for (let i = 0; i < 10; i++) {
      await load.more(40);
      await terminate(replica);
    }
    await load.more(40);
    await load.end();
    await front.seesReplicas(stage.replicaNames);
  });

  await t.test(
    'a backend of the primary terminated in a write: one clear error, the connection stays',
    async (t) => {
      const client = await front.connect(t);
      const write = client.query("INSERT INTO notes SELECT 1101, 'unknown' FROM pg_sleep(600)");
      const refused = rejects(driver, write, '08007');
      await until('the write to run', async () => (await running(stage, 'pg_sleep(600)')) === 1);
      await terminate(primary);
      const error = await refused;
      assert.match(error.message, /lost while a write was under way; its outcome is unknown: 57P01/);
      assert.equal(client.broken, null);
      await client.query("INSERT INTO notes VALUES (1102, 'goes on')");
      assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 1102'), [{ note: 'goes on' }]);
    },
  );

  await t.test('a backend terminated in a transaction: one clear error, then ROLLBACK', async (t) => {
    const client = await front.connect(t);
    await client.query('BEGIN');
    await client.query("INSERT INTO notes VALUES (1103, 'lost')");
    await terminate(primary);
    await until('it to be gone', async () => (await backends(primary)).length === 0);
    await assert.rejects(client.query('SELECT 1'), (error) =>
      ['40001', '25P02'].includes(driver.codeOf(error)),
    );
    await client.query('ROLLBACK');
    assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 1103'), []);
  });

  await t.test('idle server connections terminated: nobody notices', async (t) => {
    const client = await front.connect(t);
    await client.query("INSERT INTO notes VALUES (1104, 'a')");
    await client.query('SELECT 1');
    for (const node of cluster.nodes) await terminate(node);
    // A write that reaches one on its way out is of unknown outcome.
    for (const node of cluster.nodes)
      await until('they are gone', async () => (await backends(node)).length === 0);
    // They leave that view before they end.
    await until('the proxy to know', () => front.status().nodes.every(({ pool }) => pool.open === 0));
    await client.query("UPDATE notes SET note = 'b' WHERE id = 1104");
    assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 1104'), [{ note: 'b' }]);
  });

  await t.test('backends terminated while startup parameters are set there: nobody is refused', async (t) => {
    const trusting = await trustingFront(t, stage);
    let ended = false;
    let entered = 0;
    const coming = Array.from({ length: 4 }, async (_, i) => {
      for (let round = 0; !ended; round++) {
        // Another value each time: each login has to say so to a server connection.
        const wire = await openWire(t, stage, trusting, {
          work_mem: `${1000 + 1000 * i + (round % 1000)}kB`,
        });
        wire.send(say.terminate());
        entered++;
      }
    });
    const all = Promise.all(coming).finally(() => {
      ended = true;
    });
    all.catch(() => {});
    for (let i = 0; i < 100 && !ended; i++) await terminate(primary);
    await until('some logins', () => ended || entered > 100);
    ended = true;
    await all;
  });

  await t.test('a plan whose result type has changed is healed for reads', async (t) => {
    const client = await front.connect(t);
    await client.query('CREATE TABLE plans (a int)');
    await client.query('INSERT INTO plans VALUES (1)');
    await cluster.waitCaughtUp();
    const sql = 'SELECT * FROM plans';
    const other = await front.connect(t);
    for (let i = 0; i < 6; i++) {
      assert.deepEqual(await client.execute(sql), [{ a: 1 }]);
      assert.deepEqual(await other.execute(sql), [{ a: 1 }]);
    }
    await client.query('ALTER TABLE plans ADD COLUMN b int DEFAULT 2');
    assert.deepEqual(await client.execute(sql), [{ a: 1, b: 2 }]);
    await cluster.waitCaughtUp();
    for (let i = 0; i < 6; i++) {
      assert.deepEqual(await client.execute(sql), [{ a: 1, b: 2 }]);
      assert.deepEqual(await other.execute(sql), [{ a: 1, b: 2 }]);
    }
  });

  await t.test('a table that the replicas have not seen yet is read on the primary', async (t) => {
    const [a, b] = cluster.replicas as [TestNode, TestNode];
    await Promise.all([a.pauseReplay(), b.pauseReplay()]);
    t.after(() => Promise.all([a.resumeReplay(), b.resumeReplay()]));
    const creator = await front.connect(t);
    const stranger = await front.connect(t);
    await creator.query('CREATE TABLE fresh AS SELECT 1 AS n');
    assert.deepEqual(await creator.query('SELECT n FROM fresh'), [{ n: 1 }]);
    assert.deepEqual(await stranger.query('SELECT n FROM fresh'), [{ n: 1 }]);
    assert.deepEqual(await stranger.execute('SELECT n FROM fresh'), [{ n: 1 }]);
    await rejects(driver, stranger.query('SELECT n FROM nowhere'), '42P01');
  });

  await t.test(
    'a function that writes, though it is declared to read only, is run on the primary',
    async (t) => {
      const liar = await stage.front(t, { routing: { readFunctions: ['node_port', 'liar'] } });
      const client = await liar.connect(t);
      await client.query(
        "CREATE FUNCTION liar() RETURNS int LANGUAGE sql AS 'INSERT INTO notes VALUES (1105, NULL) RETURNING id'",
      );
      await cluster.waitCaughtUp();
      const other = await liar.connect(t);
      assert.deepEqual(await other.query('SELECT liar() AS id'), [{ id: 1105 }]);
    },
  );

  await t.test('a cancel hits the statement of its client, queued or running, and nobody else', async (t) => {
    const single = await trustingFront(t, stage, { pool: { maxServerConnections: 1 } });
    const [victim, neighbour] = [await openWire(t, stage, single), await openWire(t, stage, single)];
    const cancelled = [
      'ErrorResponse ERROR 57014 canceling statement due to user request',
      'ReadyForQuery I',
    ];
    // Running.
    victim.send(say.query("INSERT INTO notes SELECT 1106, '' FROM pg_sleep(600)"));
    await until('it to run', async () => (await running(stage, 'pg_sleep(600)')) === 1);
    // Queued behind it: cancelled where it stands.
    neighbour.send(say.query("INSERT INTO notes VALUES (1107, 'queued')"));
    await until('the other one to wait', () => single.nodeStatus(primary.name).pool.waiting === 1);
    await cancelRequest(single.proxy, neighbour);
    assert.deepEqual(await neighbour.ready(), cancelled);
    assert.equal(await running(stage, 'pg_sleep(600)'), 1);
    await cancelRequest(single.proxy, victim);
    assert.deepEqual(await victim.ready(), cancelled);
    // Nothing runs: a cancel does nothing, and a wrong key neither.
    await cancelRequest(single.proxy, victim);
    await cancelRequest(single.proxy, { processId: victim.processId, secretKey: victim.secretKey ^ 1 });
    for (const wire of [victim, neighbour])
      assert.ok((await wire.talk(say.query('SELECT 1'))).includes('DataRow 1'));
  });

  await t.test('a cancel that the node has before the statement, and drops, is sent again', async (t) => {
    const front = await trustingFront(t, stage);
    const wire = await openWire(t, stage, front);
    await wire.talk(say.query("BEGIN; INSERT INTO notes VALUES (1108, 'kept back')"));
    const asked = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'";
    const [row] = (await primary.admin(asked)) as { pid: number }[];
    process.kill(row!.pid, 'SIGSTOP');
    const sent = () => Object.values(front.node(primary.name).units).reduce((sum, n) => sum + n, 0);
    const before = sent();
    wire.send(say.query('SELECT pg_sleep(600)'));
    await until('it to be sent', () => sent() > before);
    await cancelRequest(front.proxy, wire);
    process.kill(row!.pid, 'SIGCONT');
    assert.deepEqual((await wire.ready()).slice(-2), [
      'ErrorResponse ERROR 57014 canceling statement due to user request',
      'ReadyForQuery E',
    ]);
    for (let i = 0; i < 50; i++)
      assert.deepEqual(await wire.talk(say.query('ROLLBACK; BEGIN')), [
        'CommandComplete ROLLBACK',
        'CommandComplete BEGIN',
        'ReadyForQuery T',
      ]);
  });

  await t.test('cancels that race with the end of their statement never hit a neighbour', async (t) => {
    const single = await trustingFront(t, stage, { pool: { maxServerConnections: 1 } });
    const [restless, calm] = [await openWire(t, stage, single), await openWire(t, stage, single)];
    let ended = false;
    let reads = 0;
    const neighbour = (async () => {
      while (!ended) {
        const lines = await calm.talk(say.query('SELECT pause(0.001) AS n'));
        assert.deepEqual(lines, [
          'RowDescription n',
          'DataRow 1',
          'CommandComplete SELECT 1',
          'ReadyForQuery I',
        ]);
        reads++;
      }
    })();
    let hits = 0;
    for (let i = 0; i < 150; i++) {
      restless.send(say.query('SELECT pause(0.002) AS n'));
      await Promise.all(Array.from({ length: 1 + (i % 3) }, () => cancelRequest(single.proxy, restless)));
      const lines = await restless.ready();
      if (lines.some((line) => line.includes('57014'))) hits++;
      else assert.ok(lines.includes('DataRow 1'), lines.join('; '));
    }
    ended = true;
    await neighbour;
    t.diagnostic(`${hits} of 150 statements were cancelled, ${reads} of the neighbour were not`);
    assert.ok(reads > 0);
  });
}
