// The oracle on MySQL and MariaDB: each statement is classed, run on a read-only replica and, if it ran there, watched on a
// primary of which somebody else has locked every row. It knows the material only by asking for the next statement.

import {
  buildMysqlCatalog,
  MYSQL_CATALOG_QUERIES,
  type MysqlCatalogRows,
} from '../../../src/sql/mysql/catalog.js';
import { createMysqlClassifier } from '../../../src/sql/mysql/classifier.js';
import type { MysqlLexSettings, StatementClass } from '../../../src/sql/statement.js';
import { startCluster, type TestCluster, type TestNode } from '../../servers/cluster.js';
import { settingsOf } from '../../sql/mysql/golden.js';
import { type Answer, RawConnection } from '../../sql/mysql/raw-connection.js';
import { schemaOf } from '../../sql/mysql/schema.js';
import { Random } from '../../storm/random.js';
import { mutated } from '../mutated.js';
import { Tally } from '../tally.js';
import { MysqlGrammar } from './grammar.js';
import {
  disturbing,
  type Flavour,
  functionCalls,
  goldenStatements,
  helpExamples,
  isOnPurpose,
  ownQueries,
} from './material.js';

/**
 * ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE; and ER_OPEN_AS_READONLY,
 * which MariaDB says of a sequence.
 */
const refusals = new Set([1290, 1792, 1836, 1036]);
/** ER_LOCK_WAIT_TIMEOUT, ER_LOCK_NOWAIT: it wanted a lock that somebody has. */
const locked = new Set([1205, 3572]);
/** ER_QUERY_TIMEOUT, ER_STATEMENT_TIMEOUT, ER_QUERY_INTERRUPTED: ours. */
const cancelled = new Set([3024, 1969, 1317]);

interface Mode {
  readonly sqlMode: string;
  readonly change: Partial<MysqlLexSettings>;
}

const modes: readonly Mode[] = [
  { sqlMode: '', change: {} },
  { sqlMode: 'ANSI_QUOTES', change: { ansiQuotes: true } },
  { sqlMode: 'NO_BACKSLASH_ESCAPES', change: { noBackslashEscapes: true } },
];
const oracleMode: Mode = { sqlMode: 'ORACLE', change: { ansiQuotes: true, oracleMode: true } };

/** What the grammar and the golden tables both speak of. */
const more = [
  'CREATE TABLE shop.x2 (k INT PRIMARY KEY)',
  'INSERT INTO shop.x2 VALUES (1), (2)',
  'CREATE PROCEDURE shop.nothing() SELECT 1',
];

function versionNumber(version: string): number {
  const [major, minor, patch] = version.split('.').map(Number);
  return major! * 10_000 + minor! * 100 + (patch ?? 0);
}

function describe({ route, pin, verb, reasons }: StatementClass): string {
  return `${route}${pin === null ? '' : `, pin ${pin}`} (${verb}) ${reasons.join('; ')}`;
}

/** A session with a mode, that is opened again when something may have been left in it. */
class Seat {
  readonly #node: TestNode;
  readonly #cluster: TestCluster;
  readonly #flavour: Flavour;
  readonly #mode: Mode;
  #connection: RawConnection | null = null;

  constructor(cluster: TestCluster, node: TestNode, flavour: Flavour, mode: Mode) {
    this.#cluster = cluster;
    this.#node = node;
    this.#flavour = flavour;
    this.#mode = mode;
  }

  async run(sql: string | Buffer): Promise<Answer> {
    return (await this.#open()).run(sql);
  }

  async rows(sql: string): Promise<readonly Record<string, unknown>[]> {
    return (await this.#open()).rows(sql);
  }

  close(): void {
    this.#connection?.close();
    this.#connection = null;
  }

  async #open(): Promise<RawConnection> {
    if (this.#connection !== null) return this.#connection;
    const connection = await RawConnection.open(this.#node, this.#cluster.user, 'shop');
    this.#connection = connection;
    const limit = this.#flavour === 'mysql' ? 'max_execution_time = 1000' : 'max_statement_time = 1';
    await connection.run('SET NAMES utf8mb4');
    await connection.run(
      `SET SESSION ${limit}, innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, sql_mode = '${this.#mode.sqlMode}'`,
    );
    return connection;
  }
}

/** With more time than what is judged has. */
const traceQueries = {
  mysql: `SELECT /*+ MAX_EXECUTION_TIME(60000) */ @@global.gtid_executed AS history, RELEASE_ALL_LOCKS() AS locks,
    (SELECT COUNT(*) FROM performance_schema.user_variables_by_thread WHERE THREAD_ID = PS_CURRENT_THREAD_ID()) AS variables`,
  mariadb: `SET STATEMENT max_statement_time = 60 FOR SELECT @@global.gtid_binlog_pos AS history, RELEASE_ALL_LOCKS() AS locks,
    (SELECT COUNT(*) FROM information_schema.USER_VARIABLES) AS variables`,
};

export interface MysqlOracleOptions {
  readonly flavour: Flavour;
  readonly seconds: number;
  readonly seed: number;
  /** Random statements at least, however slow the machine. */
  readonly atLeast?: number;
}

export async function mysqlOracle({
  flavour,
  seconds,
  seed,
  atLeast = 0,
}: MysqlOracleOptions): Promise<Tally> {
  const until = performance.now() + seconds * 1000;
  const tally = new Tally(flavour, seed);
  const seats: Seat[] = [];
  const cluster = await startCluster(flavour, {
    replicas: 1,
    settings: { 'log-bin-trust-function-creators': 'ON' },
  });
  try {
    const { primary, user } = cluster;
    for (const statement of [...schemaOf(flavour, user.user), ...more]) await primary.admin(statement);
    for (const schema of ['mysql', 'sys', 'performance_schema'])
      await primary.admin(`GRANT SELECT ON ${schema}.* TO '${user.user}'@'%'`).catch(() => {});
    await primary.admin(`GRANT EXECUTE ON sys.* TO '${user.user}'@'%'`).catch(() => {});
    await cluster.waitCaughtUp();
    const plain = settingsOf(flavour, { versionNumber: versionNumber(cluster.version) });
    const read = (query: keyof typeof MYSQL_CATALOG_QUERIES) => primary.admin(MYSQL_CATALOG_QUERIES[query]);
    const rows = {
      routines: await read('routines'),
      parameters: await read('parameters'),
      views: await read('views'),
      sequences: flavour === 'mariadb' ? await read('sequences') : [],
      loadable: await read('loadable'),
    } as unknown as MysqlCatalogRows;
    const catalog = buildMysqlCatalog(rows, plain);
    const classifier = createMysqlClassifier({ catalog: () => catalog });

    const blocker = new Seat(cluster, primary, flavour, modes[0]!);
    seats.push(blocker);
    const sides = (flavour === 'mariadb' ? [...modes, oracleMode] : modes).map((mode) => ({
      settings: { ...plain, ...mode.change },
      mode: mode.sqlMode,
      replica: new Seat(cluster, cluster.replicas[0]!, flavour, mode),
      primary: new Seat(cluster, primary, flavour, mode),
    }));
    for (const { replica, primary: watched } of sides) seats.push(replica, watched);

    let history = '';
    const lockAll = async (): Promise<void> => {
      await blocker.run('START TRANSACTION');
      for (const table of ['t', 'u', 't2', 't3', 'v_words', 'x', 'x2'])
        await blocker.run(`SELECT * FROM ${table} FOR UPDATE`);
      const [row] = await blocker.rows(traceQueries[flavour]);
      history = String(row?.history);
    };
    await lockAll();

    const traceOf = async (sql: Buffer, seat: Seat): Promise<string | null> => {
      const answer = await seat.run(sql);
      if (cancelled.has(answer.errno)) {
        seat.close();
        const [now] = await seat.rows(traceQueries[flavour]);
        history = String(now?.history);
        return null;
      }
      const [row] = await seat.rows(traceQueries[flavour]);
      let trace: string | null = null;
      if (String(row?.history) !== history) trace = `the history is ${String(row?.history)}`;
      else if (Number(row?.locks) > 0) trace = `${String(row?.locks)} locks of the session`;
      else if (Number(row?.variables) > 0) trace = 'a user variable';
      else if (locked.has(answer.errno)) trace = `it waited for a row: ${answer.errno} ${answer.message}`;
      else if (answer.errno !== 0) trace = `failed on the primary: ${answer.errno} ${answer.message}`;
      if (trace !== null) seat.close();
      history = String(row?.history);
      return trace;
    };

    const judge = async (sql: string, side: (typeof sides)[number]): Promise<void> => {
      tally.statements++;
      const bytes = Buffer.from(sql);
      const { statement } = classifier.classify(bytes, side.settings);
      const isRead =
        statement.route === 'replica' && statement.pin === null && statement.transaction === null;
      const said = `${describe(statement)}${side.mode === '' ? '' : `, sql_mode ${side.mode}`}`;
      const isCandidate =
        statement.route === 'primary' &&
        statement.statements === 1 &&
        /^(?:SELECT|VALUES|TABLE|SHOW|DO|EXPLAIN|DESCRIBE|DESC)$/.test(statement.verb) &&
        !/\b(?:for\s+(?:update|share)|lock\s+in|into)\b/i.test(sql);
      if (!isRead && !isCandidate) return;
      if (disturbing.test(sql)) return;
      if (isRead) tally.reads++;
      const answer = await side.replica.run(bytes);
      if (!isRead) side.replica.close();
      if (answer.errno !== 0) {
        if (isRead && refusals.has(answer.errno))
          tally.write({ sql, said, answer: `${answer.errno} ${answer.message}` });
        return;
      }
      if (isRead) tally.answered++;
      const trace = await traceOf(bytes, side.primary);
      if (trace === null) tally.provedRead(isRead, isOnPurpose(sql), sql);
      else if (isRead) tally.write({ sql, said, answer: `left on the primary: ${trace}` });
    };

    const random = new Random(seed);
    const golden = goldenStatements(flavour);
    for (const sql of golden) await judge(sql, sides[0]!);
    const calls = await functionCalls(primary, flavour);
    const helped = await helpExamples(primary);
    const systematic = [...helped, ...(await ownQueries(primary)), ...calls];
    // With little time a part of them, another one by every seed.
    const share = Math.min(1, seconds / 60);
    for (const sql of systematic) if (random.chance(share)) await judge(sql, sides[0]!);
    const grammar = new MysqlGrammar(random, flavour);
    const short = [...golden, ...helped].filter((sql) => sql.length < 600);
    for (let made = 0; made < atLeast || performance.now() < until; made++) {
      const side = random.chance(0.6) ? sides[0]! : random.pick(sides);
      await judge(random.chance(0.75) ? grammar.statement() : mutated(random, short), side);
    }
  } finally {
    for (const seat of seats) seat.close();
    await cluster.stop();
  }
  return tally;
}
