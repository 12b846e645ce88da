// How often the rows of a catalog are sent: a server is asked first whether they are others. Against a real one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { configFrom } from '../../src/config/resolve.js';
import { PostgresNodeControl } from '../../src/postgres/node-control.js';
import { postgresProtocol } from '../../src/postgres/protocol.js';
import type { PostgresRuntime } from '../../src/postgres/runtime.js';
import type { NodeControl } from '../../src/protocol/node-control.js';
import { POSTGRES_CATALOG_QUERIES } from '../../src/sql/postgres/catalog.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';

const skip = skipWithout(available('postgres'));
const READINGS = new Set<string>(Object.values(POSTGRES_CATALOG_QUERIES));

/** Each makes the rows of some query others. */
const CHANGES = [
  'CREATE FUNCTION noted() RETURNS int LANGUAGE sql STABLE AS $$SELECT 1$$',
  'CREATE OR REPLACE FUNCTION noted() RETURNS int LANGUAGE sql VOLATILE AS $$SELECT 1$$',
  'CREATE OR REPLACE FUNCTION same(int, int) RETURNS boolean LANGUAGE sql AS $$SELECT $1 = $2$$',
  'CREATE OPERATOR ==== (LEFTARG = int, RIGHTARG = int, FUNCTION = same)',
  'CREATE SEQUENCE drawn',
  'CREATE TABLE seen (id int, v text); CREATE VIEW looked AS SELECT id FROM seen',
  'ALTER TABLE seen ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON seen USING (noted() = 1)',
  'CREATE TABLE given (v int DEFAULT noted())',
  'CREATE DOMAIN checked AS int CHECK (noted() = value)',
];
/** What no query tells anything of; an ALTER to and fro leaves the same rows in another order. */
const NO_CHANGES = [
  'CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)',
  'INSERT INTO seen (id) SELECT generate_series(1, 100)',
  'CREATE TABLE more (id int PRIMARY KEY)',
  'ALTER FUNCTION same(int, int) STABLE; ALTER FUNCTION same(int, int) VOLATILE',
];

test('postgres: the rows of a catalog are sent when they are others', { skip }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 0 });
  t.after(() => cluster.stop());
  const { primary } = cluster;
  const { database } = cluster.user;
  let sent: string[] = [];
  const open = (name: string): NodeControl => {
    const control = new PostgresNodeControl(primary, {
      ...cluster.superuser,
      database: name,
      applicationName: 'test',
    });
    const query = control.query.bind(control);
    control.query = (sql, timeoutMs) => {
      sent.push(sql);
      return query(sql, timeoutMs);
    };
    return control;
  };
  const [config] = configFrom({
    listeners: [{ name: 'l', port: 1 }],
    clusters: [{ name: 'c', protocol: 'postgres', nodes: [{ name: 'n', host: 'h', port: 1 }] }],
  }).clusters;
  const runtime = postgresProtocol.createRuntime({
    ...{ cluster: 'c', log: pino({ level: 'silent' }), catalogWanted: () => {}, peers: null },
    bug: (cause) => assert.fail(String(cause)),
    ...{ routing: config!.routing, autoPrepare: config!.autoPrepare },
  }) as PostgresRuntime;
  const entry = runtime.classifierOf(database);
  /** Queries whose rows were sent. */
  const refresh = async (): Promise<number> => {
    sent = [];
    await runtime.refreshCatalog(open, 60_000);
    assert.ok(entry.catalog !== null);
    return sent.filter((sql) => READINGS.has(sql)).length;
  };

  assert.equal(await refresh(), READINGS.size, 'nothing is known');
  assert.equal(await refresh(), 0);
  assert.equal(sent.length, READINGS.size);

  for (const change of CHANGES) {
    await primary.admin(change);
    const before = entry.catalog;
    assert.ok((await refresh()) > 0, change);
    assert.notEqual(entry.catalog, before, change);
    assert.equal(await refresh(), 0, change);
  }
  await refresh();
  for (const statement of NO_CHANGES) {
    await primary.admin(statement);
    assert.equal(await refresh(), 0, statement);
  }

  runtime.forgetCatalog();
  assert.equal(await refresh(), READINGS.size, 'DDL has passed through');
  assert.equal(sent.length, READINGS.size, 'statements wait: no question before');
  const { catalog } = entry;
  assert.equal(await refresh(), READINGS.size, 'nothing to compare with');
  assert.equal(entry.catalog, catalog, 'the same rows');
  assert.equal(await refresh(), 0);

  await t.test('a database that is gone, or cannot be read, keeps no other one from being read', async () => {
    const entries = new Map([[database, entry]]);
    for (const name of ['gone', 'refusing', 'last']) {
      await primary.admin(`CREATE DATABASE ${name}`);
      entries.set(name, runtime.classifierOf(name));
    }
    await runtime.refreshCatalog(open, 60_000);
    const isKnown = () => [...entries.values()].map(({ catalog }) => catalog !== null);
    assert.deepEqual(isKnown(), [true, true, true, true]);

    await primary.admin('DROP DATABASE gone');
    await primary.admin('ALTER DATABASE refusing ALLOW_CONNECTIONS false');
    runtime.forgetCatalog();
    await assert.rejects(runtime.refreshCatalog(open, 60_000), /"refusing" is not currently accepting/);
    assert.deepEqual(isKnown(), [true, false, false, true]);

    await primary.admin('ALTER DATABASE refusing ALLOW_CONNECTIONS true');
    await runtime.refreshCatalog(open, 60_000);
    assert.deepEqual(isKnown(), [true, false, true, true]);
    assert.notEqual(runtime.classifierOf('gone'), entries.get('gone'), 'made again it is another one');
  });
});

test('postgres 15: what is read of a catalog is not compiled first', {
  skip: skipWithout(available('postgres', 15)),
}, async (t) => {
  const cluster = await startCluster('postgres', {
    replicas: 0,
    version: 15,
    settings: { jit_above_cost: 0 },
  });
  t.after(() => cluster.stop());
  const { primary } = cluster;
  const [compiler] = await primary.admin('SELECT pg_jit_available() AS here');
  if (compiler!.here !== true) return t.skip('this server has no compiler');
  const control = new PostgresNodeControl(primary, {
    ...cluster.superuser,
    database: cluster.user.database,
    applicationName: 'test',
  });
  t.after(() => control.close());
  const plan = (rows: readonly object[]): string => JSON.stringify(rows);
  const explained = `EXPLAIN ANALYZE ${POSTGRES_CATALOG_QUERIES.operators}`;
  assert.match(plan(await primary.admin(explained)), /JIT/, 'another session compiles it');
  for (const query of READINGS)
    assert.doesNotMatch(plan(await control.query(`EXPLAIN ANALYZE ${query}`, 60_000)), /JIT/);
});
