// What Node's drivers for MySQL and MariaDB do beyond the common suite: mysql2 and the MariaDB connector.

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { type ConnectionConfig, createConnection, createPool } from 'mariadb';
import { authPlugins } from 'mysql2';
import mysql from 'mysql2/promise';
import type { Row } from '../servers/cluster.js';
import { type Front, ONE_PROCESS, type Stage } from './stage.js';

export async function driverTests(t: TestContext, stage: Stage): Promise<void> {
  const front = await stage.front(t);
  await t.test('mysql2', (t) => mysql2Tests(t, stage, front));
  await t.test('mariadb', (t) => connectorTests(t, stage, front));
}

async function mysql2Tests(t: TestContext, stage: Stage, front: Front): Promise<void> {
  const account = { host: front.proxy.host, port: front.proxy.port, ...stage.cluster.user };
  const open = async (t: TestContext, options: mysql.ConnectionOptions = {}) => {
    const connection = await mysql.createConnection({ ...account, ...options });
    t.after(() => connection.destroy());
    return connection;
  };

  await t.test('types, by text and prepared', async (t) => {
    const connection = await open(t);
    const sql = `SELECT CAST(? AS SIGNED) AS n, CAST(? AS CHAR) AS text, CAST(? AS DATETIME) AS at,
      CAST(? AS DECIMAL(10, 3)) AS price, ? IS NULL AS nothing, CAST(? AS BINARY) AS bytes`;
    const values = [-7, 'caf\u00e9', '2026-01-02 03:04:05', '12.345', null, Buffer.from([1, 2, 255])];
    for (const [rows] of [await connection.query(sql, values), await connection.execute(sql, values)]) {
      const [row] = rows as Row[];
      assert.equal(Number(row?.n), -7);
      assert.equal(row?.text, 'caf\u00e9');
      assert.equal((row!.at as Date).getFullYear(), 2026);
      assert.equal(String(row?.price), '12.345');
      assert.equal(Number(row?.nothing), 1);
      assert.deepEqual([...(row!.bytes as Buffer)], [1, 2, 255]);
    }
  });

  await t.test('several statements, CALL with several results, an error among them', async (t) => {
    await stage.cluster.primary.admin(
      'CREATE PROCEDURE app.results(IN n INT) BEGIN SELECT n AS a; SELECT n + 1 AS b; INSERT INTO app.notes VALUES (1300 + n, NULL); END',
    );
    await stage.cluster.waitCaughtUp();
    const connection = await open(t, { multipleStatements: true });
    const [many] = await connection.query('SELECT 1 AS a; SELECT 2 AS b; DO 0; SELECT 3 AS c');
    assert.deepEqual(
      (many as unknown[]).map((result) => (Array.isArray(result) ? result : 'ok')),
      [[{ a: 1 }], [{ b: 2 }], 'ok', [{ c: 3 }]],
    );
    for (const [results] of [
      await connection.query('CALL results(1)'),
      await connection.execute('CALL results(2)'),
    ]) {
      const [first, second] = results as [Row[], Row[]];
      assert.equal(Number(first[0]!.a) + 1, Number(second[0]!.b));
    }
    await assert.rejects(connection.query('SELECT 1; SELECT * FROM nowhere; SELECT 2'), { errno: 1146 });
    const [rows] = await connection.query('SELECT 4 AS d');
    assert.deepEqual(rows, [{ d: 4 }]);
    const single = await open(t);
    await assert.rejects(single.query('SELECT 1; SELECT 2'), { errno: 1064 });
  });

  await t.test('ping, change of user, reset', async (t) => {
    const connection = await open(t);
    await connection.ping();
    await connection.query('SET @left = 1');
    const { user, password, database } = stage.cluster.user;
    await connection.changeUser({ user, password, database });
    assert.deepEqual((await connection.query('SELECT @left AS v'))[0], [{ v: null }]);
    const [names] = await connection.query('SELECT name FROM items WHERE id = 1');
    assert.deepEqual(names, [{ name: 'one' }]);
    await assert.rejects(connection.changeUser({ user, password: 'wrong', database }), { errno: 1045 });
  });

  await t.test('values of 20 MB, as a row, as text, as a parameter; packets over 16 MiB', async (t) => {
    const connection = await open(t);
    const size = 20_000_000;
    const [rows] = await connection.query(`SELECT REPEAT('x', ${size}) AS big`);
    assert.equal((rows as Row[])[0]!.big, 'x'.repeat(size));
    const [text] = await connection.query('SELECT LENGTH(?) AS n', ['y'.repeat(size)]);
    assert.equal((text as Row[])[0]!.n, size);
    const [bound] = await connection.execute('SELECT LENGTH(?) AS n', ['z'.repeat(size)]);
    assert.equal(Number((bound as Row[])[0]!.n), size);
    assert.deepEqual((await connection.query('SELECT 1 AS n'))[0], [{ n: 1 }]);
  });

  await t.test('many statements prepared, closed and prepared again', async (t) => {
    const connection = await open(t, { maxPreparedStatements: 20 });
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 60; i++) {
        const [rows] = await connection.execute(`SELECT ? + ${i} AS n`, [1]);
        assert.equal(Number((rows as Row[])[0]!.n), i + 1);
      }
    }
  });

  await t.test('a pool of connections', async (t) => {
    const pool = mysql.createPool({ ...account, connectionLimit: 8 });
    t.after(() => pool.end());
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => pool.execute('SELECT ? AS i', [i])),
    );
    assert.deepEqual(
      answers.map(([rows]) => Number((rows as Row[])[0]!.i)),
      Array.from({ length: 300 }, (_, i) => i),
    );
  });

  await t.test('logins: empty and wrong passwords, unknown user, fast path', async (t) => {
    const { database } = stage.cluster.user;
    const empty = await open(t, { user: 'app_empty', password: '' });
    assert.deepEqual((await empty.query('SELECT name FROM items WHERE id = 2'))[0], [{ name: 'two' }]);
    for (const [user, password] of [
      ['app', 'wrong'],
      ['app', ''],
      ['app_empty', 'not empty'],
      ['nobody', 'x'],
      ['nobody', ''],
    ]) {
      await assert.rejects(
        mysql.createConnection({ ...account, user: user!, password: password!, database }),
        {
          errno: 1045,
        },
      );
    }
    if (stage.kind !== 'mysql') return;
    // A new proxy knows no password: the first login is the full one, the next the fast one, which needs no key.
    const fresh = await stage.front(t, {}, ONE_PROCESS);
    const at = { ...account, host: fresh.proxy.host, port: fresh.proxy.port };
    const withoutKey: mysql.ConnectionOptions = {
      ...at,
      authPlugins: {
        caching_sha2_password: authPlugins.caching_sha2_password({
          overrideIsSecure: false,
          onServerPublicKey: () => assert.fail('the full authentication was asked for'),
        }),
      },
    };
    const full = await mysql.createConnection(at);
    t.after(() => full.destroy());
    const fast = await mysql.createConnection(withoutKey);
    t.after(() => fast.destroy());
    assert.deepEqual((await fast.query('SELECT 1 AS n'))[0], [{ n: 1 }]);
  });
}

async function connectorTests(t: TestContext, stage: Stage, front: Front): Promise<void> {
  const { user, password, database } = stage.cluster.user;
  const account: ConnectionConfig = {
    host: front.proxy.host,
    port: front.proxy.port,
    user,
    password,
    database,
    allowPublicKeyRetrieval: true,
    // By itself it gives the whole login one second.
    connectTimeout: 60_000,
  };
  const open = async (t: TestContext, options: ConnectionConfig = {}) => {
    const connection = await createConnection({ ...account, ...options });
    t.after(() => connection.destroy());
    return connection;
  };

  await t.test('queries pipelined on one connection, an error among them', async (t) => {
    const connection = await open(t);
    const results = await Promise.allSettled([
      connection.query('SELECT 1 AS n'),
      connection.query('SELECT * FROM nowhere'),
      connection.execute('SELECT ? + 1 AS n', [1]),
      connection.query("INSERT INTO notes VALUES (1400, 'pipelined')"),
      connection.query('SELECT note FROM notes WHERE id = 1400'),
      ...Array.from({ length: 100 }, (_, i) => connection.execute('SELECT ? AS n', [i])),
    ]);
    const told = results.map((result) =>
      result.status === 'fulfilled'
        ? Array.isArray(result.value)
          ? (result.value[0].note ?? Number(result.value[0].n))
          : result.value.affectedRows
        : result.reason.errno,
    );
    assert.deepEqual(told, [1, 1146, 2, 1, 'pipelined', ...Array.from({ length: 100 }, (_, i) => i)]);
  });

  await t.test('batches', async (t) => {
    const connection = await open(t);
    const rows = Array.from({ length: 500 }, (_, i) => [1500 + i, `batch ${i}`]);
    await connection.batch('INSERT INTO notes VALUES (?, ?)', rows);
    const [row] = await connection.query("SELECT COUNT(*) AS n FROM notes WHERE note LIKE 'batch%'");
    assert.equal(Number(row.n), 500);
  });

  await t.test('reset, change of user, ping, LOCAL INFILE, streams', async (t) => {
    const connection = await open(t, {
      permitLocalInfile: true,
      infileStreamFactory: () =>
        Readable.from([Buffer.from('2100\tfrom a stream\n'), Buffer.from('2101\tof the client\n')]),
    });
    await connection.ping();
    await connection.query('SET @left = 1');
    await connection.beginTransaction();
    await connection.query("INSERT INTO notes VALUES (2102, 'undone')");
    await connection.reset();
    const [left] = await connection.query('SELECT @left AS v');
    assert.equal(left.v, null);
    assert.deepEqual(await connection.query('SELECT note FROM notes WHERE id = 2102'), []);
    const loaded = await connection.query("LOAD DATA LOCAL INFILE 'any' INTO TABLE notes");
    assert.equal(Number(loaded.affectedRows), 2);
    let sum = 0;
    for await (const row of connection.queryStream('SELECT id FROM notes WHERE id IN (2100, 2101)'))
      sum += row.id;
    assert.equal(sum, 4201);
    // The connector does not do it with MySQL (its bug 83472).
    if (stage.kind === 'mysql') return;
    await connection.changeUser({ user: 'app_empty', password: '' });
    const [me] = await connection.query('SELECT CURRENT_USER() AS me');
    assert.match(me.me, /^app_empty@/);
  });

  await t.test('a pool of connections, transactions', async (t) => {
    const pool = createPool({ ...account, connectionLimit: 6 });
    t.after(() => pool.end());
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const connection = await pool.getConnection();
        try {
          await connection.beginTransaction();
          await connection.query('INSERT INTO ledger VALUES (?, ?)', [2000, i]);
          const [row] = await connection.query(
            'SELECT COUNT(*) AS n FROM ledger WHERE client = 2000 AND seq = ?',
            [i],
          );
          assert.equal(Number(row.n), 1);
          await (i % 3 === 0 ? connection.rollback() : connection.commit());
        } finally {
          await connection.release();
        }
      }),
    );
    const [row] = await stage.cluster.primary.admin(
      'SELECT COUNT(*) AS n FROM app.ledger WHERE client = 2000',
    );
    assert.equal(Number(row?.n), 40);
  });
}
