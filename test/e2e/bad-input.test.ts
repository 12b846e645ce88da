// Garbage, absurd lengths, half packets, connections that never log in, clients that vanish: a clear error by the protocol's own
// means, a bound on time and memory, and nobody else notices.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { answerTo, bystander, dial, manyWithoutLogin, nothingLeft } from './bad-input.js';
import { openWire as openMysql, trustingFront as trustingMysql } from './mysql-protocol.js';
import { command, handshakeResponse } from './mysql-wire.js';
import { openWire as openPostgres, trustingFront as trustingPostgres } from './postgres-protocol.js';
import { PostgresWire, say, startupMessage } from './postgres-wire.js';
import { type Front, Stage } from './stage.js';

const HTTP = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
const RANDOM = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919 + 13) % 251));
/** The login deadline of listeners that wait for it. */
const SOON = 500;
const GIGABYTES = 0x7f_ff_ff_ff;

const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
/** A message of the PostgreSQL protocol with any length that one likes. */
const message = (type: string, length: number, body = Buffer.alloc(0)) =>
  Buffer.concat([Buffer.from(type), uint32(length), body]);

test('postgres: bad input', { skip: skipWithout(available('postgres')) }, async (t) => {
  const stage = await Stage.open(t, 'postgres');
  const front = await trustingPostgres(t, stage, { pool: { maxServerConnections: 4 } });
  const worker = await bystander(t, front);
  const { user, database } = stage.cluster.user;
  const fatal = (code: string) => new RegExp(`^E.{4}SFATAL\0VFATAL\0C${code}\0M`, 's');

  await t.test('first bytes that are no startup message', async (t) => {
    for (const bytes of [
      HTTP,
      RANDOM,
      Buffer.from('\u0016\u0003\u0001\u0002\0\u0001\0\u0001\ufffd', 'latin1'),
    ]) {
      assert.match((await answerTo(t, front.proxy, bytes)).bytes.toString('latin1'), fatal('08P01'));
    }
    for (const length of [0, 1, 4, 7, 100_000, GIGABYTES, 0xff_ff_ff_ff]) {
      const { bytes } = await answerTo(t, front.proxy, uint32(length), Buffer.alloc(16));
      assert.match(bytes.toString('latin1'), fatal('08P01'), `length ${length}`);
    }
    const wrong = Buffer.concat([uint32(8), uint32(0x0002_0000)]);
    assert.match((await answerTo(t, front.proxy, wrong)).bytes.toString('latin1'), fatal('0A000'));
  });

  await t.test('bytes behind an SSLRequest are not read as plain text', async (t) => {
    const request = Buffer.concat([uint32(8), uint32(80877103)]);
    const { bytes } = await answerTo(
      t,
      front.proxy,
      Buffer.concat([request, startupMessage({ user, database })]),
    );
    assert.doesNotMatch(bytes.toString('latin1'), /R.{4}\0\0\0\0/s, 'it was let in');
    const wire = await PostgresWire.dial(t, front.proxy);
    wire.socket.write(request);
  });

  await t.test('half a startup message, and nothing: the deadline, with its reason', async (t) => {
    const hasty = await stage.front(
      t,
      {},
      { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, loginTimeoutMs: SOON }] },
    );
    const startup = startupMessage({ user, database });
    for (const bytes of [Buffer.alloc(0), startup.subarray(0, 3), startup.subarray(0, 20), startup])
      assert.match(
        (await answerTo(t, hasty.proxy, bytes)).bytes.toString('latin1'),
        new RegExp(`SFATAL\0VFATAL\0C08006\0Mlogin did not finish within ${SOON} ms\0`),
      );
  });

  await t.test('after the login: lengths and messages that cannot be', async (t) => {
    const limits = [
      [message('Q', 3), '08P01'],
      [message('Q', GIGABYTES), '54000'],
      [message('Q', 0xff_ff_ff_ff), '08P01'],
      [message('P', 8, Buffer.from('abcd')), '08P01'],
      [message('B', 5, Buffer.from('x')), '08P01'],
      [message('!', 4), '08P01'],
      [message('p', 9, Buffer.from('late\0')), '08P01'],
      [HTTP, '08P01|54000'],
      [RANDOM, '08P01|54000'],
    ] as const;
    for (const [bytes, code] of limits) {
      const wire = await openPostgres(t, stage, front);
      wire.send(bytes);
      const lines = await wire.closed();
      assert.match(
        lines.at(-1) ?? '',
        new RegExp(`^ErrorResponse FATAL (${code}) `),
        bytes.toString('latin1', 0, 9),
      );
    }
  });

  await t.test('a Bind that stops behind its names is answered by the server', async (t) => {
    const wire = await openPostgres(t, stage, front);
    const [line] = await wire.talk(say.parse('', 'SELECT 1'), message('B', 6, Buffer.alloc(2)), say.sync());
    assert.equal(line, 'ParseComplete');
    assert.ok((await wire.talk(say.query('SELECT 1'))).includes('DataRow 1'));
  });

  await t.test('a zero byte inside a query is refused', async (t) => {
    const wire = await openPostgres(t, stage, front);
    wire.send(say.query('SELECT 1\0; DROP TABLE items'));
    assert.match((await wire.closed()).at(-1) ?? '', /^ErrorResponse FATAL 08P01 /);
  });

  await t.test('half a message, then gone', async (t) => {
    for (const bytes of [message('Q', 100, Buffer.from('SELECT')), say.parse('', 'SELECT 1'), say.bind('')]) {
      const wire = await openPostgres(t, stage, front);
      wire.send(bytes);
      wire.socket.destroy();
    }
    await nothingLeft(front);
  });

  await t.test('a client that disconnects in the middle of a result, or does not read it', async (t) => {
    for (let i = 0; i < 5; i++) {
      const wire = await openPostgres(t, stage, front);
      wire.send(say.query("SELECT repeat('x', 1000) FROM generate_series(1, 300000)"));
      assert.equal(await wire.line(), 'RowDescription repeat');
      if (i % 2 === 0) wire.socket.pause();
      wire.socket.destroy();
    }
    await nothingLeft(front);
  });

  await t.test('a client that reads slowly holds up neither memory nor others', async (t) => {
    const before = process.memoryUsage().rss;
    const { socket } = await dial(t, front.proxy);
    socket.pause();
    socket.write(
      Buffer.concat([
        startupMessage({ user, database }),
        say.query("SELECT repeat('x', 1000) FROM generate_series(1, 500000)"),
      ]),
    );
    await until('its reply to be under way', () => front.status().nodes.some((node) => node.pool.leased > 0));
    const other = await front.connect(t);
    for (let i = 0; i < 100; i++) await other.query('SELECT name FROM items WHERE id = 1');
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 200_000_000, `${grown} bytes more`);
    socket.destroy();
    await nothingLeft(front);
  });

  await t.test('a client that disconnects in the middle of COPY leaves nothing behind', async (t) => {
    for (const open of [
      [say.query('COPY notes FROM STDIN')],
      [say.parse('', 'COPY notes FROM STDIN'), say.bind(''), say.execute(), say.sync()],
    ]) {
      const wire = await openPostgres(t, stage, front);
      wire.send(...open);
      await wire.through('CopyInResponse');
      wire.send(say.copyData('4001\thalf of it\n4002\tthe o'));
      wire.socket.destroy();
    }
    await nothingLeft(front);
    await until('the server to have undone it', async () => {
      const rows = await stage.cluster.primary.admin('SELECT * FROM notes WHERE id IN (4001, 4002)');
      return rows.length === 0;
    });
    const out = await openPostgres(t, stage, front);
    out.send(say.query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 300000)) TO STDOUT"));
    await out.through('CopyData');
    out.socket.destroy();
    await nothingLeft(front);
  });

  await t.test('a full listener: one client too many is told so, others work, a place comes free', (t) =>
    fullListener(t, stage, fatal('53300'), startupMessage({ user, database })),
  );

  await t.test('2000 connections that never log in', (t) =>
    manyWithoutLogin(t, stage, {
      bytes: startupMessage({ user, database }).subarray(0, 12),
      farewell: /C08006/,
    }),
  );

  assert.ok((await worker.end()) > 0);
  await nothingLeft(front);
});

test('mysql: bad input', { skip: skipWithout(available('mysql')) }, async (t) => {
  const stage = await Stage.open(t, 'mysql');
  const front = await trustingMysql(t, stage, { pool: { maxServerConnections: 4 } });
  const worker = await bystander(t, front);
  const { user, database } = stage.cluster.user;
  /** Behind the greeting: an ERR packet with that number. */
  const error = (...numbers: number[]) =>
    new RegExp(
      numbers.map((number) => `\\xff\\x${hex(number & 0xff)}\\x${hex(number >> 8)}#`).join('|'),
      's',
    );
  const header = (length: number, sequence: number) =>
    Buffer.of(length & 0xff, (length >> 8) & 0xff, (length >> 16) & 0xff, sequence);
  const login = handshakeResponse(user, database);

  await t.test('first bytes that are no handshake response', async (t) => {
    for (const bytes of [
      HTTP,
      RANDOM,
      Buffer.concat([header(0xff_ff_ff, 1), HTTP]),
      Buffer.concat([header(10, 7), Buffer.alloc(10)]),
      Buffer.concat([header(4, 1), Buffer.alloc(4)]),
    ]) {
      const answer = (await answerTo(t, front.proxy, bytes)).bytes.toString('latin1');
      assert.match(answer, error(1835, 1153, 1251, 1045), JSON.stringify(answer.slice(0, 200)));
    }
    const cut = Buffer.concat([header(login.length - 30, 1), login.subarray(0, login.length - 30)]);
    assert.match((await answerTo(t, front.proxy, cut)).bytes.toString('latin1'), error(1835, 1045));
  });

  await t.test('half a handshake response, and nothing: the deadline, with its reason', async (t) => {
    const hasty = await stage.front(
      t,
      {},
      { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, loginTimeoutMs: SOON }] },
    );
    const packet = Buffer.concat([header(login.length, 1), login]);
    for (const bytes of [Buffer.alloc(0), packet.subarray(0, 2), packet.subarray(0, 30)])
      assert.match(
        (await answerTo(t, hasty.proxy, bytes)).bytes.toString('latin1'),
        new RegExp(`login did not finish within ${SOON} ms`),
      );
  });

  await t.test('after the login: packets that cannot be', async (t) => {
    for (const [bytes, expected] of [
      [Buffer.concat([header(5, 9), Buffer.from('\u0003hell')]), /^ERR 1835 /],
      [header(0, 0), /^ERR /],
    ] as const) {
      const wire = await openMysql(t, stage, front);
      wire.socket.write(bytes);
      assert.match(await wire.reply(), expected);
    }
    for (const bytes of [Buffer.of(0x17), Buffer.of(0x17, 1, 2), Buffer.of(0x1b), Buffer.of(0x11)]) {
      const wire = await openMysql(t, stage, front);
      wire.write(bytes);
      assert.match(await wire.reply(), /^(ERR|the connection ended)/, `command ${bytes[0]}`);
    }
  });

  await t.test('half a packet, then gone', async (t) => {
    for (const bytes of [
      header(100, 0),
      Buffer.concat([header(100, 0), Buffer.from('\u0003SELECT')]),
      Buffer.of(1),
    ]) {
      const wire = await openMysql(t, stage, front);
      wire.socket.write(bytes);
      wire.socket.destroy();
    }
    await nothingLeft(front);
  });

  await t.test('a client that disconnects in the middle of a result, or does not read it', async (t) => {
    await stage.cluster.primary.admin(
      'CREATE TABLE app.many AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n',
    );
    await stage.cluster.waitCaughtUp();
    for (let i = 0; i < 5; i++) {
      const wire = await openMysql(t, stage, front);
      wire.write(command.query("SELECT REPEAT('x', 1000) FROM many a, many b LIMIT 300000"));
      assert.notEqual(await wire.packet(), null);
      if (i % 2 === 0) wire.socket.pause();
      wire.socket.destroy();
    }
    await nothingLeft(front);
  });

  await t.test(
    'a client that disconnects in the middle of LOAD DATA LOCAL leaves nothing behind',
    async (t) => {
      await stage.cluster.primary.admin('SET GLOBAL local_infile = 1');
      const wire = await openMysql(t, stage, front);
      wire.write(command.query("LOAD DATA LOCAL INFILE 'x' INTO TABLE notes"));
      assert.equal(await wire.reply(), '\u00fbx');
      wire.write(Buffer.from('4001\thalf of it\n4002\tthe o'), 2);
      wire.socket.destroy();
      await nothingLeft(front);
      await until('the server to have undone it', async () => {
        const rows = await stage.cluster.primary.admin('SELECT * FROM app.notes WHERE id IN (4001, 4002)');
        return rows.length === 0;
      });
    },
  );

  await t.test('a full listener: one client too many is told so, others work, a place comes free', (t) =>
    // Before the client has said what it can do, an error has no SQLSTATE.
    fullListener(t, stage, /too many client connections \(limit 5\)/, Buffer.alloc(0)),
  );

  await t.test('2000 connections that never log in', (t) =>
    manyWithoutLogin(t, stage, { bytes: Buffer.of(10), farewell: /login did not finish within/ }),
  );

  assert.ok((await worker.end()) > 0);
  await nothingLeft(front);
});

async function fullListener(t: TestContext, stage: Stage, refusal: RegExp, bytes: Buffer): Promise<void> {
  const limit = 5;
  const full: Front = await stage.front(
    t,
    {},
    { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, maxClients: limit }] },
  );
  const clients = await full.connectMany(t, limit);
  const answer = await answerTo(t, full.proxy, bytes);
  assert.match(answer.bytes.toString('latin1'), refusal);
  const expected = stage.driver.code('too-many-clients');
  await assert.rejects(stage.driver.connect(full.proxy, stage.cluster.user), (error) => {
    assert.equal(stage.driver.codeOf(error), expected);
    return true;
  });
  for (const client of clients)
    assert.equal((await client.query('SELECT name FROM items WHERE id = 2'))[0]?.name, 'two');
  await clients[0]!.close();
  await until('a place to come free', async () => {
    const late = await full.connect(t);
    return (await late.query('SELECT name FROM items WHERE id = 3'))[0]?.name === 'three';
  });
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
