// What a storm's MySQL and MariaDB clients do, unit after unit: prepared statements, long data, counters of the last statement,
// settings, transactions, KILL QUERY, deaths. It knows no chaos.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../e2e/driver.js';
import { command } from '../e2e/mysql-wire.js';
import type { Operation, Speech } from './client.js';
import {
  type Client,
  ITEMS,
  OK,
  type Prepared,
  point,
  query,
  readOwn,
  rows,
  rules,
  SORT_BUFFER_BASE,
  SORT_BUFFER_STEP,
  type State,
  slowUnit,
  stateless,
  TYPE,
  update,
} from './mysql-units.js';
import { MysqlStormWire, packetOf } from './mysql-wire.js';
import type { Unit } from './unit.js';

// --- prepared statements ------------------------------------------------------------------------------------

async function prepare(
  client: Client,
  text: string,
  parameters: number,
  columns: number,
): Promise<number | null> {
  let id: number | null = null;
  const verdict = await client.run({
    kind: 'prepare',
    text,
    bytes: packetOf(command.stmtPrepare(text)),
    form: 'prepare',
    class: 'read',
    expect: [],
    verify: (lines) => {
      if (lines.length !== 2 || !lines[0]!.startsWith(`P ${parameters} `))
        return 'not a statement of that text';
      if (columns > 0 && lines[0] !== `P ${parameters} ${columns}`) return 'not as many columns';
      id = Number(lines[1]!.slice(3));
      return null;
    },
  });
  return verdict === 'right' ? id : null;
}

/** [COM_STMT_EXECUTE](https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html) */
function execution(
  id: number,
  values: readonly (number | string)[],
  types: readonly number[],
  withTypes: boolean,
  long: number | null = null,
): Buffer {
  const head = Buffer.alloc(10);
  head[0] = 0x17;
  head.writeUInt32LE(id, 1);
  head.writeUInt32LE(1, 6);
  if (values.length === 0) return packetOf(head);
  const parts = [head, Buffer.alloc((values.length + 7) >> 3), Buffer.of(withTypes ? 1 : 0)];
  if (withTypes) for (const type of types) parts.push(Buffer.of(type, 0));
  values.forEach((value, i) => {
    if (i === long) return;
    if (types[i] === TYPE.LONG) {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(Number(value));
      parts.push(bytes);
    } else if (types[i] === TYPE.LONGLONG) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(value));
      parts.push(bytes);
    } else parts.push(Buffer.of(Buffer.byteLength(String(value))), Buffer.from(String(value)));
  });
  return packetOf(Buffer.concat(parts));
}

async function prepared(client: Client): Promise<void> {
  const { random, state, number } = client;
  if (state.prepared.length === 0 || (state.prepared.length < 4 && random.chance(0.2))) {
    const known = random.int(1, ITEMS);
    const [text, columns, statement] = random.pick<
      readonly [string, number, Pick<Prepared, 'row' | 'values'>]
    >([
      [
        'SELECT ? AS c, ? AS k',
        2,
        { row: (values) => values.join('|'), values: () => [number, client.next()] },
      ],
      [
        'SELECT ? AS c, ? AS k, id, name FROM items WHERE id = ?',
        4,
        {
          row: ([c, k, id]) => `${c}|${k}|${id}|item-${id}`,
          values: () => [number, client.next(), random.int(1, ITEMS)],
        },
      ],
      [
        `SELECT ${number} AS c, ? AS k, name FROM items WHERE id = ${known}`,
        3,
        { row: ([k]) => `${number}|${k}|item-${known}`, values: () => [client.next()] },
      ],
    ]);
    const parameters = text.split('?').length - 1;
    const id = await prepare(client, text, parameters, columns);
    if (id !== null)
      state.prepared.push({ id, text, ...statement, types: null, long: columns === 2 && random.chance(0.3) });
    return;
  }
  const statement = random.pick(state.prepared);
  const dice = random.next();
  if (dice < 0.08) {
    state.prepared = state.prepared.filter((each) => each !== statement);
    // Close has no answer: the next command's is the proof that nothing came.
    const next = point(client, client.next());
    await client.run({
      ...next,
      text: `close ${statement.id}; ${next.text}`,
      bytes: Buffer.concat([packetOf(command.stmtClose(statement.id)), next.bytes]),
    });
    return;
  }
  if (dice < 0.12) {
    await client.run({
      kind: 'reset-statement',
      text: String(statement.id),
      bytes: packetOf(command.stmtReset(statement.id)),
      expect: OK,
      class: 'read',
    });
    return;
  }
  const units: Unit[] = [];
  for (let i = random.int(1, 3); i > 0; i--) {
    const values = statement.values();
    const long = statement.long ? 1 : null;
    if (long !== null) values[1] = `c${number}k${values[1]}${'y'.repeat(random.int(0, 300))}`;
    const keep = long === null && statement.types !== null && random.chance(0.4);
    const types = keep
      ? statement.types!
      : values.map((_, at) =>
          at === long ? TYPE.BLOB : random.pick([TYPE.LONG, TYPE.LONGLONG, TYPE.VAR_STRING]),
        );
    statement.types = long === null ? types : null;
    const bytes = [execution(statement.id, values, types, !keep, long)];
    if (long !== null) {
      const text = Buffer.from(String(values[1]));
      // In two parts, as a program that reads a file would.
      for (const part of [text.subarray(0, 5), text.subarray(5)]) {
        const head = Buffer.alloc(7);
        head[0] = 0x18;
        head.writeUInt32LE(statement.id, 1);
        head.writeUInt16LE(1, 5);
        bytes.splice(bytes.length - 1, 0, packetOf(Buffer.concat([head, part])));
      }
    }
    units.push({
      kind: long === null ? 'execute' : 'long-data',
      text: `${statement.id}: ${statement.text} (${values.join()}) types ${types.join()} ${keep ? 'kept' : 'said'}`,
      bytes: Buffer.concat(bytes),
      form: 'binary',
      class: 'read',
      expect: [],
      verify: (lines) =>
        lines.length === 3 && lines[1] === `D ${statement.row(values)}` && lines[2] === 'EOF'
          ? null
          : `not ${statement.row(values).slice(0, 100)}`,
    });
  }
  await client.runAll(units);
}

// --- the last statement, settings ---------------------------------------------------------------------------

async function last(client: Client): Promise<void> {
  const { number, random } = client;
  const k = client.next();
  const kind = random.int(0, 2);
  if (kind === 0) {
    let id = '';
    const insert: Unit = {
      ...query('insert', `INSERT INTO seq (client, k) VALUES (${number}, ${k})`, [], 'write'),
      verify: (lines) => {
        id = /^O 1 (\d+)$/.exec(lines.join())?.[1] ?? '';
        return id === '' ? 'not one row inserted' : null;
      },
    };
    if ((await client.run(insert)) !== 'right') return;
    await client.run(query('last', 'SELECT LAST_INSERT_ID() AS id', ['T id', `D ${id}`, 'EOF']));
    await client.run(
      query('inserted', `SELECT client, k FROM seq WHERE id = ${id}`, [
        'T client,k',
        `D ${number}|${k}`,
        'EOF',
      ]),
    );
    return;
  }
  if (kind === 1) {
    client.own.unknown(k);
    if ((await client.run(query('write', update(client, k), ['O 1 0'], 'write'))) !== 'right') return;
    client.own.acknowledged(k);
    await client.run(query('last', 'SELECT ROW_COUNT() AS n', ['T n', 'D 1', 'EOF']));
    return;
  }
  const count = random.int(1, 20);
  if ((await client.run(rows(client, k, count, 3))) !== 'right') return;
  await client.run(query('last', 'SELECT FOUND_ROWS() AS n', ['T n', `D ${count}`, 'EOF']));
}

async function settings(client: Client): Promise<void> {
  const { random, state, number } = client;
  if (random.chance(0.6)) {
    const wanted = SORT_BUFFER_BASE + SORT_BUFFER_STEP * (number * 4 + random.int(0, 3));
    state.sortBuffer = null;
    if ((await client.run(query('set', `SET SESSION sort_buffer_size = ${wanted}`, OK))) === 'right')
      state.sortBuffer = wanted;
  } else {
    const place = random.pick(['app', 'storm_b'] as const);
    state.place = null;
    const bytes = packetOf(command.initDb(place));
    if ((await client.run({ kind: 'use', text: place, bytes, expect: OK, class: 'read' })) === 'right')
      state.place = place;
  }
  await readSettings(client);
  // Everything else is asked of the database of the login.
  if (state.place === 'app') return;
  const bytes = packetOf(command.initDb('app'));
  if ((await client.run({ kind: 'use', text: 'app', bytes, expect: OK, class: 'read' })) !== 'right')
    client.die('in an unknown database');
  state.place = 'app';
}

async function readSettings(client: Client): Promise<void> {
  const { state, number } = client;
  const k = client.next();
  const units: Unit[] = [];
  if (state.sortBuffer !== null)
    units.push(
      query('setting', `SELECT ${number} AS c, ${k} AS k, @@session.sort_buffer_size AS v`, [
        'T c,k,v',
        `D ${number}|${k}|${state.sortBuffer}`,
        'EOF',
      ]),
    );
  if (state.place !== null)
    units.push(
      query('schema', `SELECT ${number} AS c, ${k} AS k, here FROM place`, [
        'T c,k,here',
        `D ${number}|${k}|${state.place}`,
        'EOF',
      ]),
    );
  if (units.length > 0) await client.runAll(units);
}

async function pins(client: Client): Promise<void> {
  const { number, state } = client;
  const k = client.next();
  const value = number * 1_000_000 + (k % 1_000_000);
  if ((await client.run(query('pin', `SET @mine = ${value}`, OK, 'pin'))) === 'right')
    await client.run(query('pinned-read', 'SELECT @mine AS mine', ['T mine', `D ${value}`, 'EOF'], 'pin'));
  state.prepared = [];
  state.sortBuffer = null;
  const bytes = packetOf(command.resetConnection());
  await client.run({ kind: 'reset-connection', text: '', bytes, expect: OK, class: 'pin' });
}

// --- writes and transactions --------------------------------------------------------------------------------

async function write(client: Client): Promise<void> {
  const value = client.next();
  client.own.unknown(value);
  const asked = query('write', update(client, value), ['O 1 0'], 'write');
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
  const value = client.next();
  const ends = client.random.chance(0.6) ? 'COMMIT' : 'ROLLBACK';
  const steps = [
    query('begin', 'START TRANSACTION', OK, 'transaction'),
    query('transaction-write', update(client, value), ['O 1 0'], 'transaction'),
    { ...stateless(client), class: 'transaction' as const },
    readOwn(client, 'transaction', value),
  ];
  let failed = false;
  for (const step of steps) {
    failed = (await client.run(step)) !== 'right';
    if (failed) break;
  }
  if (!failed && client.random.chance(0.05)) client.die('in a transaction');
  if (!failed) {
    if (ends === 'COMMIT') client.own.unknown(value);
    if ((await client.run(query(ends.toLowerCase(), ends, OK, 'transaction'))) === 'right') {
      if (ends === 'COMMIT') client.own.acknowledged(value);
      await client.run(readOwn(client, 'read'));
      return;
    }
  }
  await client.run(query('rollback-after', 'ROLLBACK', OK, 'transaction'));
  await client.run(readOwn(client, 'read'));
}

async function readOnly(client: Client): Promise<void> {
  const steps = [query('begin', 'START TRANSACTION READ ONLY', OK, 'transaction')];
  for (let i = 0; i < 3; i++)
    steps.push({ ...point(client, client.next()), kind: 'read-only', class: 'transaction' });
  steps.push(query('commit', 'COMMIT', OK, 'transaction'));
  for (const step of steps) {
    if ((await client.run(step)) === 'right') continue;
    await client.run(query('rollback-after', 'ROLLBACK', OK, 'transaction'));
    return;
  }
}

// --- slow, cancelled, dying ---------------------------------------------------------------------------------

function cancels(open: () => Promise<MysqlStormWire>) {
  return async (client: Client): Promise<void> => {
    const { threadId } = client.wire;
    const killer = await open().catch(() => null);
    if (killer === null) {
      client.count('cancels that did not get through');
      return;
    }
    try {
      const slow = { ...slowUnit(client, client.next()), kind: 'cancelled', cancelled: true };
      await client.send([slow]);
      const receiving = client.receive(slow);
      // Told again by the await below; a rejection in between must not end the process.
      receiving.catch(() => {});
      await sleep(client.random.int(0, 100));
      killer.awaits('text');
      killer.socket.write(packetOf(command.query(`KILL QUERY ${threadId}`)));
      const [answer] = await killer.reply();
      // 1094: the proxy knows no such connection.
      client.count(answer === OK[0] ? 'cancels' : `cancels answered ${answer?.slice(0, 60)}`);
      await receiving;
    } finally {
      killer.die();
    }
    await sleep(20);
    await client.run({ ...point(client, client.next()), kind: 'after-cancel', cancelled: true });
  };
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
    const { bytes } = point(client, client.next());
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

const operation = (
  name: string,
  weight: number,
  run: (client: Client) => Promise<void>,
): Operation<MysqlStormWire, State> => ({ name, weight, run });

export function mysqlSpeech(at: Address, user: string, database: string): Speech<MysqlStormWire, State> {
  const open = () => MysqlStormWire.open(at, user, database);
  return {
    rules,
    open,
    freshState: () => ({ sortBuffer: null, place: 'app', prepared: [] }),
    announce: (wire, unit) => wire.awaits(unit.form ?? 'text'),
    operations: [
      operation('stateless', 30, async (client) => {
        await client.run(stateless(client));
      }),
      operation('pipeline', 10, async (client) => {
        const units: Unit[] = [];
        for (let i = client.random.int(2, 6); i > 0; i--) units.push(stateless(client));
        await client.runAll(units);
      }),
      operation('prepared', 25, prepared),
      operation('last', 4, last),
      operation('settings', 4, settings),
      operation('read settings', 4, readSettings),
      operation('write', 6, write),
      operation('transaction', 4, transaction),
      operation('read only', 3, readOnly),
      operation('rows', 3, async (client) => {
        await client.run(rows(client, client.next(), client.random.int(1, 5000), client.random.int(0, 50)));
      }),
      operation('slow reader', 0.7, async (client) => {
        client.wire.readSlowly(client.random.int(50, 400));
        await client.run({ ...rows(client, client.next(), 5000, 200), kind: 'slow-reader' });
      }),
      operation('slow', 2, async (client) => {
        await client.run(slowUnit(client, client.next()));
      }),
      operation('cancel', 2, cancels(open)),
      operation('pins', 0.5, pins),
      operation('dies', 0.7, dies),
    ],
  };
}
