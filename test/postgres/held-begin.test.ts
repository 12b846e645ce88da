// BEGIN is held back until the first statement: what a client is answered is, byte by byte, what the server answers it without a
// proxy, and whatever happens to that first statement happens inside its transaction.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serialize } from 'pg-protocol';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient, run, Twin } from './twin.js';

const { parse, bind, execute, sync, query } = msg;
const q = (...texts: string[]): Buffer[] => texts.map((text) => query(text));
const COUNT = 'SELECT count(*), sum(v) FROM w';

/** Each unit by itself, one after the other. */
const HISTORIES: readonly (readonly [string, readonly Buffer[]])[] = [
  ['a read', q('BEGIN', 'SELECT 1', 'COMMIT')],
  ['a write', q('BEGIN', 'INSERT INTO w VALUES (1, 1)', 'COMMIT', COUNT)],
  ['a write that is rolled back', q('BEGIN', 'INSERT INTO w VALUES (2, 1)', 'ROLLBACK', COUNT)],
  [
    'nothing in it',
    q('BEGIN', 'COMMIT', 'begin work', 'rollback', 'START TRANSACTION', 'END', 'BEGIN;', 'ABORT'),
  ],
  ['comments', q('/* a */ BEGIN -- b', 'SELECT 1', '/* c */ COMMIT')],
  ['chains', q('BEGIN', 'COMMIT AND CHAIN', 'SELECT 1', 'ROLLBACK AND CHAIN', 'SELECT 2', 'ROLLBACK')],
  ['does not parse', q('BEGIN', 'SELEC 1', 'INSERT INTO w VALUES (3, 1)', 'COMMIT', COUNT)],
  [
    'does not parse, behind letters of two bytes',
    q('BEGIN', "SELECT '\u00e4\u00f6\u20ac' FORM x", 'ROLLBACK'),
  ],
  [
    'names what is not there',
    q('BEGIN', 'SELECT nothing FROM w', 'INSERT INTO w VALUES (4, 1)', 'END', COUNT),
  ],
  ['fails as it runs', q('BEGIN', 'SELECT 1 / 0', 'SELECT 1', 'COMMIT', 'SELECT 1')],
  ['BEGIN twice', q('BEGIN', 'BEGIN', 'SELECT 1', 'COMMIT')],
  ['an empty query', q('BEGIN', '', 'SELECT 1', 'COMMIT')],
  ['several statements', q('BEGIN', 'SELECT 1; SELECT 2', 'COMMIT')],
  ['several that end it', q('BEGIN', 'INSERT INTO w VALUES (5, 1); COMMIT; SELECT 2', COUNT)],
  ['several that fail', q('BEGIN', 'INSERT INTO w VALUES (6, 1); SELECT 1 / 0', 'COMMIT', COUNT)],
  ['an isolation level', q('BEGIN ISOLATION LEVEL SERIALIZABLE', 'SHOW transaction_isolation', 'COMMIT')],
  [
    'an isolation level that comes later',
    q('BEGIN', 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'SHOW transaction_isolation', 'COMMIT'),
  ],
  ['modes', q('START TRANSACTION READ WRITE, NOT DEFERRABLE', 'SELECT 1', 'COMMIT')],
  ['what is no BEGIN', q('BEGIN FOO', 'SELECT 1')],
  ['READ ONLY', q('BEGIN READ ONLY', 'INSERT INTO w VALUES (7, 1)', 'ROLLBACK')],
  ['SET LOCAL', q('BEGIN', "SET LOCAL work_mem = '123kB'", 'SHOW work_mem', 'COMMIT', 'SHOW work_mem')],
  ['SET that commits', q('BEGIN', "SET work_mem = '321kB'", 'COMMIT', 'SHOW work_mem')],
  ['SET that does not', q('BEGIN', "SET work_mem = '111kB'", 'ROLLBACK', 'SHOW work_mem', 'RESET work_mem')],
  [
    'savepoints',
    q('BEGIN', 'SAVEPOINT a', 'SELEC', 'ROLLBACK TO a', 'INSERT INTO w VALUES (8, 1)', 'COMMIT', COUNT),
  ],
  ['what may not be in one', q('BEGIN', 'VACUUM w', 'COMMIT')],
  ['a cursor', q('BEGIN', 'DECLARE c CURSOR FOR SELECT 1', 'FETCH c', 'COMMIT')],
  ['COPY', q('BEGIN', 'COPY (SELECT 1) TO STDOUT', 'COMMIT')],
  ['LISTEN', q('BEGIN', 'LISTEN x', 'ROLLBACK', 'UNLISTEN *')],
  ['DDL', q('BEGIN', 'CREATE TABLE made (a int)', 'ROLLBACK', 'SELECT * FROM made')],
  ['PREPARE by text', q('BEGIN', 'PREPARE p AS SELECT 1', 'EXECUTE p', 'COMMIT', 'DEALLOCATE p')],
  ['two-phase commit', q('BEGIN', "COMMIT PREPARED 'none'", 'SELECT 1', 'ROLLBACK')],
  [
    'a time limit',
    q(
      "SET statement_timeout = '1s'",
      'BEGIN',
      'SELECT pg_sleep(30)',
      'SELECT 1',
      'COMMIT',
      'RESET statement_timeout',
    ),
  ],
  [
    'a batch',
    [...q('BEGIN'), run('SELECT $1::int', 5), run('INSERT INTO w VALUES ($1, 1)', 9), ...q('COMMIT', COUNT)],
  ],
  [
    'a batch that fails',
    [...q('BEGIN'), run('SELECT 1 / $1::int', 0), run('INSERT INTO w VALUES (10, 1)'), ...q('COMMIT', COUNT)],
  ],
  ['a batch that does not parse', [...q('BEGIN'), run('SELEC'), run('SELECT 1'), ...q('ROLLBACK')]],
  ['a batch that ends it', [...q('BEGIN'), run('COMMIT'), run('SELECT 1')]],
  ['only Sync', [...q('BEGIN'), sync, run('SELECT 1'), ...q('COMMIT')]],
  [
    'a batch of several',
    [
      ...q('BEGIN'),
      Buffer.concat([parse('INSERT INTO w VALUES ($1, 1)'), bind(11), execute, bind(12), execute, sync]),
      ...q('COMMIT', COUNT),
    ],
  ],
  [
    'the unnamed statement lives on',
    [
      ...q('BEGIN'),
      Buffer.concat([parse('SELECT $1::int + 1'), sync]),
      Buffer.concat([bind(1), execute, sync]),
      ...q('COMMIT'),
    ],
  ],
  [
    'a statement with a name',
    [
      Buffer.concat([serialize.parse({ name: 'n', text: 'SELECT $1::int + 2' }), sync]),
      ...q('BEGIN'),
      Buffer.concat([serialize.bind({ statement: 'n', values: ['1'] }), execute, sync]),
      ...q('COMMIT'),
    ],
  ],
  [
    'a batch with Flush',
    [
      ...q('BEGIN'),
      Buffer.concat([parse('INSERT INTO w VALUES (13, 1)'), serialize.flush(), bind(), execute, sync]),
      ...q('COMMIT', COUNT),
    ],
  ],
];

test('PostgreSQL: a BEGIN that is held back', { skip: skipWithout(available('postgres')) }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const owner = await RawClient.open(t, cluster.primary, database);
  await (await asSuperuser(t, cluster)).do(
    `GRANT ALL ON SCHEMA public TO app_trust; GRANT CREATE ON DATABASE ${database} TO app_trust`,
  );
  await Twin.createApart(owner);
  const proxy = await front(t, cluster, { pool: { maxServerConnections: 2 } });

  for (const [name, units] of HISTORIES)
    await t.test(name, async (t) => {
      const two = await Twin.openApart(t, cluster, proxy);
      for (const unit of units) await two.both(unit);
    });

  await t.test('all of it in one write', async (t) => {
    const two = await Twin.openApart(t, cluster, proxy);
    await two.both(
      ...q('BEGIN', 'INSERT INTO w VALUES (20, 1)', 'COMMIT', 'BEGIN', 'SELEC', 'COMMIT', COUNT),
    );
  });

  await t.test('alone it needs no server connection', async (t) => {
    const holders = [await RawClient.open(t, proxy, database), await RawClient.open(t, proxy, database)];
    const waiter = await RawClient.open(t, proxy, database);
    for (const holder of holders) await holder.talk(...q('BEGIN', 'SELECT 1 FOR UPDATE'));
    assert.deepEqual(await waiter.talk(query('BEGIN')), ['C BEGIN\0', 'Z T']);
    assert.deepEqual(await waiter.talk(query('COMMIT')), ['C COMMIT\0', 'Z I']);
    for (const holder of holders) await holder.do('ROLLBACK');
  });

  await t.test('no server connection for the first statement: the transaction has failed', async (t) => {
    const narrow = await front(t, cluster, { pool: { maxServerConnections: 1 } });
    const holder = await RawClient.open(t, narrow, database);
    const waiter = await RawClient.open(t, narrow, database);
    await holder.talk(...q('BEGIN', 'SELECT 1 FOR UPDATE'));
    // Not from the beginning: logins wait for server connections too.
    const [main] = narrow.config.clusters;
    const pool = { ...main!.pool, waitTimeoutMs: 50 };
    narrow.proxy.reload({ ...narrow.config, clusters: [{ ...main!, pool }] });
    await waiter.do('BEGIN');
    assert.equal((await waiter.talk(query('INSERT INTO proxied.w VALUES (30, 1)'))).at(-1), 'Z E');
    await holder.do('ROLLBACK');
    assert.equal((await waiter.talk(query('INSERT INTO proxied.w VALUES (31, 1)'))).at(-1), 'Z E');
    assert.deepEqual(await waiter.talk(query('COMMIT')), ['C ROLLBACK\0', 'Z I']);
    assert.equal(await owner.value('SELECT count(*) FROM proxied.w WHERE id IN (30, 31)'), '0');
  });

  await t.test(
    'the server connection ends under the first statement: nothing was written, and it says so',
    async (t) => {
      const client = await RawClient.open(t, proxy, database);
      const before = await owner.value('SELECT count(*) FROM proxied.w');
      await owner.talk(...q('BEGIN', 'LOCK TABLE proxied.w'));
      await client.do('BEGIN');
      const answer = client.talk(query('INSERT INTO proxied.w VALUES (40, 1)'));
      const watcher = await RawClient.open(t, cluster.primary, database);
      const victims = `FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%(40, 1)%' AND pid <> pg_backend_pid()`;
      await until(
        'the statement waits for the lock',
        async () => (await watcher.value(`SELECT count(*) ${victims}`)) === '1',
      );
      await watcher.do(`SELECT pg_terminate_backend(pid) ${victims}`);
      const lines = await answer;
      assert.match(lines[0]!, /^E .*transaction-lost/);
      assert.equal(lines.at(-1), 'Z E');
      await owner.do('ROLLBACK');
      assert.equal((await client.talk(query('INSERT INTO proxied.w VALUES (41, 1)'))).at(-1), 'Z E');
      assert.deepEqual(await client.talk(query('COMMIT')), ['C ROLLBACK\0', 'Z I']);
      assert.equal(await client.value('SELECT count(*) FROM proxied.w'), before);
    },
  );
});
