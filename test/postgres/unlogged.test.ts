// Relations that are not logged: replicas have no rows of them, so whatever reads them runs on the primary.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient, run, Twin } from './twin.js';

const { query } = msg;
const PORT = 'SELECT inet_server_port()';
const READS = [
  'SELECT v FROM jotted',
  'SELECT v FROM over_jotted',
  'SELECT v FROM parted ORDER BY v',
  'SELECT jotted_sum()',
  'EXPLAIN (COSTS OFF) SELECT v FROM jotted',
  'COPY jotted TO STDOUT',
  'COPY (SELECT v FROM parted ORDER BY v) TO STDOUT',
  'TABLE jotted',
  'SELECT 1 / 0 FROM jotted',
  'SELECT last_value FROM jotted_id_seq',
];

test('PostgreSQL: relations that are not logged', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  await (await asSuperuser(t, cluster)).do('GRANT CREATE ON SCHEMA public TO app_trust');
  const owner = await RawClient.open(t, cluster.primary, cluster.user.database);
  const proxy = await front(t, cluster);
  const two = await Twin.open(t, cluster, proxy);
  const counters = () => proxy.proxy.counters().clusters.get('main')!;
  const onReplica = () => counters().nodes.get(cluster.replicas[0]!.name)!.units.replica;
  await owner.do('CREATE TABLE plain (v int)');
  await until('reads go to the replica', async () => {
    await two.proxied.do('SELECT v FROM plain');
    return onReplica() > 0;
  });

  await t.test('made behind the proxy: nobody is told of what a replica lacks', async () => {
    await owner.do('CREATE UNLOGGED TABLE behind (v int); INSERT INTO behind VALUES (1)');
    await cluster.waitCaughtUp();
    for (const sql of ['SELECT v FROM behind', 'COPY behind TO STDOUT']) await two.times(3, query(sql));
    await two.times(3, run('SELECT v FROM behind WHERE v = $1', 1));
  });

  await t.test('made through the proxy', async () => {
    await two.proxied.do(`
      CREATE UNLOGGED TABLE jotted (id serial, v int);
      INSERT INTO jotted (v) VALUES (1);
      CREATE VIEW over_jotted AS SELECT v FROM jotted;
      CREATE TABLE parted (v int) PARTITION BY RANGE (v);
      CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
      CREATE UNLOGGED TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
      INSERT INTO parted VALUES (1), (11);
      CREATE FUNCTION jotted_sum() RETURNS bigint STABLE LANGUAGE plpgsql AS
        'BEGIN RETURN (SELECT sum(v) FROM jotted); END'`);
    await cluster.waitCaughtUp();
    for (const sql of READS) await two.times(3, query(sql));
    for (const sql of READS.filter((sql) => !sql.startsWith('COPY'))) await two.times(3, run(sql));
  });

  await t.test('none is tried on the replica once the catalog has been read', async () => {
    await until('the catalog to be read', async () => {
      const before = onReplica();
      await two.do('SELECT v FROM plain');
      // Else it may be what has been written that keeps it from the replica, and not what has been read.
      if (onReplica() !== before + 1) return false;
      await two.do('SELECT v FROM over_jotted');
      return onReplica() === before + 1;
    });
    const before = onReplica();
    for (const sql of READS.filter((sql) => !sql.includes('jotted_sum'))) await two.both(query(sql));
    assert.equal(onReplica(), before);
  });

  await t.test('their sizes are those of the primary', async () => {
    // A replica that has caught up would answer until the catalog has been read.
    await until('the primary to be asked for them', async () => {
      const before = onReplica();
      for (let i = 0; i < 4; i++) {
        await two.proxied.do('SELECT v FROM plain');
        await two.proxied.do("SELECT pg_relation_size('plain')");
      }
      return onReplica() === before + 4;
    });
    for (const sql of [
      "SELECT pg_relation_size('jotted'), pg_table_size('jotted'), pg_total_relation_size('plain')",
      "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname LIKE '%jotted%' ORDER BY 1",
    ]) {
      await two.times(3, query(sql));
      await two.times(3, run(sql));
    }
  });

  await t.test('in a READ ONLY transaction the replica says that it cannot', async () => {
    const { proxied } = two;
    await until('the transaction is on the replica', async () => {
      await proxied.do('START TRANSACTION READ ONLY');
      const isThere = (await proxied.value(PORT)) !== (await owner.value(PORT));
      if (!isThere) await proxied.do('COMMIT');
      return isThere;
    });
    assert.match((await proxied.talk(query('SELECT v FROM jotted')))[0]!, /^E SERROR.*C0A000/);
    await proxied.do('ROLLBACK');
    await two.do('SELECT v FROM jotted');
  });

  await t.test('what is logged is read from the replica as before', async () => {
    await until('reads go to the replica', async () => {
      const before = onReplica();
      await two.do('SELECT v FROM plain');
      return onReplica() > before;
    });
    const before = onReplica();
    await two.times(5, query('SELECT v FROM parted_1'));
    assert.ok(onReplica() > before, 'a part that is logged');
  });
});
