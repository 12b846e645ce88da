// Whose writes a read sees: sessions that share a key over several connections, and the level that a client sets for itself.
// Replicas stand still meanwhile, so that a read which should not have gone there shows it.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { gatedScopeTests } from './scopes-gated.js';
import { type Front, rejects, Stage } from './stage.js';

const NOTE = 'SELECT note FROM notes WHERE id = ?';

export function scopeSuite(kind: Kind): void {
  test(`${kind}: scopes and levels of sessions`, { skip: skipWithout(available(kind)) }, async (t) => {
    const stage = await Stage.open(t, kind);
    await t.test('the level of a session', (t) => levelTests(t, stage));
    await t.test('scopes', (t) => scopeTests(t, stage));
    await t.test('scopes and gates', (t) => gatedScopeTests(t, stage, words(kind).set));
  });
}

/** As the dialect says it. */
const words = (kind: Kind) =>
  kind === 'postgres'
    ? {
        set: (level: string) => `SET scheelite.consistency = '${level}'`,
        show: 'SHOW scheelite.consistency',
        reset: 'RESET scheelite.consistency',
        unset: 'session',
        all: 'DISCARD ALL',
      }
    : {
        set: (level: string) => `SET @scheelite_consistency = '${level}'`,
        show: 'SELECT @scheelite_consistency',
        reset: 'SET @scheelite_consistency = NULL',
        unset: null,
        all: null,
      };

async function levelTests(t: TestContext, stage: Stage): Promise<void> {
  const front = await stage.front(t);
  const say = words(stage.kind);
  const { primary } = stage.cluster;
  const shown = async (client: Client, how: 'query' | 'execute' = 'query') => {
    const [row] = await client[how](say.show);
    return Object.values(row!)[0];
  };

  for (const how of ['query', 'execute'] as const) {
    await t.test(`it is set, shown, obeyed and reset, by ${how}`, async (t) => {
      const client = await front.connect(t);
      assert.equal(await shown(client, how), say.unset);
      assert.notEqual(await front.whereIs(client), primary.name);
      await client[how](say.set('primary'));
      assert.equal(await shown(client, how), 'primary');
      assert.equal(await front.whereIs(client), primary.name);
      await client[how](say.set('eventual'));
      assert.equal(await shown(client, how), 'eventual');
      assert.notEqual(await front.whereIs(client), primary.name);
      await client[how](say.reset);
      assert.equal(await shown(client, how), say.unset);
      const [pinned] = Object.values(front.counters().pins);
      assert.equal(pinned, undefined, 'it keeps no server connection');
    });
  }

  await t.test('what is no level is refused, and nothing changes', async (t) => {
    const client = await front.connect(t);
    for (const how of ['query', 'execute'] as const) {
      const error = await rejects(
        stage.driver,
        client[how](say.set('soon')),
        stage.driver.code('invalid-setting'),
      );
      assert.match(error.message, /"soon"; use one of .*eventual/);
    }
    assert.equal(await shown(client), say.unset);
    await client.query('SELECT 1');
  });

  await t.test('it is the own one of a session', async (t) => {
    const [one, other] = await front.connectMany(t, 2);
    await one!.query(say.set('primary'));
    assert.equal(await shown(other!), say.unset);
    assert.notEqual(await front.whereIs(other!), primary.name);
  });

  if (stage.kind === 'postgres') await t.test('as PostgreSQL has it', (t) => postgresLevels(t, stage, front));
  else await t.test('as MySQL has it', (t) => mysqlLevels(t, stage, front));
}

async function postgresLevels(t: TestContext, stage: Stage, front: Front): Promise<void> {
  const { user } = stage.cluster;
  const connect = async (more: object = {}): Promise<pg.Client> => {
    const { host, port } = front.proxy;
    const client = new pg.Client({ host, port, ...user, ...more });
    client.on('error', () => {});
    await client.connect();
    t.after(() => client.end());
    return client;
  };
  const shown = async (client: pg.Client) =>
    (await client.query('SHOW scheelite.consistency')).rows[0]['scheelite.consistency'];

  const client = await connect({ options: '-c scheelite.consistency=primary' });
  assert.equal(await shown(client), 'primary', 'a startup option sets it');
  await client.query("SET scheelite.consistency TO 'eventual'");
  await client.query('RESET scheelite.consistency');
  assert.equal(await shown(client), 'primary', 'RESET goes back to the startup option');
  for (const all of ['RESET ALL', 'DISCARD ALL']) {
    await client.query("SET scheelite.consistency TO 'eventual'");
    await client.query(all);
    assert.equal(await shown(client), 'primary', `so does ${all}`);
  }
  await client.query('BEGIN');
  await client.query("SET scheelite.consistency TO 'eventual'");
  assert.equal(await shown(client), 'eventual');
  await client.query('ROLLBACK');
  assert.equal(await shown(client), 'primary', 'ROLLBACK undoes it');
  await client.query("BEGIN; SET LOCAL application_name = 'x'");
  await client.query("SET scheelite.consistency TO 'eventual'");
  await client.query('COMMIT');
  assert.equal(await shown(client), 'eventual', 'COMMIT keeps it');
  await client.query('BEGIN');
  await client.query("SET LOCAL scheelite.consistency TO 'session'");
  assert.equal(await shown(client), 'session');
  await client.query('COMMIT');
  assert.equal(await shown(client), 'eventual', 'SET LOCAL ends with its transaction');

  const named = { name: 'own', text: "SET scheelite.consistency = 'primary'" };
  await client.query(named);
  await client.query("SET scheelite.consistency = 'session'");
  await client.query(named);
  assert.equal(await shown(client), 'primary', 'a prepared SET works again');
  const call = (level: string, local = false) =>
    `SELECT set_config('scheelite.consistency', '${level}', ${local})`;
  for (const [level, query] of [
    ['eventual', { text: call('eventual') }],
    ['session', { name: 'called', text: call('session') }],
  ] as const) {
    const { rows, command } = await client.query(query);
    assert.deepEqual([rows, command], [[{ set_config: level }], 'SELECT']);
    assert.equal(await shown(client), level, 'set_config is SET with a row');
  }
  await client.query('BEGIN');
  await client.query(call('primary', true));
  assert.equal(await shown(client), 'primary');
  await client.query('ROLLBACK');
  assert.equal(await shown(client), 'session', 'and may be local');
  await assert.rejects(client.query(call('soon')), { code: '22023' });
  await assert.rejects(client.query(`${call('primary')}, set_config('work_mem', '4MB', false)`), {
    code: '0A000',
  });
  await client.query("SET scheelite.consistency = 'primary'");
  await assert.rejects(client.query("SELECT 1; SET scheelite.consistency = 'session'"), { code: '0A000' });
  await assert.rejects(client.query('SHOW scheelite.nothing'), { code: '42704' });
  await assert.rejects(client.query('BEGIN; SELECT 1/0'), { code: '22012' });
  await assert.rejects(client.query('SHOW scheelite.consistency'), { code: '25P02' });
  await client.query('ROLLBACK');
  await assert.rejects(connect({ options: '-c scheelite.consistency=soon' }), { code: '22023' });
}

async function mysqlLevels(t: TestContext, stage: Stage, front: Front): Promise<void> {
  const { user } = stage.cluster;
  const { host, port } = front.proxy;
  const client = await mysql.createConnection({ host, port, ...user });
  t.after(() => client.destroy());
  const shown = async () => {
    const [rows] = await client.query('select @SCHEELITE_consistency as level');
    return (rows as { level: unknown }[])[0]!.level;
  };
  await client.execute('SET @scheelite_consistency = ?', ['primary']);
  assert.equal(await shown(), 'primary', 'a parameter sets it');
  await assert.rejects(client.execute('SET @scheelite_consistency = ?', ['soon']), { errno: 1231 });
  await client.execute('SET @scheelite_consistency = ?', [null]);
  assert.equal(await shown(), null);
  await client.query('/* from a pool */ SET @scheelite_consistency := "eventual";');
  assert.equal(await shown(), 'eventual');
  await client.changeUser({ user: user.user, password: user.password, database: user.database });
  assert.equal(await shown(), null, 'COM_CHANGE_USER clears it');
  await client.query("SET @scheelite_consistency = 'eventual'");
  await client.reset();
  assert.equal(await shown(), null, 'COM_RESET_CONNECTION clears it');
  await assert.rejects(client.query("SET @a = 1, @scheelite_consistency = 'session'"), { errno: 1235 });
  await assert.rejects(client.query('SELECT @scheelite_consistency, 1'), { errno: 1235 });
}

async function scopeTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const isPostgres = stage.kind === 'postgres';
  const still = async (t: TestContext) => {
    await cluster.waitCaughtUp();
    for (const replica of cluster.replicas) await replica.pauseReplay();
    t.after(async () => {
      for (const replica of cluster.replicas) await replica.resumeReplay();
      await cluster.waitCaughtUp();
    });
  };
  let id = 100;
  /** Written by one connection; what the other one reads then. */
  const readOfOther = async (writer: Client, reader: Client, comment = ''): Promise<unknown> => {
    id++;
    await writer.query(`${comment} INSERT INTO notes VALUES (?, 'new')`, [id]);
    return (await reader.query(`${comment} ${NOTE}`, [id]))[0]?.note;
  };

  await t.test('connections by themselves do not see each other', async (t) => {
    const front = await stage.front(t);
    const [writer, reader] = await front.connectMany(t, 2);
    await still(t);
    assert.equal(await readOfOther(writer!, reader!), undefined, 'or the tests below would show nothing');
  });

  for (const scope of ['user', 'database'] as const) {
    await t.test(`the scope ${scope}: all its connections see what one has written`, async (t) => {
      const front = await stage.front(t, { consistency: { scope } });
      const [writer, reader] = await front.connectMany(t, 2);
      await until('a read from a replica', async () => {
        return (await front.whereIs(reader!)) !== cluster.primary.name;
      });
      await still(t);
      for (let i = 0; i < 20; i++) assert.equal(await readOfOther(writer!, reader!), 'new');
      for (let i = 0; i < 20; i++) assert.equal(await readOfOther(reader!, writer!), 'new');
    });
  }

  await t.test('several workers share a key without Redis', async (t) => {
    const front = await stage.front(t, { consistency: { scope: 'user' } }, { workers: 2 });
    const clients = await front.connectMany(t, 4);
    for (const client of clients)
      await until(
        'a read from a replica',
        async () => (await front.whereIs(client)) !== cluster.primary.name,
      );
    await still(t);
    for (let i = 0; i < 40; i++)
      assert.equal(await readOfOther(clients[i % 4]!, clients[(i * 7 + 1) % 4]!), 'new', `write ${i}`);
    await front.proxy.proxy.refresh();
    const { store } = front.counters();
    assert.ok(store.recorded >= 40, JSON.stringify(store));
  });

  await t.test('the scope comment: those see it that name the same session', async (t) => {
    const front = await stage.front(t, { consistency: { scope: 'comment' } });
    const [writer, reader] = await front.connectMany(t, 2);
    for (const name of ['alice', 'bob'])
      await until(`a read of ${name} from a replica`, async () => {
        const rows = await reader!.query(`/* scheelite: session=${name} */ SELECT node_port() AS port`);
        return stage.nodeAt(rows[0]?.port) !== cluster.primary.name;
      });
    await still(t);
    for (let i = 0; i < 10; i++)
      assert.equal(await readOfOther(writer!, reader!, '/* scheelite: session=alice */'), 'new');
    const rows = await reader!.query(`/* scheelite: session=bob */ ${NOTE}`, [id]);
    assert.equal(rows[0], undefined, 'bob has not written it');
    // The key of a transaction is that of any of its statements.
    id++;
    await writer!.query('BEGIN');
    await writer!.query(`/* scheelite: session=bob */ INSERT INTO notes VALUES (?, 'new')`, [id]);
    await writer!.query('COMMIT');
    const after = await reader!.query(`/* scheelite: session=bob */ ${NOTE}`, [id]);
    assert.equal(after[0]?.note, 'new');
  });

  await t.test('the scope of a startup parameter or connection attribute', async (t) => {
    const scope = isPostgres
      ? { startupParameter: 'application_name' }
      : { connectionAttribute: 'program_name' };
    const front = await stage.front(t, { consistency: { scope } });
    const { host, port } = front.proxy;
    const connect = async (name: string): Promise<(sql: string) => Promise<unknown[]>> => {
      if (isPostgres) {
        const client = new pg.Client({ host, port, ...cluster.user, application_name: name });
        client.on('error', () => {});
        await client.connect();
        t.after(() => client.end());
        return async (sql) => (await client.query(sql)).rows;
      }
      const connectAttributes = { program_name: name };
      const client = await mysql.createConnection({ host, port, ...cluster.user, connectAttributes });
      t.after(() => client.destroy());
      return async (sql) => (await client.query(sql))[0] as unknown[];
    };
    const writer = await connect('one');
    const reader = await connect('one');
    const stranger = await connect('two');
    for (const client of [reader, stranger])
      await until('a read from a replica', async () => {
        const [row] = await client('SELECT node_port() AS port');
        return stage.nodeAt((row as { port: unknown }).port) !== cluster.primary.name;
      });
    await still(t);
    for (let i = 0; i < 10; i++) {
      id++;
      await writer(`INSERT INTO notes VALUES (${id}, 'new')`);
      assert.equal((await reader(`SELECT note FROM notes WHERE id = ${id}`)).length, 1);
    }
    assert.equal((await stranger(`SELECT note FROM notes WHERE id = ${id}`)).length, 0);
  });
}
