// A BEGIN that waits for its first statement, roles that are replayed and KILL of oneself, each beside a direct connection:
// run by as-direct-mysql.test.ts and as-direct-mariadb.test.ts.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PacketWriter } from '../../src/mysql/wire/bytes.js';
import { CAPABILITY } from '../../src/mysql/wire/capabilities.js';
import { buildCommand, COM } from '../../src/mysql/wire/command.js';
import { payloadOf } from '../../src/mysql/wire/framer.js';
import { STATUS } from '../../src/mysql/wire/ok.js';
import { until } from '../servers/poll.js';
import { type Fixture, type RawClient, startFixture } from './harness.js';

const SEEN = STATUS.IN_TRANS | STATUS.AUTOCOMMIT | STATUS.IN_TRANS_READONLY;
const RESET = 'COM_RESET_CONNECTION';
const PING = 'COM_PING';
const COUNT = 'SELECT COUNT(*) FROM t';
const ONE = { pool: { maxServerConnections: 1 } };

/** Each on an empty table; every answer, and what it says of the transaction, is the server's own. */
const SCRIPTS: readonly (readonly string[])[] = [
  ['BEGIN', 'SELECT id FROM t', 'INSERT INTO t VALUES (1)', COUNT, 'COMMIT', COUNT],
  ['BEGIN', 'INSERT INTO t VALUES (1)', 'SELECT ROW_COUNT()', 'ROLLBACK', COUNT],
  ['begin work;', COUNT, 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['START TRANSACTION', 'COMMIT', 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['BEGIN', 'ROLLBACK', COUNT],
  ['BEGIN', 'COMMIT AND CHAIN', 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['BEGIN', 'BEGIN', 'INSERT INTO t VALUES (1)', 'START TRANSACTION', 'ROLLBACK', COUNT],
  ['BEGIN', 'SELECT nothing FROM nowhere', 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['BEGIN', 'this is no statement', 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['INSERT INTO t VALUES (1), (2)', 'BEGIN', 'SELECT ROW_COUNT()', 'ROLLBACK'],
  ['BEGIN', 'SELECT 1/0', 'SHOW WARNINGS', 'ROLLBACK'],
  ['BEGIN', PING, 'USE app', 'SAVEPOINT a', 'INSERT INTO t VALUES (1)', 'ROLLBACK TO a', COUNT, 'COMMIT'],
  [
    'BEGIN',
    'SET sort_buffer_size = 300000',
    'INSERT INTO t VALUES (1)',
    'ROLLBACK',
    COUNT,
    'SELECT @@sort_buffer_size',
  ],
  ['BEGIN', 'CREATE TABLE IF NOT EXISTS made (id INT)', 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['BEGIN', RESET, 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT],
  ['BEGIN', 'SET autocommit = 0', 'INSERT INTO t VALUES (1)', 'ROLLBACK', COUNT, 'SET autocommit = 1'],
  ['SET autocommit = 0', 'BEGIN', 'INSERT INTO t VALUES (1)', 'SET autocommit = 1', 'ROLLBACK', COUNT],
  ['BEGIN', 'START TRANSACTION READ ONLY', COUNT, 'COMMIT', 'INSERT INTO t VALUES (1)', COUNT],
  ['SET SESSION TRANSACTION READ ONLY', 'BEGIN', 'INSERT INTO t VALUES (1)', 'COMMIT', COUNT, RESET],
  [
    'SET TRANSACTION READ ONLY',
    'BEGIN',
    'INSERT INTO t VALUES (1)',
    'COMMIT',
    'INSERT INTO t VALUES (1)',
    COUNT,
  ],
  [
    'SET completion_type = 1',
    'BEGIN',
    COUNT,
    'COMMIT',
    'INSERT INTO t VALUES (1)',
    'ROLLBACK AND NO CHAIN',
    COUNT,
    RESET,
  ],
  ['SET @v = 1', 'BEGIN', 'INSERT INTO t VALUES (@v)', 'ROLLBACK', COUNT, RESET],
  ['BEGIN', 'SELECT id FROM t FOR UPDATE', 'COMMIT'],
  ['BEGIN', 'SELECT LAST_INSERT_ID(7)', 'SELECT LAST_INSERT_ID()', 'COMMIT'],
];

async function answers(client: RawClient, script: readonly string[]): Promise<string[]> {
  const seen: string[] = [];
  for (const line of script) {
    if (line === RESET || line === PING)
      client.send(buildCommand(line === RESET ? COM.RESET_CONNECTION : COM.PING));
    else client.send(client.queryFrame(line));
    const { results, status } = await client.results();
    seen.push(`${line}: ${JSON.stringify(results)} ${status & SEEN}`);
  }
  return seen;
}

const ROLE = 'SELECT CURRENT_ROLE()';

/** Behind each line somebody else has the server connection, in a state of his own. */
const ROLES: readonly (readonly string[])[] = [
  [
    ROLE,
    'SET ROLE first_role',
    ROLE,
    'SELECT v FROM app.of_first',
    'SET ROLE NONE',
    ROLE,
    'SELECT v FROM app.of_first',
  ],
  ['SET ROLE `second role`', ROLE, "SET ROLE 'first_role'", ROLE, RESET, ROLE],
  ['set role "first_role"', 'SET ROLE nobody_has_it', ROLE, 'SET ROLE', ROLE],
  [
    'SET ROLE first_role',
    'SET NAMES latin1',
    'SET ROLE `second role`',
    ROLE,
    'SELECT @@character_set_client',
  ],
];

const FILL = 'INSERT INTO t VALUES (1), (2), (3)';
const FOUND = 'SELECT FOUND_ROWS()';

/** The same: what is asked is known by nobody but the session. */
const COUNTS: readonly (readonly string[])[] = [
  [FILL, 'SELECT id FROM t', 'INSERT INTO t VALUES (4), (5)', FOUND, FOUND],
  [FILL, 'SELECT id FROM t WHERE id < 3', 'REPLACE INTO t VALUES (6)', 'select found_rows () as n;'],
  [FILL, 'INSERT INTO t VALUES (4), (5)', 'SELECT ROW_COUNT()'],
  [FILL, 'UPDATE t SET id = id + 1 WHERE id > 1', 'SELECT ROW_COUNT() AS n', 'SELECT ROW_COUNT()'],
  [FILL, 'DELETE FROM t', 'SELECT ROW_COUNT()'],
  // Connector/Python sends a COM_PING for every cursor.
  [FILL, 'INSERT INTO t VALUES (4), (5)', PING, 'SELECT ROW_COUNT()', 'SELECT ROW_COUNT()', FOUND],
  [FILL, 'SELECT id FROM t', PING, 'SELECT ROW_COUNT()'],
  [FILL, 'SELECT id FROM t WHERE id < 3', PING, FOUND],
  [FILL, 'SELECT SQL_CALC_FOUND_ROWS id FROM t LIMIT 1', FOUND],
  // Connector/J asks for the warnings that it has been told of: MySQL's about SQL_CALC_FOUND_ROWS.
  [FILL, 'SELECT SQL_CALC_FOUND_ROWS 1 / 0 FROM t LIMIT 2', 'SHOW WARNINGS', FOUND],
  [FILL, "SELECT CAST('x' AS SIGNED) FROM t WHERE id < 3", 'SHOW WARNINGS', 'SHOW ERRORS', FOUND],
  ['this is no statement', 'SELECT 1'],
  [FILL, 'SELECT id FROM t', 'BEGIN', 'INSERT INTO t VALUES (4)', FOUND, 'SELECT ROW_COUNT()', 'ROLLBACK'],
];

export function asDirectTests(kind: 'mysql' | 'mariadb'): void {
  describe(`as a direct connection to ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind, 1, ONE);
      const { primary } = f.cluster;
      await primary.admin('CREATE TABLE t (id INT)');
      await primary.admin('CREATE TABLE n (id INT)');
      await primary.admin('CREATE TABLE of_first (v INT)');
      const { user } = f.cluster.user;
      for (const role of ['first_role', '`second role`']) {
        await primary.admin(`CREATE ROLE ${role}`);
        await primary.admin(`GRANT ${role} TO ${user}`);
      }
      await primary.admin('GRANT SELECT ON app.of_first TO first_role');
      await f.cluster.waitCaughtUp();
    });
    after(() => f.stop());

    /** What the primary itself answers; everything is as it was before, then. */
    const answersDirect = async (script: readonly string[]): Promise<string[]> => {
      const { primary } = f.cluster;
      await primary.admin('DELETE FROM t');
      const direct = await f.raw(undefined, primary.port);
      const expected = await answers(direct, script);
      direct.destroy();
      await primary.admin('DELETE FROM t');
      await f.cluster.waitCaughtUp();
      return expected;
    };

    for (const script of SCRIPTS)
      it(script.join('; '), async () => {
        const expected = await answersDirect(script);
        const client = await f.raw();
        assert.deepEqual(await answers(client, script), expected);
        client.destroy();
      });

    for (const script of [...ROLES, ...COUNTS])
      it(script.join('; '), async () => {
        const expected = await answersDirect(script);
        const [client, other, reader] = await Promise.all([f.raw(), f.connect(), f.connect()]);
        const seen: string[] = [];
        for (const line of script) {
          seen.push(...(await answers(client, [line])));
          // It would wait in vain if a role kept the only server connection there is.
          const isInside = script.includes('BEGIN') && line !== script[0] && line !== script[1];
          if (isInside) continue;
          await other.query('INSERT INTO n VALUES (1)');
          await reader.query('SELECT SQL_CALC_FOUND_ROWS COUNT(*) FROM n');
        }
        assert.deepEqual(seen, expected);
        await Promise.all([other.end(), reader.end()]);
        client.destroy();
      });

    it('a role that failed behind another one in the same text', async () => {
      const text = 'SET ROLE first_role; SET ROLE nobody_has_it';
      const client = await f.raw();
      const direct = await f.raw(undefined, f.cluster.primary.port);
      assert.deepEqual(await answers(client, [text, ROLE]), await answers(direct, [text, ROLE]));
      client.destroy();
      direct.destroy();
      const other = await f.raw();
      assert.deepEqual((await other.query(ROLE)).results, [[kind === 'mysql' ? 'NONE' : null]]);
      other.destroy();
    });

    it('the role of the login comes back', async () => {
      const { primary, user } = f.cluster;
      const to = kind === 'mysql' ? 'TO' : 'FOR';
      await primary.admin(`SET DEFAULT ROLE \`second role\` ${to} ${user.user}`);
      await f.cluster.waitCaughtUp();
      // Logged in anew, and so are the server connections.
      const id = await f.raw(undefined, primary.port);
      const atLogin = (await id.query(ROLE)).results;
      id.destroy();
      const mine = `SELECT id FROM information_schema.processlist WHERE user = '${user.user}'`;
      for (const node of f.cluster.nodes)
        for (const row of await node.admin(mine))
          await node.admin(`KILL ${Object.values(row)[0]}`).catch(() => {});
      await until('the server connections of before to be gone', async () => {
        const newcomer = await f.raw();
        const { results } = await newcomer.query(ROLE);
        newcomer.destroy();
        return JSON.stringify(results) === JSON.stringify(atLogin);
      });
      const [client, other] = await Promise.all([f.raw(), f.raw()]);
      assert.deepEqual((await client.query(ROLE)).results, atLogin);
      assert.deepEqual((await client.query('SET ROLE first_role')).results, ['OK']);
      assert.deepEqual((await other.query(ROLE)).results, atLogin);
      assert.deepEqual((await other.query('SET ROLE NONE')).results, ['OK']);
      assert.notDeepEqual((await client.query(ROLE)).results, atLogin);
      assert.deepEqual((await other.query(ROLE)).results, [[kind === 'mysql' ? 'NONE' : null]]);
      await primary.admin(`SET DEFAULT ROLE NONE ${to} ${user.user}`);
      client.destroy();
      other.destroy();
    });

    it('KILL of oneself', async () => {
      const told = async (port?: number): Promise<string[]> => {
        const client = await f.raw(undefined, port);
        const id = String((await client.query('SELECT CONNECTION_ID()')).results[0]);
        const seen: string[] = [];
        for (const line of [
          'KILL QUERY CONNECTION_ID()',
          `KILL QUERY ${id}`,
          'SELECT 1',
          `KILL ${id}`,
          'SELECT 2',
        ]) {
          const { packets } = await client.query(line).catch(() => ({ packets: [] }));
          seen.push(packets.length === 0 ? 'the end' : packets[0]!.toString('latin1', 4));
        }
        return seen;
      };
      assert.deepEqual(await told(), await told(f.cluster.primary.port));
    });

    it('KILL of another client, which runs something or does not', async () => {
      const { primary } = f.cluster;
      const told = async (port?: number): Promise<string[]> => {
        const killer = await f.raw(undefined, port);
        const seen: string[] = [];
        for (const runs of [false, true]) {
          const victim = await f.raw(undefined, port);
          const id = String((await victim.query('SELECT CONNECTION_ID()')).results[0]);
          const slept = 'SELECT SLEEP(100) FROM n FOR UPDATE';
          if (runs) {
            victim.send(victim.queryFrame(slept));
            const asked = `SELECT id FROM information_schema.processlist WHERE info = '${slept}'`;
            await until('it to run', async () => (await primary.admin(asked)).length > 0);
          }
          seen.push(...(await answers(killer, [`KILL ${id}`])).map((line) => line.replace(id, 'it')));
          if (!runs) await until('it to be gone', () => victim.hasEnded);
          seen.push(await victim.packet().then(String, () => 'the end'));
        }
        return seen;
      };
      await primary.admin('INSERT INTO n VALUES (1)');
      assert.deepEqual(await told(), await told(primary.port));
    });

    // So asks libmariadb (Connector/Python of MariaDB) when it calls a procedure of MySQL's.
    it('OUT parameters for a client that wants EOF packets: MySQL says nothing of the OK behind them', async () => {
      const { primary } = f.cluster;
      await primary.admin('CREATE PROCEDURE app.outs(OUT b INT) BEGIN SELECT 7 AS seven; SET b = 42; END');
      const told = async (port?: number): Promise<string[]> => {
        const client = await f.raw(CAPABILITY.PS_MULTI_RESULTS, port);
        client.send(buildCommand(COM.STMT_PREPARE, Buffer.from('CALL outs(?)')));
        const head = payloadOf(await client.packet());
        for (let i = 0; i < 2; i++) await client.packet();
        const execute = new PacketWriter().u8(COM.STMT_EXECUTE).u32(head.readUInt32LE(1)).u8(0).u32(1);
        client.send(execute.u8(0).u8(1).u16(3).u32(5).packet(0));
        const packets: string[] = [];
        do packets.push(payloadOf(await client.packet()).toString('hex'));
        while (packets.at(-1)!.length !== 14);
        packets.push(...(await answers(client, ['SELECT 8'])));
        return packets;
      };
      assert.deepEqual(await told(), await told(primary.port));
    });

    it('results of a procedure with an open cursor, and of one whose handler takes an error in the middle of rows', async () => {
      const { primary } = f.cluster;
      await primary.admin('CREATE TABLE app.two (v INT)');
      await primary.admin('INSERT INTO app.two VALUES (1), (2)');
      await primary.admin(`CREATE PROCEDURE app.nested() BEGIN DECLARE x INT; DECLARE outer_one CURSOR FOR SELECT v FROM two;
        OPEN outer_one; FETCH outer_one INTO x; SELECT x, 'first'; FETCH outer_one INTO x; CLOSE outer_one; SELECT x, 'second'; END`);
      await primary.admin(`CREATE FUNCTION app.fails() RETURNS INT READS SQL DATA
        BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION RESIGNAL; RETURN (SELECT v FROM nowhere); END`);
      await primary.admin(`CREATE PROCEDURE app.handles()
        BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION RESIGNAL; SELECT 0; SELECT fails(); END`);
      const told = async (deprecates: number, port?: number): Promise<string[]> => {
        const client = await f.raw(deprecates | CAPABILITY.PS_MULTI_RESULTS, port);
        return answers(client, ['CALL nested()', 'CALL handles()', 'SELECT 8']);
      };
      for (const deprecates of [0, CAPABILITY.DEPRECATE_EOF])
        assert.deepEqual(await told(deprecates), await told(deprecates, primary.port));
    });

    it('a preparation that MySQL answers without a statement, in a transaction', async () => {
      const told = async (port?: number): Promise<string[]> => {
        const client = await f.raw(undefined, port);
        const seen = await answers(client, ['BEGIN', 'INSERT INTO t VALUES (1)']);
        client.send(buildCommand(COM.STMT_PREPARE, Buffer.from('SET GLOBAL max_connections = 10')));
        seen.push(payloadOf(await client.packet()).toString('hex'));
        return [...seen, ...(await answers(client, ['SELECT COUNT(*) > 0 FROM t', 'ROLLBACK']))];
      };
      const first = await told();
      assert.deepEqual(first, await told(f.cluster.primary.port));
      assert.deepEqual(await told(), first);
    });

    it('a prepared text over a temporary table is about one that this client has', async () => {
      const columns = async (client: RawClient): Promise<number> => {
        client.send(buildCommand(COM.STMT_PREPARE, Buffer.from('SELECT * FROM passing')));
        const head = payloadOf(await client.packet());
        if (head[0] === 0xff) return -head.readUInt16LE(1);
        for (let i = 0; i < head.readUInt16LE(5); i++) await client.packet();
        return head.readUInt16LE(5);
      };
      const first = await f.raw();
      await first.query('CREATE TEMPORARY TABLE passing (a INT)');
      assert.equal(await columns(first), 1);
      await first.query('DROP TEMPORARY TABLE passing');
      await first.query('CREATE TEMPORARY TABLE passing (a INT, b INT)');
      assert.equal(await columns(first), 2);
      await first.query('DROP TEMPORARY TABLE passing');
      assert.equal(await columns(first), -1146);
      first.destroy();
    });

    it('BEGIN holds no server connection before its first statement, and is still there when the first statement got none', async () => {
      const { primary } = f.cluster;
      await primary.admin('DELETE FROM t');
      const [waiting, busy] = await Promise.all([f.connect(), f.connect()]);
      await waiting.query('BEGIN');
      await busy.query('BEGIN');
      await busy.query('INSERT INTO t VALUES (1)');
      // Not from the beginning: logins wait for server connections too.
      f.reload({ pool: { ...ONE.pool, waitTimeoutMs: 500 } });
      try {
        await assert.rejects(waiting.query('INSERT INTO t VALUES (2)'));
      } finally {
        f.reload(ONE);
      }
      await busy.query('COMMIT');
      await waiting.query('INSERT INTO t VALUES (3)');
      await waiting.query('ROLLBACK');
      const [row] = await primary.admin('SELECT GROUP_CONCAT(id) AS ids FROM t');
      assert.equal(row!.ids, '1');
      await Promise.all([waiting.end(), busy.end()]);
    });

    it('BEGIN with a first statement that is prepared, in the transaction too', async () => {
      const { primary } = f.cluster;
      await primary.admin('DELETE FROM t');
      const c = await f.connect();
      for (const first of ['SELECT * FROM t WHERE id > ?', 'INSERT INTO t VALUES (?)']) {
        await c.query('BEGIN');
        await c.execute(first, [1]);
        await c.execute('INSERT INTO t VALUES (?)', [2]);
        await c.query('ROLLBACK');
      }
      const [row] = await primary.admin('SELECT COUNT(*) AS n FROM t');
      assert.equal(Number(row!.n), 0);
      await c.end();
    });

    it('BEGIN is on the primary, where its reads see what has just been written', async () => {
      const c = await f.connect();
      for (let i = 10; i < 20; i++) {
        await c.query(`INSERT INTO t VALUES (${i})`);
        await c.query('BEGIN');
        const [rows] = await c.query(`SELECT id FROM t WHERE id = ${i} FOR UPDATE`);
        assert.equal((rows as unknown[]).length, 1);
        await c.query('COMMIT');
      }
      await c.end();
      await until('the server connections to come back', () => {
        const [status] = f.proxy.admin.status().clusters;
        return status!.nodes.every((node) => JSON.stringify(node).includes('"leased":0'));
      });
    });
  });
}
