// What a session must see, if nobody stood between it and one server: the small model that says for each step of a history
// what is sent, which error must come, and what the rows must show of data, settings and place. It sends nothing.

import type { Value } from '../../e2e/driver.js';
import type { Row } from '../../servers/cluster.js';
import type { Dialect, Step } from './steps.js';

export interface Turn {
  readonly sql: string;
  readonly values: readonly Value[];
  /** One of these codes must come; empty: no error. */
  readonly errors: readonly string[];
  /** What is wrong with the rows, or null. */
  check(rows: readonly Row[]): string | null;
}

interface Place {
  readonly port: number;
  readonly id: number;
}

interface Savepoint {
  readonly name: string;
  readonly rows: ReadonlySet<number>;
  readonly setting: string;
  readonly local: string | null;
}

interface Transaction {
  readonly readOnly: boolean;
  /** Of its first statement that told. */
  place: Place | null;
  failed: boolean;
  /** What a rollback brings back. */
  readonly rows: ReadonlySet<number>;
  readonly setting: string;
  /** SET LOCAL. */
  local: string | null;
  savepoints: Savepoint[];
  setsSomething: boolean;
}

interface Codes {
  readonly error: string;
  readonly duplicate: string;
  readonly readOnly: readonly string[];
  readonly noSavepoint: string;
  readonly noPrepared: string;
  readonly noTable: string;
}
const codes: Readonly<Record<Dialect, Codes>> = {
  postgres: {
    error: '22012',
    duplicate: '23505',
    readOnly: ['25006'],
    noSavepoint: '3B001',
    noPrepared: '26000',
    noTable: '42P01',
  },
  // A replica may name its own reason first.
  mysql: {
    error: '1146',
    duplicate: '1062',
    readOnly: ['1792', '1290', '1836'],
    noSavepoint: '1305',
    noPrepared: '1243',
    noTable: '1146',
  },
};
/** As text, which drivers read alike in text and in binary. */
const PLACE = 'concat(node_port()) AS port, concat(backend_id()) AS id';
const FAILED = '25P02';
const NO_TRANSACTION = '25P01';

export class SessionModel {
  readonly #dialect: Dialect;
  readonly #client: number;
  readonly #primaryPort: number;
  readonly #codes: Codes;
  /** Of the setting that histories change. */
  readonly #standard: string;
  /** Rows that this session sees as its own, by their sequence number. */
  rows: Set<number> = new Set();
  #next = 1;
  #setting: string;
  #transaction: Transaction | null = null;
  #autocommit = true;
  #temporary = false;
  #prepared: 'read' | 'write' | null = null;
  /** What the server counts up when a prepared write runs. */
  #variable: number | null = null;
  /** Which transaction wrote a row. */
  readonly #writers = new Map<number, Transaction>();
  /** Reads outside of transactions, and how many of them replicas answered. */
  freeReads = 0;
  onReplicas = 0;

  constructor(dialect: Dialect, client: number, primaryPort: number, standard: string) {
    this.#dialect = dialect;
    this.#client = client;
    this.#primaryPort = primaryPort;
    this.#codes = codes[dialect];
    this.#standard = standard;
    this.#setting = standard;
  }

  turn(step: Step): Turn {
    const turn = this.#turn(step);
    return step.hint === '' ? turn : { ...turn, sql: `${step.hint}${turn.sql}` };
  }

  get #postgres(): boolean {
    return this.#dialect === 'postgres';
  }

  #turn(step: Step): Turn {
    const { n } = step;
    const client = this.#client;
    switch (step.kind) {
      case 'read':
        return this.#read(step);
      case 'read-setting': {
        const sql = this.#postgres
          ? "SELECT current_setting('work_mem') AS value"
          : 'SELECT @@sort_buffer_size AS value';
        const expected = this.#transaction?.local ?? this.#setting;
        return this.#statement(sql, [], (rows) => differs('the setting', rows[0]?.value, expected));
      }
      case 'insert': {
        const sql = 'INSERT INTO ledger VALUES (?, ?, node_port(), backend_id())';
        return this.#write(sql, [client, this.#next], () => this.#wrote());
      }
      case 'write-by-function':
        return this.#write('SELECT write_one(?, ?) AS done', [client, this.#next], () => this.#wrote());
      case 'delete': {
        const row = [...this.rows][n] ?? -1;
        return this.#write('DELETE FROM ledger WHERE client = ? AND seq = ?', [client, row], () =>
          this.rows.delete(row),
        );
      }
      case 'lock-row': {
        const sql = `SELECT ${PLACE}, concat(client) AS own FROM owner WHERE client = ? FOR UPDATE`;
        if (this.#transaction?.readOnly) return this.#failing(sql, [client], this.#codes.readOnly);
        return this.#statement(sql, [client], (rows) => this.#placeOf(rows[0], !this.#transaction?.readOnly));
      }
      case 'several':
        return this.#several();
      case 'begin':
      case 'begin-read-only':
      case 'begin-snapshot':
        return this.#begin(step);
      case 'commit':
        return this.#end('COMMIT', true);
      case 'rollback':
        return this.#end('ROLLBACK', false);
      case 'commit-and-write': {
        this.#end('COMMIT', true);
        const row = `(${client}, ${this.#next}, node_port(), backend_id())`;
        return this.#write(`COMMIT; INSERT INTO ledger VALUES ${row}`, [], () => this.#wrote());
      }
      case 'savepoint':
        return this.#savepoint(`s${n}`);
      case 'rollback-to':
        return this.#rollbackTo(`s${n}`);
      case 'release':
        return this.#release(`s${n}`);
      case 'error':
        return this.#failing(
          this.#postgres ? 'SELECT 1 / 0 AS x' : 'SELECT * FROM nowhere',
          [],
          [this.#codes.error],
        );
      case 'duplicate': {
        const row = [...this.rows][0];
        if (row === undefined) return this.#read(step);
        const sql = 'INSERT INTO ledger VALUES (?, ?, 0, 0)';
        if (this.#transaction?.readOnly) return this.#refusedWrite();
        return this.#failing(sql, [client, row], [this.#codes.duplicate]);
      }
      case 'refused-write':
        return this.#transaction?.readOnly ? this.#refusedWrite() : this.#read(step);
      case 'set':
      case 'set-local':
      case 'reset':
        return this.#set(step);
      case 'autocommit-off':
        return this.#free('SET autocommit = 0', () => {
          this.#autocommit = false;
        });
      case 'autocommit-on':
        return this.#free('SET autocommit = 1', () => {
          // Only the change commits.
          if (!this.#autocommit) this.#transaction = null;
          this.#autocommit = true;
        });
      case 'create-temporary':
        // In a transaction its fate would be the transaction's.
        if (this.#temporary || this.#transaction !== null || !this.#autocommit) return this.#read(step);
        return this.#free('CREATE TEMPORARY TABLE own_things (x int)', () => {
          this.#temporary = true;
        });
      case 'read-temporary': {
        const sql = 'SELECT concat(count(*)) AS value FROM own_things';
        if (!this.#temporary) return this.#failing(sql, [], [this.#codes.noTable]);
        return this.#statement(sql, [], (rows) => differs('rows', rows[0]?.value, '0'));
      }
      case 'prepare-read':
      case 'prepare-write':
        if (this.#transaction?.readOnly) return this.#read(step);
        return this.#prepare(step.kind === 'prepare-write' ? 'write' : 'read');
      case 'execute':
        return this.#execute();
      case 'deallocate': {
        const sql = this.#postgres ? 'DEALLOCATE p' : 'DEALLOCATE PREPARE p';
        if (this.#prepared === null) return this.#failing(sql, [], [this.#codes.noPrepared]);
        if (this.#transaction?.failed === true) return this.#failing(sql, [], [FAILED]);
        return this.#free(sql, () => {
          this.#prepared = null;
        });
      }
      case 'set-variable':
        // What keeps a server connection is not to be had in a READ ONLY transaction.
        if (this.#transaction?.readOnly) return this.#read(step);
        return this.#free(`SET @mine = ${n}`, () => {
          this.#variable = n;
        });
      case 'read-variable': {
        if (this.#transaction?.readOnly) return this.#read(step);
        const expected = this.#variable === null ? 'null' : String(this.#variable);
        return this.#statement(
          'SELECT @mine AS value',
          [],
          (rows) => differs('@mine', rows[0]?.value, expected),
          false,
        );
      }
    }
  }

  #read({ hint }: Step): Turn {
    const sql = `SELECT ${PLACE}, concat(count(*)) AS own FROM ledger WHERE client = ?`;
    const isFree = this.#transaction === null && this.#autocommit;
    return this.#statement(sql, [this.#client], (rows) => {
      const [row] = rows;
      if (isFree && row !== undefined) {
        this.freeReads++;
        if (Number(row.port) !== this.#primaryPort) this.onReplicas++;
        // Who asks for what may be old gets it.
        if (hint.includes('eventual')) return null;
      }
      const primaryAsked = /route=primary|consistency=primary/.test(hint) && isFree;
      return this.#placeOf(row, primaryAsked) ?? differs('own rows', row?.own, String(this.rows.size));
    });
  }

  /** In a transaction every statement must tell the same place; one that may write has the primary's. */
  #placeOf(row: Row | undefined, onPrimary: boolean): string | null {
    if (row === undefined) return 'no row came';
    const place = { port: Number(row.port), id: Number(row.id) };
    const transaction = this.#transaction;
    const mustBePrimary = onPrimary || (transaction !== null && !transaction.readOnly);
    if (mustBePrimary && place.port !== this.#primaryPort)
      return `ran on port ${place.port}, the primary has ${this.#primaryPort}`;
    if (transaction === null) return null;
    if (transaction.place === null) transaction.place = place;
    else if (transaction.place.port !== place.port || transaction.place.id !== place.id)
      return `the transaction was on ${JSON.stringify(transaction.place)} and is now on ${JSON.stringify(place)}`;
    return null;
  }

  /** With autocommit off the first statement that touches a table begins a transaction. */
  #touch(): void {
    if (this.#transaction === null && !this.#autocommit) this.#transaction = this.#newTransaction(false);
  }

  #newTransaction(readOnly: boolean): Transaction {
    return {
      readOnly,
      place: null,
      failed: false,
      rows: new Set(this.rows),
      setting: this.#setting,
      local: null,
      savepoints: [],
      setsSomething: false,
    };
  }

  #statement(sql: string, values: readonly Value[], check: Turn['check'], touches = true): Turn {
    if (this.#transaction?.failed === true) return this.#failing(sql, values, [FAILED]);
    if (touches) this.#touch();
    return { sql, values, errors: [], check };
  }

  /** PostgreSQL's transaction fails with it. */
  #failing(sql: string, values: readonly Value[], errors: readonly string[]): Turn {
    const transaction = this.#transaction;
    if (transaction?.failed === true) return { sql, values, errors: [FAILED], check: () => null };
    if (this.#postgres && transaction !== null) transaction.failed = true;
    return { sql, values, errors, check: () => null };
  }

  #write(sql: string, values: readonly Value[], effect: () => void): Turn {
    const transaction = this.#transaction;
    if (transaction?.failed === true) return this.#failing(sql, values, [FAILED]);
    // Only one statement is for trying that: the others must never be seen by a replica.
    if (transaction?.readOnly === true) return this.#refusedWrite();
    this.#touch();
    effect();
    return { sql, values, errors: [], check: () => null };
  }

  #wrote(): void {
    const row = this.#next++;
    this.rows.add(row);
    if (this.#transaction !== null) this.#writers.set(row, this.#transaction);
  }

  /** What the primary's table holds of this session when all is over: `seq`, and where each row was written. */
  verify(found: readonly Row[]): string | null {
    const sequences = found.map((row) => Number(row.seq)).sort((a, b) => a - b);
    const expected = [...this.rows].sort((a, b) => a - b);
    if (sequences.join() !== expected.join())
      return `rows in the end: ${sequences.join()} instead of ${expected.join()}`;
    for (const { seq, port, id } of found) {
      if (Number(port) !== this.#primaryPort) return `row ${String(seq)} was written on port ${String(port)}`;
      const transaction = this.#writers.get(Number(seq));
      if (transaction === undefined) continue;
      transaction.place ??= { port: Number(port), id: Number(id) };
      if (transaction.place.id !== Number(id))
        return `row ${String(seq)} was written by ${String(id)}, its transaction was on ${transaction.place.id}`;
    }
    return null;
  }

  /** In a READ ONLY transaction; with a verb that nothing else here uses, so that servers can tell. */
  #refusedWrite(): Turn {
    const sql = this.#postgres ? 'UPDATE never SET x = 1' : 'REPLACE INTO never VALUES (1)';
    return this.#failing(sql, [], this.#codes.readOnly);
  }

  /** Session state without a table. */
  #free(sql: string, effect: () => void): Turn {
    if (this.#transaction?.failed === true) return this.#failing(sql, [], [FAILED]);
    effect();
    return { sql, values: [], errors: [], check: () => null };
  }

  /** One text: a write and a read behind it, which must see it, at one place. */
  #several(): Turn {
    const sequence = this.#next;
    const write = `INSERT INTO ledger VALUES (${this.#client}, ${sequence}, node_port(), backend_id())`;
    const read = `SELECT ${PLACE}, concat(count(*)) AS own FROM ledger WHERE client = ${this.#client}`;
    const turn = this.#write(`${write}; ${read}`, [], () => this.#wrote());
    if (turn.errors.length > 0) return turn;
    return {
      ...turn,
      check: (rows) => {
        // Of several results a driver gives the last one, or all.
        const row = rows.flat().at(-1);
        return this.#placeOf(row, true) ?? differs('own rows', row?.own, String(this.rows.size));
      },
    };
  }

  #begin({ kind, n }: Step): Turn {
    const readOnly = kind === 'begin-read-only';
    let sql = n % 2 === 0 ? 'BEGIN' : 'START TRANSACTION';
    if (readOnly) sql = this.#postgres && n % 2 === 0 ? 'BEGIN READ ONLY' : 'START TRANSACTION READ ONLY';
    else if (kind === 'begin-snapshot')
      sql = this.#postgres
        ? 'BEGIN ISOLATION LEVEL REPEATABLE READ'
        : 'START TRANSACTION WITH CONSISTENT SNAPSHOT';
    if (this.#transaction?.failed === true) return this.#failing(sql, [], [FAILED]);
    // A bare BEGIN leaves MySQL's new transaction READ ONLY, MariaDB's not: not of interest here.
    if (!this.#postgres && this.#transaction?.readOnly === true && !readOnly)
      sql = 'START TRANSACTION READ WRITE';
    if (this.#postgres && this.#transaction !== null) {
      // A warning; but modes are taken over, and an isolation level may come too late: left alone.
      return { sql: 'BEGIN', values: [], errors: [], check: () => null };
    }
    // MySQL commits what was open.
    this.#transaction = this.#newTransaction(readOnly);
    return { sql, values: [], errors: [], check: () => null };
  }

  #end(sql: string, commits: boolean): Turn {
    const transaction = this.#transaction;
    this.#transaction = null;
    if (transaction !== null && (!commits || transaction.failed)) {
      this.rows = new Set(transaction.rows);
      if (this.#postgres) this.#setting = transaction.setting;
    }
    return { sql, values: [], errors: [], check: () => null };
  }

  #savepoint(name: string): Turn {
    const sql = `SAVEPOINT ${name}`;
    if (this.#postgres && this.#transaction === null) return this.#failing(sql, [], [NO_TRANSACTION]);
    if (this.#transaction?.failed === true) return this.#failing(sql, [], [FAILED]);
    this.#touch();
    const transaction = this.#transaction;
    if (transaction !== null) {
      // MySQL replaces one of the same name, PostgreSQL hides it.
      if (!this.#postgres)
        transaction.savepoints = transaction.savepoints.filter((each) => each.name !== name);
      transaction.savepoints.push({
        name,
        rows: new Set(this.rows),
        setting: this.#setting,
        local: transaction.local,
      });
    }
    return { sql, values: [], errors: [], check: () => null };
  }

  #rollbackTo(name: string): Turn {
    const sql = `ROLLBACK TO SAVEPOINT ${name}`;
    const transaction = this.#transaction;
    if (transaction === null)
      return this.#failing(sql, [], [this.#postgres ? NO_TRANSACTION : this.#codes.noSavepoint]);
    const at = transaction.savepoints.findLastIndex((each) => each.name === name);
    if (at < 0) {
      transaction.failed = this.#postgres;
      return { sql, values: [], errors: [this.#codes.noSavepoint], check: () => null };
    }
    // What it undoes of settings only that server connection knows: such a one is not to be had on a replica.
    if (this.#postgres && transaction.readOnly && transaction.setsSomething) return this.#turn(plain);
    const savepoint = transaction.savepoints[at]!;
    transaction.savepoints.length = at + 1;
    transaction.failed = false;
    this.rows = new Set(savepoint.rows);
    if (this.#postgres) {
      this.#setting = savepoint.setting;
      transaction.local = savepoint.local;
    }
    return { sql, values: [], errors: [], check: () => null };
  }

  #release(name: string): Turn {
    const sql = `RELEASE SAVEPOINT ${name}`;
    const transaction = this.#transaction;
    if (transaction?.failed === true) return this.#failing(sql, [], [FAILED]);
    if (transaction === null)
      return this.#failing(sql, [], [this.#postgres ? NO_TRANSACTION : this.#codes.noSavepoint]);
    const at = transaction.savepoints.findLastIndex((each) => each.name === name);
    if (at < 0) return this.#failing(sql, [], [this.#codes.noSavepoint]);
    transaction.savepoints.length = at;
    return { sql, values: [], errors: [], check: () => null };
  }

  #set({ kind, n }: Step): Turn {
    const transaction = this.#transaction;
    const local = kind === 'set-local';
    const value = this.#postgres ? `${n + 5}MB` : String(300_000 + n * 1024);
    let sql = this.#postgres ? `SET work_mem = '${value}'` : `SET SESSION sort_buffer_size = ${value}`;
    if (local) {
      // Which of the two a ROLLBACK TO brings back is PostgreSQL's business: only where none is open.
      if (transaction === null || transaction.savepoints.length > 0)
        return this.#turn({ ...plain, kind: 'read-setting' });
      sql = `SET LOCAL work_mem = '${value}'`;
    } else if (kind === 'reset') sql = 'RESET work_mem';
    return this.#free(sql, () => {
      if (transaction !== null) transaction.setsSomething = true;
      if (local && transaction !== null) {
        transaction.local = value;
        return;
      }
      this.#setting = kind === 'reset' ? this.#standard : value;
      if (transaction !== null) transaction.local = null;
    });
  }

  #prepare(what: 'read' | 'write'): Turn {
    const client = this.#client;
    const read = `SELECT ${PLACE}, concat(count(*)) AS own FROM ledger WHERE client = ${client}`;
    // Without an effect on the rows that are counted.
    const body = what === 'read' ? read : `UPDATE owner SET port = node_port() WHERE client = ${client}`;
    if (this.#postgres) {
      const sql = `PREPARE p AS ${body}`;
      if (this.#transaction?.failed === true) return this.#failing(sql, [], [FAILED]);
      if (this.#prepared !== null) return this.#failing(sql, [], ['42P05']);
      return this.#free(sql, () => {
        this.#prepared = what;
      });
    }
    return this.#free(`PREPARE p FROM '${body}'`, () => {
      this.#prepared = what;
    });
  }

  #execute(): Turn {
    const sql = 'EXECUTE p';
    if (this.#prepared === null) return this.#failing(sql, [], [this.#codes.noPrepared]);
    if (this.#prepared === 'write') return this.#write(sql, [], () => {});
    return this.#statement(
      sql,
      [],
      (rows) => this.#placeOf(rows[0], false) ?? differs('own rows', rows[0]?.own, String(this.rows.size)),
    );
  }
}

const plain: Step = { kind: 'read-setting', form: 'text', hint: '', n: 0 };

function differs(what: string, actual: unknown, expected: string): string | null {
  return String(actual) === expected ? null : `${what}: ${String(actual)} instead of ${expected}`;
}
