// The oracle: random statements made from the golden tables and from the server's own functions; what is classed as a read
// must run on a standby without being refused and leave no transaction id and no lock on a primary. By itself it runs
// for `--seconds`, prints what it found, and exits 1 when a write was called a read.

import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { buildPostgresCatalog } from '../../../src/sql/postgres/catalog.js';
import { createPostgresClassifier } from '../../../src/sql/postgres/classifier.js';
import { startCluster, type TestCluster, type TestNode } from '../../servers/cluster.js';
import { goldenSchema, goldenTables, readCatalogRows } from './fixture.js';
import { Random } from './random.js';

export interface OracleReport {
  generated: number;
  /** Classed as a read and run on the standby, whatever it said. */
  reads: number;
  /** Classed as a read, and refused by the standby or with a trace on the primary: must be empty. */
  writesAsReads: string[];
  /** Of statements that ran on the standby without an error: how many were classed for the primary. */
  ran: number;
  readsAsWrites: number;
}

/** "cannot execute ... in a read-only transaction"; "not in prerequisite state" (recovery is in progress). */
const refusals = new Set(['25006', '55000']);

/** Functions that would disturb the servers or the run itself. */
const disturbing = /sleep|terminate|cancel|promote|reload|rotate|_file|wal_replay|log_backend|advisory_lock/;

/** One call of every built-in function, with arguments of its types. */
const callsQuery = `
  SELECT DISTINCT p.proname || '(' || coalesce((
           SELECT string_agg(CASE
                    WHEN t.typname IN ('int2', 'int4', 'int8', 'oid', 'numeric', 'float8') THEN '1'
                    WHEN t.typname IN ('text', 'name') THEN '''x'''
                    WHEN t.typname = 'regclass' THEN '''t'''
                    WHEN t.typname = 'bool' THEN 'true'
                    ELSE 'NULL::' || format_type(t.oid, NULL) END, ', ' ORDER BY a.position)
             FROM unnest(p.proargtypes) WITH ORDINALITY a(type, position) JOIN pg_type t ON t.oid = a.type), '') || ')' AS call
    FROM pg_proc p
   WHERE p.prokind = 'f' AND p.pronamespace = 'pg_catalog'::regnamespace
     AND NOT EXISTS (SELECT FROM unnest(p.proargtypes || p.prorettype) a(type) JOIN pg_type t ON t.oid = a.type
                      WHERE t.typtype = 'p' AND t.typname NOT IN ('void', 'record'))`;

class Generator {
  readonly #random: Random;
  readonly #statements: readonly string[];
  readonly #calls: readonly string[];

  constructor(seed: number, statements: readonly string[], calls: readonly string[]) {
    this.#random = new Random(seed);
    this.#statements = statements;
    this.#calls = calls;
  }

  next(): string {
    const random = this.#random;
    const first = random.pick(this.#statements);
    const second = random.pick(this.#statements);
    switch (random.below(8)) {
      case 0:
        return first.slice(0, random.below(first.length + 1)) + second.slice(random.below(second.length + 1));
      case 1:
        return `${first}; ${second}`;
      case 2: {
        const words = first.split(' ');
        words.splice(random.below(words.length), 1, random.pick(second.split(' ')));
        return words.join(' ');
      }
      case 3:
        return `WITH q AS (${first}) ${second}`;
      case 4:
        return `SELECT ${random.pick(this.#calls)}`;
      case 5:
        return `SELECT a, ${random.pick(this.#calls)} FROM t WHERE id < 3`;
      case 6:
        return `${random.pick(['EXPLAIN', 'EXPLAIN ANALYZE', 'COPY', 'DECLARE c CURSOR FOR'])} (${first}) TO STDOUT`;
      default:
        return `SELECT * FROM (${first}) q, LATERAL (${second}) r`;
    }
  }
}

async function connect(cluster: TestCluster, node: TestNode): Promise<pg.Client> {
  const { user, password } = cluster.superuser;
  const client = new pg.Client({
    host: node.host,
    port: node.port,
    user,
    password,
    database: cluster.user.database,
  });
  await client.connect();
  await client.query("SET statement_timeout = '2s'");
  return client;
}

/** The error's code, or null when it ran. */
async function codeOf(client: pg.Client, sql: string): Promise<string | null> {
  try {
    await client.query(sql);
    return null;
  } catch (error) {
    return (error as pg.DatabaseError).code ?? String(error);
  }
}

/** The cluster must have `goldenSchema()`. Runs until `enough` says so. */
export async function runOracle(
  cluster: TestCluster,
  seed: number,
  enough: (report: OracleReport) => boolean,
): Promise<OracleReport> {
  const catalog = buildPostgresCatalog(await readCatalogRows((sql) => cluster.primary.admin(sql)));
  const classifier = createPostgresClassifier({ catalog: () => catalog });
  const calls = (await cluster.primary.admin(callsQuery)).map((row) => String(row.call));
  const statements = [...goldenTables().values()]
    .flat()
    .map((golden) => golden.sql)
    .filter((sql) => sql.length < 600);
  const generator = new Generator(
    seed,
    statements.filter((sql) => !disturbing.test(sql)),
    calls.filter((call) => !disturbing.test(call)),
  );
  const standby = await connect(cluster, cluster.replicas[0]!);
  const primary = await connect(cluster, cluster.primary);
  const report: OracleReport = { generated: 0, reads: 0, writesAsReads: [], ran: 0, readsAsWrites: 0 };
  try {
    while (!enough(report)) {
      const sql = generator.next();
      report.generated++;
      const {
        route,
        verb,
        pin,
        statements: count,
        transaction,
      } = classifier.classify(Buffer.from(sql), {
        standardConformingStrings: true,
      }).statement;
      const read = route === 'replica';
      // Only what looks like a query is tried where it was classed for the primary: the rest is known to write.
      // What pins changes its session (search_path = pg_temp makes current_schema() write), and never meets a replica.
      if (!read && !(route === 'primary' && pin === null && count === 1 && verb === 'SELECT')) continue;
      const code = await codeOf(standby, sql);
      if (transaction !== null) await standby.query('ROLLBACK');
      if (code === null) report.ran++;
      if (!read) {
        if (code === null) report.readsAsWrites++;
        continue;
      }
      report.reads++;
      if (code !== null && refusals.has(code)) report.writesAsReads.push(`${code}: ${sql}`);
      if (code === null && transaction === null) {
        const trace = await traceOf(primary, sql);
        if (trace !== null) report.writesAsReads.push(`${trace}: ${sql}`);
      }
    }
  } finally {
    await standby.end();
    await primary.end();
  }
  return report;
}

/** What a statement that ran on the standby leaves behind in a transaction on the primary; null for nothing. */
async function traceOf(primary: pg.Client, sql: string): Promise<string | null> {
  await primary.query('BEGIN');
  try {
    const code = await codeOf(primary, sql);
    if (code !== null) return code === '57014' ? null : `failed on the primary with ${code}`;
    const { rows } = await primary.query<{ xid: string | null; locks: number }>(
      `SELECT txid_current_if_assigned()::text AS xid,
              (SELECT count(*)::int FROM pg_locks WHERE pid = pg_backend_pid()
                AND (locktype = 'advisory' OR mode IN ('RowShareLock', 'RowExclusiveLock'))) AS locks`,
    );
    const { xid, locks } = rows[0]!;
    return xid !== null ? 'a transaction id' : locks > 0 ? 'a lock' : null;
  } finally {
    await primary.query('ROLLBACK');
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() & 0x7fffffff) },
      version: { type: 'string', default: '18' },
    },
  });
  const cluster = await startCluster('postgres', { version: Number(values.version), replicas: 1 });
  try {
    await cluster.primary.admin(goldenSchema());
    await cluster.waitCaughtUp();
    const until = performance.now() + Number(values.seconds) * 1000;
    const report = await runOracle(cluster, Number(values.seed), () => performance.now() > until);
    for (const found of new Set(report.writesAsReads)) console.log(found);
    const { generated, reads, ran, readsAsWrites, writesAsReads } = report;
    console.log(
      `PostgreSQL ${cluster.version}, seed ${values.seed}: ${generated} statements, ${reads} reads run`,
    );
    console.log(`reads classed as writes: ${((100 * readsAsWrites) / Math.max(1, ran)).toFixed(2)} %`);
    console.log(`writes classed as reads: ${writesAsReads.length}`);
    if (writesAsReads.length > 0) process.exitCode = 1;
  } finally {
    await cluster.stop();
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) await main();
