// What drivers of other languages do and see as with a direct connection: prepared statements whose rows or types a schema change has
// made others (pgx, lib/pq, pgjdbc, asyncpg bind without a description), Parse and Describe behind a Flush with a Query next
// (asyncpg), and cancels whose end they wait for (libpq, asyncpg).

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { backends } from '../e2e/postgres-activity.js';
import { cancelRequest, PostgresWire, say } from '../e2e/postgres-wire.js';
import type { ProxyUnderTest } from '../proxy/proxy-under-test.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster, type TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';

const skip = skipWithout(available('postgres'));
const CHANGED = 'ErrorResponse ERROR 0A000 cached plan must not change result type';

interface Pair {
  /** The same to both, each in a schema of its own; what the server said, which the proxy's client was told too. */
  alike(...messages: readonly Buffer[]): Promise<string[]>;
  /** The same, up to a line that begins so: no ReadyForQuery comes. */
  alikeUpTo(beginning: string, ...messages: readonly Buffer[]): Promise<string[]>;
  readonly proxied: PostgresWire;
}

async function pair(t: TestContext, cluster: TestCluster, proxy: ProxyUnderTest): Promise<Pair> {
  // Another client may have changed the schema, which a new one need not see at once.
  await cluster.waitCaughtUp();
  const startup = { user: 'app_trust', database: cluster.user.database };
  const proxied = await PostgresWire.open(t, proxy, startup);
  const bare = await PostgresWire.open(t, cluster.primary, startup);
  await proxied.talk(say.query('SET search_path TO proxied'));
  await bare.talk(say.query('SET search_path TO bare'));
  const alikeUpTo = async (beginning: string, ...messages: readonly Buffer[]): Promise<string[]> => {
    for (const wire of [bare, proxied]) wire.send(...messages);
    const expected = await bare.through(beginning);
    assert.deepEqual(await proxied.through(beginning), expected);
    return expected;
  };
  return { proxied, alikeUpTo, alike: (...messages) => alikeUpTo('ReadyForQuery', ...messages) };
}

const prepare = (name: string, sql: string): Buffer[] => [say.parse(name, sql), say.describeStatement(name)];
const runs = (name: string, ...values: unknown[]): Buffer[] => [
  say.bind(name, values),
  say.execute(),
  say.sync(),
];

/** Its results in text, said of each column. */
function bindByColumn(statement: string, value: string, columns: number): Buffer {
  const one = say.bind(statement, [value]);
  const bind = Buffer.concat([one.subarray(0, -4), Buffer.alloc(2 + 2 * columns)]);
  bind.writeInt16BE(columns, one.length - 4);
  bind.writeInt32BE(bind.length - 1, 1);
  return bind;
}

test('postgres: what drivers rely on', { skip }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const admin = await asSuperuser(t, cluster);
  for (const schema of ['proxied', 'bare']) {
    await admin.do(`CREATE SCHEMA ${schema} AUTHORIZATION app_trust`);
    await admin.do(
      `CREATE TABLE ${schema}.w (id int PRIMARY KEY, v int); INSERT INTO ${schema}.w VALUES (1, 10)`,
    );
    await admin.do(`ALTER TABLE ${schema}.w OWNER TO app_trust`);
  }
  await cluster.waitCaughtUp();
  const proxy = await front(t, cluster, { pool: { maxServerConnections: 4 } });

  for (const where of ['autocommit', 'a transaction'] as const)
    await t.test(`rows of a prepared statement that have changed, in ${where}`, async (t) => {
      const { alike } = await pair(t, cluster, proxy);
      const other = await pair(t, cluster, proxy);
      const isOpen = where === 'a transaction';
      for (const sql of [
        'SELECT * FROM w WHERE id = $1',
        'UPDATE w SET v = v + 1 WHERE id = $1 RETURNING *',
      ]) {
        await alike(...prepare('s', sql), say.sync());
        await alike(...runs('s', 1));
        await other.alike(say.query('ALTER TABLE w ADD COLUMN more int DEFAULT 7'));
        if (isOpen) await alike(say.query('BEGIN'));
        for (let i = 0; i < 3; i++) {
          const [first] = await alike(...runs('s', 1));
          assert.equal(first, i === 0 || !isOpen ? CHANGED : first);
        }
        if (isOpen) await alike(say.query('ROLLBACK'));
        // Prepared again it has the new rows.
        await alike(...prepare('new', sql), say.sync());
        await alike(...runs('new', 1));
        await other.alike(say.query('ALTER TABLE w DROP COLUMN more'));
        // What it had, it has again.
        assert.equal((await alike(...runs('s', 1)))[0], 'BindComplete');
        assert.equal((await alike(...runs('new', 1)))[0], CHANGED);
        await alike(say.close('s'), say.close('new'), say.sync());
      }
    });

  await t.test('rows that have changed, of what is bound with a format for each column', async (t) => {
    const { alike } = await pair(t, cluster, proxy);
    const other = await pair(t, cluster, proxy);
    await alike(...prepare('s', 'SELECT * FROM w WHERE id = $1'), say.sync());
    await other.alike(say.query('ALTER TABLE w ADD COLUMN more int DEFAULT 7'));
    // As pgx does: it has the formats from the description that it keeps, and asks for another one beside.
    const lines = await alike(bindByColumn('s', '1', 2), say.describePortal(), say.execute(), say.sync());
    assert.equal(lines[0], CHANGED);
    await alike(say.query('ALTER TABLE w DROP COLUMN more'));
  });

  await t.test('rows that have changed, of one of several that a batch binds', async (t) => {
    const { alike } = await pair(t, cluster, proxy);
    const other = await pair(t, cluster, proxy);
    await alike(...prepare('s', 'SELECT * FROM w WHERE id = $1'), say.sync());
    await alike(...prepare('u', 'SELECT id FROM w WHERE id = $1'), say.sync());
    await other.alike(say.query('ALTER TABLE w ADD COLUMN more int DEFAULT 7'));
    const lines = await alike(
      ...[say.bind('s', [1]), say.execute(), say.bind('u', [1]), say.execute()],
      ...[say.bind('u', [1]), say.describePortal(), say.execute(), say.sync()],
    );
    assert.equal(lines[0], CHANGED);
    await alike(say.query('ALTER TABLE w DROP COLUMN more'));
  });

  await t.test(
    'what is bound behind the end of a failed transaction, in the batch that ends it',
    async (t) => {
      const { alike, proxied } = await pair(t, cluster, proxy);
      const other = await pair(t, cluster, proxy);
      const run = (name: string, ...values: unknown[]): Buffer[] => [say.bind(name, values), say.execute()];
      const parsed = (sql: string): Buffer[] => [say.parse('', sql), ...run('')];
      const fails = async (): Promise<void> => {
        await alike(say.query('BEGIN'));
        await alike(say.query('SAVEPOINT a'));
        await alike(say.query('SELECT 1 / 0'));
      };
      await alike(...prepare('s', 'SELECT v FROM w WHERE id = $1'), say.sync());
      await alike(...prepare('c', 'COMMIT'), say.sync());
      for (const ending of [parsed('COMMIT'), parsed('ROLLBACK'), run('c')])
        for (const behind of [
          run('s', 1),
          run('s', 1, 2),
          [...parsed('BEGIN'), ...run('s', 1), ...parsed('COMMIT')],
        ]) {
          await other.alike(say.query('CREATE TABLE beside (a int); DROP TABLE beside'));
          await fails();
          await alike(...ending, ...behind, say.sync());
          await alike(say.query('ROLLBACK'));
        }
      // Nothing is looked at but what ends it.
      for (const first of [run('s', 1), parsed('SELECT 1'), parsed('BEGIN'), parsed('SAVEPOINT b')]) {
        await other.alike(say.query('CREATE TABLE beside (a int); DROP TABLE beside'));
        await fails();
        await alike(...first, ...run('s', 1), say.sync());
        await alike(say.query('ROLLBACK TO a'));
        await alike(...run('s', 1), say.sync());
        await alike(say.query('COMMIT'));
      }
      // The end itself, prepared before, has no rows that could be others.
      for (const sql of ['COMMIT AND CHAIN', 'ROLLBACK TO a', '  rollback']) {
        await alike(...prepare('e', sql), say.sync());
        await other.alike(say.query('CREATE TABLE beside (a int); DROP TABLE beside'));
        await fails();
        await alike(...run('e'), say.sync());
        await alike(...run('s', 1), say.sync());
        await alike(say.query('ROLLBACK'));
        await alike(say.close('e'), say.sync());
      }
      // Its rows are others: the whole batch is refused, and the client may end the transaction once more.
      await alike(...prepare('r', 'SELECT * FROM w WHERE id = $1'), say.sync());
      await other.alike(say.query('ALTER TABLE w ADD COLUMN more int DEFAULT 7'));
      await fails();
      assert.deepEqual(await proxied.talk(...parsed('ROLLBACK'), ...run('r', 1), say.sync()), [
        CHANGED,
        'ReadyForQuery E',
      ]);
      await alike(say.query('ROLLBACK'));
      await alike(...runs('s', 1));
      await other.alike(say.query('ALTER TABLE w DROP COLUMN more'));
    },
  );

  await t.test('Parse alone, or Close, and Flush', async (t) => {
    const { alike, alikeUpTo } = await pair(t, cluster, proxy);
    for (const begin of ['SELECT 0', 'BEGIN'])
      for (let i = 0; i < 3; i++) {
        await alike(say.query(begin));
        await alikeUpTo('ParseComplete', say.parse('f', 'SELECT v FROM w WHERE id = $1'), say.flush());
        await alikeUpTo('CommandComplete', say.bind('f', [1]), say.execute(), say.flush());
        await alikeUpTo('CloseComplete', say.close('f'), say.flush());
        await alikeUpTo('ParseComplete', say.parse('f', 'SELECT 8'), say.close('f'), say.flush());
        await alikeUpTo('CommandComplete', say.run('SELECT 9').subarray(0, -5), say.flush());
        await alike(say.sync());
        await alikeUpTo('ParseComplete', say.parse('f', 'SELECT 8'), say.flush());
        await alike(say.bind('f', []), say.execute(), say.close('f'), say.sync());
        await alike(say.query('ROLLBACK'));
      }
  });

  await t.test('the unnamed statement ends with a Query, whoever answers that', async (t) => {
    const { alike } = await pair(t, cluster, proxy);
    for (const sql of [
      'DEALLOCATE s',
      'BEGIN',
      'COMMIT',
      'SET work_mem = 4096',
      'SHOW work_mem',
      'SELECT 1',
    ]) {
      await alike(...prepare('s', 'SELECT v FROM w WHERE id = $1'), say.sync());
      await alike(...prepare('', 'SELECT v + 1 FROM w WHERE id = $1'), say.sync());
      await alike(...runs('', 1));
      await alike(say.query(sql));
      const [refused] = await alike(say.describeStatement(''), say.sync());
      assert.equal(refused, 'ErrorResponse ERROR 26000 unnamed prepared statement does not exist', sql);
      await alike(say.query('ROLLBACK'));
      await alike(say.close('s'), say.sync());
    }
  });

  await t.test('rows that have stayed as they were, behind a change of something else', async (t) => {
    const { alike } = await pair(t, cluster, proxy);
    const other = await pair(t, cluster, proxy);
    await alike(...prepare('s', 'SELECT v FROM w WHERE id = $1'), say.sync());
    for (let i = 0; i < 3; i++) {
      await other.alike(say.query(i % 2 === 0 ? 'CREATE TABLE beside (a int)' : 'DROP TABLE beside'));
      for (let k = 0; k < 3; k++) assert.equal((await alike(...runs('s', 1)))[0], 'BindComplete');
    }
    await other.alike(say.query('DROP TABLE beside'));
  });

  await t.test(
    'an unnamed statement, bound in the next batch, of a type that has been made anew',
    async (t) => {
      const one = await front(t, cluster);
      const { alike } = await pair(t, cluster, one);
      const other = await pair(t, cluster, one);
      for (let i = 0; i < 4; i++) {
        await alike(say.query("CREATE TYPE mood AS ENUM ('sad', 'glad')"));
        for (let k = 0; k < 4; k++) {
          await alike(...prepare('', 'SELECT $1::mood'), say.sync());
          // The server connection has another unnamed statement by then.
          await other.alike(...prepare('', 'SELECT 1'), say.sync());
          assert.ok((await alike(...runs('', 'glad'))).includes('DataRow glad'));
        }
        await alike(say.query('DROP TYPE mood'));
      }
    },
  );

  await t.test('Parse, Describe, Flush, and a Query next', async (t) => {
    const { alike, alikeUpTo } = await pair(t, cluster, proxy);
    for (const begin of ['SELECT 0', 'BEGIN']) {
      await alike(say.query(begin));
      await alikeUpTo('RowDescription', ...prepare('p', 'SELECT v FROM w WHERE id = $1'), say.flush());
      await alike(say.query('SELECT 2'));
      await alike(...runs('p', 1));
      await alikeUpTo('RowDescription', ...prepare('q', 'SELECT 3'), say.flush());
      await alikeUpTo('CopyInResponse', say.query('COPY w FROM STDIN'));
      await alike(say.copyData('2\t20\n'), say.copyDone());
      await alikeUpTo('RowDescription', ...prepare('', 'SELECT 4'), say.flush());
      await alikeUpTo('RowDescription', ...prepare('r', 'SELECT 5'), say.flush());
      await alike(say.query('DELETE FROM w WHERE id = 2; SELECT 6'));
      // Behind an error all is skipped, the Query too.
      await alikeUpTo('ErrorResponse', ...prepare('bad', 'SELECT missing'), say.flush());
      await alike(say.query('SELECT 7'), say.sync());
      await alikeUpTo('ErrorResponse', ...prepare('bad', 'SELEC'), say.flush(), say.query('DELETE FROM w'));
      await alike(say.sync());
      await alike(say.query('ROLLBACK'));
      await alike(say.close('p'), say.close('q'), say.close('r'), say.sync());
      await alike(say.query('SELECT * FROM w ORDER BY id'));
    }
  });

  await t.test('what comes behind the data of a COPY in a batch that is open', async (t) => {
    const { alike, alikeUpTo } = await pair(t, cluster, proxy);
    const copy = [say.parse('', 'COPY w FROM STDIN'), say.bind(''), say.execute()];
    const next = [say.parse('', 'SELECT 7'), say.bind(''), say.execute()];
    for (const end of [say.copyDone(), say.copyFail('no more')])
      for (const behind of [[], next, [say.flush(), ...next], [...next, say.flush()]]) {
        await alikeUpTo('CopyInResponse', ...copy, say.flush());
        await alike(say.copyData('3\t30\n'), say.sync(), end, ...behind, say.sync());
        await alike(say.query('DELETE FROM w WHERE id = 3'));
      }
    await alikeUpTo('CopyInResponse', ...copy, say.flush());
    await alikeUpTo('CommandComplete', say.copyData('3\t30\n'), say.copyDone(), say.flush());
    await alikeUpTo('CopyInResponse', say.bind(''), say.execute(), say.flush());
    await alike(say.copyData('4\t40\n'), say.copyDone(), ...next, say.sync());
    await alikeUpTo('CopyInResponse', ...copy, say.flush());
    await alike(say.copyData('x\n'), say.copyDone(), ...next, say.sync());
    await alikeUpTo('CopyInResponse', ...copy, say.flush());
    // A Query is read when the Sync before it has been answered.
    await alikeUpTo(
      'DataRow 8',
      say.copyData('5\t5\n'),
      say.copyDone(),
      ...next,
      say.sync(),
      say.query('SELECT 8'),
    );
    await alikeUpTo('ReadyForQuery');
    await alike(say.query('SELECT * FROM w ORDER BY id; DELETE FROM w WHERE id > 2'));
  });

  await t.test(
    'the data of a client that has gone before COPY asks for it are waited for by nobody',
    async (t) => {
      const { proxied } = await pair(t, cluster, proxy);
      const other = await pair(t, cluster, proxy);
      const copies = async (): Promise<number> =>
        (await backends(cluster.primary, 'COPY w FROM STDIN')).filter(({ state }) => state === 'active')
          .length;
      for (const messages of [
        [say.query('COPY w FROM STDIN')],
        [say.parse('', 'COPY w FROM STDIN'), say.bind(''), say.execute(), say.sync()],
      ]) {
        const gone = await PostgresWire.open(t, proxy, {
          user: 'app_trust',
          database: cluster.user.database,
        });
        await gone.talk(say.query('SET search_path TO proxied'));
        await proxied.talk(say.query('BEGIN; LOCK TABLE w'));
        gone.send(...messages);
        await until('it to wait for the table', async () => (await copies()) === 1);
        gone.socket.destroy();
        // The proxy has read that before it answers this.
        await other.proxied.talk(say.query('SELECT 1'));
        await proxied.talk(say.query('COMMIT'));
        await until('it to end', async () => (await copies()) === 0);
      }
    },
  );

  await t.test('names given and taken between the Flushes of one batch', async (t) => {
    const { alike, alikeUpTo } = await pair(t, cluster, proxy);
    for (let i = 0; i < 3; i++) {
      await alikeUpTo('ParseComplete', say.parse('a', 'SELECT 1'), say.flush());
      await alikeUpTo('CommandComplete', say.bind('a'), say.execute(), say.flush());
      await alikeUpTo('CloseComplete', say.close('a'), say.flush());
      await alikeUpTo(
        'CommandComplete',
        say.parse('a', 'SELECT 2'),
        say.bind('a'),
        say.execute(),
        say.flush(),
      );
      await alikeUpTo(
        'CommandComplete',
        say.parse('', 'DEALLOCATE a'),
        say.bind(''),
        say.execute(),
        say.flush(),
      );
      await alikeUpTo(
        'CommandComplete',
        say.parse('a', 'SELECT 3'),
        say.bind('a'),
        say.execute(),
        say.flush(),
      );
      await alike(say.parse('', 'DISCARD PLANS'), say.bind(''), say.execute(), say.close('a'), say.sync());
      await alikeUpTo('ErrorResponse', say.bind('a'), say.execute(), say.flush());
      await alike(say.sync());
    }
  });

  await t.test('a cancel hits nothing that is sent behind its end', async (t) => {
    const { proxied } = await pair(t, cluster, proxy);
    // From here on the server connection stays with the client.
    await proxied.talk(say.query('CREATE TEMPORARY TABLE pinned (a int)'));
    for (let i = 0; i < 100; i++) {
      proxied.send(say.query('SELECT pg_sleep(0.001)'));
      await cancelRequest(proxy, proxied);
      await proxied.ready();
      const lines = await proxied.talk(say.query('SELECT 1 FROM pg_sleep(0.005)'));
      assert.ok(lines.includes('DataRow 1'), `${i}: ${lines.join('; ')}`);
    }
  });

  await t.test('what is only prepared, or only cancelled, is not taken for short', async (t) => {
    const shared = await front(t, cluster, { pool: { maxServerConnections: 4 } });
    const { proxied } = await pair(t, cluster, shared);
    const sql = 'SELECT 1 FROM pg_sleep($1)';
    const sharedUnits = (): number =>
      [...shared.proxy.counters().clusters.get('main')!.nodes.values()].reduce(
        (sum, node) => sum + node.sharedUnits,
        0,
      );
    let after = 0;
    for (let i = 0; i < 5; i++) {
      await proxied.talk(...prepare('s', sql), say.sync());
      proxied.send(...runs('s', 600));
      await until('it to run', async () => {
        const found = await Promise.all(cluster.nodes.map((node) => backends(node, sql)));
        return found.flat().some(({ state }) => state === 'active');
      });
      // However little else there is to do, so long a read is not short.
      await new Promise((resolve) => setTimeout(resolve, 200));
      await cancelRequest(shared, proxied);
      assert.deepEqual((await proxied.ready()).slice(-2), [
        'ErrorResponse ERROR 57014 canceling statement due to user request',
        'ReadyForQuery I',
      ]);
      await proxied.talk(say.close('s'), say.sync());
      if (i === 0) after = sharedUnits();
    }
    assert.equal(sharedUnits(), after);
  });
});
