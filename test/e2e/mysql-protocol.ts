// Transcripts of the MySQL protocol: what goes in on a bare socket and every packet that comes out.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { command, MysqlWire } from './mysql-wire.js';
import type { Front, Stage } from './stage.js';

export async function protocolTests(t: TestContext, stage: Stage): Promise<void> {
  const front = await trustingFront(t, stage, { pool: { maxServerConnections: 2 } });
  const open = (t: TestContext) => openWire(t, stage, front);

  await t.test('queries: rows, none, an error, nothing at all', async (t) => {
    const wire = await open(t);
    assert.deepEqual(await wire.talk(command.query('SELECT id, name FROM items WHERE id < 3 ORDER BY id')), [
      'columns id, name',
      'row 1, one',
      'row 2, two',
      'EOF',
    ]);
    assert.deepEqual(await wire.talk(command.query("INSERT INTO notes VALUES (3001, NULL), (3002, 'x')")), [
      'OK affected=2 id=0',
    ]);
    assert.deepEqual(await wire.talk(command.query('SELECT note FROM notes WHERE id = 3001')), [
      'columns note',
      'row NULL',
      'EOF',
    ]);
    assert.deepEqual(await wire.talk(command.query('SELECT * FROM nowhere')), [
      "ERR 1146 42S02 Table 'app.nowhere' doesn't exist",
    ]);
    assert.deepEqual(await wire.talk(command.query('')), ['ERR 1065 42000 Query was empty']);
  });

  await t.test('transaction status', async (t) => {
    const wire = await open(t);
    assert.deepEqual(await wire.talk(command.query('BEGIN')), ['OK affected=0 id=0 in transaction']);
    assert.deepEqual(await wire.talk(command.query('SELECT 1 AS a')), [
      'columns a',
      'row 1',
      'EOF in transaction',
    ]);
    assert.deepEqual(await wire.talk(command.ping()), ['OK affected=0 id=0 in transaction']);
    assert.deepEqual(await wire.talk(command.query('COMMIT')), ['OK affected=0 id=0']);
    assert.deepEqual(await wire.talk(command.query('SET autocommit = 0')), [
      'OK affected=0 id=0 no autocommit',
    ]);
    assert.deepEqual(await wire.talk(command.query('SET autocommit = 1')), ['OK affected=0 id=0']);
  });

  await t.test('several statements, several results', async (t) => {
    const wire = await open(t);
    assert.deepEqual(
      await wire.talk(command.query("SELECT 1 AS a; DO 0; SELECT 'x' AS b; SELECT * FROM nowhere; SELECT 2")),
      [
        'columns a',
        'row 1',
        'EOF more',
        'OK affected=0 id=0 more',
        'columns b',
        'row x',
        'EOF more',
        "ERR 1146 42S02 Table 'app.nowhere' doesn't exist",
      ],
    );
    // COM_SET_OPTION is answered by an EOF packet, or by OK; here it is switched off and on again.
    wire.write(command.setOption(1));
    await wire.packet();
    assert.match((await wire.talk(command.query('SELECT 1; SELECT 2')))[0]!, /^ERR 1064 42000 /);
    wire.write(command.setOption(0));
    await wire.packet();
    assert.equal((await wire.talk(command.query('SELECT 1; SELECT 2'))).length, 6);
  });

  await t.test('COM_PING, COM_STATISTICS, COM_INIT_DB, COM_FIELD_LIST', async (t) => {
    const wire = await open(t);
    assert.deepEqual(await wire.talk(command.ping()), ['OK affected=0 id=0']);
    wire.write(command.statistics());
    assert.match(await wire.reply(), /Uptime: \d+/);
    assert.match((await wire.talk(command.initDb('nowhere')))[0]!, /^ERR (1044|1049) 42000 /);
    assert.deepEqual(await wire.talk(command.query('SELECT DATABASE() AS d')), [
      'columns d',
      'row app',
      'EOF',
    ]);
    assert.deepEqual(await wire.talk(command.initDb('information_schema')), ['OK affected=0 id=0']);
    assert.deepEqual(await wire.talk(command.query('SELECT DATABASE() AS d')), [
      'columns d',
      'row information_schema',
      'EOF',
    ]);
    assert.deepEqual(await wire.talk(command.initDb('app')), ['OK affected=0 id=0']);
    assert.deepEqual(await wire.talk(command.query('SELECT name FROM items WHERE id = 1')), [
      'columns name',
      'row one',
      'EOF',
    ]);
  });

  await t.test('prepared statements: ids of the client, on every node, closed, reset, unknown', async (t) => {
    const [one, two] = [await open(t), await open(t)];
    const prepare = async (wire: MysqlWire, sql: string) => {
      wire.write(command.stmtPrepare(sql));
      return wire.prepared();
    };
    const a = await prepare(one, 'SELECT name FROM items WHERE id = 1');
    const b = await prepare(one, 'SELECT COUNT(*) AS n FROM items');
    const c = await prepare(two, 'SELECT name FROM items WHERE id = 2');
    assert.notEqual(a, b);
    for (let i = 0; i < 5; i++) {
      // Binary rows: a zero, the null bitmap, then the value.
      assert.match((await one.execute(a)).join('|'), /columns name\|.*one/s);
      assert.match((await two.execute(c)).join('|'), /columns name\|.*two/s);
      await one.talk(command.query('BEGIN'));
      assert.match((await one.execute(a)).join('|'), /columns name\|.*one/s);
      await one.talk(command.query('COMMIT'));
    }
    assert.deepEqual(await one.talk(command.stmtReset(a)), ['OK affected=0 id=0']);
    one.write(command.stmtClose(a));
    const gone = await one.execute(a);
    assert.match(gone[0]!, /^ERR 1243 HY000 /);
    assert.match((await one.execute(4_000_000))[0]!, /^ERR 1243 HY000 /);
    one.write(command.stmtPrepare('SELECT FROM WHERE'));
    assert.match(await one.reply(), /^ERR 1064 42000 /);
    assert.deepEqual(await one.talk(command.ping()), ['OK affected=0 id=0']);
  });

  await t.test('COM_RESET_CONNECTION clears variables, settings, transactions and statements', async (t) => {
    const wire = await open(t);
    wire.write(command.stmtPrepare('SELECT 1'));
    const id = await wire.prepared();
    await wire.talk(command.query("SET @left = 1, time_zone = '+05:00'"));
    await wire.talk(command.query('BEGIN'));
    await wire.talk(command.query("INSERT INTO notes VALUES (3010, 'undone')"));
    assert.deepEqual(await wire.talk(command.resetConnection()), ['OK affected=0 id=0']);
    assert.deepEqual(await wire.talk(command.query('SELECT @left AS v, @@time_zone AS z')), [
      'columns v, z',
      'row NULL, +00:00',
      'EOF',
    ]);
    assert.deepEqual(await wire.talk(command.query('SELECT note FROM notes WHERE id = 3010')), [
      'columns note',
      'EOF',
    ]);
    assert.match((await wire.execute(id))[0]!, /^ERR 1243 HY000 /);
  });

  await t.test('packets of exactly 16 MiB less one byte, one more, one less', async (t) => {
    const wire = await open(t);
    const around = 0xff_ff_ff - 1 - "SELECT LENGTH('') AS n".length;
    for (const length of [around - 1, around, around + 1]) {
      assert.deepEqual(await wire.talk(command.query(`SELECT LENGTH('${'e'.repeat(length)}') AS n`)), [
        'columns n',
        `row ${length}`,
        'EOF',
      ]);
      // A row of one value: four bytes of length before it.
      const value = length + "SELECT LENGTH('') AS n".length + 1 - 4;
      assert.deepEqual(await wire.talk(command.query(`SELECT REPEAT('r', ${value}) AS r`)), [
        'columns r',
        `row ${value} bytes`,
        'EOF',
      ]);
    }
  });

  await t.test('commands that are not for clients, and unknown ones', async (t) => {
    const wire = await open(t);
    for (const code of [0x00, 0x05, 0x06, 0x0b, 0x0f, 0x10, 0x13, 0x14, 0x7f]) {
      const [line] = await wire.talk(Buffer.of(code));
      assert.match(line!, /^ERR \d+ /, `command ${code}`);
    }
    assert.deepEqual(await wire.talk(command.ping()), ['OK affected=0 id=0']);
  });

  await t.test('commands in one write are answered one after the other', async (t) => {
    const wire = await open(t);
    wire.write(command.query('SELECT 1 AS a'));
    wire.write(command.query("INSERT INTO notes VALUES (3020, 'piped')"));
    wire.write(command.ping());
    wire.write(command.query('SELECT note FROM notes WHERE id = 3020'));
    assert.deepEqual(await wire.replies(), ['columns a', 'row 1', 'EOF']);
    assert.deepEqual(await wire.replies(), ['OK affected=1 id=0']);
    assert.deepEqual(await wire.replies(), ['OK affected=0 id=0']);
    assert.deepEqual(await wire.replies(), ['columns note', 'row piped', 'EOF']);
    wire.write(command.quit());
    assert.equal(await wire.packet(), null);
  });
}

/** Bare sockets do not prove a password; the proxy proves it to the nodes. */
export function trustingFront(
  t: TestContext,
  stage: Stage,
  changes: Parameters<Stage['front']>[1] = {},
): Promise<Front> {
  const { user, password } = stage.cluster.user;
  return stage.front(
    t,
    { users: [{ name: user, password }], ...changes },
    { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, auth: 'trust' }] },
  );
}

export function openWire(t: TestContext, stage: Stage, front: Front): Promise<MysqlWire> {
  const { user, database } = stage.cluster.user;
  return MysqlWire.open(t, front.proxy, user, database);
}
