// What an administrator changes while clients are connected counts for the next login, as with a direct connection, and for nobody
// who is in: global variables, passwords, privileges of a database, accounts that are locked.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import mysql from 'mysql2/promise';
import { nativeScramble, nativeStage1 } from '../../src/mysql/auth/native-password.js';
import { parseGreeting } from '../../src/mysql/wire/greeting.js';
import { command, handshakeResponse, MysqlWire } from '../e2e/mysql-wire.js';
import { type Fixture, startFixture } from './harness.js';

async function one(connection: Connection, sql: string): Promise<unknown> {
  const [rows] = await connection.query<RowDataPacket[]>(sql);
  return Object.values(rows[0] ?? {})[0];
}

export function loginTests(kind: 'mysql' | 'mariadb'): void {
  describe(`logins while accounts and global variables change on ${kind}`, () => {
    let f: Fixture;
    let admin: Connection;
    const open: Connection[] = [];

    async function logIn(user: string, password: string, database?: string): Promise<Connection> {
      const { port } = f;
      const client = await mysql.createConnection({
        ...{ host: '127.0.0.1', port, user, password },
        ...(database === undefined ? {} : { database }),
      });
      client.on('error', () => {});
      open.push(client);
      return client;
    }
    const refusal = (user: string, password: string): Promise<unknown> =>
      logIn(user, password).then(
        () => 'let in',
        (error: { errno?: number }) => error.errno,
      );
    const told = (client: Promise<unknown>): Promise<unknown> =>
      client.then(
        () => 'let in',
        ({ errno, sqlState, message }) => ({ errno, sqlState, message }),
      );

    before(async () => {
      f = await startFixture(kind, 1, { pool: { maxServerConnections: 4 } });
      const { user, password } = f.cluster.superuser;
      admin = await logIn(user, password);
      await f.cluster.primary.admin('CREATE TABLE app.seen (a INT)');
      await f.cluster.primary.admin('INSERT INTO app.seen VALUES (1)');
      await f.cluster.waitCaughtUp();
    });
    after(async () => {
      for (const client of open) client.destroy();
      await f.stop();
    });

    it('a database that is not there is named as the server names it', async () => {
      const { user, password } = f.cluster.superuser;
      const { host, port } = f.cluster.primary;
      const straight = mysql.createConnection({ host, port, user, password, database: 'nowhere' });
      const expected = await told(straight);
      assert.deepEqual(await told(logIn(user, password, 'nowhere')), expected);
      assert.match(JSON.stringify(expected), /1049.*42000.*Unknown database 'nowhere'/);
    });

    it('a global variable is that of sessions that begin later, on every node', async () => {
      const { user, password, database } = f.cluster.user;
      const old = await logIn(user, password, database);
      const length = 'SELECT LENGTH(GROUP_CONCAT(x)) FROM (SELECT 1111111111 AS x UNION ALL SELECT 2) t';
      const quoted = 'SELECT "a" FROM seen';
      assert.equal(await one(old, length), 12);
      assert.equal(await one(old, quoted), 'a');
      const modes = await one(admin, 'SELECT @@GLOBAL.sql_mode');
      await admin.query("SET GLOBAL sql_mode = 'ANSI_QUOTES'");
      await admin.query('SET GLOBAL group_concat_max_len = 5');
      try {
        const next = await logIn(user, password, database);
        // On the replica, on which nobody has set it, and on the primary.
        for (const client of [next, old]) {
          const isOld = client === old;
          for (const begin of ['DO 1', 'BEGIN']) {
            await client.query(begin);
            assert.equal(await one(client, length), isOld ? 12 : 5);
            assert.equal(await one(client, quoted), isOld ? 'a' : 1);
          }
          await client.query('COMMIT');
        }
      } finally {
        await admin.query(`SET GLOBAL sql_mode = '${modes}', GLOBAL group_concat_max_len = DEFAULT`);
      }
      const last = await logIn(user, password, database);
      assert.equal(await one(last, length), 12);
      assert.equal(await one(last, quoted), 'a');
    });

    it('autocommit = 0 from the login on', async () => {
      const { user, password, database } = f.cluster.user;
      await admin.query('SET GLOBAL autocommit = 0');
      let next: Connection;
      try {
        next = await logIn(user, password, database);
      } finally {
        await admin.query('SET GLOBAL autocommit = 1');
      }
      const other = await logIn(user, password, database);
      assert.equal(await one(next, 'SELECT COUNT(*) FROM seen'), 1);
      await next.query('INSERT INTO seen VALUES (2)');
      assert.equal(await one(other, 'SELECT COUNT(*) FROM seen'), 1);
      await next.query('ROLLBACK');
      await f.cluster.waitCaughtUp();
      for (let i = 0; i < 10; i++) {
        assert.equal(await one(next, 'SELECT COUNT(*) FROM seen'), 1);
        await next.query('COMMIT');
      }
    });

    // MariaDB's library proves a change of user to the challenge of the greeting, whatever it is asked then.
    const skip = kind === 'mysql' ? 'MySQL 9 has no mysql_native_password' : false;
    it('a change of user that is proved to the first challenge', { skip }, async (t) => {
      const { user, password, database } = f.cluster.user;
      for (const { host, port } of [f.cluster.primary, { host: '127.0.0.1', port: f.port }]) {
        const wire = await MysqlWire.dial(t, { host, port });
        const { scramble } = parseGreeting((await wire.packet())!);
        const proof = nativeScramble(nativeStage1(password), scramble);
        wire.write(handshakeResponse(user, database, 'mysql_native_password', proof), 1);
        assert.match(await wire.reply(), /^OK /);
        for (let i = 0; i < 3; i++) {
          wire.write(command.changeUser(user, database, proof));
          const asked = (await wire.packet())!;
          assert.equal(asked.toString('latin1', 1).split('\0')[0], 'mysql_native_password');
          wire.write(proof, 2);
          assert.match(await wire.reply(), /^OK /);
          assert.ok((await wire.talk(command.query('SELECT USER()')))[1]!.startsWith(`row ${user}@`));
        }
      }
    });

    it('another password counts at once, and who is in stays', async () => {
      await admin.query("CREATE USER rotated IDENTIFIED BY 'one'");
      await f.cluster.waitCaughtUp();
      const old = [await logIn('rotated', 'one'), await logIn('rotated', 'one')];
      await old[0]!.query('SELECT 1');
      await admin.query("ALTER USER rotated IDENTIFIED BY 'two'");
      await f.cluster.waitCaughtUp();
      assert.equal(await refusal('rotated', 'one'), 1045);
      for (const client of old) assert.equal(await one(client, 'SELECT 1'), 1);
      const next = await logIn('rotated', 'two');
      await Promise.all([...old, next].map((client) => client.query('BEGIN')));
      for (const client of [...old, next]) assert.equal(await one(client, 'SELECT 2 FOR UPDATE'), 2);
      await Promise.all([...old, next].map((client) => client.query('COMMIT')));
    });

    it('privileges of a database, and an account that is locked', async () => {
      await admin.query("CREATE USER granted IDENTIFIED BY 'x'");
      await admin.query('GRANT SELECT ON mysql.help_topic TO granted');
      await admin.query('GRANT INSERT ON app.seen TO granted');
      await f.cluster.waitCaughtUp();
      const old = await logIn('granted', 'x', 'app');
      const errno = (client: Connection): Promise<unknown> =>
        one(client, 'SELECT COUNT(*) FROM seen').catch((error: { errno?: number }) => error.errno);
      assert.equal(await errno(old), 1142);
      await admin.query('GRANT SELECT ON app.* TO granted');
      await f.cluster.waitCaughtUp();
      assert.equal(await errno(await logIn('granted', 'x', 'app')), 1);
      await admin.query('REVOKE SELECT ON app.* FROM granted');
      await f.cluster.waitCaughtUp();
      assert.equal(await errno(await logIn('granted', 'x', 'app')), 1142);
      await admin.query('ALTER USER granted ACCOUNT LOCK');
      assert.equal(await refusal('granted', 'x'), 1045);
    });
  });
}
