// What drivers do that is seldom seen: old capabilities, cursors, odd commands, bad bytes; run for both kinds of cluster.

import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import mariadb from 'mariadb';
import { PacketWriter } from '../../src/mysql/wire/bytes.js';
import { CAPABILITY } from '../../src/mysql/wire/capabilities.js';
import {
  buildCommand,
  buildInitDb,
  buildStatementClose,
  buildStatementReset,
  COM,
} from '../../src/mysql/wire/command.js';
import { payloadOf } from '../../src/mysql/wire/framer.js';
import { parseErr, parseOk, STATUS } from '../../src/mysql/wire/ok.js';
import { parseSessionChanges } from '../../src/mysql/wire/session-track.js';
import { until } from '../servers/poll.js';
import { type Fixture, type RawClient, startFixture } from './harness.js';
import { execute, executeLong, prepare } from './raw-statements.js';

const EOFS = 0;
const NO_EOFS = CAPABILITY.DEPRECATE_EOF;

const LOADS =
  "SELECT id AS id FROM information_schema.processlist WHERE info LIKE 'LOAD DATA LOCAL%' AND command <> 'Killed'";

/** Rows up to their end, and the status there. */
async function fetch(
  raw: RawClient,
  statementId: number,
  rows: number,
): Promise<{ rows: number; status: number }> {
  raw.send(new PacketWriter().u8(COM.STMT_FETCH).u32(statementId).u32(rows).packet(0));
  for (let count = 0; ; count++) {
    const payload = payloadOf(await raw.packet());
    if (payload[0] === 0xff) throw new Error(parseErr(payload).message);
    if (payload[0] !== 0xfe) continue;
    const deprecates = (raw.capabilities.flags & NO_EOFS) !== 0;
    return { rows: count, status: deprecates ? payload.readUInt16LE(3) : payload.readUInt16LE(3) };
  }
}

export function wireLevelTests(kind: 'mysql' | 'mariadb'): void {
  describe(`the wire of ${kind}`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind, 1);
      await f.cluster.primary.admin('CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))');
      await f.cluster.primary.admin("INSERT INTO t (v) VALUES ('a'), ('b'), ('c'), ('d'), ('e')");
      await f.cluster.primary.admin(
        'CREATE PROCEDURE app.opens_one() BEGIN DECLARE c CURSOR FOR SELECT 1; OPEN c; CLOSE c; SELECT 1; END',
      );
      await f.cluster.primary.admin('CREATE TABLE files (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))');
      await f.cluster.primary.admin('SET GLOBAL local_infile = ON');
      await f.cluster.waitCaughtUp();
    });
    after(() => f.stop());

    for (const [name, keyed] of [
      ['with EOF packets', EOFS],
      ['without EOF packets', NO_EOFS],
    ] as const) {
      const eofs = keyed === EOFS;

      it(`text, errors and several results ${name}`, async () => {
        const raw = await f.raw(keyed | CAPABILITY.MULTI_STATEMENTS);
        assert.deepEqual((await raw.query('SELECT v FROM t ORDER BY id')).results, [
          ['a', 'b', 'c', 'd', 'e'],
        ]);
        assert.deepEqual((await raw.query('SELECT 1; DO 2; SELECT NULL; SELECT bad')).results, [
          ['1'],
          'OK',
          [null],
          'ERR 1054',
        ]);
        assert.deepEqual((await raw.query('SELECT CONNECTION_ID()')).results.length, 1);
      });

      it(`cursors ${name}`, async () => {
        const raw = await f.raw(keyed);
        const id = await prepare(raw, 'SELECT id, v FROM t ORDER BY id', eofs);
        raw.send(execute(id, 1));
        // Head, two definitions, one end.
        for (let i = 0; i < 3; i++) await raw.packet();
        const end = payloadOf(await raw.packet());
        assert.equal(end[0], 0xfe);
        const first = await fetch(raw, id, 2);
        assert.equal(first.rows, 2);
        // Between fetches the client may do something else: it stays on its server connection.
        assert.deepEqual((await raw.query('SELECT 1')).results, [['1']]);
        assert.equal((await fetch(raw, id, 2)).rows, 2);
        const last = await fetch(raw, id, 2);
        assert.equal(last.rows, 1);
        assert.notEqual(last.status & STATUS.LAST_ROW_SENT, 0);
        raw.send(buildStatementReset(id));
        assert.equal(payloadOf(await raw.packet())[0], 0);
        raw.send(buildStatementClose(id));
        await assert.rejects(fetch(raw, id, 1), /Unknown prepared statement handler/);
        assert.deepEqual((await raw.query('SELECT 2')).results, [['2']]);
      });

      it(`a cursor stays open whatever else is prepared meanwhile ${name}`, async () => {
        const raw = await f.raw(keyed);
        const open = async (): Promise<number> => {
          const id = await prepare(raw, 'SELECT id, v FROM t ORDER BY id', eofs);
          raw.send(execute(id, 1));
          for (let i = 0; i < 4; i++) await raw.packet();
          return id;
        };
        const cursors = [await open(), await open()];
        for (const id of cursors) assert.equal((await fetch(raw, id, 2)).rows, 2);
        // More than a server connection holds of statements that anybody may use.
        for (let i = 0; i < 120; i++) {
          const other = await prepare(raw, `SELECT ${i}`, eofs);
          raw.send(execute(other));
          for (let left = eofs ? 5 : 4; left > 0; left--) await raw.packet();
        }
        for (const id of cursors) assert.equal((await fetch(raw, id, 2)).rows, 2);
        raw.destroy();
      });

      it(`a procedure with a cursor of its own, prepared ${name}`, async () => {
        const pins = { ...f.proxy.counters().clusters.get('main')?.pins };
        for (const flags of [0, 1]) {
          const raw = await f.raw(keyed);
          const id = await prepare(raw, 'CALL app.opens_one()', eofs);
          for (let i = 0; i < 2; i++) {
            raw.send(execute(id, flags));
            // A head, a definition, a row, one or two ends.
            for (let left = eofs ? 5 : 4; left > 0; left--) await raw.packet();
            assert.equal(payloadOf(await raw.packet())[0], 0);
            assert.deepEqual((await raw.query('SELECT 2')).results, [['2']]);
          }
          assert.deepEqual({ ...f.proxy.counters().clusters.get('main')?.pins }, pins);
          raw.destroy();
        }
      });

      it(`a preparation is answered the same from memory ${name}`, async () => {
        const replies: Buffer[][] = [];
        for (let i = 0; i < 2; i++) {
          const raw = await f.raw(keyed);
          raw.send(buildCommand(COM.STMT_PREPARE, Buffer.from('SELECT id, v FROM t WHERE id = ?')));
          const packets: Buffer[] = [];
          for (let left = 1 + 3 + (eofs ? 2 : 0); left > 0; left--) packets.push(await raw.packet());
          replies.push(packets);
        }
        assert.deepEqual(replies[0], replies[1]);
      });

      it(`LAST_ROW and parameters whose types are sent once ${name}`, async () => {
        const clients = await Promise.all([f.raw(keyed), f.raw(keyed), f.raw(keyed)]);
        const ids = await Promise.all(
          clients.map((raw) => prepare(raw, 'SELECT v FROM t WHERE id = ?', eofs)),
        );
        for (let round = 0; round < 6; round++)
          await Promise.all(
            clients.map(async (raw, i) => {
              raw.send(executeLong(ids[i]!, ((round + i) % 5) + 1, round === 0));
              const { packets } = await raw.results();
              const row = payloadOf(packets[eofs ? 3 : 2]!);
              assert.equal(row.toString('latin1', row.length - 1), 'abcde'[(round + i) % 5]);
            }),
          );
      });
    }

    it('a client without session tracking gets plain OKs, one with it what it asked for and no more', async () => {
      const raw = await f.raw(NO_EOFS);
      const { packets } = await raw.query("INSERT INTO t (v) VALUES ('tracked')");
      const ok = parseOk(payloadOf(packets[0]!), raw.capabilities);
      assert.equal(ok.changes, null);
      const set = parseOk(payloadOf((await raw.query('SET NAMES latin1')).packets[0]!), raw.capabilities);
      assert.deepEqual(
        parseSessionChanges(set.changes!)
          .map((change) => change.kind === 'variable' && change.name)
          .sort(),
        ['character_set_client', 'character_set_connection', 'character_set_results'],
      );
      const other = await raw.query('SET SESSION group_concat_max_len = 5000');
      assert.equal(parseOk(payloadOf(other.packets[0]!), raw.capabilities).changes, null);
      await raw.query('SET SESSION session_track_state_change = ON');
      const more = parseOk(
        payloadOf((await raw.query('SET SESSION group_concat_max_len = 5001')).packets[0]!),
        raw.capabilities,
      );
      assert.deepEqual(parseSessionChanges(more.changes!), [{ kind: 'state-change', changed: '1' }]);
      raw.send(buildInitDb('app'));
      const use = await raw.results();
      assert.ok(
        parseSessionChanges(parseOk(payloadOf(use.packets[0]!), raw.capabilities).changes!).some(
          (change) => change.kind === 'schema' && change.name === 'app',
        ),
      );
    });

    it('what the proxy tracks is not to be seen: byte by byte as without it', async () => {
      await f.cluster.waitCaughtUp();
      const through = await f.raw(NO_EOFS | CAPABILITY.SESSION_TRACK);
      const direct = await f.raw(NO_EOFS | CAPABILITY.SESSION_TRACK, f.cluster.primary.port);
      const own = f.kind === 'mysql' ? '@@session_track_gtids, ' : '';
      // The two have logged in with different collations.
      for (const raw of [through, direct]) await raw.query('SET NAMES utf8mb4 COLLATE utf8mb4_general_ci');
      const showing = [
        `SELECT ${own}@@session_track_schema, @@session_track_system_variables, @@session.session_track_state_change`,
        "SHOW VARIABLES LIKE 'session_track%'",
        'SHOW WARNINGS',
        'UPDATE t SET v = CONCAT(v, 1) WHERE id = 1',
        'COMMIT',
      ];
      const same = async (sql: string) => {
        const [a, b] = [await through.query(sql), await direct.query(sql)];
        assert.deepEqual(
          a.packets.map((packet) => packet.toString('latin1')),
          b.packets.map((packet) => packet.toString('latin1')),
          sql,
        );
      };
      for (const sql of showing) await same(sql);
      for (const raw of [through, direct]) {
        await raw.query("SET SESSION session_track_system_variables = 'sql_mode'");
        await raw.query('SET SESSION session_track_state_change = ON');
      }
      for (const sql of showing.slice(0, 3)) await same(sql);
      // A client that asks for the same is told.
      const sql =
        f.kind === 'mysql'
          ? 'session_track_gtids = OWN_GTID'
          : "session_track_system_variables = 'last_gtid'";
      const told = [through, direct].map(async (raw) => {
        await raw.query(`SET SESSION ${sql}`);
        const { packets } = await raw.query('UPDATE t SET v = CONCAT(v, 2) WHERE id = 2');
        const { changes } = parseOk(payloadOf(packets[0]!), raw.capabilities);
        return parseSessionChanges(changes!).map((change) =>
          change.kind === 'variable' ? change.name : change.kind,
        );
      });
      assert.deepEqual(await told[0], await told[1]);
      // And the proxy has what it needs again.
      for (let i = 0; i < 5; i++)
        await same('UPDATE t SET v = LEFT(CONCAT(v, 3), 5) WHERE id = 3 AND v IS NULL');
    });

    it('odd commands are answered', async () => {
      const raw = await f.raw();
      raw.send(buildCommand(COM.PING));
      assert.equal((await raw.results()).results[0], 'OK');
      raw.send(buildCommand(COM.STATISTICS));
      assert.match(payloadOf(await raw.packet()).toString(), /Uptime/);
      raw.send(buildCommand(COM.SET_OPTION, Buffer.of(0, 0)));
      assert.equal(payloadOf(await raw.packet())[0], 0xfe);
      assert.deepEqual((await raw.query('SELECT 1; SELECT 2')).results, [['1'], ['2']]);
      raw.send(buildCommand(COM.SET_OPTION, Buffer.of(1, 0)));
      assert.equal(payloadOf(await raw.packet())[0], 0xfe);
      assert.deepEqual((await raw.query('SELECT 1; SELECT 2')).results, ['ERR 1064']);
      raw.send(buildCommand(COM.RESET_CONNECTION));
      assert.equal((await raw.results()).results[0], 'OK');
      await raw.query('CREATE TEMPORARY TABLE gone (x INT)');
      raw.send(buildCommand(COM.RESET_CONNECTION));
      assert.equal((await raw.results()).results[0], 'OK');
      assert.deepEqual((await raw.query('SELECT * FROM gone')).results, ['ERR 1146']);
      for (const code of [COM.BINLOG_DUMP, COM.BINLOG_DUMP_GTID, COM.REGISTER_SLAVE, 0x77]) {
        raw.send(buildCommand(code, Buffer.alloc(10)));
        const err = parseErr(payloadOf(await raw.packet()));
        assert.equal(err.errno, 1235, err.message);
      }
      assert.deepEqual((await raw.query('SELECT 3')).results, [['3']]);
    });

    it('COM_SET_OPTION with half a number is answered, and what comes behind it', async () => {
      const raw = await f.raw();
      raw.send(buildCommand(COM.SET_OPTION, Buffer.of(1)));
      await raw.packet();
      assert.deepEqual((await raw.query('SELECT 3')).results, [['3']]);
      raw.destroy();
    });

    it('commands that are sent ahead are answered in order', async () => {
      const raw = await f.raw();
      for (let i = 0; i < 50; i++)
        raw.send(raw.queryFrame(i % 5 === 0 ? `INSERT INTO t (v) VALUES ('p${i}')` : `SELECT ${i}`));
      for (let i = 0; i < 50; i++)
        assert.deepEqual((await raw.results()).results, [i % 5 === 0 ? 'OK' : [String(i)]]);
    });

    it('the mariadb driver: batches, streams, pipelined preparations', async () => {
      const { user, password, database } = f.cluster.user;
      const c = await mariadb.createConnection({
        host: '127.0.0.1',
        port: f.port,
        user,
        password,
        database,
        allowPublicKeyRetrieval: true,
        connectTimeout: 60_000,
      });
      await c.query('CREATE TABLE batch (a INT, b VARCHAR(50))');
      const rows = Array.from({ length: 500 }, (_, i) => [i, i % 7 === 0 ? null : `b${i}`]);
      await c.batch('INSERT INTO batch VALUES (?, ?)', rows);
      const [{ n, m }] = await c.query('SELECT COUNT(*) AS n, COUNT(b) AS m FROM batch');
      assert.equal(Number(n), 500);
      assert.equal(Number(m), 500 - Math.ceil(500 / 7));
      for (let i = 0; i < 5; i++) {
        const [row] = await c.execute('SELECT a, b FROM batch WHERE a = ?', [i + 1]);
        assert.equal(row.a, i + 1);
      }
      let streamed = 0;
      for await (const _ of c.queryStream('SELECT * FROM batch')) streamed++;
      assert.equal(streamed, 500);
      // The driver does not do it with MySQL.
      if (kind === 'mariadb') await c.changeUser({ user, password, database });
      await c.reset();
      assert.equal(Number((await c.query('SELECT 5 AS x'))[0].x), 5);
      await c.query('DROP TABLE batch');
      await c.end();
    });

    it('bad bytes get an error or an end, and nobody else notices', async () => {
      const witness = await f.connect();
      const attempts: [string, Buffer[]][] = [
        ['garbage', [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')]],
        ['an absurd length', [Buffer.from([0xff, 0xff, 0xff, 1, 0x8d])]],
        ['half a packet', [Buffer.from([50, 0, 0, 1, 1, 2, 3])]],
        ['an SSLRequest', [new PacketWriter().u32(0x00000a00).u32(1).u8(45).zeros(23).packet(1)]],
        ['protocol 320', [new PacketWriter().u16(0x85).u8(0).u8(0).zeros(5).nulText('old').packet(1)]],
        ['an empty packet', [Buffer.from([0, 0, 0, 1])]],
      ];
      for (const [name, parts] of attempts) {
        const socket = net.connect({ host: '127.0.0.1', port: f.port });
        const received: Buffer[] = [];
        socket.on('data', (chunk: Buffer) => received.push(chunk));
        const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
        socket.on('error', () => {});
        await new Promise<void>((resolve) => socket.once('data', () => resolve()));
        for (const part of parts) socket.write(part);
        if (name === 'half a packet') socket.destroy();
        await closed;
        if (name === 'half a packet') continue;
        const answer = Buffer.concat(received);
        const greeting = answer.readUIntLE(0, 3) + 4;
        assert.equal(answer[greeting + 4], 0xff, name);
        assert.equal((await witness.query('SELECT 1'))[0] !== undefined, true);
      }
      const raw = await f.raw();
      raw.send(Buffer.from([0xff, 0xff, 0xff, 0, 0x03]));
      raw.send(Buffer.from([1, 0, 0, 9, 0x0e]));
      raw.destroy();
      const wrong = await f.raw();
      wrong.send(Buffer.from([1, 0, 0, 5, 0x0e]));
      assert.equal(payloadOf(await wrong.packet())[0], 0xff);
      await assert.rejects(wrong.packet());
      const [rows] = await witness.query('SELECT 2 AS x');
      assert.deepEqual(JSON.parse(JSON.stringify(rows)), [{ x: 2 }]);
    });

    it('a server connection that ends in the middle of a file of its client is told of behind the file', async () => {
      const raw = await f.raw(CAPABILITY.LOCAL_FILES);
      const c = await f.connect();
      await c.query('BEGIN');
      await c.query("INSERT INTO files VALUES (900000, 'of another')");
      const piece = (sequence: number, text: string): Buffer =>
        new PacketWriter(text.length).bytes(Buffer.from(text)).packet(sequence & 0xff);
      try {
        // With 40 of them more than is taken while it waits for the row of the other.
        for (const pieces of [1, 40]) {
          raw.send(raw.queryFrame("LOAD DATA LOCAL INFILE 'any' INTO TABLE files (id, v)"));
          let sequence = (await raw.packet())[3]! + 1;
          raw.send(piece(sequence++, '900000\tx\n'));
          for (let i = 0; i < pieces; i++) raw.send(piece(sequence++, '900001\tx\n'.repeat(100_000)));
          let id = '';
          await until('it to be there', async () => {
            const [load] = await f.cluster.primary.admin(LOADS);
            id = String(load?.id ?? '');
            return id !== '';
          });
          // One that is killed on its way there may wait for as long as for any lock (50 s).
          const waits = `SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = ${id}`;
          await until('it to wait', async () => {
            // InnoDB fills the table anew only when nobody has read it for 0.1 s.
            await sleep(150);
            return (await f.cluster.primary.admin(waits)).length === 1;
          });
          await f.cluster.primary.admin(`KILL ${id}`);
          await until('it to end', async () => (await f.cluster.primary.admin(LOADS)).length === 0);
          raw.send(piece(sequence++, ''));
          const { results } = await raw.results(sequence & 0xff);
          assert.deepEqual(results, ['ERR 2013']);
          assert.deepEqual((await raw.query('SELECT 7')).results, [['7']]);
        }
      } finally {
        // The next one locks the table.
        await c.query('ROLLBACK');
      }
    });

    it('the file of a client that has gone before it was asked for is waited for by nobody', async () => {
      const raw = await f.raw(CAPABILITY.LOCAL_FILES);
      const c = await f.connect();
      await c.query('LOCK TABLES files WRITE');
      raw.send(raw.queryFrame("LOAD DATA LOCAL INFILE 'any' INTO TABLE files (v)"));
      const running = async (): Promise<number> => (await f.cluster.primary.admin(LOADS)).length;
      await until('it to wait for the table', async () => (await running()) === 1);
      raw.destroy();
      // The proxy reads that before it writes this.
      await c.query('SELECT 1');
      await c.query('UNLOCK TABLES');
      await until('it to end', async () => (await running()) === 0);
    });

    it('a prepared statement may ask for a file', { skip: kind === 'mysql' }, async () => {
      const raw = await f.raw(CAPABILITY.LOCAL_FILES);
      const load = "LOAD DATA LOCAL INFILE 'any' INTO TABLE files (v)";
      raw.send(buildCommand(COM.STMT_PREPARE, Buffer.from(load)));
      const statement = payloadOf(await raw.packet()).readUInt32LE(1);
      raw.send(new PacketWriter().u8(COM.STMT_EXECUTE).u32(statement).u8(0).u32(1).packet(0));
      const sequence = (await raw.packet())[3]! + 1;
      raw.send(new PacketWriter().bytes(Buffer.from('infile-p\n')).packet(sequence));
      raw.send(new PacketWriter().packet(sequence + 1));
      assert.deepEqual((await raw.results(sequence + 2)).results, ['OK']);
      assert.deepEqual((await raw.query("DELETE FROM files WHERE v = 'infile-p'")).results, ['OK']);
    });
  });
}
