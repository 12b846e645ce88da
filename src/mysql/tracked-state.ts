// The session state of a client that is tracked and replayed: variables, database, role, an immutable map of values.
// It knows no connection; two sessions whose digests are equal may use each other's server connections as they are.

/** Not variables; no variable's name has a colon. */
const DATABASE = ':database';
const ROLE = ':role';
const MULTI_STATEMENTS = ':multi-statements';

export type StateCommand =
  | { readonly kind: 'query'; readonly sql: string }
  | { readonly kind: 'init-db'; readonly database: string }
  | { readonly kind: 'set-option'; readonly multiStatements: boolean };

/** What a session has that differs from its login. */
export class TrackedState {
  static readonly empty = new TrackedState(new Map());

  readonly #values: ReadonlyMap<string, string>;
  #forPreparing: TrackedState | null = null;
  readonly digest: string;

  private constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
    this.digest = [...values.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}\0${value}`)
      .join('\0\0');
  }

  private static of(values: ReadonlyMap<string, string>): TrackedState {
    return values.size === 0 ? TrackedState.empty : new TrackedState(values);
  }

  /** A variable's value as the server reports it; undefined: as after the login. */
  variable(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** Null: the one of the login. */
  get database(): string | null {
    return this.#values.get(DATABASE) ?? null;
  }

  /** What a statement's preparation depends on: all but what only says how transactions begin, end and are logged. */
  get forPreparing(): TrackedState {
    this.#forPreparing ??= this.only((name) => !isOfTransactions(name));
    return this.#forPreparing;
  }

  /**
   * This state, with what preparations depend on as it is in `text`. What belongs to transactions stays: autocommit=1 on
   * the way to another state would commit the transaction that is open.
   */
  preparing(text: TrackedState): TrackedState {
    const own = this.only(isOfTransactions);
    if (own.#values.size === 0) return text.forPreparing;
    return TrackedState.of(new Map([...text.forPreparing.#values, ...own.#values]));
  }

  private only(isKept: (name: string) => boolean): TrackedState {
    const kept = [...this.#values].filter(([name]) => isKept(name));
    return kept.length === this.#values.size ? this : TrackedState.of(new Map(kept));
  }

  /** Of variables. */
  names(): string[] {
    return [...this.#values.keys()].filter((name) => !name.startsWith(':'));
  }

  /** What is left of it behind COM_RESET_CONNECTION, and comes by it. */
  behindReset(login: ReadonlyMap<string, string>): TrackedState {
    let state = this.only((name) => name === ROLE || name === DATABASE || name === MULTI_STATEMENTS);
    for (const name of OF_NAMES) {
      const value = login.get(ofServer(name));
      if (value !== undefined) state = state.withVariable(name, value, login.get(name));
    }
    return state;
  }

  /** What is left of it behind COM_CHANGE_USER. */
  get ofChanges(): TrackedState {
    return this.only((name) => name === MULTI_STATEMENTS);
  }

  private with(name: string, value: string | null): TrackedState {
    if ((this.#values.get(name) ?? null) === value) return this;
    const values = new Map(this.#values);
    if (value === null) values.delete(name);
    else values.set(name, value);
    return TrackedState.of(values);
  }

  /** `loginValue`: what the variable was after the login, where that is known. */
  withVariable(name: string, value: string, loginValue: string | undefined): TrackedState {
    return this.with(name, value === loginValue ? null : value);
  }

  withDatabase(name: string, loginDatabase: string): TrackedState {
    return this.with(DATABASE, name === loginDatabase ? null : name);
  }

  /** `sql`: the SET ROLE that brought it, as it reads the same in any session (`readsTheSame`). `login`: values after the login. */
  withRole(sql: string, login: ReadonlyMap<string, string>): TrackedState {
    const isBack = login.get(LOGIN_ROLE) === '' && /^set role none$/i.test(sql);
    return this.with(ROLE, isBack ? null : sql);
  }

  /** Whether texts of several statements are taken; `atLogin`: what the client's capabilities said. */
  multiStatements(atLogin: boolean): boolean {
    const value = this.#values.get(MULTI_STATEMENTS);
    return value === undefined ? atLogin : value === 'true';
  }

  /** COM_SET_OPTION; `atLogin`: what the client's capabilities said. */
  withMultiStatements(on: boolean, atLogin: boolean): TrackedState {
    return this.with(MULTI_STATEMENTS, on === atLogin ? null : String(on));
  }

  /**
   * What brings a server connection from `from` to this state. `login`: values after the login, where they are known;
   * `loginDatabase`: "" where there was none, to which nothing leads back.
   */
  commandsFrom(
    from: TrackedState,
    login: ReadonlyMap<string, string>,
    loginDatabase: string,
  ): StateCommand[] {
    if (from === this || from.digest === this.digest) return [];
    const commands: StateCommand[] = [];
    const assignments: string[] = [];
    const names = this.#namesFrom(from, login);
    if (names !== null) commands.push({ kind: 'query', sql: names });
    const isDone = (name: string): boolean => names !== null && isOfNames(name);
    for (const name of from.#values.keys()) {
      if (this.#values.has(name) || name.startsWith(':') || isDone(name)) continue;
      const value = login.get(name);
      assignments.push(`${name}=${value === undefined ? defaultOf(name) : literal(name, value)}`);
    }
    for (const [name, value] of this.#values) {
      if (name.startsWith(':') || from.#values.get(name) === value || isDone(name)) continue;
      assignments.push(`${name}=${literal(name, value)}`);
    }
    if (assignments.length > 0)
      commands.push({
        kind: 'query',
        sql: `SET SESSION ${assignments.sort(byDependence).join(', SESSION ')}`,
      });
    const multi = this.#values.get(MULTI_STATEMENTS);
    if (multi !== from.#values.get(MULTI_STATEMENTS)) {
      // There are two values only: away from the one that is set is back to the one of the login.
      const on = multi ?? (from.#values.get(MULTI_STATEMENTS) === 'true' ? 'false' : 'true');
      commands.push({ kind: 'set-option', multiStatements: on === 'true' });
    }
    const database = this.database ?? loginDatabase;
    if (database !== (from.database ?? loginDatabase)) commands.push({ kind: 'init-db', database });
    const role = this.#values.get(ROLE);
    if (role !== from.#values.get(ROLE)) commands.push({ kind: 'query', sql: role ?? roleOf(login) });
    return commands;
  }

  /**
   * SET NAMES, where that leads from the one to the other; null: it does not, or is not needed. Its collation goes into the
   * definitions of columns, too, and no variable tells that it does.
   */
  #namesFrom(from: TrackedState, login: ReadonlyMap<string, string>): string | null {
    const value = (state: TrackedState, name: string): string | undefined =>
      state.#values.get(name) ?? login.get(name);
    const isSame = OF_NAMES.every((name) => value(this, name) === value(from, name));
    if (isSame) return null;
    const [first, ...others] = CHARACTER_SETS.map((name) => value(this, name));
    const collation = value(this, COLLATION);
    if (!first || !collation?.startsWith(first) || others.some((each) => each !== first)) return null;
    return `SET NAMES '${first}' COLLATE '${collation}'`;
  }
}

const CHARACTER_SETS = ['character_set_client', 'character_set_connection', 'character_set_results'] as const;
const COLLATION = 'collation_connection';
export const OF_NAMES = [...CHARACTER_SETS, COLLATION] as const;

/** Among the values after the login, where COM_RESET_CONNECTION leads to it (MySQL): the global value. */
export function ofServer(name: string): string {
  return `:global-${name}`;
}

export function isOfNames(name: string): boolean {
  return OF_NAMES.some((each) => each === name);
}

/** Among the values after the login, where there is no SET ROLE DEFAULT (MariaDB): the role, "" for none. */
export const LOGIN_ROLE = ':login-role';

function roleOf(login: ReadonlyMap<string, string>): string {
  const role = login.get(LOGIN_ROLE);
  if (role === undefined) return 'SET ROLE DEFAULT';
  return role === '' ? 'SET ROLE NONE' : `SET ROLE \`${role.replaceAll('`', '``')}\``;
}

/** MySQL keeps these as bits that say no, and makes of DEFAULT the opposite. */
const REVERSED = new Set(['foreign_key_checks', 'unique_checks', 'check_constraint_checks']);

function defaultOf(name: string): string {
  return REVERSED.has(name) ? `@@GLOBAL.${name}` : 'DEFAULT';
}

/** Whatever character set and sql_mode the session has that repeats it. */
export function readsTheSame(text: string): boolean {
  return /^[ -[\]-~]*$/.test(text);
}

/** Setting a character set also sets its default collation: collations come last. */
function byDependence(a: string, b: string): number {
  return Number(a.startsWith('collation_')) - Number(b.startsWith('collation_')) || (a < b ? -1 : 1);
}

/** As the server wrote it: numbers bare, anything else quoted; right with and without NO_BACKSLASH_ESCAPES. */
export function literal(name: string, value: string): string {
  if (value === '') return name === 'character_set_results' ? 'NULL' : "''";
  if (/^-?\d+(\.\d+)?$/.test(value)) return value;
  // A hexadecimal literal reads the same whatever sql_mode and character set the session has.
  if (value.includes('\\')) return `_utf8mb4 0x${Buffer.from(value, 'utf8').toString('hex')}`;
  return `'${value.replaceAll("'", "''")}'`;
}

/** Reported, and yet nothing to replay: they tell of one statement or of one node, or follow from something else. */
const NOT_STATE = new Set([
  'last_insert_id',
  'identity',
  'insert_id',
  'timestamp',
  'last_gtid',
  'statement_id',
  'gtid_next',
  'gtid_seq_no',
  'rand_seed1',
  'rand_seed2',
  'pseudo_thread_id',
  'pseudo_slave_mode',
  'pseudo_replica_mode',
  'sql_log_bin',
  'character_set_database',
  'collation_database',
  'proxy_user',
  'external_user',
  'in_transaction',
  'warning_count',
  'error_count',
]);

/**
 * How transactions begin, end and are logged: of no meaning to a preparation, and not to be touched while one is open
 * (some commit it, others cannot be set then).
 */
function isOfTransactions(name: string): boolean {
  return (
    name === 'autocommit' ||
    name === 'completion_type' ||
    name === 'skip_replication' ||
    name === MULTI_STATEMENTS ||
    /^(?:transaction|tx|binlog|gtid|wsrep|innodb|lock_wait)_/.test(name)
  );
}

/** Of what the server reports the proxy needs nothing of this: it is the client's own. */
export const TRANSACTION_INFO = 'session_track_transaction_info';

export function isState(variable: string): boolean {
  return (
    !NOT_STATE.has(variable) && (variable === TRANSACTION_INFO || !variable.startsWith('session_track_'))
  );
}
