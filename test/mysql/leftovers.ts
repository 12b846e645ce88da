// Nothing that a client did stays on a server connection that another client gets: run by leftovers-mysql.test.ts and
// leftovers-mariadb.test.ts, on one node and with so few server connections that everybody gets everybody else's.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { buildCommand, COM } from '../../src/mysql/wire/command.js';
import { until } from '../servers/poll.js';
import { type Fixture, startFixture } from './harness.js';

type Rows = RowDataPacket[];

async function errnoOf(work: Promise<unknown>): Promise<number> {
  try {
    await work;
  } catch (error) {
    return (error as { errno?: number }).errno ?? -1;
  }
  return 0;
}

async function one(connection: Connection, sql: string): Promise<unknown> {
  const [rows] = await connection.query<Rows>(sql);
  return Object.values(rows[0] ?? {})[0];
}

function replicaReads(f: Fixture): number {
  let count = 0;
  for (const { nodes } of f.proxy.counters().clusters.values())
    for (const { units } of nodes.values()) count += units.replica;
  return count;
}

const READ_ONLY = 1792;
const DEADLOCK = 1213;

/** Of this size nobody else's session is. */
const OWN_SIZE = 333_824;

/** Has the catalog read again: `known` is a function that reads, which a replica runs once that is known. */
async function untilCatalogIsRead(f: Fixture): Promise<void> {
  const watch = await f.connect();
  await watch.query('CREATE TABLE changed (id INT)');
  await until('the programs to be known', async () => {
    const before = replicaReads(f);
    await watch.query('SELECT known()');
    return replicaReads(f) > before;
  });
  await watch.end();
}

export function leftoverTests(kind: 'mysql' | 'mariadb'): void {
  describe(`what a client leaves behind on ${kind}`, () => {
    let f: Fixture;
    let next = 1;
    const insert = (c: Connection): Promise<unknown> => c.query(`INSERT INTO t VALUES (${next++}, 0)`);
    before(async () => {
      f = await startFixture(kind, 0, { pool: { maxServerConnections: 2 } });
      const { primary } = f.cluster;
      await primary.admin('SET GLOBAL log_bin_trust_function_creators = ON');
      await primary.admin('CREATE TABLE t (id INT PRIMARY KEY, v INT)');
      await primary.admin('CREATE TABLE d (id INT PRIMARY KEY, v INT)');
      await primary.admin('INSERT INTO d VALUES (1, 0), (2, 0)');
      await primary.admin(
        `CREATE PROCEDURE app.sets_and_fails() BEGIN SET SESSION sort_buffer_size = ${OWN_SIZE}; SIGNAL SQLSTATE '45000'; END`,
      );
    });
    after(() => f.stop());

    /** Every server connection that there is takes a write of somebody else. */
    async function everybodyWrites(): Promise<void> {
      const others = await Promise.all(Array.from({ length: 2 }, () => f.connect()));
      for (const other of others) await other.query('SET @held = 1');
      for (const other of others) await insert(other);
      await Promise.all(others.map((other) => other.end()));
    }

    it('READ ONLY of a transaction that SET autocommit=1 ended', async () => {
      const c = await f.connect();
      await c.query('SET autocommit = 0');
      await c.query('START TRANSACTION READ ONLY');
      assert.equal(await one(c, 'SELECT COUNT(*) FROM d'), 2);
      assert.equal(await errnoOf(insert(c)), READ_ONLY);
      await c.query('SET autocommit = 1');
      await insert(c);
      await c.query('SET autocommit = 0');
      await c.query('START TRANSACTION READ ONLY');
      await c.query('SET autocommit = 1');
      await everybodyWrites();
      await c.end();
    });

    it('READ ONLY of a transaction that a deadlock ended, whose warnings can be asked for', async () => {
      const [reader, writer] = await Promise.all([f.connect(), f.connect()]);
      await reader.query('START TRANSACTION READ ONLY');
      await writer.query('BEGIN');
      await reader.query('SELECT * FROM d WHERE id = 1 LOCK IN SHARE MODE');
      await writer.query('UPDATE d SET v = v + 1 WHERE id = 2');
      // Whoever has written more is not the victim.
      await insert(writer);
      const waits = errnoOf(reader.query('SELECT * FROM d WHERE id = 2 LOCK IN SHARE MODE'));
      await until(
        'the reader to wait for the writer',
        async () => (await f.count(f.cluster.primary, 'Innodb_row_lock_current_waits')) > 0,
      );
      await writer.query('UPDATE d SET v = v + 1 WHERE id = 1');
      assert.equal(await waits, DEADLOCK);
      const [warnings] = await reader.query<Rows>('SHOW WARNINGS');
      assert.equal(warnings[0]?.Code, DEADLOCK);
      await writer.query('COMMIT');
      await insert(reader);
      await everybodyWrites();
      await Promise.all([reader.end(), writer.end()]);
    });

    it('LAST_INSERT_ID() that a function or a procedure asks for', async () => {
      const { primary } = f.cluster;
      await primary.admin('CREATE TABLE made (id INT PRIMARY KEY AUTO_INCREMENT)');
      await primary.admin('ALTER TABLE made AUTO_INCREMENT = 7000');
      await primary.admin(
        'CREATE FUNCTION last_made() RETURNS BIGINT READS SQL DATA RETURN LAST_INSERT_ID()',
      );
      await primary.admin('CREATE PROCEDURE app.tell_last() SELECT LAST_INSERT_ID() AS id');
      const [maker, other, holder] = await Promise.all([f.connect(), f.connect(), f.connect()]);
      // One of the two server connections is left, for both.
      await holder.query('SET @held = 1');
      const told = async (c: Connection): Promise<number> => {
        const [results] = await c.query<Rows[]>('CALL tell_last()');
        return Number(Object.values(results[0]![0]!)[0]);
      };
      for (let i = 0; i < 3; i++) {
        await maker.query('INSERT INTO made VALUES ()');
        const own = 7000 + i;
        for (let round = 0; round < 3; round++) {
          assert.equal(await one(other, 'SELECT last_made()'), 0);
          assert.equal(await told(other), 0);
          await insert(other);
          assert.equal(await one(maker, 'SELECT app.last_made()'), own);
          assert.equal(await told(maker), own);
        }
      }
      await Promise.all([maker.end(), other.end(), holder.end()]);
    });

    it('a lock, or SET TRANSACTION, of a stored program', async () => {
      const { primary } = f.cluster;
      await primary.admin('CREATE TABLE locking (v INT)');
      await primary.admin(
        "CREATE TRIGGER locks BEFORE INSERT ON locking FOR EACH ROW SET NEW.v = get_lock('by trigger', 0)",
      );
      await primary.admin("CREATE PROCEDURE app.locks() BEGIN DO Get_Lock('by procedure', 0); END");
      await primary.admin(
        "CREATE FUNCTION lock_it() RETURNS INT READS SQL DATA RETURN GET_LOCK('by function', 0)",
      );
      await primary.admin('CREATE PROCEDURE app.only_reads() SET TRANSACTION READ ONLY');
      await primary.admin('CREATE FUNCTION known() RETURNS INT DETERMINISTIC RETURN 1');
      await untilCatalogIsRead(f);
      for (const [text, lock] of [
        ['INSERT INTO locking VALUES (1)', 'by trigger'],
        ['CALL locks()', 'by procedure'],
        ['SELECT lock_it()', 'by function'],
      ] as const) {
        const c = await f.connect();
        await c.query(text);
        await insert(c);
        const other = await f.connect();
        for (let i = 0; i < 3; i++) await insert(other);
        await other.end();
        // It is his still, and goes with him.
        assert.equal(await one(c, `SELECT RELEASE_LOCK('${lock}')`), 1, text);
        await c.query(text);
        await c.end();
        await until(`the lock of ${text} to be free`, async () => {
          const [row] = await primary.admin(`SELECT IS_FREE_LOCK('${lock}') AS free`);
          return Number(row!.free) === 1;
        });
      }
      const c = await f.connect();
      for (let i = 0; i < 2; i++) {
        await c.query('CALL only_reads()');
        await everybodyWrites();
      }
      await c.end();
    });

    it('a lost transaction is over for who resets his connection', async () => {
      const raw = await f.raw();
      await raw.query('BEGIN');
      assert.deepEqual((await raw.query(`INSERT INTO t VALUES (${next++}, 77)`)).results, ['OK']);
      const rows = await f.cluster.primary.admin(
        `SELECT id AS id FROM information_schema.processlist WHERE user = '${f.cluster.user.user}'`,
      );
      // One of a client that has just gone may have ended by itself.
      for (const { id } of rows) await f.cluster.primary.admin(`KILL ${id}`).catch(() => {});
      await until('the proxy to know', () => {
        const [cluster] = f.proxy.admin.status().clusters;
        return cluster!.nodes.every(({ pool }) => pool.leased === 0);
      });
      raw.send(buildCommand(COM.RESET_CONNECTION));
      assert.deepEqual((await raw.results()).results, ['OK']);
      assert.deepEqual((await raw.query('SELECT COUNT(*) FROM t WHERE v = 77')).results, [['0']]);
      raw.destroy();
    });

    it('SET TRANSACTION, which is for its own next transaction and for nothing else', async () => {
      const c = await f.connect();
      await c.query('SET TRANSACTION READ ONLY');
      await c.query('SELECT 1');
      await c.query('SET @@sort_buffer_size = DEFAULT');
      const other = await f.connect();
      for (let i = 0; i < 4; i++) await insert(other);
      await other.end();
      assert.equal(await errnoOf(insert(c)), READ_ONLY);
      assert.equal(await errnoOf(insert(c)), READ_ONLY);
      assert.equal(await one(c, 'SELECT COUNT(*) FROM d'), 2);
      await insert(c);
      // A SELECT that touches no table, and looks as if it did.
      await c.query('SET TRANSACTION READ ONLY');
      await c.query('SELECT 1 FROM DUAL');
      await everybodyWrites();
      await c.query('SET TRANSACTION READ ONLY');
      await c.query('BEGIN');
      assert.equal(await errnoOf(insert(c)), READ_ONLY);
      await c.query('COMMIT');
      await everybodyWrites();
      await c.end();
    });

    it('a savepoint before a transaction that autocommit=0 has not begun', async () => {
      const c = await f.connect();
      await c.query('SET autocommit = 0');
      await c.query('SAVEPOINT mine');
      const other = await f.connect();
      await other.query('SET autocommit = 0');
      for (let i = 0; i < 3; i++) {
        assert.equal(await errnoOf(other.query('ROLLBACK TO SAVEPOINT mine')), 1305);
        await insert(other);
        await other.query('COMMIT');
      }
      await insert(c);
      await c.query('ROLLBACK TO SAVEPOINT mine');
      await c.query('COMMIT');
      assert.equal(await errnoOf(c.query('ROLLBACK TO SAVEPOINT mine')), 1305);
      await everybodyWrites();
      await Promise.all([c.end(), other.end()]);
    });

    it('an isolation level that a SET autocommit=1 should have ended', async () => {
      const c = await f.connect();
      await c.query('SET autocommit = 0');
      await c.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
      assert.equal(await one(c, 'SELECT COUNT(*) FROM d'), 2);
      await c.query('SET autocommit = 1');
      const others = await Promise.all([f.connect(), f.connect()]);
      for (const other of others) {
        await other.query('BEGIN');
        await other.query('SELECT * FROM d');
      }
      // In a serializable transaction they would have locked what they read.
      await f.cluster.primary.admin('UPDATE app.d SET v = v + 1');
      for (const other of others) await other.query('ROLLBACK');
      await Promise.all([c, ...others].map((each) => each.end()));
    });

    it('what a procedure set before it failed', async () => {
      const c = await f.connect();
      for (let i = 0; i < 3; i++) {
        assert.equal(await errnoOf(c.query('CALL sets_and_fails()')), 1644);
        const others = await Promise.all([f.connect(), f.connect()]);
        for (const other of others) await other.query('BEGIN').catch(() => {});
        await Promise.all(others.map((other) => other.query('COMMIT')));
        for (const other of others)
          assert.notEqual(Number(await one(other, 'SELECT @@sort_buffer_size')), OWN_SIZE);
        await Promise.all(others.map((other) => other.end()));
      }
      await c.end();
    });
  });

  describe(`what a server does not tell on ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      // Whoever comes next gets the same server connection.
      f = await startFixture(kind, 1, { pool: { maxServerConnections: 1 } });
      const { primary } = f.cluster;
      await primary.admin('SET GLOBAL log_bin_trust_function_creators = ON');
      await primary.admin(
        `CREATE FUNCTION app.sets_it() RETURNS INT NO SQL BEGIN SET SESSION sort_buffer_size = ${OWN_SIZE}; RETURN 1; END`,
      );
      await primary.admin(`CREATE PROCEDURE app.sets_plainly() SET @@sort_buffer_size = ${OWN_SIZE}`);
      await primary.admin('CREATE TABLE set_by (v INT)');
      await primary.admin(
        `CREATE TRIGGER sets BEFORE INSERT ON set_by FOR EACH ROW SET NEW.v = 1, @@\`sort_buffer_size\` = ${OWN_SIZE}`,
      );
      await primary.admin('CREATE FUNCTION app.known() RETURNS INT DETERMINISTIC RETURN 1');
      await f.cluster.waitCaughtUp();
      await untilCatalogIsRead(f);
    });
    after(() => f.stop());

    for (const [text, shown, set] of [
      [`SET @@sort_buffer_size = ${OWN_SIZE}`, 'sort_buffer_size', OWN_SIZE],
      [`SET @@time_zone = '+01:00', @@\`sort_buffer_size\` = ${OWN_SIZE}`, 'sort_buffer_size', OWN_SIZE],
      [`SELECT 1; SET @@sort_buffer_size = ${OWN_SIZE}; SELECT 2`, 'sort_buffer_size', OWN_SIZE],
      [`SET @@sort_buffer_size = ${OWN_SIZE}; SELECT * FROM nowhere`, 'sort_buffer_size', OWN_SIZE],
      ["SET @@sql_mode = 'ANSI_QUOTES'", 'sql_mode', 'ANSI_QUOTES'],
      ['SET @@autocommit = 0', 'autocommit', 0],
      ["SET collation_database = 'latin1_swedish_ci'", 'collation_database', 'latin1_swedish_ci'],
      ['CALL sets_plainly()', 'sort_buffer_size', OWN_SIZE],
      ['INSERT INTO set_by VALUES (0)', 'sort_buffer_size', OWN_SIZE],
      [
        `PREPARE s FROM 'SET @@sort_buffer_size = ${OWN_SIZE}'; EXECUTE s; DEALLOCATE PREPARE s`,
        'sort_buffer_size',
        OWN_SIZE,
      ],
    ] as const)
      it(`a setting in words of which MariaDB does not tell: ${text}`, async () => {
        for (const way of ['query', 'execute'] as const) {
          if (way === 'execute' && text.includes(';')) continue;
          const c = await f.connect({ multipleStatements: true });
          const other = await f.connect();
          await (way === 'query' ? c.query(text) : c.execute(text)).catch(() => {});
          // It waits for the server connection where that is kept.
          const seen = one(other, `SELECT @@${shown}`);
          for (let i = 0; i < 3; i++) assert.equal(await one(c, `SELECT @@${shown}`), set, way);
          await c.end();
          assert.notEqual(await seen, set, way);
          await other.query('BEGIN');
          assert.notEqual(await one(other, `SELECT @@${shown}`), set, way);
          await other.end();
        }
      });

    for (const [text, error] of [
      [`SHOW VARIABLES LIKE 'sql_mode'; SET sort_buffer_size = ${OWN_SIZE}`, 0],
      [`SHOW VARIABLES LIKE 'sql_mode'; SET sort_buffer_size = ${OWN_SIZE}; SELECT * FROM nowhere`, 1146],
      [`SELECT @@session_track_schema; SET sort_buffer_size = ${OWN_SIZE}`, 0],
      ['SELECT @@session_track_schema, sets_it()', 0],
      [`SET session_track_system_variables = '', sort_buffer_size = ${OWN_SIZE}`, 0],
      [`SET session_track_system_variables = ''; SET sort_buffer_size = ${OWN_SIZE}`, 0],
      [
        `SET session_track_system_variables = ''; SET sort_buffer_size = ${OWN_SIZE}; SELECT * FROM nowhere`,
        1146,
      ],
    ] as const)
      it(`what is set while the server does not tell of it: ${text}`, async () => {
        const bare = await f.connect({ multipleStatements: true, port: f.cluster.primary.port });
        assert.equal(await errnoOf(bare.query(text)), error);
        const size = await one(bare, 'SELECT @@sort_buffer_size');
        // With its next OK the server may tell it after all, whoever gets that.
        for (const behind of ['', 'COMMIT', 'SELECT @@sort_buffer_size']) {
          const c = await f.connect({ multipleStatements: true });
          assert.equal(await errnoOf(c.query(text)), error);
          if (behind.startsWith('SELECT')) assert.equal(await one(c, behind), size);
          else if (behind !== '') await c.query(behind);
          await c.end();
          const next = await f.connect();
          if (behind === '') await next.query('SET completion_type = 0');
          await next.query('BEGIN');
          assert.notEqual(Number(await one(next, 'SELECT @@sort_buffer_size')), OWN_SIZE);
          await next.end();
        }
        await bare.end();
      });
  });

  describe(`what ends a transaction on ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind, 1, { pool: { maxServerConnections: 2 } });
      await f.cluster.primary.admin('CREATE TABLE t (id INT PRIMARY KEY, v INT)');
      await f.cluster.waitCaughtUp();
    });
    after(() => f.stop());

    it('a statement is prepared again where it runs, and that commits nothing', async () => {
      const c = await f.connect();
      const sql = 'INSERT INTO t VALUES (?, 0)';
      await c.execute(sql, [1]);
      assert.equal(await one(c, 'SELECT COUNT(*) FROM t'), 1);
      // The server connection that has the statement goes to somebody else, who keeps it.
      const other = await f.connect();
      await other.query('SET @held = 1');
      await c.query('SET autocommit = 0, sort_buffer_size = 300000');
      await c.query('INSERT INTO t VALUES (2, 0)');
      await c.execute(sql, [3]);
      await c.query('ROLLBACK');
      assert.deepEqual(await one(c, 'SELECT GROUP_CONCAT(id) FROM t'), '1');
      await c.query('START TRANSACTION READ ONLY');
      assert.equal(await errnoOf(c.execute('INSERT INTO t VALUES (?, 1)', [4])), READ_ONLY);
      await Promise.all([c.end(), other.end()]);
    });

    it('DDL in a READ ONLY transaction ends it, and runs on the primary', async () => {
      const c = await f.connect();
      await c.query('START TRANSACTION READ ONLY');
      await c.query('SELECT COUNT(*) FROM t');
      await c.query('CREATE TABLE made_in_read_only (x INT)');
      await c.query('INSERT INTO made_in_read_only VALUES (1)');
      assert.equal(await one(c, 'SELECT COUNT(*) FROM made_in_read_only'), 1);
      await c.end();
    });
  });

  describe(`a login without a database on ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind, 1, { pool: { maxServerConnections: 4 } });
      await f.cluster.primary.admin('CREATE DATABASE other');
      await f.cluster.primary.admin(`GRANT ALL ON other.* TO ${f.cluster.user.user}`);
      await f.cluster.primary.admin('CREATE TABLE t (id INT PRIMARY KEY)');
      await f.cluster.primary.admin('CREATE TABLE other.t (id INT PRIMARY KEY)');
      await f.cluster.waitCaughtUp();
    });
    after(() => f.stop());

    it('behind USE, its server connections are used again, by those who logged in with the database too', async () => {
      const opened = async (): Promise<number> => {
        const counts = await Promise.all(f.cluster.nodes.map((node) => f.count(node, 'Connections')));
        return counts.reduce((sum, count) => sum + count, 0);
      };
      const c = await f.connect({ database: '' });
      assert.equal(await one(c, 'SELECT DATABASE()'), null);
      assert.equal(await errnoOf(c.query('SELECT * FROM t')), 1046);
      await c.query(`USE ${f.cluster.user.database}`);
      const other = await f.connect();
      const start = await opened();
      for (let i = 0; i < 20; i++) {
        await c.query(`INSERT INTO t VALUES (${2 * i})`);
        assert.equal(await one(c, 'SELECT COUNT(*) FROM t'), 2 * i + 1);
        await other.query(`INSERT INTO t VALUES (${2 * i + 1})`);
        await c.query('BEGIN');
        assert.equal(await one(c, 'SELECT DATABASE()'), f.cluster.user.database);
        await c.query('USE other');
        await c.query(`INSERT INTO t VALUES (${i})`);
        await c.query('COMMIT');
        assert.equal(await one(c, 'SELECT COUNT(*) FROM t'), i + 1);
        await c.query(`USE ${f.cluster.user.database}`);
        assert.equal(await one(c, 'SELECT DATABASE()'), f.cluster.user.database);
        const without = await f.connect({ database: '' });
        assert.equal(await one(without, 'SELECT DATABASE()'), null);
        await without.end();
      }
      // As many as the pools may have, and those by which the counts are asked for.
      const count = (await opened()) - start;
      assert.ok(count <= 24, `${count} server connections were opened`);
      await Promise.all([c.end(), other.end()]);
    });
  });
}
