// The oracle on PostgreSQL: each statement is classed, judged a second time by a walk of its whole tree, run on a standby and,
// if it ran there, watched on the primary for what it leaves. It knows the material only by asking for the next statement.

import pg from 'pg';
import { buildPostgresCatalog } from '../../../src/sql/postgres/catalog.js';
import { createPostgresClassifier } from '../../../src/sql/postgres/classifier.js';
import type { StatementClass } from '../../../src/sql/statement.js';
import { startCluster, type TestCluster, type TestNode } from '../../servers/cluster.js';
import { readCatalogRows } from '../../sql/postgres/fixture.js';
import { Random } from '../../storm/random.js';
import { mutated } from '../mutated.js';
import { Tally } from '../tally.js';
import { prepareDatabase, quiet } from './database.js';
import { PostgresGrammar } from './grammar.js';
import { disturbing, functionCalls, goldenStatements, ownQueries } from './material.js';
import { Walker } from './walker.js';

const settings = { standardConformingStrings: true };

/** Cancelled by us: it says nothing. */
const CANCELLED = '57014';

interface Answer {
  /** '' when it ran. */
  readonly code: string;
  readonly message: string;
}

async function answerOf(client: pg.Client, sql: string): Promise<Answer> {
  try {
    await client.query(sql);
    return { code: '', message: '' };
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    // Without a code it is no answer of the server: the connection is gone.
    if (code === undefined) throw error;
    return { code, message };
  }
}

/** "cannot execute ... in a read-only transaction", and its like of a server in recovery. */
function isRefusal({ code, message }: Answer): boolean {
  return code === '25006' || ((code === '55000' || code === '0A000') && /recovery|standby/i.test(message));
}

async function connect(cluster: TestCluster, node: TestNode, asSuperuser: boolean): Promise<pg.Client> {
  const { user, password } = asSuperuser ? cluster.superuser : cluster.user;
  const client = new pg.Client({
    ...{ host: node.host, port: node.port, user, password },
    database: cluster.user.database,
  });
  client.on('error', () => {});
  await client.connect();
  await client.query("SET statement_timeout = '1s'");
  return client;
}

/** BEGIN and ROLLBACK can be said again when their time was up. */
async function surely(client: pg.Client, sql: string): Promise<void> {
  for (;;) {
    const { code, message } = await answerOf(client, sql);
    if (code === '') return;
    if (code !== CANCELLED) throw new Error(`${sql}: ${code} ${message}`);
  }
}

const traceQuery = `
  SELECT pg_current_wal_insert_lsn()::text AS lsn, txid_current_if_assigned() IS NOT NULL AS xid,
         pg_my_temp_schema()::int AS temporary,
         (SELECT string_agg(DISTINCT locktype || ' ' || mode, ', ') FROM pg_locks WHERE pid = pg_backend_pid()
           AND (locktype IN ('advisory', 'tuple', 'object') OR mode IN ('RowShareLock', 'RowExclusiveLock'))) AS locks`;
const sessionQuery = `
  SELECT pg_current_wal_insert_lsn()::text AS lsn,
         concat_ws('; ',
           (SELECT 'a session lock' FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' LIMIT 1),
           (SELECT string_agg('setting ' || name, ', ') FROM pg_settings
             WHERE source = 'session' AND name NOT IN ('statement_timeout')),
           (SELECT 'listens' FROM pg_listening_channels() LIMIT 1),
           (SELECT 'a prepared statement' FROM pg_prepared_statements LIMIT 1),
           (SELECT 'a cursor' FROM pg_cursors LIMIT 1)) AS left_behind`;

/** One who can be asked what a statement leaves on the primary. */
class Watched {
  readonly #client: pg.Client;
  #lsn = '';

  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** Null: none. A changed position alone counts only when it changes every time: others write to the log too. */
  async traceOf(sql: string, keep: boolean): Promise<string | null> {
    let trace: string | null = null;
    for (let attempt = 0; attempt < 4; attempt++) {
      const found = await this.#once(sql, keep).catch((error: unknown) => this.#again(error));
      if (found.trace !== null) return found.trace;
      if (!found.moved) return null;
      trace = 'its position moved every time';
    }
    return trace;
  }

  async #once(sql: string, keep: boolean): Promise<{ trace: string | null; moved: boolean }> {
    const client = this.#client;
    if (this.#lsn === '') this.#lsn = await this.#position();
    const before = this.#lsn;
    await client.query('BEGIN');
    const answer = await answerOf(client, sql);
    if (answer.code !== '') {
      await client.query('ROLLBACK');
      this.#lsn = await this.#position();
      return {
        trace: answer.code === CANCELLED ? null : `failed on the primary: ${answer.code} ${answer.message}`,
        moved: false,
      };
    }
    const { rows } = await client.query<{
      lsn: string;
      xid: boolean;
      temporary: number;
      locks: string | null;
    }>(traceQuery);
    await client.query(keep ? 'COMMIT' : 'ROLLBACK');
    const { xid, temporary, locks } = rows[0]!;
    let trace = xid ? 'a transaction id' : temporary !== 0 ? 'a temporary schema' : locks;
    const after = await client.query<{ lsn: string; left_behind: string }>(sessionQuery);
    const { lsn, left_behind } = after.rows[0]!;
    if (left_behind !== '') {
      trace ??= left_behind;
      await client.query('DISCARD ALL');
      await client.query("SET statement_timeout = '1s'");
    }
    this.#lsn = lsn;
    return { trace, moved: lsn !== before };
  }

  /** A question of ours took its second as well, on a machine that stood still. */
  async #again(error: unknown): Promise<{ trace: null; moved: true }> {
    if ((error as { code?: unknown }).code !== CANCELLED) throw error;
    await surely(this.#client, 'ROLLBACK');
    this.#lsn = '';
    return { trace: null, moved: true };
  }

  async #position(): Promise<string> {
    const { rows } = await this.#client.query<{ lsn: string }>(
      'SELECT pg_current_wal_insert_lsn()::text AS lsn',
    );
    return rows[0]!.lsn;
  }
}

function describe({ route, pin, verb, reasons }: StatementClass): string {
  return `${route}${pin === null ? '' : `, pin ${pin}`} (${verb}) ${reasons.join('; ')}`;
}

export interface PostgresOracleOptions {
  readonly version: 15 | 18;
  readonly seconds: number;
  readonly seed: number;
  /** Random statements at least, however slow the machine. */
  readonly atLeast?: number;
}

export async function postgresOracle({
  version,
  seconds,
  seed,
  atLeast = 0,
}: PostgresOracleOptions): Promise<Tally> {
  const until = performance.now() + seconds * 1000;
  const tally = new Tally(`postgres ${version}`, seed);
  const cluster = await startCluster('postgres', { version, replicas: 1, settings: quiet });
  const clients: pg.Client[] = [];
  try {
    await prepareDatabase(cluster);
    const { primary } = cluster;
    const replica = cluster.replicas[0]!;
    const catalog = buildPostgresCatalog(await readCatalogRows((sql) => primary.admin(sql)));
    const classifier = createPostgresClassifier({ catalog: () => catalog });
    const walker = await Walker.of(primary);
    const side = async (asSuperuser: boolean) => {
      const standby = await connect(cluster, replica, asSuperuser);
      const watched = await connect(cluster, primary, asSuperuser);
      clients.push(standby, watched);
      return { standby, watched: new Watched(watched) };
    };
    const superuser = await side(true);
    // Row security and rights hold for this one.
    const application = await side(false);

    const judge = async (sql: string, { standby, watched }: typeof superuser): Promise<void> => {
      if (sql.includes('\0')) return;
      tally.statements++;
      const { statement } = classifier.classify(Buffer.from(sql), settings);
      const verdict = walker.judge(sql);
      const isRead =
        statement.route === 'replica' && statement.pin === null && statement.transaction === null;
      const said = describe(statement);
      // What libpg-query refuses (it knows no comment between the halves of a literal) only the servers judge.
      if (isRead && verdict !== null && verdict.why.length > 0)
        tally.write({ sql, said, answer: `the walk of its tree: ${verdict.why.join('; ')}` });
      if (!isRead && verdict?.isQuery !== true) return;
      if (verdict?.why.length === 0 && !isRead) tally.stricterThanWalk(sql);
      if (disturbing.test(sql)) return;
      if (isRead) tally.reads++;
      // What is said to be no read may set something.
      if (!isRead) await surely(standby, 'BEGIN');
      const answer = await answerOf(standby, sql);
      if (!isRead) await surely(standby, 'ROLLBACK');
      if (answer.code !== '') {
        if (isRead && isRefusal(answer))
          tally.write({ sql, said, answer: `${answer.code} ${answer.message}` });
        return;
      }
      if (isRead) tally.answered++;
      const trace = await watched.traceOf(sql, isRead);
      if (trace === null) tally.provedRead(isRead, (verdict?.why.length ?? 1) > 0, sql);
      else if (isRead) tally.write({ sql, said, answer: `left on the primary: ${trace}` });
    };

    const golden = goldenStatements(version);
    const calls = await functionCalls(primary);
    const own = await ownQueries(primary);
    for (const sql of golden) await judge(sql, superuser);
    const random = new Random(seed);
    // With little time a part of the functions, another one by every seed.
    const systematic = [...calls, ...own];
    const share = Math.min(1, seconds / 60);
    for (const sql of systematic) {
      if (random.chance(share)) await judge(sql, superuser);
    }
    const grammar = new PostgresGrammar(random);
    const short = [...golden, ...calls, ...own].filter((sql) => sql.length < 600);
    for (let made = 0; made < atLeast || performance.now() < until; made++) {
      if (random.chance(0.6)) await judge(grammar.statement(), random.chance(0.8) ? application : superuser);
      else await judge(mutated(random, short), superuser);
    }
  } finally {
    for (const client of clients) await client.end().catch(() => {});
    await cluster.stop();
  }
  return tally;
}
