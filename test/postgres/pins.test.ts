// What pins a session of PostgreSQL unpins it when it is gone, and not before: of one server connection another client can have
// it, and finds nothing of the first one's there. Each way is also told in metrics, status and log.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient } from './twin.js';

const TEMP = 'CREATE TEMP TABLE one (id int)';
const LOCK = 'SELECT pg_advisory_lock(7)';

/** What pins, and what ends it. */
const ENDED: Readonly<
  Record<string, readonly [reason: string, pins: readonly string[], ends: readonly string[]]>
> = {
  'a session lock': ['session-lock', [LOCK], ['SELECT pg_advisory_unlock(7)']],
  'a session lock taken twice': [
    'session-lock',
    [LOCK, LOCK, 'SELECT pg_advisory_unlock(7)'],
    ['SELECT pg_advisory_unlock(7)'],
  ],
  'all session locks': [
    'session-lock',
    [LOCK, 'SELECT pg_try_advisory_lock_shared(1, 2)'],
    ['SELECT pg_advisory_unlock_all()'],
  ],
  'a temporary table': ['temporary-table', [TEMP], ['DROP TABLE one']],
  'a temporary table with an index': [
    'temporary-table',
    [TEMP, 'CREATE INDEX ON one (id)'],
    ['DROP TABLE one'],
  ],
  'a temporary table ON COMMIT DROP': ['temporary-table', ['BEGIN', `${TEMP} ON COMMIT DROP`], ['COMMIT']],
  'a temporary table rolled back': ['temporary-table', ['BEGIN', TEMP], ['ROLLBACK']],
  'what fails as a whole': ['temporary-table', [TEMP, 'BEGIN', 'DROP TABLE one'], ['COMMIT']],
  'a temporary view and sequence': [
    'temporary-table',
    ['CREATE TEMP VIEW v AS SELECT 1', 'CREATE TEMP SEQUENCE s'],
    ['DISCARD TEMP'],
  ],
  LISTEN: ['listen', ['LISTEN news', 'LISTEN "More"'], ['UNLISTEN news', 'UNLISTEN "More"']],
  'LISTEN, all at once': ['listen', ['LISTEN news'], ['UNLISTEN *']],
  'a cursor WITH HOLD': [
    'cursor-with-hold',
    ['BEGIN', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'COMMIT'],
    ['CLOSE c'],
  ],
  PREPARE: [
    'sql-prepare',
    ['PREPARE a AS SELECT 1', 'PREPARE b AS SELECT 2', 'DEALLOCATE a'],
    ['DEALLOCATE b'],
  ],
  'a snapshot': [
    'exported-snapshot',
    ['BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT pg_export_snapshot()'],
    ['COMMIT'],
  ],
  'what Npgsql says of a pooled connection': [
    'session-lock',
    [LOCK, 'LISTEN news', TEMP],
    ['CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP'],
  ],
};

/** What seems to end it, and does not. */
const KEPT: Readonly<Record<string, readonly [reason: string, said: readonly string[]]>> = {
  'a lock taken twice and given back once': ['session-lock', [LOCK, LOCK, 'SELECT pg_advisory_unlock(7)']],
  'DISCARD TEMP that is rolled back': ['temporary-table', [TEMP, 'BEGIN', 'DISCARD TEMP', 'ROLLBACK']],
  'DROP that is rolled back': ['temporary-table', [TEMP, 'BEGIN', 'DROP TABLE one', 'ROLLBACK']],
  'UNLISTEN that is rolled back': ['listen', ['LISTEN news', 'BEGIN', 'UNLISTEN *', 'ROLLBACK']],
  'what a temporary function has set': [
    'temporary-table',
    [
      'CREATE FUNCTION pg_temp.sets() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM setseed(0.5); RETURN 1; END$$',
      'SELECT pg_temp.sets()',
      'DROP FUNCTION pg_temp.sets()',
    ],
  ],
  'what a temporary function has set that was made in another way': [
    'temporary-table',
    [
      TEMP,
      "DO $$BEGIN EXECUTE 'CREATE FUNCTION pg_temp.' || 'sets() RETURNS int LANGUAGE plpgsql AS ' || quote_literal('BEGIN PERFORM setseed(0.5); RETURN 1; END'); END$$",
      'SELECT pg_temp.sets()',
      'DISCARD TEMP',
    ],
  ],
  'what a trigger on it has set': [
    'temporary-table',
    [
      TEMP,
      'CREATE TRIGGER seeds BEFORE INSERT ON one FOR EACH ROW EXECUTE FUNCTION seeds_each()',
      'INSERT INTO one VALUES (1)',
      'DROP TABLE one',
    ],
  ],
  'what a default of it has set': [
    'temporary-table',
    [
      TEMP,
      'ALTER TABLE one ALTER COLUMN id SET DEFAULT seeds()',
      'INSERT INTO one DEFAULT VALUES',
      'DROP TABLE one',
    ],
  ],
  'one of two': ['temporary-table', [TEMP, 'CREATE TEMP TABLE two ()', 'DROP TABLE one']],
  'another one of the same text': ['temporary-table', [`${TEMP}; ${LOCK}`, 'DROP TABLE one']],
  'a search_path of the temporary schema': [
    'untracked-setting',
    ['SET search_path = pg_temp, public', 'DISCARD TEMP'],
  ],
  'the seed of a prepared statement': [
    'sql-prepare',
    ['PREPARE a AS SELECT setseed(0.5)', 'EXECUTE a', 'DEALLOCATE a'],
  ],
  'a setting made beside a lock': [
    'untracked-setting',
    ['SELECT pg_advisory_lock(7), setseed(0.5)', 'SELECT pg_advisory_unlock(7)'],
  ],
  'a setting of a function beside a temporary table': [
    'temporary-table',
    ['CREATE TEMP TABLE one AS SELECT seeds()', 'DROP TABLE one'],
  ],
};

test('PostgreSQL: what pins a session, and what ends it', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 0 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const root = await asSuperuser(t, cluster);
  await root.do('GRANT CREATE, USAGE ON SCHEMA public TO app_trust');
  const owner = await RawClient.open(t, cluster.primary, database);
  await owner.do(
    `CREATE FUNCTION seeds() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM setseed(0.5); RETURN 1; END$$`,
  );
  await owner.do(
    `CREATE FUNCTION seeds_each() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM setseed(0.5); RETURN NEW; END$$`,
  );
  await owner.do('CREATE TABLE plain AS SELECT 1 AS v');
  const proxy = await front(t, cluster);
  const pinned = () => proxy.proxy.counters().clusters.get('main')!.pinned as Partial<Record<string, number>>;
  const sum = () => Object.values(pinned()).reduce<number>((all, count) => all + (count ?? 0), 0);
  const open = (t: TestContext): Promise<RawClient> => RawClient.open(t, proxy, database);
  const first = await open(t);
  // Right behind a change of the schema nobody knows what a function leaves, so that what it is called in stays.
  const catalog = (): Promise<void> =>
    until('the catalog', async () => {
      await first.do('SELECT seeds()');
      const kept = sum() > 0;
      await first.do('DISCARD ALL');
      return kept;
    });

  for (const [what, [reason, pins, ends]] of Object.entries(ENDED))
    await t.test(`${what}: is gone`, async (t) => {
      await catalog();
      const client = await open(t);
      const other = await open(t);
      for (const sql of pins) await client.do(sql);
      assert.equal(pinned()[reason], 1);
      if (!pins.includes('BEGIN')) {
        const { nodes, pinned } = proxy.proxy.admin.status().clusters[0]!;
        assert.equal(nodes[0]!.pool.leased, 1);
        assert.ok((pinned[reason] ?? 0) >= 1);
      }
      for (const sql of ends) await client.do(sql);
      // There is one server connection: this would wait for ever.
      assert.equal(await other.value('SELECT v FROM plain'), '1');
      assert.equal(await other.value("SELECT count(*) FROM pg_class WHERE relname = 'one'"), '0');
      assert.equal(sum(), 0);
      assert.equal(await client.value('SELECT v FROM plain'), '1');
    });

  for (const [what, [reason, said]] of Object.entries(KEPT))
    await t.test(`${what}: stays`, async (t) => {
      await catalog();
      const client = await open(t);
      for (const sql of said) await client.do(sql);
      // Behind whatever is asked meanwhile.
      for (let i = 0; i < 3; i++) assert.equal(await client.value('SELECT v FROM plain'), '1');
      await new Promise(setImmediate);
      assert.ok((pinned()[reason] ?? 0) >= 1, JSON.stringify(pinned()));
      await client.do('DISCARD ALL');
      assert.equal(sum(), 0);
      const other = await open(t);
      assert.equal(await other.value('SELECT v FROM plain'), '1');
    });

  await t.test('a client that goes on at once is not disturbed', async (t) => {
    const client = await open(t);
    for (let i = 0; i < 50; i++) {
      const answers = await client.talk(
        msg.query(LOCK),
        msg.query('SELECT pg_advisory_unlock(7)'),
        msg.parse('SELECT v FROM plain'),
        msg.bind(),
        msg.sync,
        // What was parsed without a name is the client's, whatever is asked in between.
        msg.bind(),
        msg.execute,
        msg.sync,
      );
      assert.ok(answers.includes('D \0\u0001\0\0\0\u00011'), answers.join('\n'));
    }
    const other = await open(t);
    assert.equal(await other.value('SELECT v FROM plain'), '1');
    assert.equal(sum(), 0);
  });

  await t.test('one that goes while pinned leaves nobody counted, and nothing behind', async (t) => {
    const client = await open(t);
    await client.do(TEMP);
    assert.equal(pinned()['temporary-table'], 1);
    client.wire.socket.destroy();
    const other = await open(t);
    assert.equal(await other.value("SELECT count(*) FROM pg_class WHERE relname = 'one'"), '0');
    assert.equal(sum(), 0);
  });
});
