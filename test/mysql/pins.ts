// What pins a session of MySQL or MariaDB unpins it when it is gone, and not before: run by pins-mysql.test.ts and
// pins-mariadb.test.ts, with one server connection, which another client can have then.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { available, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { startFixture } from './harness.js';

const READ_ONLY = 1792;

type Case = readonly [reason: string, pins: readonly string[], ends: readonly string[]];

const LOCK = "SELECT GET_LOCK('one', 0)";
const XA = ["XA START 'x'", 'INSERT INTO t VALUES (NULL)', "XA END 'x'"];

const ENDED: Readonly<Record<string, Case>> = {
  'a lock': ['session-lock', [LOCK], ["SELECT RELEASE_LOCK('one')"]],
  'a lock taken twice': [
    'session-lock',
    [LOCK, "DO GET_LOCK('one', 1)", "SELECT RELEASE_LOCK('one')"],
    ["select release_lock('one') as freed;"],
  ],
  'all locks': ['session-lock', [LOCK, "SELECT GET_LOCK('two', 0)"], ['SELECT RELEASE_ALL_LOCKS()']],
  'a lock in a transaction': ['session-lock', ['BEGIN', LOCK], ["SELECT RELEASE_LOCK('one')", 'COMMIT']],
  'LOCK TABLES': ['lock-tables', ['LOCK TABLES t WRITE'], ['UNLOCK TABLES']],
  'XA COMMIT': ['xa', [...XA, "XA PREPARE 'x'"], ["XA COMMIT 'x'"]],
  'XA COMMIT ONE PHASE': ['xa', XA, ["XA COMMIT 'x' ONE PHASE"]],
  'XA ROLLBACK': ['xa', XA, ["XA ROLLBACK 'x'"]],
};

const ENDED_MYSQL: Readonly<Record<string, Case>> = {
  'LOCK INSTANCE': ['instance-lock', ['LOCK INSTANCE FOR BACKUP'], ['UNLOCK INSTANCE']],
};

const KEPT: Readonly<Record<string, readonly [reason: string, said: readonly string[]]>> = {
  'a lock taken twice and given back once': ['session-lock', [LOCK, LOCK, "SELECT RELEASE_LOCK('one')"]],
  'one of two': ['session-lock', [LOCK, "SELECT GET_LOCK('two', 0)", "SELECT RELEASE_LOCK('two')"]],
  'a lock whose name is computed': [
    'session-lock',
    ["SELECT GET_LOCK(CONCAT('o', 'ne'), 0)", "SELECT RELEASE_LOCK('two')"],
  ],
  'a lock beside a variable': [
    'session-lock',
    ["SELECT GET_LOCK('one', 0), @mine := 5", "SELECT RELEASE_LOCK('one')"],
  ],
  'another lock that is not held': ['session-lock', [LOCK, "SELECT RELEASE_LOCK('two')"]],
  'tables behind a variable': ['lock-tables', ['LOCK TABLES t READ; SET @mine = 5', 'UNLOCK TABLES']],
};

const KEPT_MYSQL: typeof KEPT = {
  'tables, when the instance is unlocked': ['lock-tables', ['LOCK TABLES t READ', 'UNLOCK INSTANCE']],
  'the instance, when tables are unlocked': ['instance-lock', ['LOCK INSTANCE FOR BACKUP', 'UNLOCK TABLES']],
};

const KEPT_MARIADB: typeof KEPT = {
  'a backup, when tables are unlocked': ['backup-lock', ['BACKUP LOCK t', 'UNLOCK TABLES']],
};

export function pinTests(kind: 'mysql' | 'mariadb'): void {
  test(`${kind}: what pins a session, and what ends it`, {
    skip: skipWithout(available(kind)),
  }, async (t) => {
    const f = await startFixture(kind, 0, { pool: { maxServerConnections: 1 } });
    t.after(() => f.stop());
    await f.cluster.primary.admin('CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)');
    await f.cluster.primary.admin('CREATE PROCEDURE app.writes(IN i INT) INSERT INTO t VALUES (i)');
    for (const privilege of kind === 'mysql' ? ['BACKUP_ADMIN', 'XA_RECOVER_ADMIN'] : ['RELOAD'])
      await f.cluster.primary.admin(`GRANT ${privilege} ON *.* TO '${f.cluster.user.user}'@'%'`);
    const pinned = () => f.proxy.counters().clusters.get('main')!.pinned as Partial<Record<string, number>>;
    const sum = () => Object.values(pinned()).reduce<number>((all, count) => all + (count ?? 0), 0);
    const open = async (t: TestContext): Promise<Connection> => {
      const client = await f.connect({ multipleStatements: true });
      t.after(() => client.end());
      return client;
    };
    /** Whether somebody holds the lock. */
    const isHeld = async (by: Connection): Promise<boolean> => {
      const [rows] = await by.query<RowDataPacket[]>(
        "SELECT IS_USED_LOCK('one') IS NOT NULL OR IS_USED_LOCK('two') IS NOT NULL AS held",
      );
      return rows[0]!.held === 1;
    };

    for (const [what, [reason, pins, ends]] of Object.entries({
      ...ENDED,
      ...(kind === 'mysql' ? ENDED_MYSQL : {}),
    }))
      await t.test(`${what}: is gone`, async (t) => {
        const client = await open(t);
        for (const sql of pins) await client.query(sql);
        await until('it to be pinned', () => pinned()[reason] === 1);
        for (const sql of ends) await client.query(sql);
        // There is one server connection: this would wait for ever.
        const other = await open(t);
        assert.equal(await isHeld(other), false);
        assert.equal(sum(), 0);
        await client.query('SELECT COUNT(*) FROM t');
      });

    const kept = { ...KEPT, ...(kind === 'mysql' ? KEPT_MYSQL : KEPT_MARIADB) };
    for (const [what, [reason, said]] of Object.entries(kept))
      await t.test(`${what}: stays`, async (t) => {
        const client = await open(t);
        for (const sql of said) await client.query(sql);
        // Behind whatever is asked meanwhile.
        for (let i = 0; i < 3; i++) await client.query('SELECT 1');
        assert.equal(pinned()[reason], 1, JSON.stringify(pinned()));
        await client.reset();
        assert.equal(sum(), 0);
        assert.equal(await isHeld(await open(t)), false);
      });

    await t.test('SET TRANSACTION waits for a transaction, and not for what is only prepared', async (t) => {
      const client = await open(t);
      await client.query('SET TRANSACTION READ ONLY');
      await client.prepare('CALL writes(?)');
      await assert.rejects(client.query('INSERT INTO t VALUES (NULL)'), { errno: READ_ONLY });
      await client.query('ROLLBACK');
      await client.query('INSERT INTO t VALUES (NULL)');
      await until('nobody to be pinned', () => sum() === 0);
    });

    await t.test('what may be asked about the last statement is the same', async (t) => {
      const client = await open(t);
      for (const question of ['FOUND_ROWS()', 'ROW_COUNT()', '@@warning_count']) {
        for (const sql of [LOCK, "SELECT RELEASE_LOCK('one')"]) {
          await client.query(sql);
          const [rows] = await client.query<RowDataPacket[]>(`SELECT ${question} AS v`);
          assert.equal(
            rows[0]!.v,
            question === 'FOUND_ROWS()' ? 1 : question === 'ROW_COUNT()' ? -1 : 0,
            `${sql}: ${question}`,
          );
        }
      }
      await until('nobody to be pinned', () => sum() === 0);
    });

    await t.test('one that goes while pinned leaves nobody counted, and nothing behind', async (t) => {
      const client = await f.connect();
      await client.query(LOCK);
      await until('it to be pinned', () => pinned()['session-lock'] === 1);
      client.destroy();
      const other = await open(t);
      await until('the lock to be free', async () => !(await isHeld(other)));
      assert.equal(sum(), 0);
    });
  });
}
