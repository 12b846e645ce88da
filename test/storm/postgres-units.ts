// The units that a storm's PostgreSQL clients send, each with the reply that it must get, and the errors that chaos explains.
// It opens no connection and keeps no order: what follows what is in postgres-operations.ts.

import { serialize } from 'pg-protocol';
import { say } from '../e2e/postgres-wire.js';
import type { StormClient } from './client.js';
import type { PostgresStormWire } from './postgres-wire.js';
import type { ErrorLine, ErrorRules, Unit, UnitClass, Weather } from './unit.js';

export interface Named {
  readonly text: string;
  readonly describe: readonly string[];
  readonly answer: (counter: number) => string;
  readonly values: (counter: number) => readonly unknown[];
}

/** What this connection has set; null: unknown, after an error. */
export interface State {
  applicationName: string | null;
  who: string | null;
  place: 'a' | 'b' | 'public' | null;
  readonly named: Map<string, Named>;
}

export type Client = StormClient<PostgresStormWire, State>;

export const READY = 'Z I';
export const INT = 23;
export const TEXT = 25;
const BIGINT = 20;
export const ITEMS = 100;
/** From 0. */
const NUMBERS = 5000;

export const rules: ErrorRules = {
  allows(unit: Unit, { code, message, begun }: ErrorLine, weather: Weather): boolean {
    if (unit.cancelled === true && code === '57014') return true;
    // What the node says when it ends a server connection, and what the proxy says of one that was lost.
    const lost = code === '57P01' || code === '57P02' || code === '08006';
    const conflict = code === '40001' && message.includes('recovery');
    if (weather.failingOver && code === '57P03') return true;
    switch (unit.class) {
      case 'read':
        return begun && (lost || conflict);
      case 'write':
        return lost || code === '08007' || (weather.failingOver && code === '25006');
      case 'transaction':
      case 'pin':
        return (
          lost ||
          code === '08007' ||
          code === '40001' ||
          code === '25P02' ||
          (weather.failingOver && code === '25006')
        );
    }
  },
  isTail: (lines) => lines.length === 1 && /^Z [IE]$/.test(lines[0]!),
};

export const columns = (...list: readonly string[]) => `T ${list.join()}`;
export const COUNTED = columns(`c:${INT}:0`, `k:${INT}:0`);

export function unit(
  kind: string,
  text: string,
  bytes: Buffer,
  expect: readonly string[],
  unitClass: UnitClass = 'read',
): Unit {
  return { kind, text, bytes, expect, class: unitClass };
}

export function query(
  kind: string,
  sql: string,
  expect: readonly string[],
  unitClass: UnitClass = 'read',
): Unit {
  return unit(kind, sql, say.query(sql), expect, unitClass);
}

export function point({ number, random }: Client, k: number): Unit {
  const id = random.int(1, ITEMS);
  // Nothing but integers in conditions tells one from another: as a prepared statement it is the same for all clients.
  if (random.chance(0.5) && number < NUMBERS)
    return query(
      'simple',
      `SELECT a.n AS c, b.n AS k, id, name FROM numbers a, numbers b, items WHERE a.n = ${number} AND b.n = ${k % NUMBERS} AND id = ${id}`,
      [
        columns(`c:${INT}:0`, `k:${INT}:0`, `id:${INT}:0`, `name:${TEXT}:0`),
        `D ${number}|${k % NUMBERS}|${id}|item-${id}`,
        'C SELECT 1',
        READY,
      ],
    );
  return query('simple', `SELECT ${number} AS c, ${k} AS k, id, name FROM items WHERE id = ${id}`, [
    columns(`c:${INT}:0`, `k:${INT}:0`, `id:${INT}:0`, `name:${TEXT}:0`),
    `D ${number}|${k}|${id}|item-${id}`,
    'C SELECT 1',
    READY,
  ]);
}

function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** Bind with its own formats: pg-protocol's asks for one result format only. */
function bindBinary(statement: string, values: readonly number[]): Buffer {
  return serialize.bind({ statement, values: values.map(int4), binary: true });
}

export function unnamed(client: Client, k: number): Unit {
  const { number, random } = client;
  const id = random.int(1, ITEMS);
  const variant = random.int(0, 5);
  const head = ['1', '2'];
  const tail = ['C SELECT 1', READY];
  switch (variant) {
    case 0:
    case 1: {
      // Recurs, with all its types said.
      const text = 'SELECT $1::int AS c, $2::int AS k, id, name FROM items WHERE id = $3';
      return unit('unnamed', `${text} (${number}, ${k}, ${id})`, say.run(text, [number, k, id]), [
        ...head,
        columns(`c:${INT}:0`, `k:${INT}:0`, `id:${INT}:0`, `name:${TEXT}:0`),
        `D ${number}|${k}|${id}|item-${id}`,
        ...tail,
      ]);
    }
    case 2: {
      const text = 'SELECT $1::int AS c, $2::int AS k, id FROM items WHERE id = $3::int';
      const bytes = [
        serialize.parse({ text }),
        bindBinary('', [number, k, id]),
        serialize.describe({ type: 'P' }),
        serialize.execute(),
        serialize.sync(),
      ];
      const row = [number, k, id].map((each) => int4(each).toString('latin1')).join('|');
      return unit('unnamed-binary', `${text} (${number}, ${k}, ${id})`, Buffer.concat(bytes), [
        ...head,
        columns(`c:${INT}:1`, `k:${INT}:1`, `id:${INT}:1`),
        `D ${row}`,
        ...tail,
      ]);
    }
    case 3: {
      // The same text with parameters of changing types: what comes back has the type that was said.
      const text = 'SELECT $1 AS c, $2 AS k';
      const type = random.pick([INT, TEXT, BIGINT]);
      const bytes = [
        serialize.parse({ text, types: [type, type] }),
        say.bind('', [number, k]),
        serialize.describe({ type: 'P' }),
        serialize.execute(),
        serialize.sync(),
      ];
      return unit('unnamed-types', `${text} (${number}, ${k}) of type ${type}`, Buffer.concat(bytes), [
        ...head,
        columns(`c:${type}:0`, `k:${type}:0`),
        `D ${number}|${k}`,
        ...tail,
      ]);
    }
    case 4: {
      // No types said: the server chooses text.
      const text = 'SELECT $1 AS c, $2 AS k';
      return unit('unnamed-types', `${text} (${number}, ${k}) untyped`, say.run(text, [number, k]), [
        ...head,
        columns(`c:${TEXT}:0`, `k:${TEXT}:0`),
        `D ${number}|${k}`,
        ...tail,
      ]);
    }
    default: {
      // Its number is in the text: it never recurs.
      const text = `SELECT ${number} AS c, ${k} AS k, name FROM items WHERE id = $1`;
      const bytes = [
        serialize.parse({ text }),
        serialize.describe({ type: 'S' }),
        say.bind('', [id]),
        serialize.execute(),
        serialize.sync(),
      ];
      return unit('unnamed', `${text} (${id})`, Buffer.concat(bytes), [
        '1',
        `t ${INT}`,
        columns(`c:${INT}:0`, `k:${INT}:0`, `name:${TEXT}:0`),
        '2',
        `D ${number}|${k}|item-${id}`,
        ...tail,
      ]);
    }
  }
}

export function mark({ number }: Client, k: number): string {
  return `c${number}k${k}`;
}

export function failing(client: Client, k: number): Unit {
  const own = mark(client, k);
  const kind = 'error';
  switch (client.random.int(0, 4)) {
    case 0:
      return query(kind, `SELECT '${own}'::int`, [
        `E 22P02 invalid input syntax for type integer: "${own}"`,
        READY,
      ]);
    case 1:
      // Not understood, so it is the primary's and may not run again.
      return query(
        kind,
        `SELECT 1 AS a ${own}`,
        [`E 42601 syntax error at or near "${own}"`, READY],
        'write',
      );
    case 2:
      return query(kind, `SELECT ${own}`, [`E 42703 column "${own}" does not exist`, READY]);
    case 3:
      return query(kind, `DO $$BEGIN RAISE EXCEPTION '${own}'; END$$`, [`E P0001 ${own}`, READY], 'write');
    default: {
      // In the middle of a batch: what is behind it up to Sync is skipped.
      const fine = [say.parse('', `SELECT ${client.number} AS c, ${k} AS k`), say.bind(''), say.execute()];
      const text = `SELECT $1::int AS v`;
      const bad = [say.parse('', text), say.bind('', [own]), say.execute()];
      return unit(
        'error-in-batch',
        `fine; ${text} (${own}); fine`,
        Buffer.concat([...fine, ...bad, ...fine, say.sync()]),
        [
          '1',
          '2',
          `D ${client.number}|${k}`,
          'C SELECT 1',
          '1',
          `E 22P02 invalid input syntax for type integer: "${own}"`,
          READY,
        ],
      );
    }
  }
}

export function rows(client: Client, k: number, count: number, filler: number): Unit {
  const { number } = client;
  const fill = 'x'.repeat(filler);
  const sql = `SELECT ${number} AS c, ${k} AS k, g, repeat('x', ${filler}) AS f FROM generate_series(1, ${count}) AS g`;
  const lines: string[] = [];
  for (let g = 1; g <= count; g++) lines.push(`D ${number}|${k}|${g}|${fill}`);
  const head = columns(`c:${INT}:0`, `k:${INT}:0`, `g:${INT}:0`, `f:${TEXT}:0`);
  if (client.random.chance(0.5)) return query('rows', sql, [head, ...lines, `C SELECT ${count}`, READY]);
  return unit('rows', sql, say.run(sql), ['1', '2', head, ...lines, `C SELECT ${count}`, READY]);
}

function portal({ number, random }: Client, k: number): Unit {
  const text = `SELECT ${number} AS c, $1::int AS k, g FROM generate_series(1, 7) AS g`;
  const step = random.int(1, 7);
  const expect = ['1', '2'];
  const messages = [say.parse('', text), say.bind('', [k])];
  for (let g = 1; g <= 7; g += step) {
    messages.push(say.execute(step));
    for (let i = g; i < g + step && i <= 7; i++) expect.push(`D ${number}|${k}|${i}`);
    if (g + step <= 8) expect.push('s');
  }
  // The last one may have been suspended with nothing left.
  messages.push(say.execute());
  const left = 7 % step;
  const done = left === 0 ? 0 : -1;
  if (done === -1) {
    // The portal ended by itself in its last part: executing it again gives no row.
    expect.push(`C SELECT ${left}`, 'C SELECT 0');
  } else expect.push('C SELECT 0');
  return unit('portal', `${text} (${k}) by ${step}`, Buffer.concat([...messages, say.sync()]), [
    ...expect,
    READY,
  ]);
}

function copy({ number, random }: Client, k: number): Unit {
  const count = random.int(1, 200);
  const expect = ['H'];
  for (let g = 1; g <= count; g++) expect.push(`d ${number}\t${k}\t${g}`);
  const sql = `COPY (SELECT ${number}, ${k}, g FROM generate_series(1, ${count}) AS g) TO STDOUT`;
  return query('copy', sql, [...expect, 'c', `C COPY ${count}`, READY]);
}

/** The columns of this table change all the time. */
function shifting(client: Client, k: number): Unit {
  const { number, random } = client;
  const id = random.int(1, 20);
  const text = `SELECT *, ${number} AS c, $1::int AS k FROM shifty WHERE id = $2`;
  const verify = (lines: readonly string[]): string | null => {
    const at = lines.findIndex((line) => line.startsWith('T '));
    const head = lines[at] ?? '';
    const row = lines[at + 1] ?? '';
    if (lines.slice(0, at).join() !== '1,2' || lines.slice(at + 2).join() !== `C SELECT 1,${READY}`)
      return 'not one row';
    if (!/^T id:23:0,name:25:0,(extra:\d+:0,)?c:23:0,k:23:0$/.test(head)) return 'other columns';
    if (!row.startsWith(`D ${id}|shifty-${id}|`) || !row.endsWith(`|${number}|${k}`)) return 'another row';
    return head.split(',').length === row.split('|').length ? null : 'columns and values are not as many';
  };
  return { ...unit('shifting', `${text} (${k}, ${id})`, say.run(text, [k, id]), []), verify };
}

export function flushed({ number }: Client, k: number): Unit {
  const text = `SELECT $1::int AS c, $2::int AS k`;
  const bytes = [say.parse('', text), say.bind('', [number, k]), say.execute(), say.flush()];
  return {
    ...unit('flush', `${text} (${number}, ${k}), Flush, later Sync`, Buffer.concat(bytes), [
      '1',
      '2',
      `D ${number}|${k}`,
      'C SELECT 1',
      READY,
    ]),
    later: say.sync(),
    // Between Flush and Sync the server connection is held, so what runs may not run again.
    class: 'transaction',
  };
}

export function stateless(client: Client): Unit {
  const k = client.next();
  const { random } = client;
  const dice = random.next();
  if (dice < 0.3) return point(client, k);
  if (dice < 0.7) return unnamed(client, k);
  if (dice < 0.8) return failing(client, k);
  if (dice < 0.86) return rows(client, k, random.int(1, 50), random.int(0, 40));
  if (dice < 0.92) return portal(client, k);
  if (dice < 0.96) return shifting(client, k);
  return copy(client, k);
}

export function update({ number }: Client, value: number): string {
  return `UPDATE own SET value = ${value} WHERE client = ${number} AND value < ${value}`;
}

export function readOwn(client: Client, unitClass: UnitClass, exact?: number): Unit {
  const { number, own } = client;
  const k = client.next();
  const verify = (lines: readonly string[]): string | null => {
    const shape = [columns(`c:${INT}:0`, `k:${INT}:0`, `value:${INT}:0`), null, 'C SELECT 1'];
    if (lines.length !== 4 || shape.some((line, i) => line !== null && line !== lines[i]))
      return 'not one row';
    const [c, counter, value] = lines[1]!.slice(2).split('|');
    if (c !== String(number) || counter !== String(k)) return 'another row';
    if (exact === undefined) return own.read(Number(value));
    return Number(value) === exact ? null : `it holds ${value}; this transaction has written ${exact}`;
  };
  const sql = `SELECT ${number} AS c, ${k} AS k, value FROM own WHERE client = ${number}`;
  return { ...query(unitClass === 'read' ? 'read-own' : 'transaction-read', sql, [], unitClass), verify };
}

export function slowUnit({ number, random }: Client, k: number): Unit {
  const seconds = random.int(5, 200) / 1000;
  return query('slow', `SELECT ${number} AS c, ${k} AS k, pg_sleep(${seconds})::text AS s`, [
    columns(`c:${INT}:0`, `k:${INT}:0`, `s:${TEXT}:0`),
    `D ${number}|${k}|`,
    'C SELECT 1',
    READY,
  ]);
}

/** By the superuser on the primary. */
export function postgresTables(clients: number): string {
  return `
    CREATE TABLE numbers (n int PRIMARY KEY); INSERT INTO numbers SELECT generate_series(0, ${NUMBERS - 1});
    CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO items SELECT g, 'item-' || g FROM generate_series(1, ${ITEMS}) AS g;
    CREATE TABLE shifty (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO shifty SELECT g, 'shifty-' || g FROM generate_series(1, 20) AS g;
    CREATE TABLE own (client int PRIMARY KEY, value int NOT NULL);
    INSERT INTO own SELECT g, 0 FROM generate_series(1, ${clients}) AS g;
    CREATE SCHEMA storm_a; CREATE SCHEMA storm_b;
    CREATE TABLE place (here text); INSERT INTO place VALUES ('public');
    CREATE TABLE storm_a.place (here text); INSERT INTO storm_a.place VALUES ('a');
    CREATE TABLE storm_b.place (here text); INSERT INTO storm_b.place VALUES ('b');
    GRANT USAGE ON SCHEMA storm_a, storm_b TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA public, storm_a, storm_b TO PUBLIC;`;
}
