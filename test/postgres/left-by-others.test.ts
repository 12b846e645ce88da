// What one client's settings leave on a server connection that another one cannot undo setting by setting: the next one has it
// undone as a whole, is answered as ever, and replicas go on serving reads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PostgresWire } from '../e2e/postgres-wire.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient, Twin } from './twin.js';

const { query } = msg;
const SERIALIZABLE = [
  "SET default_transaction_isolation = 'serializable'",
  'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE',
  "SELECT set_config('default_transaction_isolation', 'serializable', false)",
];

test('PostgreSQL: what the settings of other clients leave on server connections', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const root = await asSuperuser(t, cluster);
  await root.do(
    `GRANT CREATE ON SCHEMA public TO app_trust; CREATE ROLE other SUPERUSER; GRANT other TO app_trust`,
  );
  const owner = await RawClient.open(t, cluster.primary, database);
  await owner.do('CREATE TABLE plain AS SELECT 1 AS v');
  const proxy = await front(t, cluster);
  const counters = () => proxy.proxy.counters().clusters.get('main')!;
  const onReplica = () => counters().nodes.get(cluster.replicas[0]!.name)!.units.replica;
  const readsOnReplica = (two: Twin) =>
    until('reads go to the replica', async () => {
      const before = onReplica();
      const reads = { ...counters().reads };
      await two.both(query('SELECT v FROM plain'));
      return onReplica() > before && counters().reads['no-replica'] === reads['no-replica'];
    });
  await readsOnReplica(await Twin.open(t, cluster, proxy));

  await t.test(
    'SERIALIZABLE by startup options: it reads on the primary, others on the replica',
    async (t) => {
      const options = '-c default_transaction_isolation=serializable';
      const login = { user: 'app_trust', database, application_name: 'other', options };
      const named = await PostgresWire.open(t, proxy, login);
      const two = await Twin.open(t, cluster, proxy);
      await two.do("SET application_name = 'this one'");
      for (let i = 0; i < 5; i++) {
        const before = onReplica();
        for (const sql of ['SELECT v FROM plain', 'SHOW transaction_isolation', 'SELECT v FROM plain']) {
          const lines = await named.talk(query(sql));
          assert.ok(
            lines.includes(sql.startsWith('SHOW') ? 'DataRow serializable' : 'DataRow 1'),
            lines.join(),
          );
        }
        await named.talk(query('START TRANSACTION READ ONLY'));
        assert.ok((await named.talk(query('SELECT v FROM plain'))).includes('DataRow 1'));
        await named.talk(query('COMMIT'));
        assert.equal(onReplica(), before);
        await readsOnReplica(two);
        await two.do('SHOW transaction_isolation');
        await two.do('SELECT v FROM plain');
      }
    },
  );

  for (const sql of SERIALIZABLE)
    await t.test(`${sql}: nothing is pinned, and set back it reads on the replica again`, async (t) => {
      const two = await Twin.open(t, cluster, proxy);
      const next = await Twin.open(t, cluster, proxy);
      await next.do("SET application_name = 'next'");
      await two.do(sql);
      // There is one server connection to each node: were it kept, the next one would wait for ever.
      for (let i = 0; i < 3; i++) {
        await two.do('SHOW transaction_isolation');
        const before = onReplica();
        await two.do('SELECT v FROM plain');
        assert.equal(onReplica(), before);
        await next.do('SHOW transaction_isolation');
        await readsOnReplica(next);
      }
      await two.do('RESET ALL');
      await two.do('SHOW transaction_isolation');
      await readsOnReplica(two);
    });

  await t.test('SERIALIZABLE set within a transaction on the replica', async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    const next = await Twin.open(t, cluster, proxy);
    await next.do("SET application_name = 'next'");
    await two.do('START TRANSACTION READ ONLY');
    await two.do('SELECT v FROM plain');
    await two.do(SERIALIZABLE[0]!);
    await two.do('COMMIT');
    const before = counters().reads['no-replica'];
    await readsOnReplica(next);
    await next.do('SHOW transaction_isolation');
    await two.do('SELECT v FROM plain');
    await two.do('SHOW transaction_isolation');
    await readsOnReplica(next);
    assert.equal(counters().reads['no-replica'], before);
  });

  await t.test('SERIALIZABLE by role: one read is tried on the replica, and no more', async (t) => {
    await root.do("ALTER ROLE app_trust SET default_transaction_isolation = 'serializable'");
    t.after(() => root.do('ALTER ROLE app_trust RESET default_transaction_isolation'));
    await cluster.waitCaughtUp();
    const apart = await front(t, cluster);
    const onItsReplica = () =>
      apart.proxy.counters().clusters.get('main')!.nodes.get(cluster.replicas[0]!.name)!.units.replica;
    for (const name of ['', 'named']) {
      const two = await Twin.open(t, cluster, apart);
      if (name !== '') await two.do(`SET application_name = '${name}'`);
      await until('a read is tried on the replica', async () => {
        const before = onItsReplica();
        await two.both(query('SELECT v FROM plain'));
        return onItsReplica() > before;
      });
      const before = onItsReplica();
      for (let i = 0; i < 5; i++) await two.do('SELECT v FROM plain');
      await two.do('START TRANSACTION READ ONLY');
      await two.do('SELECT v FROM plain');
      await two.do('COMMIT');
      assert.equal(onItsReplica(), before);
      await two.do("SET default_transaction_isolation = 'read committed'");
      await until('reads go to the replica', async () => {
        const before = onItsReplica();
        await two.both(query('SELECT v FROM plain'));
        return onItsReplica() > before;
      });
      await two.do('RESET default_transaction_isolation');
      const again = onItsReplica();
      for (let i = 0; i < 5; i++) await two.do('SELECT v FROM plain');
      assert.equal(onItsReplica(), again);
    }
  });

  await t.test('what a role could set, and the next client may not reset', async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    const next = await Twin.open(t, cluster, proxy);
    await two.do('SET ROLE other');
    await two.do('SET log_min_duration_statement = 12345');
    await two.do('RESET ROLE');
    for (let i = 0; i < 3; i++) {
      await next.do('SELECT v FROM plain');
      await next.do('SHOW log_min_duration_statement');
      await readsOnReplica(next);
      await next.do('INSERT INTO plain SELECT 2 WHERE false');
    }
    assert.deepEqual(
      proxy.lines.filter((line) => /permission denied/.test(line)),
      [],
    );
  });
});
