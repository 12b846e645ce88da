// The state of a MySQL session: what the last statement left, settings, pins; all of it is the client's own on whatever server
// connection its statements run.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import mysql from 'mysql2/promise';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { running } from './mysql-activity.js';
import { rejects, type Stage } from './stage.js';

export async function sessionTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  // One server connection a node: all clients that are not pinned must share it.
  const front = await stage.front(t, { pool: { maxServerConnections: 1 } });
  const roomy = await stage.front(t, { pool: { maxServerConnections: 4 } });
  const value = async (client: Client, sql: string) => {
    const [row] = await client.query(sql);
    return row === undefined ? undefined : Object.values(row)[0];
  };
  const owner = await front.connect(t);
  await owner.query('CREATE TABLE serial (id int AUTO_INCREMENT PRIMARY KEY, name varchar(10))');
  await cluster.waitCaughtUp();

  await t.test(
    'LAST_INSERT_ID after INSERT is the own one, by text and prepared, with others in between',
    async (t) => {
      const clients = await roomy.connectMany(t, 6);
      await Promise.all(
        clients.map(async (client, i) => {
          for (let round = 0; round < 10; round++) {
            const name = `${i}:${round}`;
            if (round % 2 === 0) await client.query('INSERT INTO serial (name) VALUES (?)', [name]);
            else await client.execute('INSERT INTO serial (name) VALUES (?)', [name]);
            const id = await value(client, 'SELECT LAST_INSERT_ID() AS id');
            assert.equal(await value(client, `SELECT name FROM serial WHERE id = ${Number(id)}`), name);
            assert.equal(await value(client, 'SELECT LAST_INSERT_ID()'), id);
            assert.equal((await client.execute('SELECT LAST_INSERT_ID() AS id'))[0]?.id, id);
          }
        }),
      );
    },
  );

  await t.test('FOUND_ROWS, ROW_COUNT and SHOW WARNINGS are about the last statement', async (t) => {
    const [client, other] = (await roomy.connectMany(t, 2)) as [Client, Client];
    for (let i = 0; i < 5; i++) {
      await client.query('SELECT SQL_CALC_FOUND_ROWS id FROM items LIMIT 1');
      await other.query('SELECT id FROM items WHERE id = 2');
      assert.equal(Number(await value(client, 'SELECT FOUND_ROWS()')), 3);
      await client.query('UPDATE serial SET name = ? WHERE id <= 4', [`r${i}`]);
      await other.query('UPDATE serial SET name = ? WHERE id = 5', [`r${i}`]);
      assert.equal(Number(await value(client, 'SELECT ROW_COUNT()')), 4);
      await client.query("SELECT CAST('12x' AS SIGNED)");
      await other.query('SELECT 1');
      const [warning] = await client.query('SHOW WARNINGS');
      assert.equal(warning?.Code, 1292);
      assert.deepEqual(await other.query('SHOW WARNINGS'), []);
    }
  });

  await t.test('autocommit = 0: everything on the primary until it is 1 again', async (t) => {
    const client = await roomy.connect(t);
    await client.query('SET autocommit = 0');
    assert.equal(await roomy.whereIs(client), cluster.primary.name);
    await client.query("INSERT INTO notes VALUES (1200, 'open')");
    assert.equal(await roomy.whereIs(client), cluster.primary.name);
    await client.query('ROLLBACK');
    assert.deepEqual(await client.query('SELECT note FROM notes WHERE id = 1200'), []);
    await client.query("INSERT INTO notes VALUES (1201, 'committed by the end of it')");
    await client.query('SET autocommit = 1');
    assert.equal((await cluster.primary.admin('SELECT id FROM notes WHERE id = 1201')).length, 1);
    await until(
      'reads to go to replicas again',
      async () => (await roomy.whereIs(client)) !== cluster.primary.name,
    );
  });

  await t.test('settings of two sessions over one server connection', async (t) => {
    const [a, b] = (await front.connectMany(t, 2)) as [Client, Client];
    await a.query("SET time_zone = '+09:00', sql_mode = 'ANSI_QUOTES', group_concat_max_len = 77");
    await b.query('SET SESSION group_concat_max_len = 99');
    for (let i = 0; i < 5; i++) {
      assert.equal(await value(a, 'SELECT @@time_zone'), '+09:00');
      assert.equal(await value(b, 'SELECT @@time_zone'), '+00:00');
      assert.equal(Number(await value(a, 'SELECT @@group_concat_max_len')), 77);
      assert.equal(Number(await value(b, 'SELECT @@group_concat_max_len')), 99);
      // A name in quotes for one, a string for the other.
      assert.equal(await value(a, 'SELECT "name" FROM items WHERE id = 1'), 'one');
      assert.equal(await value(b, 'SELECT "name" FROM items WHERE id = 1'), 'name');
      // On the primary too.
      await a.query('BEGIN');
      assert.equal(await value(a, 'SELECT @@time_zone'), '+09:00');
      await a.query('COMMIT');
      await b.query('BEGIN');
      assert.equal(await value(b, 'SELECT @@time_zone'), '+00:00');
      await b.query('COMMIT');
    }
  });

  await t.test('SET NAMES: the bytes of each session are read and written as it says', async (t) => {
    const account = { ...cluster.user, host: front.proxy.host, port: front.proxy.port };
    const latin = await mysql.createConnection({ ...account, charset: 'latin1' });
    t.after(() => latin.destroy());
    const utf = await front.connect(t);
    for (let i = 0; i < 5; i++) {
      assert.equal(await value(utf, "SELECT HEX(CONVERT('\u00e4' USING utf8mb4))"), 'C3A4');
      const [rows] = await latin.query("SELECT HEX('\u00e4') AS hex, '\u00e4' AS text");
      assert.deepEqual(rows, [{ hex: 'E4', text: '\u00e4' }]);
    }
    await utf.query('SET NAMES latin1');
    assert.equal(await value(utf, 'SELECT @@character_set_client'), 'latin1');
    await utf.query('SET NAMES utf8mb4');
    assert.equal(await value(utf, 'SELECT @@character_set_results'), 'utf8mb4');
  });

  await t.test('USE: each session in its database', async (t) => {
    await cluster.primary.admin("CREATE DATABASE second; GRANT ALL ON second.* TO 'app'@'%'");
    t.after(() => cluster.primary.admin('DROP DATABASE second'));
    await cluster.waitCaughtUp();
    const [a, b] = (await front.connectMany(t, 2)) as [Client, Client];
    await a.query('USE second');
    await a.query('CREATE TABLE items (id int, name varchar(10))');
    await a.query("INSERT INTO items VALUES (1, 'other')");
    await cluster.waitCaughtUp();
    for (let i = 0; i < 5; i++) {
      assert.equal(await value(a, 'SELECT DATABASE()'), 'second');
      assert.equal(await value(b, 'SELECT DATABASE()'), 'app');
      assert.equal(await value(a, 'SELECT name FROM items WHERE id = 1'), 'other');
      assert.equal(await value(b, 'SELECT name FROM items WHERE id = 1'), 'one');
      assert.equal((await a.execute('SELECT name FROM items WHERE id = ?', [1]))[0]?.name, 'other');
      assert.equal((await b.execute('SELECT name FROM items WHERE id = ?', [1]))[0]?.name, 'one');
    }
    await rejects(driver, a.query('USE nowhere'), '1044');
    assert.equal(await value(a, 'SELECT DATABASE()'), 'second');
  });

  await t.test('user variables, temporary tables and locks stay with their session', async (t) => {
    const [a, b] = (await roomy.connectMany(t, 2)) as [Client, Client];
    await a.query('SET @mine = 5');
    for (let i = 0; i < 5; i++) {
      assert.equal(Number(await value(a, 'SELECT @mine')), 5);
      assert.equal(await value(b, 'SELECT @mine'), null);
    }
    const c = await roomy.connect(t);
    await c.query('CREATE TEMPORARY TABLE passing AS SELECT 1 AS n');
    assert.equal(Number(await value(c, 'SELECT n FROM passing')), 1);
    await rejects(driver, b.query('SELECT n FROM passing'), '1146');
    assert.equal(Number(await value(c, "SELECT GET_LOCK('door', 0)")), 1);
    assert.equal(Number(await value(b, "SELECT GET_LOCK('door', 0)")), 0);
    c.kill();
    await until(
      'the lock to be free',
      async () => Number(await value(b, "SELECT GET_LOCK('door', 0)")) === 1,
    );
  });

  await t.test('LOCK TABLES holds its connection until UNLOCK TABLES', async (t) => {
    const [a, b] = (await roomy.connectMany(t, 2)) as [Client, Client];
    await a.query('LOCK TABLES notes WRITE');
    await a.query("INSERT INTO notes VALUES (1210, 'locked')");
    const waiting = b.query("INSERT INTO notes VALUES (1211, 'waited')");
    await until('the other one to wait', async () => (await running(stage, "1211, 'waited'")) === 1);
    await a.query('UNLOCK TABLES');
    await waiting;
  });

  await t.test('SET SESSION TRANSACTION and isolation levels', async (t) => {
    const client = await front.connect(t);
    const variable = stage.kind === 'mysql' ? '@@transaction_isolation' : '@@tx_isolation';
    await client.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
    for (let i = 0; i < 3; i++) assert.equal(await value(client, `SELECT ${variable}`), 'READ-COMMITTED');
    const other = await front.connect(t);
    assert.equal(await value(other, `SELECT ${variable}`), 'REPEATABLE-READ');
  });

  await t.test('KILL QUERY with the id that the client knows hits that client and nobody else', async (t) => {
    const [victim, killer, holder] = (await roomy.connectMany(t, 3)) as [Client, Client, Client];
    const id = Number(await value(victim, 'SELECT CONNECTION_ID()'));
    await holder.query('BEGIN');
    await holder.query('UPDATE items SET name = name WHERE id = 1');
    await holder.query('UPDATE items SET name = ? WHERE id = 1', ['held']);
    const sql = "UPDATE items SET name = 'wanted' WHERE id = 1";
    const killed = rejects(driver, victim.query(sql), '1317');
    await until('it to wait', async () => (await running(stage, sql)) === 1);
    await killer.query(`KILL QUERY ${id}`);
    await killed;
    await holder.query('ROLLBACK');
    await victim.query('UPDATE items SET name = name WHERE id = 1');
    // Nothing runs: it hits nobody.
    await killer.query(`KILL QUERY ${id}`);
    assert.equal(await value(victim, 'SELECT name FROM items WHERE id = 1'), 'one');
    await assert.rejects(killer.query('KILL QUERY 4000000000'), /1094|Unknown thread/);
  });

  await t.test(
    'threads of a replica killed under reads: no client sees it; of the primary in a write: one error',
    async (t) => {
      const [replica] = cluster.replicas as [TestNode];
      const readers = await roomy.connectMany(t, 4);
      for (let round = 0; round < 5; round++) {
        await Promise.all(readers.map((client) => client.query('SELECT name FROM items WHERE id = 1')));
        await killThreads(replica);
      }
      await Promise.all(readers.map((client) => client.execute('SELECT name FROM items WHERE id = ?', [1])));
      const writer = await roomy.connect(t);
      const refused = rejects(driver, writer.query('INSERT INTO notes SELECT 1220, SLEEP(600)'), '2013');
      await until('the write to run', async () => (await running(stage, 'SLEEP(600)')) === 1);
      await killThreads(cluster.primary);
      assert.match((await refused).message, /its outcome is unknown/);
      assert.equal(writer.broken, null);
      await writer.query("INSERT INTO notes VALUES (1221, 'goes on')");
    },
  );
}

async function killThreads(node: TestNode): Promise<void> {
  const rows = await node.admin("SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = 'app'");
  // One may have gone meanwhile.
  for (const row of rows) await node.admin(`KILL ${row.id}`).catch(() => {});
}
