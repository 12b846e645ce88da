// What an application may do through the proxy, run by data-path-mysql.test.ts and data-path-mariadb.test.ts.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { until } from '../servers/poll.js';
import { type Fixture, startFixture } from './harness.js';

type Rows = RowDataPacket[];

/** A driver's own complaints, as a promise that must not be kept. */
async function errnoOf(work: Promise<unknown>): Promise<number> {
  try {
    await work;
  } catch (error) {
    return (error as { errno?: number }).errno ?? -1;
  }
  return 0;
}

async function one(connection: Connection, sql: string, values: unknown[] = []): Promise<unknown> {
  const [rows] = await connection.query<Rows>(sql, values);
  return Object.values(rows[0] ?? {})[0];
}

export function dataPathTests(kind: 'mysql' | 'mariadb'): void {
  describe(`the data path of ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind);
      await f.cluster.primary.admin('CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(2000))');
      await f.cluster.primary.admin('CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)');
      await f.cluster.primary.admin('SET GLOBAL max_allowed_packet = 67108864');
      await f.cluster.primary.admin('SET GLOBAL local_infile = ON');
      for (const replica of f.cluster.replicas)
        await replica.admin('SET GLOBAL max_allowed_packet = 67108864');
      await f.cluster.waitCaughtUp();
    });
    after(() => f.stop());

    describe('text', () => {
      it('reads run on replicas, writes on the primary', async () => {
        const clients = await Promise.all(Array.from({ length: 6 }, () => f.connect()));
        const inserts = (): Promise<number[]> =>
          Promise.all(f.cluster.nodes.map((node) => f.count(node, 'Com_insert')));
        const selects = (): Promise<number[]> =>
          Promise.all(f.cluster.replicas.map((node) => f.count(node, 'Com_select')));
        const insertsBefore = await inserts();
        // What is read in one turn goes to one replica together, and a busy machine may have one of them late.
        await until('both to have served', async () => {
          const selectsBefore = await selects();
          for (let i = 0; i < 40; i++) await Promise.all(clients.map((c) => c.query('SELECT 1 + 1')));
          return (await selects()).every((count, i) => count - selectsBefore[i]! >= 20);
        });
        await clients[0]!.query("INSERT INTO t (v) VALUES ('x')");
        assert.equal((await inserts())[0], insertsBefore[0]! + 1);
      });

      it('a session reads its own write', async () => {
        const c = await f.connect();
        for (let i = 0; i < 30; i++) {
          await c.query('INSERT INTO t (v) VALUES (?)', [`own-${i}`]);
          assert.equal(await one(c, 'SELECT COUNT(*) FROM t WHERE v = ?', [`own-${i}`]), 1);
        }
      });

      it('LAST_INSERT_ID() belongs to the client, whoever used its connection since', async () => {
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        for (let i = 0; i < 20; i++) {
          const [first] = await a.query("INSERT INTO t (v) VALUES ('a')");
          const [second] = await b.query("INSERT INTO t (v) VALUES ('b')");
          const [idA, idB] = await Promise.all([
            one(a, 'SELECT LAST_INSERT_ID()'),
            one(b, 'SELECT LAST_INSERT_ID()'),
          ]);
          assert.equal(idA, (first as { insertId: number }).insertId);
          assert.equal(idB, (second as { insertId: number }).insertId);
          await b.query("INSERT INTO t (v) VALUES ('c')");
          const id = (first as { insertId: number }).insertId;
          const [update] = await a.query("UPDATE t SET v = 'mine' WHERE id = LAST_INSERT_ID()");
          assert.equal((update as { affectedRows: number }).affectedRows, 1);
          assert.equal(await one(a, 'SELECT v FROM t WHERE id = ?', [id]), 'mine');
        }
      });

      it("errors are the server's own, and the connection goes on", async () => {
        const c = await f.connect();
        assert.equal(await errnoOf(c.query('SELEKT 1')), 1064);
        assert.equal(await errnoOf(c.query('SELECT * FROM nowhere')), 1146);
        assert.equal(await errnoOf(c.query('INSERT INTO t (id) VALUES (1), (1)')), 1062);
        assert.equal(await errnoOf(c.query('')), 1065);
        assert.equal(await one(c, 'SELECT 7'), 7);
      });

      it('several statements give several results', async () => {
        const c = await f.connect({ multipleStatements: true });
        const [results] = await c.query<Rows[]>(
          "SELECT 1 AS a; INSERT INTO t (v) VALUES ('m'); SELECT 2 AS b, 3 AS c",
        );
        assert.deepEqual(
          results.map((result) => (Array.isArray(result) ? { ...result[0] } : 'ok')),
          [{ a: 1 }, 'ok', { b: 2, c: 3 }],
        );
        assert.equal(await errnoOf((await f.connect()).query('SELECT 1; SELECT 2')), 1064);
      });

      it('a procedure gives its result sets', async () => {
        await f.cluster.primary.admin('CREATE PROCEDURE two(n INT) BEGIN SELECT n; SELECT n + 1, n + 2; END');
        const c = await f.connect();
        const [results] = await c.query<Rows[]>('CALL two(5)');
        assert.deepEqual(
          results.slice(0, 2).map((rows) => Object.values(rows[0]!)),
          [[5], [6, 7]],
        );
        const [prepared] = await c.execute<Rows[]>('CALL two(?)', [8]);
        assert.deepEqual(
          prepared.slice(0, 2).map((rows) => Object.values(rows[0]!)),
          [[8], [9, 10]],
        );
      });

      it('rows and commands over 16 MiB come through, both ways', async () => {
        const c = await f.connect();
        const bytes = randomBytes(20 * 1024 * 1024 + 17);
        await c.query('REPLACE INTO big VALUES (1, ?)', [bytes]);
        const [rows] = await c.query<Rows>('SELECT b FROM big WHERE id = 1');
        const sha = (data: Buffer): string => createHash('sha1').update(data).digest('hex');
        assert.equal(sha(rows[0]!.b as Buffer), sha(bytes));
        await c.execute('REPLACE INTO big VALUES (2, ?)', [bytes]);
        const [again] = await c.execute<Rows>('SELECT b FROM big WHERE id = ?', [2]);
        assert.equal(sha(again[0]!.b as Buffer), sha(bytes));
        await c.query('DELETE FROM big');
      });

      it('a client that reads slowly is waited for with bounded memory, and gets everything', async () => {
        const raw = await f.raw();
        const c = await f.connect();
        await c.query('INSERT INTO big VALUES (10, REPEAT(?, 1000000))', ['x']);
        await f.cluster.waitCaughtUp();
        const before = process.memoryUsage().rss;
        raw.pause();
        raw.send(
          raw.queryFrame(
            `SELECT b FROM big JOIN (${Array.from({ length: 60 }, (_, i) => `SELECT ${i}`).join(' UNION ALL ')}) x`,
          ),
        );
        for (let i = 0; i < 20; i++) await c.query('SELECT SLEEP(0.02)');
        assert.ok(process.memoryUsage().rss - before < 40e6, 'it was all buffered');
        raw.resume();
        const { results } = await raw.results();
        assert.equal((results[0] as string[]).length, 60);
        await c.query('DELETE FROM big');
      });

      it('LOAD DATA LOCAL INFILE takes the file from the client', async () => {
        const c = await f.connect({ flags: ['+LOCAL_FILES'] });
        const lines = Array.from({ length: 50_000 }, (_, i) => `infile-${i}-${'x'.repeat(40)}\n`);
        await c.query({
          sql: "LOAD DATA LOCAL INFILE 'any' INTO TABLE t (v)",
          infileStreamFactory: () => Readable.from(lines.map((line) => Buffer.from(line))),
        } as never);
        assert.equal(await one(c, "SELECT COUNT(*) FROM t WHERE v LIKE 'infile-%'"), 50_000);
        await c.query("DELETE FROM t WHERE v LIKE 'infile-%'");
      });
    });

    describe('transactions', () => {
      it('stay on the primary, see themselves, and are undone alone', async () => {
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        await a.query('BEGIN');
        await a.query("INSERT INTO t (v) VALUES ('tx')");
        assert.equal(await one(a, "SELECT COUNT(*) FROM t WHERE v = 'tx'"), 1);
        assert.equal(await one(b, "SELECT COUNT(*) FROM t WHERE v = 'tx'"), 0);
        await a.query('ROLLBACK');
        assert.equal(await one(a, "SELECT COUNT(*) FROM t WHERE v = 'tx'"), 0);
      });

      it('an error inside leaves the transaction open', async () => {
        const c = await f.connect();
        await c.beginTransaction();
        const [first] = await c.query("INSERT INTO t (v) VALUES ('kept')");
        const id = (first as { insertId: number }).insertId;
        assert.equal(await errnoOf(c.query('INSERT INTO t (id) VALUES (?)', [id])), 1062);
        await c.query("INSERT INTO t (v) VALUES ('kept')");
        await c.commit();
        assert.equal(await one(c, "SELECT COUNT(*) FROM t WHERE v = 'kept'"), 2);
      });

      it('a deadlock ends it, and the next statement is outside', async () => {
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        await a.query("INSERT INTO t (id, v) VALUES (900001, 'd'), (900002, 'd')");
        await a.beginTransaction();
        await b.beginTransaction();
        await a.query("UPDATE t SET v = 'a' WHERE id = 900001");
        await b.query("UPDATE t SET v = 'b' WHERE id = 900002");
        const errors = await Promise.all([
          errnoOf(a.query("UPDATE t SET v = 'a' WHERE id = 900002")),
          errnoOf(b.query("UPDATE t SET v = 'b' WHERE id = 900001")),
        ]);
        assert.deepEqual(errors.sort(), [0, 1213]);
        await Promise.all([a.commit(), b.commit()]);
        assert.equal(await one(a, 'SELECT COUNT(DISTINCT v) FROM t WHERE id IN (900001, 900002)'), 1);
      });

      it('autocommit = 0 keeps everything on the primary and commits when told', async () => {
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        await a.query('SET autocommit = 0');
        assert.equal(await one(a, "SELECT COUNT(*) FROM t WHERE v = 'auto'"), 0);
        await a.query("INSERT INTO t (v) VALUES ('auto')");
        assert.equal(await one(a, "SELECT COUNT(*) FROM t WHERE v = 'auto'"), 1);
        assert.equal(await one(b, "SELECT COUNT(*) FROM t WHERE v = 'auto'"), 0);
        assert.equal(await errnoOf(a.query('INSERT INTO t (id) VALUES (900001), (900001)')), 1062);
        await a.query('ROLLBACK');
        assert.equal(await one(a, "SELECT COUNT(*) FROM t WHERE v = 'auto'"), 0);
        await a.query("INSERT INTO t (v) VALUES ('auto')");
        await a.query('SET autocommit = 1');
        await until(
          'the row to be seen',
          async () => (await one(b, "SELECT COUNT(*) FROM t WHERE v = 'auto'")) === 1,
        );
      });

      it('SET TRANSACTION holds for one transaction', async () => {
        const c = await f.connect();
        await c.query('SET TRANSACTION READ ONLY');
        await c.beginTransaction();
        assert.equal(await errnoOf(c.query("INSERT INTO t (v) VALUES ('ro')")), 1792);
        await c.rollback();
        await c.query("INSERT INTO t (v) VALUES ('rw')");
      });

      it('a client that leaves in the middle leaves nothing behind', async () => {
        const a = await f.connect();
        await a.query('BEGIN');
        await a.query("INSERT INTO t (v) VALUES ('gone')");
        a.destroy();
        const b = await f.connect();
        await b.query('SET SESSION innodb_lock_wait_timeout = 20');
        await until(
          'the lock to be gone',
          async () => (await errnoOf(b.query("DELETE FROM t WHERE v = 'gone'"))) === 0,
        );
      });
    });

    describe('session state', () => {
      it('variables, character sets, database and isolation follow the client over many server connections', async () => {
        const pins = (): unknown => ({ ...f.proxy.counters().clusters.get('main')?.pins });
        const pinsBefore = pins();
        const clients = await Promise.all(
          Array.from({ length: 6 }, () => f.connect({ multipleStatements: true })),
        );
        await f.cluster.primary.admin('CREATE DATABASE IF NOT EXISTS other');
        await f.cluster.primary.admin(`GRANT ALL ON other.* TO '${f.cluster.user.user}'@'%'`);
        await f.cluster.waitCaughtUp();
        for (const [i, c] of clients.entries()) {
          await c.query(
            `SET SESSION group_concat_max_len = ${1000 + i}, sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')`,
          );
          await c.query(`SET time_zone = '+0${i + 1}:00'`);
          await c.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
          if (i % 2 === 0) await c.query('USE other');
          if (i % 3 === 0) await c.query('SET NAMES latin1 COLLATE latin1_german1_ci');
        }
        for (let round = 0; round < 15; round++)
          await Promise.all(
            clients.map(async (c, i) => {
              const [rows] = await c.query<Rows>(
                'SELECT @@group_concat_max_len AS g, @@sql_mode AS m, @@time_zone AS z, DATABASE() AS d, ' +
                  '@@collation_connection AS c, "x" = \'x\' AS q FROM (SELECT 1 AS "x") AS s',
              );
              const row = rows[0]!;
              assert.equal(row.g, 1000 + i);
              assert.match(row.m as string, /ANSI_QUOTES/);
              assert.equal(row.z, `+0${i + 1}:00`);
              assert.equal(row.d, i % 2 === 0 ? 'other' : 'app');
              assert.equal(row.c === 'latin1_german1_ci', i % 3 === 0, row.c as string);
            }),
          );
        const fresh = await f.connect();
        assert.equal(await one(fresh, 'SELECT @@group_concat_max_len'), kind === 'mysql' ? 1024 : 1048576);
        assert.equal(await one(fresh, 'SELECT @@time_zone'), '+00:00');
        assert.equal(await one(fresh, 'SELECT DATABASE()'), 'app');
        assert.deepEqual(pins(), pinsBefore);
      });

      it('a setting that the server refuses changes nothing', async () => {
        const c = await f.connect();
        assert.equal(await errnoOf(c.query("SET sql_mode = 'NO_SUCH_MODE'")), 1231);
        assert.equal(await errnoOf(c.query('USE no_such_database')), kind === 'mysql' ? 1044 : 1044);
        assert.equal(await one(c, 'SELECT DATABASE()'), 'app');
      });

      if (kind === 'mariadb')
        it('sql_mode MSSQL: a quote in brackets is no quote', async () => {
          const c = await f.connect({ multipleStatements: true });
          await c.query("SET sql_mode = 'MSSQL'");
          // Read as a string, it would hide a write from whoever chooses the node.
          await c.query("SELECT 1 AS [a'b]; INSERT INTO t (v) VALUES ('behind brackets') -- ']");
          assert.equal(await one(c, "SELECT COUNT(*) FROM t WHERE v = 'behind brackets'"), 1);
        });

      it('user variables, temporary tables and locks stay with their client', async () => {
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        await a.query("SET @mine = 'secret'");
        await a.query('CREATE TEMPORARY TABLE temp (x INT)');
        await a.query('INSERT INTO temp VALUES (1), (2)');
        for (let i = 0; i < 5; i++) {
          assert.equal(await one(b, 'SELECT @mine'), null);
          assert.equal(await errnoOf(b.query('SELECT * FROM temp')), 1146);
          assert.equal(await one(a, 'SELECT @mine'), 'secret');
          assert.equal(await one(a, 'SELECT COUNT(*) FROM temp'), 2);
        }
        assert.equal(await one(a, "SELECT GET_LOCK('l', 1)"), 1);
        assert.equal(await one(b, "SELECT GET_LOCK('l', 0)"), 0);
        assert.equal(await one(a, "SELECT RELEASE_LOCK('l')"), 1);
        await a.end();
        assert.equal(await one(b, "SELECT GET_LOCK('l', 5)"), 1);
      });

      it('what a procedure leaves behind stays with its client', async () => {
        await f.cluster.primary.admin(
          'CREATE PROCEDURE leaves() BEGIN SET @left = 42; CREATE TEMPORARY TABLE left_over (x INT); END',
        );
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        await a.query('CALL leaves()');
        assert.equal(await one(a, 'SELECT COUNT(*) FROM left_over'), 0);
        assert.equal(await errnoOf(b.query('SELECT * FROM left_over')), 1146);
      });

      it('COM_CHANGE_USER and a reset forget everything', async () => {
        const c = await f.connect();
        const user = 'second';
        const password = 'second-secret';
        await f.cluster.primary.admin(`CREATE USER ${user}@'%' IDENTIFIED BY '${password}'`);
        await f.cluster.primary.admin(`GRANT ALL ON app.* TO ${user}@'%'`);
        await f.cluster.waitCaughtUp();
        await c.query('CREATE TEMPORARY TABLE temp2 (x INT)');
        await c.query('SET SESSION group_concat_max_len = 4321');
        await c.query('BEGIN');
        await c.query("INSERT INTO t (v) VALUES ('changed')");
        await c.changeUser({ user, password, database: 'app' });
        assert.match((await one(c, 'SELECT USER()')) as string, /^second@/);
        assert.notEqual(await one(c, 'SELECT @@group_concat_max_len'), 4321);
        assert.equal(await one(c, "SELECT COUNT(*) FROM t WHERE v = 'changed'"), 0);
        assert.equal(await errnoOf(c.query('SELECT * FROM temp2')), 1146);
        await c.query('SET SESSION group_concat_max_len = 4321');
        await c.query('CREATE TEMPORARY TABLE temp3 (x INT)');
        await (c as Connection & { reset(): Promise<void> }).reset?.();
      });
    });

    describe('prepared statements', () => {
      it('run on any node, with every type', async () => {
        const c = await f.connect();
        const values = [
          1,
          -2.5,
          'text',
          null,
          new Date('2026-01-02T03:04:05Z'),
          Buffer.from([0, 255, 1]),
          true,
          2n ** 60n,
        ];
        for (let i = 0; i < 6; i++) {
          const [rows] = await c.execute<Rows>('SELECT ? AS a, ? AS b, ? AS c, ? AS d, HEX(?) AS f, ? AS h', [
            i,
            values[1],
            `text-${i}`,
            null,
            values[5],
            values[7],
          ] as never[]);
          assert.equal(Number(rows[0]!.a), i);
          assert.equal(rows[0]!.c, `text-${i}`);
          assert.equal(rows[0]!.d, null);
          assert.equal(rows[0]!.f, '00FF01');
        }
      });

      it('types may change from one execution to the next', async () => {
        const c = await f.connect();
        for (const value of [1, 'one', 2.5, null, 'zwei', 3]) {
          const [rows] = await c.execute<Rows>('SELECT CONCAT(?, ?) AS x', [value, 'y'] as never[]);
          assert.equal(rows[0]!.x, value === null ? null : `${value}y`);
        }
      });

      it('many clients with the same texts do not disturb each other', async () => {
        const clients = await Promise.all(Array.from({ length: 12 }, () => f.connect()));
        await Promise.all(
          clients.map(async (c, i) => {
            for (let j = 0; j < 25; j++) {
              const [rows] = await c.execute<Rows>('SELECT ? + ? AS s', [i, j]);
              assert.equal(Number(rows[0]!.s), i + j);
              await c.execute('INSERT INTO t (v) VALUES (?)', [`p-${i}-${j}`]);
              const [own] = await c.execute<Rows>('SELECT COUNT(*) AS n FROM t WHERE v = ?', [`p-${i}-${j}`]);
              assert.equal(own[0]!.n, 1);
            }
          }),
        );
      });

      it('a closed statement is unknown, the text is not', async () => {
        const c = await f.connect();
        const statement = await c.prepare('SELECT ? AS x');
        const [rows] = (await statement.execute([5])) as [Rows, unknown];
        assert.equal(Number(rows[0]!.x), 5);
        await statement.close();
        const [again] = await c.execute<Rows>('SELECT ? AS x ', [6]);
        assert.equal(Number(again[0]!.x), 6);
        assert.equal(await errnoOf(c.prepare('SELEKT ?')), 1064);
      });

      it('survives a change of its table', async () => {
        const c = await f.connect();
        await c.query('CREATE TABLE changing (a INT)');
        await c.query('INSERT INTO changing VALUES (1)');
        const [before] = await c.execute<Rows>('SELECT * FROM changing');
        assert.deepEqual(Object.keys(before[0]!), ['a']);
        await c.query('ALTER TABLE changing ADD COLUMN b INT DEFAULT 2');
        const [later] = await c.execute<Rows>('SELECT * FROM changing');
        assert.deepEqual({ ...later[0]! }, { a: 1, b: 2 });
        await c.query('DROP TABLE changing');
      });

      it('PREPARE and EXECUTE by text', async () => {
        const c = await f.connect();
        await c.query("PREPARE s FROM 'SELECT ? + 1 AS x'");
        await c.query('SET @a = 5');
        assert.equal(Number(await one(c, 'EXECUTE s USING @a')), 6);
        await c.query('DEALLOCATE PREPARE s');
      });
    });

    describe('connections', () => {
      it('CONNECTION_ID() is ours, and KILL QUERY stops what that client runs', async () => {
        const [a, b] = await Promise.all([f.connect(), f.connect()]);
        const id = Number(await one(a, 'SELECT CONNECTION_ID()'));
        assert.equal(id, a.threadId);
        const started = performance.now();
        const running = a.query<Rows>('SELECT SLEEP(60) AS s FROM t LIMIT 1');
        let settled = false;
        running.then(
          () => (settled = true),
          () => (settled = true),
        );
        await until('the query to be killed', async () => {
          await b.query(`KILL QUERY ${id}`);
          return settled;
        });
        await running.catch(() => {});
        assert.ok(performance.now() - started < 50_000);
        assert.equal(await one(a, 'SELECT 3'), 3);
        assert.equal(await errnoOf(b.query('KILL 4294967294')), 1094);
        // What an administrator reads there is a server connection, and never another client's id.
        const [processes] = await b.query('SHOW PROCESSLIST');
        const servers = (processes as { Id: number }[]).map((row) => row.Id);
        assert.ok(servers.length > 0 && servers.every((server) => server < 2 ** 30), String(servers));
        for (const server of servers) assert.equal(await errnoOf(b.query(`KILL ${server}`)), 1094);
        const ended = new Promise((resolve) => a.on('error' as never, resolve as never));
        await b.query(`KILL ${id}`);
        await ended;
      });

      it('a server connection that dies idle is not noticed, a read that it takes along runs again', async () => {
        const c = await f.connect();
        const killAll = async (): Promise<void> => {
          for (const node of f.cluster.nodes) {
            const rows = await node.admin(
              `SELECT id FROM information_schema.processlist WHERE user = '${f.cluster.user.user}'`,
            );
            for (const row of rows) await node.admin(`KILL ${Object.values(row)[0]}`).catch(() => {});
          }
        };
        for (let i = 0; i < 5; i++) {
          await one(c, 'SELECT 1');
          await c.query("INSERT INTO t (v) VALUES ('k')");
          await killAll();
        }
        assert.equal(await one(c, 'SELECT 5'), 5);
        const slow = one(c, 'SELECT 6 FROM (SELECT SLEEP(3)) AS s');
        await until('the read to run', async () => {
          let seen = 0;
          for (const node of f.cluster.nodes)
            seen += (
              await node.admin(
                "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT 6 FROM%'",
              )
            ).length;
          return seen > 0;
        });
        await killAll();
        assert.equal(await slow, 6);
      });

      it('a transaction that is lost says so and the connection goes on', async () => {
        const c = await f.connect();
        await c.beginTransaction();
        await c.query("INSERT INTO t (v) VALUES ('lost')");
        for (const row of await f.cluster.primary.admin(
          `SELECT id FROM information_schema.processlist WHERE user = '${f.cluster.user.user}'`,
        ))
          await f.cluster.primary.admin(`KILL ${Object.values(row)[0]}`).catch(() => {});
        assert.equal(await errnoOf(c.query("INSERT INTO t (v) VALUES ('lost')")), 1213);
        await c.rollback();
        assert.equal(await one(c, "SELECT COUNT(*) FROM t WHERE v = 'lost'"), 0);
      });

      it('wrong passwords, unknown users and unknown databases are refused alike', async () => {
        assert.equal(await errnoOf(f.connect({ password: 'wrong' })), 1045);
        assert.equal(await errnoOf(f.connect({ password: '' })), 1045);
        assert.equal(await errnoOf(f.connect({ user: 'nobody', password: 'x' })), 1045);
        assert.notEqual(await errnoOf(f.connect({ database: 'no_such_database' })), 0);
        const { user, password } = f.cluster.users.app_empty!;
        assert.equal(await one(await f.connect({ user, password }), 'SELECT 1'), 1);
      });

      it('an account, or a right, that the replicas do not have yet', async () => {
        const { primary, replicas } = f.cluster;
        const asNew = { user: 'newcomer', password: 'newcomer-secret' };
        for (const replica of replicas) await replica.pauseReplay();
        try {
          await primary.admin(`CREATE USER newcomer@'%' IDENTIFIED BY 'newcomer-secret'`);
          await primary.admin(`GRANT SELECT ON app.t TO newcomer@'%'`);
          assert.equal(await one(await f.connect(asNew), 'SELECT COUNT(*) >= 0 FROM t'), 1);
        } finally {
          for (const replica of replicas) await replica.resumeReplay();
        }
        await f.cluster.waitCaughtUp();
        for (const replica of replicas) await replica.pauseReplay();
        try {
          await primary.admin(`GRANT SELECT ON app.big TO newcomer@'%'`);
          assert.equal(await one(await f.connect(asNew), 'SELECT COUNT(*) >= 0 FROM big'), 1);
        } finally {
          for (const replica of replicas) await replica.resumeReplay();
        }
      });

      it('a login without a database, and USE behind it', async () => {
        const c = await f.connect({ database: '' });
        assert.equal(await one(c, 'SELECT DATABASE()'), null);
        assert.equal(await errnoOf(c.query('SELECT * FROM t')), 1046);
        await c.query('USE app');
        for (let i = 0; i < 5; i++) assert.equal(await one(c, 'SELECT DATABASE()'), 'app');
        assert.equal(await one(await f.connect({ database: '' }), 'SELECT DATABASE()'), null);
      });
    });
  });
}
