// The settings of a PostgreSQL session: they are the client's own on whatever server connection its units run, and what
// ParameterStatus has told it is true.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { until } from '../servers/poll.js';
import { openWire, trustingFront } from './postgres-protocol.js';
import { type PostgresWire, say } from './postgres-wire.js';
import type { Stage } from './stage.js';

export async function sessionTests(t: TestContext, stage: Stage): Promise<void> {
  // One server connection a node: all clients must share it.
  const front = await trustingFront(t, stage, { pool: { maxServerConnections: 1 } });
  const open = (t: TestContext, startup: Readonly<Record<string, string>> = {}) =>
    openWire(t, stage, front, startup);
  const value = async (wire: PostgresWire, sql: string) => {
    const lines = await wire.talk(say.query(sql));
    const row = lines.find((line) => line.startsWith('DataRow '));
    assert.ok(row !== undefined, lines.join('; '));
    return row.slice('DataRow '.length);
  };
  /** What the node says where reads run. */
  const setting = (wire: PostgresWire, name: string) => value(wire, `SELECT current_setting('${name}')`);
  const done = async (wire: PostgresWire, sql: string) => {
    const lines = await wire.talk(say.query(sql));
    assert.ok(lines[0]?.startsWith('CommandComplete'), lines.join('; '));
  };
  const failed = async (wire: PostgresWire, sql: string) => {
    const lines = await wire.talk(say.query(sql));
    assert.ok(lines[0]?.startsWith('ErrorResponse ERROR'), lines.join('; '));
  };

  await t.test('startup parameters, in every notation', async (t) => {
    const wire = await open(t, {
      timezone: 'Asia/Tokyo',
      application_name: 'an application',
      options: '-c search_path=a,b -cdatestyle=German --work_mem=3MB',
      client_encoding: 'LATIN1',
    });
    assert.equal(wire.parameters.get('TimeZone'), 'Asia/Tokyo');
    assert.equal(wire.parameters.get('DateStyle'), 'German, DMY');
    assert.equal(wire.parameters.get('client_encoding'), 'LATIN1');
    assert.equal(wire.parameters.get('application_name'), 'an application');
    for (const [name, expected] of [
      ['TimeZone', 'Asia/Tokyo'],
      ['search_path', 'a,b'],
      ['DateStyle', 'German, DMY'],
      ['work_mem', '3MB'],
      ['client_encoding', 'LATIN1'],
      ['application_name', 'an application'],
    ] as const) {
      assert.equal(await setting(wire, name), expected);
      assert.equal(await value(wire, `SHOW ${name}`), expected);
    }
    const plain = await open(t);
    assert.equal(await setting(plain, 'TimeZone'), 'UTC');
    assert.equal(await setting(plain, 'search_path'), '"$user", public');
  });

  await t.test('a wrong startup parameter is refused as a server does', async (t) => {
    await assert.rejects(
      open(t, { TimeZone: 'Nowhere/Never' }),
      /22023 invalid value for parameter "TimeZone"/,
    );
    await assert.rejects(open(t, { no_such_setting: '1' }), /42704 unrecognized configuration parameter/);
  });

  await t.test(
    'two sessions with other settings share a server connection and never see each other',
    async (t) => {
      const zones = ['Asia/Tokyo', 'America/Lima', 'Europe/Oslo'];
      const wires = await Promise.all(zones.map(() => open(t)));
      for (const [i, wire] of wires.entries()) {
        await done(wire, `SET TimeZone = '${zones[i]}'`);
        await done(wire, `SET search_path = s${i}, public`);
        assert.equal(wire.parameters.get('TimeZone'), zones[i]);
      }
      for (let round = 0; round < 5; round++) {
        for (const [i, wire] of wires.entries()) {
          // A read on a replica, then a transaction on the primary.
          assert.equal(await setting(wire, 'TimeZone'), zones[i]);
          assert.equal(await setting(wire, 'search_path'), `s${i}, public`);
          await done(wire, 'BEGIN');
          assert.equal(await setting(wire, 'TimeZone'), zones[i]);
          await done(wire, 'COMMIT');
          assert.equal(wire.parameters.get('TimeZone'), zones[i]);
        }
      }
      // At the same time, each waiting for the others' connection.
      await Promise.all(
        wires.map(async (wire, i) => {
          for (let round = 0; round < 30; round++) assert.equal(await setting(wire, 'TimeZone'), zones[i]);
        }),
      );
    },
  );

  await t.test(
    'RESET, RESET ALL, SET DEFAULT and DISCARD ALL go back to the startup parameters',
    async (t) => {
      const wire = await open(t, { TimeZone: 'Asia/Tokyo' });
      for (const back of ['RESET TimeZone', 'RESET ALL', 'SET TimeZone TO DEFAULT', 'DISCARD ALL']) {
        await done(wire, "SET TimeZone = 'Europe/Oslo'");
        assert.equal(await setting(wire, 'TimeZone'), 'Europe/Oslo');
        await done(wire, back);
        assert.equal(await setting(wire, 'TimeZone'), 'Asia/Tokyo', back);
        assert.equal(wire.parameters.get('TimeZone'), 'Asia/Tokyo', back);
      }
    },
  );

  await t.test(
    'SET LOCAL and a rolled back SET end with their transaction, a committed SET stays',
    async (t) => {
      const [wire, other] = [await open(t), await open(t)];
      const both = async (expected: string) => {
        assert.equal(await setting(wire, 'work_mem'), expected);
        assert.equal(await setting(other, 'work_mem'), '4MB');
      };
      await done(wire, 'BEGIN');
      await done(wire, "SET LOCAL work_mem = '5MB'");
      assert.equal(await setting(wire, 'work_mem'), '5MB');
      await done(wire, 'COMMIT');
      await both('4MB');
      await done(wire, 'BEGIN');
      await done(wire, "SET work_mem = '6MB'");
      await done(wire, 'ROLLBACK');
      await both('4MB');
      await done(wire, 'BEGIN');
      await done(wire, "SET work_mem = '7MB'");
      await failed(wire, 'nonsense');
      await done(wire, 'COMMIT');
      await both('4MB');
      await done(wire, 'BEGIN');
      await done(wire, "SET work_mem = '8MB'");
      await done(wire, 'COMMIT');
      await both('8MB');
      await done(wire, 'BEGIN');
      await done(wire, 'SAVEPOINT s');
      await done(wire, "SET work_mem = '9MB'");
      await done(wire, 'ROLLBACK TO s');
      await done(wire, 'COMMIT');
      await both('8MB');
      // One implicit transaction: the error undoes the SET.
      await failedAfter(wire, "SET work_mem = '10MB'; SELECT 1 / 0");
      await both('8MB');
      await done(wire, "SET work_mem = '11MB'; SET statement_timeout = '60s'");
      await both('11MB');
    },
  );

  await t.test('DateStyle: what a SET leaves unsaid stays as it was', async (t) => {
    const started = await open(t, { datestyle: 'dmy' });
    const [wire, german] = [await open(t, { datestyle: 'Postgres, MDY' }), await open(t)];
    await done(german, 'SET datestyle TO german');
    const others = async () => {
      assert.equal(await setting(german, 'DateStyle'), 'German, DMY');
      assert.equal(await setting(started, 'DateStyle'), 'ISO, DMY');
    };
    await others();
    for (const [set, expected] of [
      ['SET datestyle TO ymd', 'Postgres, YMD'],
      ['SET datestyle TO iso', 'ISO, YMD'],
      ["SELECT set_config('datestyle', 'European', false)", 'ISO, DMY'],
      ["SET datestyle = 'sql'", 'SQL, DMY'],
      ['RESET datestyle', 'Postgres, MDY'],
    ] as const) {
      await wire.talk(say.query(set));
      for (let i = 0; i < 2; i++) {
        assert.equal(await setting(wire, 'DateStyle'), expected);
        await others();
      }
      assert.equal(wire.parameters.get('DateStyle'), expected);
    }
  });

  await t.test('a SET that the server refuses changes nothing', async (t) => {
    const wire = await open(t);
    await failed(wire, "SET work_mem = 'lots'");
    await failed(wire, 'SET no_such_setting = 1');
    assert.equal(await setting(wire, 'work_mem'), '4MB');
  });

  await t.test('set_config, SET ROLE, SET through a prepared statement', async (t) => {
    const [wire, other] = [await open(t), await open(t)];
    assert.equal(await value(wire, "SELECT set_config('work_mem', '12MB', false)"), '12MB');
    await wire.talk(say.run("SET TimeZone = 'Asia/Tokyo'"));
    for (let i = 0; i < 3; i++) {
      assert.equal(await setting(wire, 'work_mem'), '12MB');
      assert.equal(await setting(wire, 'TimeZone'), 'Asia/Tokyo');
      assert.equal(await setting(other, 'work_mem'), '4MB');
      assert.equal(await setting(other, 'TimeZone'), 'UTC');
    }
  });

  await t.test('search_path decides which table is meant, in text and in prepared statements', async (t) => {
    const owner = await open(t);
    await stage.cluster.primary.admin('GRANT CREATE ON DATABASE app TO app');
    for (const name of ['left', 'right']) {
      await done(owner, `CREATE SCHEMA "${name}"`);
      await done(owner, `CREATE TABLE "${name}".side AS SELECT '${name}' AS name`);
    }
    await stage.cluster.waitCaughtUp();
    const [a, b] = [await open(t, { options: '-csearch_path=left' }), await open(t)];
    await done(b, 'SET search_path = "right"');
    const sql = 'SELECT name FROM side';
    for (const wire of [a, b]) await wire.talk(say.parse('side', sql), say.sync());
    const prepared = async (wire: PostgresWire) =>
      await wire.talk(say.bind('side'), say.execute(), say.sync());
    for (let i = 0; i < 5; i++) {
      assert.equal(await value(a, sql), 'left');
      assert.equal(await value(b, sql), 'right');
      assert.ok((await prepared(a)).includes('DataRow left'));
      assert.ok((await prepared(b)).includes('DataRow right'));
    }
    await done(a, 'SET search_path = "right"');
    assert.equal(await value(a, sql), 'right');
    assert.ok((await prepared(a)).includes('DataRow right'));
  });

  await t.test('temporary tables, advisory locks and sequences stay with their session', async (t) => {
    const roomy = await trustingFront(t, stage, { pool: { maxServerConnections: 3 } });
    const [wire, other] = [await openWire(t, stage, roomy), await openWire(t, stage, roomy)];
    await done(wire, 'CREATE TEMPORARY TABLE mine AS SELECT 1 AS n');
    await failed(other, 'SELECT * FROM mine');
    for (let i = 0; i < 5; i++) {
      assert.equal(await value(wire, 'SELECT n FROM mine'), '1');
      assert.equal(await value(other, 'SELECT 2'), '2');
    }
    await done(wire, 'DISCARD TEMP');
    await failed(wire, 'SELECT * FROM mine');
    assert.equal(await value(wire, 'SELECT pg_try_advisory_lock(7)'), 't');
    assert.equal(await value(other, 'SELECT pg_try_advisory_lock(7)'), 'f');
    wire.socket.destroy();
    await until(
      'the lock to be free',
      async () => (await value(other, 'SELECT pg_try_advisory_lock(7)')) === 't',
    );
  });

  await t.test('a database can be dropped, copied and renamed once its clients have left', async (t) => {
    const { user, password } = stage.cluster.superuser;
    const roomy = await trustingFront(t, stage, { users: [{ name: user, password }] });
    const enter = (database: string) => openWire(t, stage, roomy, { user, database });
    const visited = async (database: string) => {
      const wire = await enter(database);
      await done(wire, 'ANALYZE pg_class');
      await value(wire, 'SELECT count(*) FROM pg_class');
      return wire;
    };
    const admin = await enter('postgres');
    t.after(() => stage.cluster.primary.admin('DROP DATABASE IF EXISTS "Moved ""1""" WITH (FORCE)'));
    await done(admin, 'CREATE DATABASE visited');
    (await visited('visited')).socket.end();
    await done(admin, 'CREATE DATABASE copied WITH TEMPLATE = visited');
    (await visited('visited')).socket.end();
    (await visited('copied')).socket.end();
    await done(admin, 'DROP DATABASE visited');
    await done(admin, 'ALTER DATABASE copied RENAME TO "Moved ""1"""');
    const stays = await visited('Moved "1"');
    const [refused] = await admin.talk(say.query('DROP DATABASE "Moved ""1"""'));
    assert.match(refused!, /^ErrorResponse ERROR 55006 /, 'a client is there');
    stays.socket.end();
    await done(admin, 'DROP DATABASE IF EXISTS "Moved ""1"""');
  });

  await t.test('currval() and lastval() never tell what others have drawn', async (t) => {
    const [wire, other, stranger] = [await open(t), await open(t), await open(t)];
    await done(wire, 'CREATE TABLE drawn (id serial PRIMARY KEY, who text)');
    const undefinedYet = async (each: PostgresWire, sql: string) => {
      const said = (await each.talk(say.query(sql))).join('\n');
      assert.match(said, /^ErrorResponse ERROR 55000 .* is not yet defined in this session$/m);
      assert.doesNotMatch(said, /^DataRow/m);
    };
    const insert = async (each: PostgresWire) => {
      return await value(each, "INSERT INTO drawn (who) VALUES ('one') RETURNING id");
    };
    // One server connection for all: what the first has drawn there is the other's by now.
    await insert(wire);
    await insert(other);
    await undefinedYet(wire, 'SELECT lastval()');
    wire.socket.destroy();
    await undefinedYet(stranger, "SELECT currval('drawn_id_seq')");
    stranger.socket.destroy();
    // Now it is known that this INSERT is asked about.
    const mine = await insert(other);
    assert.equal(await value(other, 'SELECT lastval()'), mine);
    assert.equal(await value(other, "SELECT currval('drawn_id_seq')"), mine);
    other.socket.destroy();
    const roomy = await trustingFront(t, stage, { pool: { maxServerConnections: 3 } });
    const [left, right] = [await openWire(t, stage, roomy), await openWire(t, stage, roomy)];
    // Nobody has used the server connection in between.
    const before = await insert(left);
    assert.equal(await value(left, 'SELECT lastval()'), before);
    const [drawnLeft, drawnRight] = [await insert(left), await insert(right)];
    assert.equal(await value(right, 'SELECT lastval()'), drawnRight);
    assert.equal(await value(left, 'SELECT lastval()'), drawnLeft);
  });

  await t.test('standard_conforming_strings off: a backslash is read as the server reads it', async (t) => {
    const wire = await open(t, {
      options: '-c standard_conforming_strings=off -c escape_string_warning=off',
    });
    assert.equal(
      await value(wire, String.raw`SELECT 'it\'s; DROP TABLE items; --'`),
      "it's; DROP TABLE items; --",
    );
    assert.equal(await value(wire, 'SELECT count(*) FROM items'), '3');
  });
}

async function failedAfter(wire: PostgresWire, sql: string): Promise<void> {
  const lines = await wire.talk(say.query(sql));
  assert.ok(
    lines.some((line) => line.startsWith('ErrorResponse ERROR')),
    lines.join('; '),
  );
}
