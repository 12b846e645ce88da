// What goes where on every kind of cluster, told by the servers themselves: reads, writes, transactions, prepared statements,
// and how reads are spread.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { ONE_PROCESS, type Stage } from './stage.js';

export async function routingTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const front = await stage.front(t);
  const primary = cluster.primary.name;
  const onReplica = (name: string) => assert.ok(stage.replicaNames.includes(name), `ran on ${name}`);

  await t.test('reads go to the replicas in turn, and the counters say so', async (t) => {
    const before = stage.replicaNames.map((name) => front.node(name).units.replica);
    const served = await front.spread(t, 20);
    assert.deepEqual(served, { node2: 10, node3: 10 });
    const after = stage.replicaNames.map((name) => front.node(name).units.replica);
    assert.deepEqual(
      after.map((count, i) => count - before[i]!),
      [10, 10],
    );
  });

  await t.test('reads go to the replicas by the servers own statistics', async (t) => {
    const reads = 40;
    const own = await stage.front(t);
    const before = await Promise.all(cluster.nodes.map((node) => tableReads(stage, node)));
    for (const client of await own.connectMany(t, 4)) {
      for (let i = 0; i < reads / 4; i++) {
        const rows = await client.query('SELECT name FROM items WHERE id = ?', [2]);
        assert.deepEqual(rows, [{ name: 'two' }]);
      }
      await client.close();
    }
    // PostgreSQL's backends report at their end, or when they have been idle for ten seconds.
    await own.proxy.stop();
    const since = async (i: number) => (await tableReads(stage, cluster.nodes[i]!)) - before[i]!;
    await until(
      'the replicas to report all reads',
      async () => (await since(1)) + (await since(2)) === reads,
    );
    assert.equal(await since(0), 0, 'the primary has read the table too');
    assert.ok((await since(1)) > 0 && (await since(2)) > 0, 'one replica served everything');
  });

  await t.test('writes go to the primary', async (t) => {
    const client = await front.connect(t);
    const on = (name: string) => front.node(name).units.primary;
    const before = on(primary);
    await client.query("INSERT INTO notes VALUES (1, 'x')");
    await client.query('UPDATE notes SET note = ? WHERE id = ?', ['y', 1]);
    await client.execute('DELETE FROM notes WHERE id = ?', [1]);
    // At least: MySQL's prepare is a unit of its own.
    assert.ok(on(primary) - before >= 3);
    for (const name of stage.replicaNames) assert.equal(on(name), 0);
  });

  await t.test('a locking read goes to the primary', async (t) => {
    const client = await front.connect(t);
    const [row] = await client.query('SELECT id, node_port() AS port FROM items WHERE id = 1 FOR UPDATE');
    assert.equal(stage.nodeAt(row?.port), primary);
  });

  await t.test('a transaction stays on the primary, and reads leave it afterwards', async (t) => {
    const client = await front.connect(t);
    onReplica(await front.whereIs(client));
    await client.query('BEGIN');
    assert.equal(await front.whereIs(client), primary);
    await client.query("INSERT INTO notes VALUES (2, 'mine')");
    assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 2'), [{ note: 'mine' }]);
    assert.equal(await front.whereIs(client), primary);
    await client.query('ROLLBACK');
    await until('the session to read from a replica again', async () =>
      stage.replicaNames.includes(await front.whereIs(client)),
    );
    assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 2'), []);
  });

  await t.test('a transaction that is READ ONLY runs on one replica', async (t) => {
    const client = await front.connect(t);
    await client.query('START TRANSACTION READ ONLY');
    const first = await front.whereIs(client);
    onReplica(first);
    for (let i = 0; i < 5; i++) assert.equal(await front.whereIs(client), first);
    await client.query('COMMIT');
  });

  await t.test('prepared statements are routed like text and work on every node', async (t) => {
    const sql = 'SELECT name, node_port() AS port FROM items WHERE id = ?';
    const seen = new Set<string>();
    const client = await front.connect(t);
    await until('it to have run on both replicas', async () => {
      const [row] = await client.execute(sql, [3]);
      assert.equal(row?.name, 'three');
      seen.add(stage.nodeAt(row?.port));
      assert.ok(!seen.has(primary));
      return seen.size === 2;
    });
    await client.query('BEGIN');
    const [row] = await client.execute(sql, [1]);
    assert.deepEqual([row?.name, stage.nodeAt(row?.port)], ['one', primary]);
    await client.query('COMMIT');
    // Another client under the same name.
    const other = await front.connect(t);
    for (let i = 0; i < 4; i++) assert.equal((await other.execute(sql, [2]))[0]?.name, 'two');
  });

  await t.test('prepared writes go to the primary', async (t) => {
    const client = await front.connect(t);
    const before = front.node(primary).units.primary;
    for (let id = 10; id < 15; id++) await client.execute('INSERT INTO notes VALUES (?, ?)', [id, 'p']);
    assert.ok(front.node(primary).units.primary - before >= 5);
    const [row] = await client.query("SELECT count(*) AS n FROM notes WHERE note = 'p'");
    assert.equal(Number(row?.n), 5);
  });

  await t.test('splitReads off: everything goes to the primary', async (t) => {
    const whole = await stage.front(t, { routing: { splitReads: false } });
    assert.deepEqual(await whole.spread(t, 4), { [primary]: 4 });
  });

  await t.test('weighted: the shares are the weights, by the servers', async (t) => {
    const [a, b] = cluster.replicas as [TestNode, TestNode];
    const weighted = await stage.front(t, {
      routing: { balance: 'weighted' },
      nodes: cluster.nodes.map(({ name, host, port }) => ({
        name,
        host,
        port,
        weight: name === a.name ? 3 : 1,
      })),
    });
    assert.deepEqual(await weighted.spread(t, 24), { [a.name]: 18, [b.name]: 6 });
  });

  await t.test('least-outstanding: a busy replica is passed over', async (t) => {
    const least = await stage.front(t, { routing: { balance: 'least-outstanding' } }, ONE_PROCESS);
    const [a, b] = stage.replicaNames as [string, string];
    const busy = await least.connect(t);
    // Cut off at the end.
    busy.query('SELECT pause(600)').catch(() => {});
    const leased = () => stage.replicaNames.find((name) => least.nodeStatus(name).pool.leased > 0);
    await until('the slow read to run', () => leased() !== undefined);
    const free = leased() === a ? b : a;
    assert.deepEqual(await least.spread(t, 6), { [free]: 6 });
    busy.kill();
    await until('the slow read to be stopped', () => leased() === undefined);
  });
}

/** How often a row of `items` has been read on that node, as the server counts. */
async function tableReads(stage: Stage, node: TestNode): Promise<number> {
  const sql = {
    postgres:
      "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) AS n FROM pg_stat_user_tables WHERE relname = 'items'",
    mysql:
      "SELECT count_read AS n FROM performance_schema.table_io_waits_summary_by_table WHERE object_schema = 'app' AND object_name = 'items'",
    mariadb:
      "SELECT rows_read AS n FROM information_schema.table_statistics WHERE table_schema = 'app' AND table_name = 'items'",
  }[stage.kind];
  const [row] = await node.admin(sql);
  return Number(row?.n ?? 0);
}
