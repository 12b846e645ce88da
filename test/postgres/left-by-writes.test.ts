// What a statement leaves in its session by what it runs, not by what it says: triggers, defaults, CHECKs, cascades, programs that
// commit before they fail. It is there for its client, as it would be without a proxy, and never for the next one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { say } from '../e2e/postgres-wire.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient } from './twin.js';

const skip = skipWithout(available('postgres'));
const { query, sync, execute } = msg;

const SETS = `set_config('work_mem', '99kB', false)`;
const FAILS = `COMMIT; RAISE EXCEPTION 'enough'; END`;
const SCHEMA = [
  'CREATE FUNCTION only_reads() RETURNS int STABLE LANGUAGE sql AS $$SELECT 1$$',
  'CREATE TABLE plain (a int DEFAULT 1 CHECK (a > 0))',
  'CREATE TABLE audited (a int)',
  `CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
     PERFORM ${SETS}; PERFORM pg_advisory_lock(pg_backend_pid()); RETURN NEW; END$$`,
  'CREATE TRIGGER audit BEFORE INSERT ON audited FOR EACH ROW EXECUTE FUNCTION audit()',
  'CREATE VIEW over_audited AS SELECT a FROM audited',
  'CREATE TABLE parts (a int) PARTITION BY LIST (a)',
  'CREATE TABLE "One Part" PARTITION OF parts FOR VALUES IN (1)',
  'CREATE TRIGGER audit BEFORE INSERT ON "One Part" FOR EACH ROW EXECUTE FUNCTION audit()',
  `CREATE TABLE by_default (a int, b text DEFAULT ${SETS})`,
  `CREATE TABLE by_check (a int CHECK (${SETS} = '99kB'))`,
  'CREATE TABLE parent (a int PRIMARY KEY)',
  'CREATE TABLE child (a int REFERENCES parent ON DELETE CASCADE)',
  `CREATE FUNCTION mourn() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM ${SETS}; RETURN OLD; END$$`,
  'CREATE TRIGGER mourn BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION mourn()',
  'CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.audited VALUES (1); RETURN 1; END$$',
  'CREATE PROCEDURE calls() LANGUAGE plpgsql AS $$BEGIN PERFORM writes(); END$$',
  `CREATE PROCEDURE sets_and_fails() LANGUAGE plpgsql AS $$BEGIN PERFORM ${SETS}; ${FAILS}$$`,
  `CREATE PROCEDURE makes_and_fails() LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE mine (a int); ${FAILS}$$`,
];

const ALIKE: readonly (readonly string[])[] = [
  ["UPDATE pg_settings SET setting = '99' WHERE name = 'work_mem'"],
  [`UPDATE ONLY pg_catalog."pg_settings" SET setting = '99' WHERE name = 'work_mem'`],
  ['INSERT INTO audited VALUES (1)'],
  ['SELECT 1; INSERT INTO public."audited" VALUES (1)'],
  ['WITH x AS (INSERT INTO audited VALUES (1) RETURNING a) SELECT * FROM x'],
  ['MERGE INTO audited USING (SELECT 1 AS a) s ON false WHEN NOT MATCHED THEN INSERT VALUES (s.a)'],
  ['EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) INSERT INTO audited VALUES (1)'],
  ['BEGIN', 'INSERT INTO audited VALUES (1)', 'COMMIT'],
  ['INSERT INTO over_audited VALUES (1)'],
  ['INSERT INTO parts VALUES (1)'],
  ['INSERT INTO by_default VALUES (1)'],
  ['INSERT INTO by_check VALUES (1)'],
  ['INSERT INTO parent VALUES (1)', 'INSERT INTO child VALUES (1)', 'DELETE FROM parent'],
  ['SELECT writes()'],
  ['CALL calls()'],
  ['DO $$BEGIN PERFORM writes(); END$$'],
  ['DO $$BEGIN INSERT INTO audited VALUES (1); END$$'],
  ['CALL sets_and_fails()'],
  ['CALL makes_and_fails()'],
  [`DO $$BEGIN PERFORM ${SETS}; ${FAILS}$$`],
  [`DO $$BEGIN EXECUTE 'SET work_mem = ''99kB'''; ${FAILS}$$`],
  [`DO $$BEGIN CREATE TEMP TABLE mine (a int); ${FAILS}$$`],
  // Set back, and brought again by the savepoint.
  ['BEGIN', "SET work_mem = '99kB'", 'SAVEPOINT a', 'RESET work_mem', 'ROLLBACK TO a', 'COMMIT'],
  ['BEGIN', 'SET ROLE pg_monitor', 'SAVEPOINT a', 'RESET ROLE', 'ROLLBACK TO a', 'COMMIT'],
];

const LEFT = `SELECT concat_ws(' ', current_user, current_setting('work_mem'), to_regclass('pg_temp.mine') IS NOT NULL,
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))`;
const NOTHING_LEFT = 'app_trust 4MB f 0';

test('PostgreSQL: what writes leave by what they run', { skip }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 0 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const owner = await RawClient.open(t, cluster.primary, database);
  const superuser = await asSuperuser(t, cluster);
  await superuser.do('GRANT ALL ON SCHEMA public TO app_trust');
  await superuser.do(`GRANT TEMPORARY ON DATABASE ${database} TO app_trust`);
  await superuser.do('GRANT pg_monitor TO app_trust');
  for (const sql of SCHEMA) await owner.do(sql);
  const proxy = await front(t, cluster, { pool: { maxServerConnections: 1 } });
  const watch = await RawClient.open(t, proxy, database);
  const reads = (): number => {
    let count = 0;
    for (const { units } of proxy.proxy.counters().clusters.get('main')!.nodes.values())
      count += units.replica;
    return count;
  };
  await until('the catalog to be known', async () => {
    const before = reads();
    await watch.value('SELECT only_reads()');
    return reads() > before;
  });

  /** Alone on the server connection, then gone. */
  const leftBy = async (units: readonly Buffer[], at: { host: string; port: number }): Promise<string> => {
    const client = await RawClient.open(t, at, database);
    for (const unit of units) await client.talk(unit);
    const left = await client.value(LEFT);
    client.wire.socket.destroy();
    return left;
  };

  const check = async (units: readonly Buffer[]): Promise<void> => {
    await owner.do('TRUNCATE parent, child');
    const expected = await leftBy(units, cluster.primary);
    await owner.do('TRUNCATE parent, child');
    assert.notEqual(expected, NOTHING_LEFT);
    assert.equal(await leftBy(units, proxy), expected);
    const next = await RawClient.open(t, proxy, database);
    assert.equal(await next.value(LEFT), NOTHING_LEFT);
    next.wire.socket.destroy();
  };

  for (const texts of ALIKE) await t.test(texts.join('; '), () => check(texts.map((text) => query(text))));

  await t.test('in a batch', () =>
    check([Buffer.concat([say.parse('', 'INSERT INTO audited VALUES (1)'), say.bind(''), execute, sync])]),
  );

  await t.test('COPY', () =>
    check([Buffer.concat([query('COPY audited FROM STDIN'), say.copyData('1\n'), say.copyDone()])]),
  );

  await t.test('a write that leaves nothing keeps no server connection', async (t) => {
    const clients = await Promise.all([1, 2].map(() => RawClient.open(t, proxy, database)));
    for (let i = 0; i < 3; i++) for (const client of clients) await client.do('INSERT INTO plain VALUES (1)');
  });
});
