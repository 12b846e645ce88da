// What a statement is, as far as routing has to know: the result of classification, the same for both dialects.
// It knows no server, no session and no decision.

/**
 * Where a statement may run (the letters are those of the statement tables):
 * - `replica`  R: a pure read, any node that is fresh enough
 * - `primary`  P: it writes, locks, asks about the primary, or is not understood
 * - `last`     L / B: the server connection where the last statement of this session ran
 * - `session`  S: it changes session state that is tracked and replayed; touches no data
 * - `proxy`    own: answered by the proxy itself
 */
export type Route = 'replica' | 'primary' | 'last' | 'session' | 'proxy';

/** Why a server connection must stay with its client; the words are those of log, status and metrics. */
export type PinReason =
  | 'temporary-table'
  | 'listen'
  | 'session-lock'
  | 'user-variable'
  | 'cursor-with-hold'
  | 'lock-tables'
  | 'instance-lock'
  | 'backup-lock'
  | 'handler'
  | 'sequence-state'
  | 'set-config'
  | 'sql-prepare'
  | 'xa'
  | 'replication-variable'
  | 'untracked-setting'
  | 'open-cursor'
  | 'load'
  | 'exported-snapshot';

/** A transaction control statement. `null` modes are "not said". */
export type TransactionEffect =
  | { kind: 'begin'; readOnly: boolean | null; isolation: string | null; snapshot: boolean }
  | { kind: 'commit'; chain: boolean }
  | { kind: 'rollback'; chain: boolean }
  | { kind: 'savepoint' | 'release' | 'rollback-to' }
  /** SET TRANSACTION: the running one (PostgreSQL) or the next one (MySQL). */
  | { kind: 'set-transaction'; readOnly: boolean | null; isolation: string | null };

/** COMMIT or ROLLBACK AND CHAIN: another transaction begins where it ends. */
export function isChained({ transaction }: { readonly transaction: TransactionEffect | null }): boolean {
  return transaction !== null && 'chain' in transaction && transaction.chain;
}

/** What alone is looked at in a transaction that has failed; it has no rows in any schema. */
export function endsTransaction({
  transaction,
}: {
  readonly transaction: TransactionEffect | null;
}): boolean {
  const kind = transaction?.kind;
  return kind === 'commit' || kind === 'rollback' || kind === 'rollback-to';
}

/**
 * A change of session state. `name` is lower case without quotes; `sql` is the exact text that repeats the
 * change on another server connection (without a trailing semicolon).
 */
export type SessionEffect =
  | { kind: 'set'; name: string; value: string; local: boolean; sql: string }
  | { kind: 'reset'; name: string }
  | { kind: 'reset-all' }
  /** DISCARD ALL; DISCARD PLANS / SEQUENCES / TEMP. */
  | { kind: 'discard'; what: 'all' | 'plans' | 'sequences' | 'temp' }
  | { kind: 'use'; database: string };

/** A text-level PREPARE, EXECUTE or DEALLOCATE; names folded as the dialect folds them. */
export type PreparedEffect =
  | { kind: 'prepare'; name: string; body: StatementClass | null }
  | { kind: 'execute'; name: string }
  /** `name` null: DEALLOCATE ALL. */
  | { kind: 'deallocate'; name: string | null };

export interface StatementClass {
  readonly route: Route;
  /** One line for each reason, for an operator: "function nextval writes", "FOR UPDATE locks rows". */
  readonly reasons: readonly string[];
  readonly pin: PinReason | null;
  /** It leaves more in its session than `pin` says. Absent: not as far as was looked. */
  readonly pinsMore?: boolean;
  readonly transaction: TransactionEffect | null;
  readonly session: readonly SessionEffect[];
  readonly prepared: PreparedEffect | null;
  /** It changes the schema: the catalog is refreshed once it is through. */
  readonly ddl: boolean;
  /** Sessions that begin from now on may begin with other settings. Absent: no, or it is found by asking at each login. */
  readonly changesLogins?: boolean;
  /** Statements in it; 0 is an empty query; more than 1 is never split. */
  readonly statements: number;
  /**
   * The command word as the server would tag it, upper case ("SELECT", "INSERT", "SET", "BEGIN"); "" when empty,
   * "UNKNOWN" when not understood. Of the first statement where there are several.
   */
  readonly verb: string;
  /**
   * It reads what the last write of this session left in its server connection (LAST_INSERT_ID()): with the route `last`
   * that connection is meant, and a `primary` statement has to run there too. Absent: no.
   */
  readonly afterWrite?: boolean;
  /** It runs stored programs whose bodies may ask for LAST_INSERT_ID() as well. Absent: none that is known. */
  readonly runsPrograms?: boolean;
  /**
   * It would be a read, but for what it asks about: one node (pg_stat_activity, SHOW PROCESSLIST). The primary answers, unless
   * somebody says which node is meant (`asRead`). Absent: no.
   */
  readonly tellsOfNode?: boolean;
  /** It is refused while anybody else is connected to this database (DROP DATABASE). Absent: there is none. */
  readonly empties?: string;
}

const reads = new WeakMap<StatementClass, StatementClass>();

/** What a statement that `tellsOfNode` is where it is said which node is asked. The same object for each class. */
export function asRead(statement: StatementClass): StatementClass {
  let read = reads.get(statement);
  if (read === undefined) {
    read = Object.freeze({ ...statement, route: 'replica', tellsOfNode: false });
    reads.set(statement, read);
  }
  return read;
}

/** Whatever it reads, and wherever that is wanted. */
export function onPrimary(statement: StatementClass): StatementClass {
  return { ...statement, route: 'primary', tellsOfNode: false };
}

/** The settings of a session that change how its text reads. */
export interface PostgresLexSettings {
  readonly standardConformingStrings: boolean;
  /** client_encoding, upper case as the server reports it; left out it is one whose bytes below 128 are ASCII's. */
  readonly clientEncoding?: string;
}

export interface MysqlLexSettings {
  readonly flavour: 'mysql' | 'mariadb';
  /** As in executable comments: 80036, 90700, 101116. */
  readonly versionNumber: number;
  readonly ansiQuotes: boolean;
  readonly noBackslashEscapes: boolean;
  readonly oracleMode: boolean;
  /** MariaDB's sql_mode MSSQL: brackets quote names. Such text is not read further. */
  readonly bracketNames?: boolean;
  /** The client's character set, lower case ("utf8mb4", "gbk", "sjis"); it decides what a backslash byte is. */
  readonly characterSet: string;
}

/** Directives of a leading comment (slash star scheelite: key=value key=value star slash); keys lower case, values as written. */
export type Hint = ReadonlyMap<string, string>;

export interface Classified {
  readonly statement: StatementClass;
  readonly hint: Hint | null;
  /** The statement with its literals taken out, white space folded; bounded (2 kB, then cut with "..."). */
  readonly shape: string;
}

/** One classifier per cluster and dialect; bounded caches inside; never throws on any input. */
export interface Classifier<Settings> {
  /**
   * `sql`: the statement's bytes without a terminating zero. `recurs`: the same bytes are likely to come again (a prepared text),
   * so that it may pay to remember them as they are.
   */
  classify(sql: Buffer, settings: Settings, recurs?: boolean): Classified;
  /** Forget what was concluded from an older catalog. */
  catalogChanged(): void;
  readonly stats: Readonly<ClassificationStats>;
}

/** For the metrics: counts since start, and what is kept now. */
export interface ClassificationStats {
  hits: number;
  /** Statements that had to be judged. */
  misses: number;
  /** Bytes of texts that the lexer has read. */
  lexedBytes: number;
  /** Classes that were not kept, because their shapes came for the first time and the cache had been full. */
  refused: number;
  entries: number;
  /** Of keys and values, estimated. */
  bytes: number;
}

export function noStats(): ClassificationStats {
  return { hits: 0, misses: 0, lexedBytes: 0, refused: 0, entries: 0, bytes: 0 };
}
