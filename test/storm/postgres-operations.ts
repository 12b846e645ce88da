// What a storm's PostgreSQL clients do, unit after unit: named statements, settings, transactions, cancels, deaths.
// It opens connections through the speech only and knows no chaos.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../e2e/driver.js';
import { cancelRequest, say } from '../e2e/postgres-wire.js';
import type { Operation, Speech } from './client.js';
import {
  type Client,
  COUNTED,
  columns,
  flushed,
  INT,
  ITEMS,
  mark,
  type Named,
  point,
  query,
  READY,
  readOwn,
  rows,
  rules,
  type State,
  slowUnit,
  stateless,
  TEXT,
  unit,
  unnamed,
  update,
} from './postgres-units.js';
import { PostgresStormWire } from './postgres-wire.js';
import type { Unit, UnitClass } from './unit.js';

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
  const { random, state } = client;
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

async function discardAll(client: Client, unitClass: UnitClass = 'read'): Promise<void> {
  const { state } = client;
  const verdict = await client.run(query('discard', 'DISCARD ALL', ['C DISCARD ALL', READY], unitClass));
  state.named.clear();
  const known = verdict === 'right';
  state.applicationName = known ? '' : null;
  state.who = known ? '' : null;
  state.place = known ? 'public' : null;
  if (!known) client.die('after a DISCARD of unknown outcome');
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
  for (const step of steps) {
    failed = (await client.run(step)) !== 'right';
    if (failed) break;
  }
  if (!failed && random.chance(0.05)) {
    // Nothing was committed, whenever the server notices.
    client.die('in a transaction');
  }
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

function cancels(at: Address) {
  return async (client: Client): Promise<void> => {
    const slow = { ...slowUnit(client, client.next()), kind: 'cancelled', cancelled: true };
    await client.send([slow]);
    const receiving = client.receive(slow);
    // Told again by the await below; a rejection in between must not end the process.
    receiving.catch(() => {});
    await sleep(client.random.int(0, 100));
    const { processId, secretKey } = client.wire;
    await cancelRequest(at, { processId, secretKey }).then(
      () => client.count('cancels'),
      () => client.count('cancels that did not get through'),
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
  await discardAll(client, 'pin');
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
      operation('discard', 0.5, (client) => discardAll(client)),
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
