// What a storm's PostgreSQL clients do, and what each must be answered: simple, unnamed, named, portals, pipelines, errors,
// COPY, settings, transactions, cancels, deaths. It opens connections through the speech only and knows no chaos.

import { setTimeout as sleep } from 'node:timers/promises';
import { serialize } from 'pg-protocol';
import type { Address } from '../e2e/driver.js';
import { cancelRequest, say } from '../e2e/postgres-wire.js';
import type { Operation, Speech, StormClient } from './client.js';
import { PostgresStormWire } from './postgres-wire.js';
import type { ErrorLine, ErrorRules, Unit, UnitClass, Weather } from './unit.js';

interface Named {
  readonly text: string;
  readonly describe: readonly string[];
  readonly answer: (counter: number) => string;
  readonly values: (counter: number) => readonly unknown[];
}

/** What this connection has set; null: unknown, after an error. */
interface State {
  applicationName: string | null;
  who: string | null;
  place: 'a' | 'b' | 'public' | null;
  readonly named: Map<string, Named>;
}

type Client = StormClient<PostgresStormWire, State>;

const READY = 'Z I';
const INT = 23;
const TEXT = 25;
const BIGINT = 20;
export const ITEMS = 100;

const rules: ErrorRules = {
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

const columns = (...list: readonly string[]) => `T ${list.join()}`;
const COUNTED = columns(`c:${INT}:0`, `k:${INT}:0`);

function unit(
  kind: string,
  text: string,
  bytes: Buffer,
  expect: readonly string[],
  unitClass: UnitClass = 'read',
): Unit {
  return { kind, text, bytes, expect, class: unitClass };
}

function query(kind: string, sql: string, expect: readonly string[], unitClass: UnitClass = 'read'): Unit {
  return unit(kind, sql, say.query(sql), expect, unitClass);
}

function point({ number, random, next }: Client, k: number): Unit {
  void next;
  const id = random.int(1, ITEMS);
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

function unnamed(client: Client, k: number): Unit {
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

function mark({ number }: Client, k: number): string {
  return `c${number}k${k}`;
}

function failing(client: Client, k: number): Unit {
  const own = mark(client, k);
  const kind = 'error';
  switch (client.random.int(0, 4)) {
    case 0:
      return query(kind, `SELECT '${own}'::int`, [
        `E 22P02 invalid input syntax for type integer: "${own}"`,
        READY,
      ]);
    case 1:
      return query(kind, `SELECT 1 AS a ${own}`, [`E 42601 syntax error at or near "${own}"`, READY]);
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

function rows(client: Client, k: number, count: number, filler: number): Unit {
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

function flushed({ number }: Client, k: number): Unit {
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

function stateless(client: Client): Unit {
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

function nextNamed(client: Client): Named {
  const { number, random } = client;
  const id = random.int(1, ITEMS);
  if (random.chance(0.3)) {
    return {
      text: `SELECT *, ${number} AS c, $1::int AS k FROM shifty WHERE id = 7`,
      describe: [`t ${INT}`],
      answer: (k) => `|${number}|${k}`,
      values: (k) => [k],
    };
  }
  if (random.chance(0.5)) {
    return {
      text: `SELECT ${number} AS c, $1::int AS k, name FROM items WHERE id = ${id}`,
      describe: [`t ${INT}`, columns(`c:${INT}:0`, `k:${INT}:0`, `name:${TEXT}:0`)],
      answer: (k) => `D ${number}|${k}|item-${id}`,
      values: (k) => [k],
    };
  }
  // The same text on many clients.
  return {
    text: 'SELECT $1::int AS c, $2::int AS k',
    describe: [`t ${INT},${INT}`, COUNTED],
    answer: (k) => `D ${number}|${k}`,
    values: (k) => [number, k],
  };
}

async function named(client: Client): Promise<void> {
  const { random, state } = client;
  const name = `s${random.int(1, 4)}`;
  const known = state.named.get(name);
  const k = client.next();
  if (known === undefined) {
    if (random.chance(0.1)) {
      const bytes = Buffer.concat([say.bind(name, [k]), say.execute(), say.sync()]);
      const expect = [`E 26000 prepared statement "${name}" does not exist`, READY];
      await client.run(unit('named-missing', name, bytes, expect));
      return;
    }
    const statement = nextNamed(client);
    const bytes = Buffer.concat([say.parse(name, statement.text), say.sync()]);
    const verdict = await client.run(unit('named-parse', `${name}: ${statement.text}`, bytes, ['1', READY]));
    if (verdict === 'right') state.named.set(name, statement);
    return;
  }
  if (random.chance(0.1)) {
    await client.run(unit('named-close', name, Buffer.concat([say.close(name), say.sync()]), ['3', READY]));
    state.named.delete(name);
    return;
  }
  if (random.chance(0.05)) {
    const bytes = Buffer.concat([say.parse(name, 'SELECT 1'), say.sync()]);
    await client.run(
      unit('named-again', name, bytes, [`E 42P05 prepared statement "${name}" already exists`, READY]),
    );
    return;
  }
  const shifts = known.describe.length === 1;
  if (!shifts && random.chance(0.2)) {
    const bytes = Buffer.concat([say.describeStatement(name), say.sync()]);
    await client.run(unit('named-describe', `${name}: ${known.text}`, bytes, [...known.describe, READY]));
    return;
  }
  const times = random.int(1, 3);
  const units: Unit[] = [];
  for (let i = 0; i < times; i++) {
    const counter = client.next();
    const bytes = Buffer.concat([say.bind(name, known.values(counter)), say.execute(), say.sync()]);
    const text = `${name}: ${known.text} (${known.values(counter).join()})`;
    const expect = ['2', known.answer(counter), 'C SELECT 1', READY];
    if (!shifts) units.push(unit('named-execute', text, bytes, expect));
    else {
      const verify = (lines: readonly string[]) =>
        lines.length === 4 &&
        lines[0] === '2' &&
        lines[1]!.startsWith('D 7|shifty-7') &&
        lines[1]!.endsWith(known.answer(counter)) &&
        lines[3] === READY
          ? null
          : 'not its row';
      units.push({ ...unit('named-shifting', text, bytes, expect), verify });
    }
  }
  await client.runAll(units);
}

async function settings(client: Client): Promise<void> {
  const { random, state, number } = client;
  const k = client.next();
  const own = mark(client, k);
  const kind = random.int(0, 2);
  const set = (sql: string, tag = 'C SET') => client.run(query('set', sql, [tag, READY]));
  if (kind === 0) {
    state.applicationName = null;
    if ((await set(`SET application_name = '${own}'`)) === 'right') state.applicationName = own;
  } else if (kind === 1) {
    state.who = null;
    if ((await set(`SET storm.who = '${own}'`)) === 'right') state.who = own;
  } else {
    const place = random.pick(['a', 'b', 'public'] as const);
    state.place = null;
    const path = place === 'public' ? 'public' : `storm_${place}, public`;
    if ((await set(`SET search_path = ${path}`)) === 'right') state.place = place;
  }
  void number;
  await readSettings(client);
}

async function readSettings(client: Client): Promise<void> {
  const { state, number, random, wire } = client;
  const k = client.next();
  const units: Unit[] = [];
  if (state.applicationName !== null) {
    const told = wire.parameters.get('application_name');
    const value = state.applicationName;
    units.push({
      ...query('setting', 'SHOW application_name', []),
      verify: (lines) => {
        if (lines.join() !== [`T application_name:${TEXT}:0`, `D ${value}`, 'C SHOW', READY].join())
          return `not "${value}"`;
        return told === value ? null : `ParameterStatus said application_name is "${told}"`;
      },
    });
    units.push(
      query('setting', `SELECT ${number} AS c, ${k} AS k, current_setting('application_name') AS v`, [
        columns(`c:${INT}:0`, `k:${INT}:0`, `v:${TEXT}:0`),
        `D ${number}|${k}|${value}`,
        'C SELECT 1',
        READY,
      ]),
    );
  }
  if (state.who !== null && state.who !== '')
    units.push(
      query('setting', `SELECT ${number} AS c, ${k} AS k, current_setting('storm.who') AS v`, [
        columns(`c:${INT}:0`, `k:${INT}:0`, `v:${TEXT}:0`),
        `D ${number}|${k}|${state.who}`,
        'C SELECT 1',
        READY,
      ]),
    );
  if (state.place !== null) {
    const text = 'SELECT $1::int AS c, $2::int AS k, here FROM place';
    units.push(
      unit('search-path', `${text} (${number}, ${k})`, say.run(text, [number, k]), [
        '1',
        '2',
        columns(`c:${INT}:0`, `k:${INT}:0`, `here:${TEXT}:0`),
        `D ${number}|${k}|${state.place}`,
        'C SELECT 1',
        READY,
      ]),
    );
  }
  if (units.length === 0) return;
  if (random.chance(0.5)) await client.runAll(units);
  else for (const each of units) await client.run(each);
}

async function discardAll(client: Client): Promise<void> {
  const { state } = client;
  const verdict = await client.run(query('discard', 'DISCARD ALL', ['C DISCARD ALL', READY]));
  state.named.clear();
  const known = verdict === 'right';
  state.applicationName = known ? '' : null;
  state.who = known ? '' : null;
  state.place = known ? 'public' : null;
  if (!known) client.die('after a DISCARD of unknown outcome');
}

function update({ number }: Client, value: number): string {
  return `UPDATE own SET value = ${value} WHERE client = ${number} AND value < ${value}`;
}

function readOwn(client: Client, unitClass: UnitClass, exact?: number): Unit {
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

async function write(client: Client): Promise<void> {
  const value = client.next();
  client.own.unknown(value);
  const extended = client.random.chance(0.5);
  const text = 'UPDATE own SET value = $1 WHERE client = $2 AND value < $1';
  const asked = extended
    ? unit(
        'write',
        `${text} (${value}, ${client.number})`,
        say.run(text, [value, client.number]),
        [...['1', '2', 'n', 'C UPDATE 1', READY]],
        'write',
      )
    : query('write', update(client, value), ['C UPDATE 1', READY], 'write');
  // Pipelined, the read must see it too, unless the write failed.
  const read = readOwn(client, 'read');
  if (client.random.chance(0.3)) {
    await client.send([asked, read]);
    if ((await client.receive(asked)) === 'right') client.own.acknowledged(value);
    await client.receive(read);
    return;
  }
  if ((await client.run(asked)) === 'right') client.own.acknowledged(value);
  await client.run(read);
}

async function transaction(client: Client): Promise<void> {
  const { random } = client;
  const value = client.next();
  const ends = random.chance(0.6) ? 'COMMIT' : 'ROLLBACK';
  const open = 'Z T';
  const inside = (asked: Unit): Unit => ({
    ...asked,
    expect: asked.expect.map((line) => (line === READY ? open : line)),
    class: 'transaction',
  });
  const steps = [
    query('begin', 'BEGIN', ['C BEGIN', open], 'transaction'),
    query('transaction-write', update(client, value), ['C UPDATE 1', open], 'transaction'),
    inside(unnamed(client, client.next())),
    readOwn(client, 'transaction', value),
  ];
  let failed = false;
  let wrote = false;
  for (const step of steps) {
    wrote ||= step.kind === 'transaction-write';
    failed = (await client.run(step)) !== 'right';
    if (failed) break;
  }
  if (!failed && random.chance(0.05)) {
    // Nothing was committed, whenever the server notices.
    client.die('in a transaction');
  }
  void wrote;
  if (!failed) {
    if (ends === 'COMMIT') client.own.unknown(value);
    const end = query(ends.toLowerCase(), ends, [`C ${ends}`, READY], 'transaction');
    if ((await client.run(end)) === 'right') {
      if (ends === 'COMMIT') client.own.acknowledged(value);
      await client.run(readOwn(client, 'read'));
      return;
    }
  }
  await rollBack(client);
  await client.run(readOwn(client, 'read'));
}

/** Wherever a transaction stands after an error. */
async function rollBack(client: Client): Promise<void> {
  const verify = (lines: readonly string[]) =>
    lines.join() === `C ROLLBACK,${READY}` ? null : 'no ROLLBACK';
  await client.run({ ...query('rollback-after', 'ROLLBACK', [], 'transaction'), verify });
}

async function readOnly(client: Client): Promise<void> {
  const units: Unit[] = [query('begin', 'BEGIN READ ONLY', ['C BEGIN', 'Z T'], 'transaction')];
  for (let i = 0; i < 3; i++) {
    const each = unnamed(client, client.next());
    const expect = each.expect.map((line) => (line === READY ? 'Z T' : line));
    units.push({ ...each, kind: 'read-only', expect, class: 'transaction' });
  }
  for (const each of units) {
    if ((await client.run(each)) === 'right') continue;
    await rollBack(client);
    return;
  }
  if ((await client.run(query('commit', 'COMMIT', ['C COMMIT', READY], 'transaction'))) !== 'right')
    await rollBack(client);
}

function slowUnit({ number, random }: Client, k: number): Unit {
  const seconds = random.int(5, 200) / 1000;
  return query('slow', `SELECT ${number} AS c, ${k} AS k, pg_sleep(${seconds})::text AS s`, [
    columns(`c:${INT}:0`, `k:${INT}:0`, `s:${TEXT}:0`),
    `D ${number}|${k}|`,
    'C SELECT 1',
    READY,
  ]);
}

function cancels(at: Address) {
  return async (client: Client): Promise<void> => {
    const slow = { ...slowUnit(client, client.next()), kind: 'cancelled', cancelled: true };
    await client.send([slow]);
    const receiving = client.receive(slow);
    // Told again by the await below; a rejection in between must not end the process.
    receiving.catch(() => {});
    await sleep(client.random.int(0, 100));
    client.count('cancels');
    const { processId, secretKey } = client.wire;
    await cancelRequest(at, { processId, secretKey }).catch(() =>
      client.count('cancels that did not get through'),
    );
    await receiving;
    // It may arrive behind what it was meant for, and hit what this client does next; never another client.
    await sleep(20);
    await client.run({ ...point(client, client.next()), kind: 'after-cancel', cancelled: true });
  };
}

async function slowReader(client: Client): Promise<void> {
  client.wire.readSlowly(client.random.int(50, 400));
  await client.run({ ...rows(client, client.next(), 5000, 200), kind: 'slow-reader' });
}

async function dies(client: Client): Promise<void> {
  const { random } = client;
  const how = random.int(0, 3);
  if (how === 0) {
    await client.send([rows(client, client.next(), 5000, 200)]);
    await sleep(random.int(0, 30));
    client.die('in mid-result');
  }
  if (how === 1) {
    const { bytes } = unnamed(client, client.next());
    client.wire.socket.write(bytes.subarray(0, random.int(1, bytes.length - 1)));
    await sleep(random.int(0, 10));
    client.die('in mid-unit');
  }
  if (how === 2) {
    const value = client.next();
    client.own.unknown(value);
    await client.send([query('write', update(client, value), [], 'write')]);
    await sleep(random.int(0, 5));
    client.die('in a write');
  }
  await client.send([slowUnit(client, client.next()), stateless(client), stateless(client)]);
  await sleep(random.int(0, 30));
  client.die('in a slow pipeline');
}

async function pins(client: Client): Promise<void> {
  const { number } = client;
  const k = client.next();
  const lock = query(
    'pin',
    `SELECT pg_advisory_lock(${number}), ${number} AS c, ${k} AS k`,
    [
      columns('pg_advisory_lock:2278:0', `c:${INT}:0`, `k:${INT}:0`),
      `D |${number}|${k}`,
      'C SELECT 1',
      READY,
    ],
    'pin',
  );
  if ((await client.run(lock)) === 'right')
    await client.run({ ...point(client, client.next()), kind: 'pinned-read', class: 'pin' });
  // DISCARD ALL unlocks, and what pinned is gone.
  await discardAll(client);
}

const operation = (
  name: string,
  weight: number,
  run: (client: Client) => Promise<void>,
): Operation<PostgresStormWire, State> => ({
  name,
  weight,
  run,
});

export function postgresSpeech(
  at: Address,
  user: string,
  database: string,
): Speech<PostgresStormWire, State> {
  return {
    rules,
    open: () => PostgresStormWire.open(at, user, database),
    freshState: () => ({ applicationName: '', who: '', place: 'public', named: new Map() }),
    announce: () => {},
    operations: [
      operation('stateless', 30, async (client) => {
        await client.run(stateless(client));
      }),
      operation('pipeline', 12, async (client) => {
        const units: Unit[] = [];
        for (let i = client.random.int(2, 6); i > 0; i--) units.push(stateless(client));
        await client.runAll(units);
      }),
      operation('named', 15, named),
      operation('settings', 5, settings),
      operation('read settings', 4, readSettings),
      operation('discard', 0.5, discardAll),
      operation('write', 6, write),
      operation('transaction', 4, transaction),
      operation('read only', 3, readOnly),
      operation('rows', 3, async (client) => {
        await client.run(rows(client, client.next(), client.random.int(1, 5000), client.random.int(0, 50)));
      }),
      operation('slow reader', 0.7, slowReader),
      operation('slow', 2, async (client) => {
        await client.run(slowUnit(client, client.next()));
      }),
      operation('cancel', 2, cancels(at)),
      operation('flush', 2, async (client) => {
        await client.run(flushed(client, client.next()));
      }),
      operation('pins', 0.5, pins),
      operation('dies', 0.7, dies),
    ],
  };
}

/** By the superuser on the primary. */
export function postgresTables(clients: number): string {
  return `
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
