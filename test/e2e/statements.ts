// Statement statistics of a running proxy: what the client got is what is counted, nothing of it is a literal, and a flood of
// shapes from one client leaves memory bounded, other clients served and popular shapes known.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { STATEMENT_SORTS, type StatementReport } from '../../src/admin/statements.js';
import { mysqlProtocol } from '../../src/mysql/protocol.js';
import { postgresProtocol } from '../../src/postgres/protocol.js';
import type { DataPath } from '../../src/proxy/data-path.js';
import { openOnPrimary } from '../../src/proxy/monitoring.js';
import { createMetrics } from '../../src/telemetry/metrics.js';
import { statementsReport } from '../../src/telemetry/statement-report.js';
import { DEFAULT_LIMITS } from '../../src/telemetry/statements.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { type Front, ONE_PROCESS, type Stage } from './stage.js';

/** More than the cache of classes takes. */
const FLOOD = 14_000;
const FLOODERS = 8;
const CACHE_ENTRIES = 12_500;
const CACHE_BYTES = 20 * 1024 * 1024;
const QUERY = { sort: 'calls', limit: 1_000, cluster: null } as const;

function reports(front: Front): readonly StatementReport[] {
  return statementsReport(front.proxy.proxy.statements(), 0, QUERY).statements;
}

function reportOf(front: Front, pattern: RegExp): StatementReport {
  const found = reports(front).filter(({ shape }) => pattern.test(shape));
  assert.equal(
    found.length,
    1,
    `${pattern}: ${reports(front)
      .map(({ shape }) => shape)
      .join('\n')}`,
  );
  return found[0]!;
}

export async function statementTests(t: TestContext, stage: Stage): Promise<void> {
  await t.test('calls, rows, errors and nodes are those of the client', (t) => countTest(t, stage));
  await t.test('no literal gets out', (t) => literalTest(t, stage));
  // It asks nothing of the servers: once for each protocol.
  const isFirstOfProtocol = stage.kind !== 'mariadb' && !stage.cluster.version.startsWith('15.');
  if (isFirstOfProtocol) await t.test('a flood of shapes, and a huge statement', (t) => floodTest(t, stage));
  await t.test('what has been concluded holds until the catalog reads otherwise', (t) =>
    catalogTest(t, stage),
  );
}

async function countTest(t: TestContext, stage: Stage): Promise<void> {
  const front = await stage.front(t);
  await front.seesReplicas(stage.replicaNames);
  const client = await front.connect(t);
  for (let i = 0; i < 30; i++) {
    const rows = await client.query(
      `SELECT id, name FROM items WHERE id <= ${i % 2 === 0 ? 1 : 2} ORDER BY id`,
    );
    assert.equal(rows.length, i % 2 === 0 ? 1 : 2);
  }
  await client.query("INSERT INTO notes VALUES (5500, 'a'), (5501, 'b'), (5502, 'c')");
  await client.query("UPDATE notes SET note = 'd' WHERE id >= 5500 AND id <= 5502");
  for (let i = 0; i < 3; i++) await client.query(`SELECT id FROM nowhere WHERE id = ${i}`).catch(() => {});
  for (let i = 1; i <= 4; i++) await client.execute('SELECT name FROM items WHERE id = ?', [i]);
  await client.query('SELECT pause(0.2) AS one');

  const read = reportOf(front, /select id, name from items/);
  assert.deepEqual([read.calls, read.rows, read.errors], [30, 45, 0]);
  assert.equal(read.replica, 30);
  assert.equal(
    Object.values(read.byNode).reduce((sum, calls) => sum + calls, 0),
    30,
  );
  for (const node of Object.keys(read.byNode)) assert.ok(stage.replicaNames.includes(node), node);
  // At least the names, and the framing of each row.
  assert.ok(read.bytes > 45 * 3 && read.bytes < 30 * 1_000, `${read.bytes} bytes`);
  assert.ok(read.nodeMs > 0 && read.maxNodeMs <= read.nodeMs && read.proxyMs >= 0);
  const insert = reportOf(front, /insert into notes/);
  assert.deepEqual([insert.calls, insert.rows, insert.primary, insert.replica], [1, 3, 1, 0]);
  // MySQL counts rows that have changed, or were found: three either way.
  assert.deepEqual([reportOf(front, /update notes/).rows, reportOf(front, /update notes/).primary], [3, 1]);
  const failed = reportOf(front, /from nowhere/);
  assert.deepEqual([failed.calls, failed.errors, failed.rows], [3, 3, 0]);
  const prepared = reportOf(front, /^select name from items/);
  assert.deepEqual([prepared.calls, prepared.rows], [4, 3]);
  const slow = reportOf(front, /pause/);
  assert.ok(slow.maxNodeMs >= 190, `${slow.maxNodeMs} ms`);
  const byTime = statementsReport(front.proxy.proxy.statements(), 0, { ...QUERY, sort: 'time', limit: 1 });
  // On a machine that stood still another one than this may have taken longest.
  const longest = reports(front).reduce((most, each) => (each.nodeMs > most.nodeMs ? each : most), slow);
  assert.equal(byTime.statements[0]!.shape, longest.shape);

  // Two at a time on one server connection: the second waits in the proxy, and that is no time of the node.
  const narrow = await stage.front(t, { pool: { maxServerConnections: 1 }, routing: { splitReads: false } });
  const [one, two] = await narrow.connectMany(t, 2);
  await one!.query('BEGIN');
  // PostgreSQL: a transaction takes its server connection with its first statement.
  await one!.query('SELECT id FROM items WHERE id = 1');
  const waits = two!.query("UPDATE notes SET note = 'e' WHERE id = 5500");
  await one!.query('SELECT pause(0.3) AS one');
  await one!.query('COMMIT');
  await waits;
  const waited = reportOf(narrow, /update notes/);
  assert.ok(waited.waitMs >= 200 && waited.nodeMs < waited.waitMs + 1_000, JSON.stringify(waited));

  front.proxy.proxy.resetStatements();
  assert.deepEqual(reports(front), []);
  await client.query('SELECT id FROM items WHERE id = 1');
  assert.equal(reports(front).length, 1);
}

async function literalTest(t: TestContext, stage: Stage): Promise<void> {
  const front = await stage.front(t);
  const client = await front.connect(t);
  const secret = 'hunter2';
  const number = '4711081';
  const texts = [
    `SELECT '${secret}', ${number}, -${number} /* ${secret} */ -- ${secret}`,
    `/* scheelite: session=${secret} */ SELECT name FROM items WHERE name = '${secret}' AND id IN (${number}, 1)`,
    `SELECT '${secret}`,
    `SELECT '${secret}' FROM nowhere`,
    ...(stage.kind === 'postgres'
      ? [
          `SELECT $x$${secret}$x$, E'\\'${secret}'`,
          `SELECT $x$${secret}`,
          `SET application_name = '${secret}'`,
          `SELECT set_config('application_name', '${secret}', false)`,
          `DO $$ BEGIN PERFORM '${secret}'; END $$`,
        ]
      : [
          `SELECT "${secret}" # ${secret}`,
          `SELECT /*!50000 '${secret}', ${number}, */ 1`,
          `SELECT /*+ SET_VAR(sort_buffer_size = ${number}) */ 1`,
          `SET @a = '${secret}'`,
          `DROP USER IF EXISTS 'nobody'@'${secret}'`,
          `SELECT \`${secret}, '${secret}'`,
        ]),
  ];
  for (const text of texts) await client.query(text).catch(() => {});
  await client.execute('SELECT name FROM items WHERE name = ?', [secret]);
  assert.ok(reports(front).length >= texts.length - 3);
  for (const sort of STATEMENT_SORTS) {
    const told = JSON.stringify(statementsReport(front.proxy.proxy.statements(), 0, { ...QUERY, sort }));
    assert.ok(!told.includes(secret) && !told.includes(number), told);
  }
  const { text } = createMetrics(() => ({
    counters: front.proxy.proxy.counters(),
    statements: { top: 100, clusters: front.proxy.proxy.statements() },
    facts: { version: '', revision: 1, reloads: { applied: 0, unchanged: 0, refused: 0 } },
  }));
  const metrics = (await text()).text;
  assert.match(metrics, /scheelite_statement_calls_total\{/);
  assert.ok(!metrics.includes(secret) && !metrics.includes(number), metrics);
}

async function floodTest(t: TestContext, stage: Stage): Promise<void> {
  // The cache of classes is each worker's own.
  const front = await stage.front(t, {}, ONE_PROCESS);
  const [popular, ...flooders] = await front.connectMany(t, 1 + FLOODERS);
  const popularTexts = Array.from({ length: 20 }, (_, i) => `SELECT name AS n${i} FROM items WHERE id = 1`);
  const askAll = async (client: Client) => {
    for (const text of popularTexts) assert.equal((await client.query(text)).length, 1);
  };
  let served = 0;
  // Once the catalog has been read for the first time nothing that was concluded before holds.
  await until('the popular ones are known', async () => {
    const { cacheMisses } = front.counters();
    await askAll(popular!);
    served++;
    return (
      front.counters().cacheMisses === cacheMisses && front.counters().cacheEntries >= popularTexts.length
    );
  });

  const servedBefore = served;
  let ended = false;
  const other = (async () => {
    while (!ended) {
      await askAll(popular!);
      served++;
      await sleep(10);
    }
  })();
  await Promise.all(
    flooders.map(async (client, me) => {
      for (let i = me; i < FLOOD; i += FLOODERS)
        await client.query(`SELECT ${i} AS flood_${i}_${'x'.repeat(40)}`);
    }),
  );
  ended = true;
  await other;
  // It had its turns while others flooded.
  assert.ok(served >= servedBefore + 20, `${served - servedBefore} rounds`);

  const after = front.counters();
  assert.ok(after.cacheEntries <= CACHE_ENTRIES, `${after.cacheEntries} entries`);
  assert.ok(after.cacheBytes <= CACHE_BYTES, `${after.cacheBytes} bytes`);
  assert.ok(after.cacheRefusals > 0);
  const { statements } = front.proxy.proxy.statements()[0]!;
  assert.ok(statements.size <= DEFAULT_LIMITS.maxShapes);
  assert.ok(statements.chars <= DEFAULT_LIMITS.maxShapeChars);
  // Nothing that is popular was forgotten, by the cache of classes or by the statistics.
  const missesBefore = after.cacheMisses;
  await askAll(popular!);
  assert.equal(front.counters().cacheMisses, missesBefore);
  const kept = reports(front).filter(({ shape }) => /^select name as n\d+ from items/.test(shape));
  assert.equal(kept.length, popularTexts.length);
  for (const { calls } of kept) assert.equal(calls, served + 1);

  // 16 MB are not looked at: not a byte of them, and nothing of them is kept.
  const before = front.counters();
  const rows = await popular!.query(`SELECT length('${'x'.repeat(15 * 1024 * 1024)}') AS n`);
  assert.equal(Number(rows[0]?.n), 15 * 1024 * 1024);
  const huge = front.counters();
  assert.equal(huge.lexedBytes, before.lexedBytes);
  assert.equal(huge.cacheBytes, before.cacheBytes);
}

async function catalogTest(t: TestContext, stage: Stage): Promise<void> {
  const front = await stage.front(t, {}, ONE_PROCESS);
  const client = await front.connect(t);
  const runtime = (front.proxy.proxy as DataPath).cluster('main')!;
  const protocol = stage.kind === 'postgres' ? postgresProtocol : mysqlProtocol;
  const [config] = front.proxy.config.clusters;
  /** How many texts had to be judged anew behind a reading of the catalog. */
  const judgedBehindReading = async () => {
    await runtime.protocol.refreshCatalog(openOnPrimary(protocol, config!, runtime.snapshot)!, 30_000);
    const { cacheMisses } = front.counters();
    await client.query('SELECT name FROM items WHERE id = 1');
    return front.counters().cacheMisses - cacheMisses;
  };
  await until('the catalog reads as before', async () => (await judgedBehindReading()) === 0);
  await stage.cluster.primary.admin(
    stage.kind === 'postgres'
      ? 'CREATE VIEW catalogued AS SELECT 1'
      : 'CREATE VIEW app.catalogued AS SELECT 1',
  );
  await until('it reads otherwise', async () => (await judgedBehindReading()) === 1);
  assert.equal(await judgedBehindReading(), 0);
}
