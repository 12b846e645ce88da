// The units that a storm's MySQL and MariaDB clients send, each with the reply that it must get, and the errors that chaos
// explains. It opens no connection and keeps no order: what follows what is in mysql-operations.ts.

import { command } from '../e2e/mysql-wire.js';
import type { StormClient } from './client.js';
import { type MysqlStormWire, packetOf } from './mysql-wire.js';
import type { ErrorLine, ErrorRules, Unit, UnitClass, Weather } from './unit.js';

export interface Prepared {
  readonly id: number;
  readonly text: string;
  readonly row: (values: readonly (number | string)[]) => string;
  readonly values: () => (number | string)[];
  /** Of the last execution: they may be left out next time. */
  types: readonly number[] | null;
  /** Its second parameter is always sent as long data: servers misread it for one that was bound as a number before. */
  readonly long: boolean;
}

export interface State {
  /** @@session.sort_buffer_size; null: unknown. */
  sortBuffer: number | null;
  place: 'app' | 'storm_b' | null;
  prepared: Prepared[];
}

export type Client = StormClient<MysqlStormWire, State>;

export const TYPE = { LONG: 3, LONGLONG: 8, BLOB: 252, VAR_STRING: 253 } as const;
export const ITEMS = 100;
export const SORT_BUFFER_STEP = 1024;
export const SORT_BUFFER_BASE = 262_144;

export const rules: ErrorRules = {
  allows(unit: Unit, { code, message, begun }: ErrorLine, weather: Weather): boolean {
    if (unit.cancelled === true && code === '1317') return true;
    // Documented: what is asked about the last statement may be gone, and is then said to be.
    if (unit.kind === 'last' && code === '1235' && message.includes('another client')) return true;
    // ER_SERVER_SHUTDOWN is what a killed connection's statement ends with; MariaDB: ER_CONNECTION_KILLED.
    const lost = code === '2013' || code === '1053' || code === '1927';
    // It was left in the server connection that has been lost.
    if (unit.kind === 'last' && lost) return true;
    if (weather.failingOver && (code === '1290' || code === '2003')) return true;
    switch (unit.class) {
      case 'read':
        return begun && lost;
      case 'write':
        return lost;
      case 'transaction':
      case 'pin':
        return lost || code === '1213';
    }
  },
  isTail: (lines) => lines.length === 0,
};

export function query(
  kind: string,
  sql: string,
  expect: readonly string[],
  unitClass: UnitClass = 'read',
): Unit {
  return { kind, text: sql, bytes: packetOf(command.query(sql)), expect, class: unitClass };
}

export const OK = ['O 0 0'];

export function point({ number, random }: Client, k: number): Unit {
  const id = random.int(1, ITEMS);
  return query('text', `SELECT ${number} AS c, ${k} AS k, id, name FROM items WHERE id = ${id}`, [
    'T c,k,id,name',
    `D ${number}|${k}|${id}|item-${id}`,
    'EOF',
  ]);
}

function failing({ number, random }: Client, k: number): Unit {
  const own = `c${number}k${k}`;
  const begins = (sql: string, beginning: string, unitClass: UnitClass = 'read'): Unit => ({
    ...query('error', sql, [beginning], unitClass),
    verify: (lines) => (lines.length === 1 && lines[0]!.startsWith(beginning) ? null : `not ${beginning}`),
  });
  switch (random.int(0, 2)) {
    case 0:
      return {
        ...query('error', `SELECT ${own}`, []),
        // MariaDB 10.11 and MySQL 9.7 name the clause differently.
        verify: (lines) =>
          lines.length === 1 && lines[0]!.startsWith('E 1054 ') && lines[0]!.includes(`'${own}'`)
            ? null
            : `not 1054`,
      };
    case 1:
      return {
        ...query('error', `SELECT 1 AS a ${own}`, []),
        verify: (lines) =>
          lines.length === 1 && lines[0]!.startsWith('E 1064 ') && lines[0]!.includes(`'${own}'`)
            ? null
            : `not 1064`,
      };
    default:
      return begins(`SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '${own}'`, `E 1644 ${own}`, 'write');
  }
}

export function rows({ number }: Client, k: number, count: number, filler: number): Unit {
  const fill = 'x'.repeat(filler);
  const sql = `SELECT ${number} AS c, ${k} AS k, n, REPEAT('x', ${filler}) AS f FROM numbers WHERE n <= ${count} ORDER BY n`;
  const lines: string[] = [];
  for (let n = 1; n <= count; n++) lines.push(`D ${number}|${k}|${n}|${fill}`);
  return query('rows', sql, ['T c,k,n,f', ...lines, 'EOF']);
}

function several({ number, random }: Client, k: number): Unit {
  const count = random.int(2, 4);
  const texts: string[] = [];
  const expect: string[] = [];
  for (let i = 1; i <= count; i++) {
    texts.push(`SELECT ${number} AS c, ${k} AS k, ${i} AS i`);
    expect.push('T c,k,i', `D ${number}|${k}|${i}`, i < count ? 'EOF more' : 'EOF');
  }
  return query('several', texts.join('; '), expect);
}

function shifting({ number, random }: Client, k: number): Unit {
  const id = random.int(1, 20);
  return {
    ...query('shifting', `SELECT s.*, ${number} AS c, ${k} AS k FROM shifty AS s WHERE id = ${id}`, []),
    verify: (lines) => shiftedRow(lines, id, `|${number}|${k}`),
  };
}

function shiftedRow(lines: readonly string[], id: number, end: string): string | null {
  const [head = '', row = '', last] = lines;
  if (lines.length !== 3 || last !== 'EOF') return 'not one row';
  if (!/^T id,name,(extra,)?c,k$/.test(head)) return 'other columns';
  if (!row.startsWith(`D ${id}|shifty-${id}|`) || !row.endsWith(end)) return 'another row';
  return head.split(',').length === row.split('|').length ? null : 'columns and values are not as many';
}

export function stateless(client: Client): Unit {
  const k = client.next();
  const dice = client.random.next();
  if (dice < 0.6) return point(client, k);
  if (dice < 0.72) return failing(client, k);
  if (dice < 0.82) return several(client, k);
  if (dice < 0.92) return shifting(client, k);
  return rows(client, k, client.random.int(1, 50), client.random.int(0, 40));
}

export function update({ number }: Client, value: number): string {
  return `UPDATE own SET value = ${value} WHERE client = ${number} AND value < ${value}`;
}

export function readOwn(client: Client, unitClass: UnitClass, exact?: number): Unit {
  const { number, own } = client;
  const k = client.next();
  const sql = `SELECT ${number} AS c, ${k} AS k, value FROM own WHERE client = ${number}`;
  const verify = (lines: readonly string[]): string | null => {
    if (lines.length !== 3 || lines[0] !== 'T c,k,value' || lines[2] !== 'EOF') return 'not one row';
    const [c, counter, value] = lines[1]!.slice(2).split('|');
    if (c !== String(number) || counter !== String(k)) return 'another row';
    if (exact === undefined) return own.read(Number(value));
    return Number(value) === exact ? null : `it holds ${value}; this transaction has written ${exact}`;
  };
  return { ...query(unitClass === 'read' ? 'read-own' : 'transaction-read', sql, [], unitClass), verify };
}

export function slowUnit({ number, random }: Client, k: number): Unit {
  const seconds = random.int(5, 200) / 1000;
  // An interrupted SLEEP gives 1 instead of an error in MySQL.
  return query('slow', `SELECT ${number} AS c, ${k} AS k, SLEEP(${seconds}) >= 0 AS s`, [
    'T c,k,s',
    `D ${number}|${k}|1`,
    'EOF',
  ]);
}

/** By the superuser on the primary, one by one. */
export function mysqlTables(clients: number, account: string): string[] {
  const list = (count: number, row: (n: number) => string) =>
    Array.from({ length: count }, (_, i) => row(i + 1)).join();
  return [
    'CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL)',
    `INSERT INTO items VALUES ${list(ITEMS, (n) => `(${n}, 'item-${n}')`)}`,
    'CREATE TABLE shifty (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL)',
    `INSERT INTO shifty VALUES ${list(20, (n) => `(${n}, 'shifty-${n}')`)}`,
    'CREATE TABLE numbers (n INT PRIMARY KEY)',
    `INSERT INTO numbers VALUES ${list(5000, (n) => `(${n})`)}`,
    'CREATE TABLE own (client INT PRIMARY KEY, value INT NOT NULL)',
    `INSERT INTO own VALUES ${list(clients, (n) => `(${n}, 0)`)}`,
    'CREATE TABLE seq (id BIGINT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, k INT NOT NULL)',
    'CREATE TABLE place (here VARCHAR(20))',
    "INSERT INTO place VALUES ('app')",
    'CREATE DATABASE storm_b',
    'CREATE TABLE storm_b.place (here VARCHAR(20))',
    "INSERT INTO storm_b.place VALUES ('storm_b')",
    `GRANT ALL ON storm_b.* TO ${account}`,
  ];
}
