// On real servers: the catalog read by its queries gives every golden case its class, what is classed as a read runs on a
// standby, and it leaves no transaction id and no lock behind on a primary.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { buildPostgresCatalog, type PostgresCatalog } from '../../../src/sql/postgres/catalog.js';
import { createPostgresClassifier } from '../../../src/sql/postgres/classifier.js';
import { available, skipWithout } from '../../servers/available.js';
import { startCluster, type TestCluster, type TestNode } from '../../servers/cluster.js';
import { expectCase } from './expect.js';
import { type GoldenCase, goldenSchema, goldenTables, readCatalogRows } from './fixture.js';

/** "cannot execute ... in a read-only transaction", and what a standby says of things it has no use for. */
const refusals = new Set(['25006', '55000']);

async function withClient<T>(
  cluster: TestCluster,
  node: TestNode,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const { user, password } = cluster.superuser;
  const client = new pg.Client({
    host: node.host,
    port: node.port,
    user,
    password,
    database: cluster.user.database,
  });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

interface Failure {
  readonly sql: string;
  readonly code: string;
  readonly message: string;
}

async function attempt(client: pg.Client, sql: string): Promise<Failure | null> {
  try {
    await client.query(sql);
    return null;
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    return { sql, code: code ?? '', message };
  }
}

function casesFor(version: number): GoldenCase[] {
  return [...goldenTables().values()].flat().filter((golden) => (golden.since ?? 0) <= version);
}

function reads(cases: readonly GoldenCase[]): GoldenCase[] {
  return cases.filter(
    (golden) => (golden.route === 'replica' || golden.ofNode === true) && golden.standby !== false,
  );
}

for (const version of [15, 18]) {
  test(`PostgreSQL ${version}`, { skip: skipWithout(available('postgres', version)) }, async (t) => {
    const cluster = await startCluster('postgres', { version, replicas: 1 });
    t.after(() => cluster.stop());
    await cluster.primary.admin(goldenSchema());
    await cluster.waitCaughtUp();
    const cases = casesFor(version);

    await t.test('the live catalog gives every golden case its class', async () => {
      const catalog: PostgresCatalog = buildPostgresCatalog(
        await readCatalogRows((sql) => cluster.primary.admin(sql)),
      );
      const shared = createPostgresClassifier({ catalog: () => catalog });
      for (const golden of cases) {
        const known = golden.catalog === 'none' ? null : catalog;
        const own = known === null || golden.overrides !== undefined;
        const overrides = golden.overrides ?? {};
        expectCase(golden, own ? createPostgresClassifier({ catalog: () => known, overrides }) : shared);
      }
    });

    await t.test('every read runs on a standby', async () => {
      const failures = await withClient(cluster, cluster.replicas[0]!, async (client) => {
        const found: Failure[] = [];
        for (const golden of reads(cases)) {
          const failure = await attempt(client, golden.sql);
          if (failure !== null) found.push(failure);
          if (golden.transaction !== undefined) await client.query('ROLLBACK');
        }
        return found;
      });
      const refused = failures.filter((failure) => refusals.has(failure.code));
      assert.deepEqual(refused, []);
      // The tables speak of objects that schema.sql makes: nothing else may go wrong either.
      assert.deepEqual(failures, []);
    });

    await t.test('what is replayed leaves the same setting as what was said', async () => {
      const value = async (node: TestNode, name: string, sql: string): Promise<string> =>
        withClient(cluster, node, async (client) => {
          const failure = await attempt(client, sql);
          if (failure !== null) return failure.code;
          // A standby answers no SELECT where it is SERIALIZABLE; not every name can be said to SHOW.
          const shows = name === 'default_transaction_isolation';
          const { rows } = await client.query(
            shows ? `SHOW ${name}` : `SELECT current_setting('${name}', true)`,
          );
          return String(Object.values(rows[0] as object)[0]);
        });
      let compared = 0;
      for (const golden of cases) {
        const effect = golden.session?.[0];
        if (golden.session?.length !== 1 || golden.settings || effect?.kind !== 'set' || effect.local)
          continue;
        const said = await value(cluster.primary, effect.name, golden.sql);
        assert.equal(await value(cluster.replicas[0]!, effect.name, effect.sql), said, golden.sql);
        compared++;
      }
      assert.ok(compared > 20, `${compared} compared`);
    });

    await t.test('every read leaves nothing on a primary', async () => {
      await withClient(cluster, cluster.primary, async (client) => {
        for (const golden of reads(cases)) {
          if (golden.transaction !== undefined) continue;
          await client.query('BEGIN');
          await client.query(golden.sql);
          const { rows } = await client.query<{ xid: string | null; locks: number; temporary: number }>(
            `SELECT txid_current_if_assigned()::text AS xid,
                    (SELECT count(*)::int FROM pg_locks WHERE pid = pg_backend_pid()
                      AND (locktype = 'advisory' OR mode IN ('RowShareLock', 'RowExclusiveLock'))) AS locks,
                    pg_my_temp_schema()::int AS temporary`,
          );
          await client.query('ROLLBACK');
          assert.deepEqual(rows, [{ xid: null, locks: 0, temporary: 0 }], golden.sql);
        }
      });
    });
  });
}
