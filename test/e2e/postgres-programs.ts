// The command-line programs of PostgreSQL through the proxy: psql with all that it does by itself, and pgbench.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { until } from '../servers/poll.js';
import { running } from './postgres-activity.js';
import { type RunOptions, run, start, succeed } from './programs.js';
import type { Front, Stage } from './stage.js';

export async function psqlTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const psql = cluster.binaries.psql!;
  const front = await stage.front(t);
  const env = environment(stage, front);
  const ask = (t: TestContext, sql: string, options: RunOptions = {}) =>
    succeed(t, psql, ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql], {
      ...options,
      env: { ...env, ...options.env },
    });
  /** Lines as a person types them. */
  const type = (t: TestContext, ...lines: string[]) =>
    run(t, psql, ['-XAtq'], { env, stdin: `${lines.join('\n')}\n` });

  await t.test('queries, several in one string, and an empty one', async (t) => {
    assert.equal(await ask(t, 'SELECT 1'), '1\n');
    assert.equal(await ask(t, "SELECT 1; SELECT 'two'; SELECT count(*) FROM items"), '1\ntwo\n3\n');
    assert.equal(await ask(t, ';'), '');
    assert.equal(await ask(t, 'SELECT'), '');
  });

  await t.test('\\d and \\copy in and out', async (t) => {
    const { stdout, stderr, code } = await type(
      t,
      'CREATE TABLE copied (id int PRIMARY KEY, name text);',
      '\\copy copied FROM pstdin WITH (DELIMITER $$,$$)',
      '1,one',
      '2,two\\, too',
      '3,',
      '\\.',
      '\\copy (SELECT * FROM copied ORDER BY id) TO pstdout WITH (DELIMITER $$,$$)',
      '\\d copied',
      '\\copy copied FROM pstdin',
      '4\tx\ty',
      '\\.',
      'SELECT count(*) FROM copied;',
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '1,one\n2,two\\, too\n3,\nid|integer||not null|\nname|text|||\n3\n');
    assert.match(stderr, /extra data after last expected column/);
  });

  await t.test('errors have their positions, details and hints', async (t) => {
    const { stderr } = await type(t, 'SELECT 1,\n  nonsense FROM items;', 'INSERT INTO items VALUES (1);');
    assert.match(
      stderr,
      /ERROR: {2}column "nonsense" does not exist\nLINE 2: {3}nonsense FROM items;\n {10}\^/,
    );
    assert.match(stderr, /null value in column "name"[^\n]*\nDETAIL: {2}Failing row contains \(1, null\)/);
  });

  await t.test('notices and warnings arrive', async (t) => {
    const { stderr } = await type(
      t,
      "DO $$ BEGIN RAISE NOTICE 'looked at %', 42; END $$;",
      'DROP TABLE IF EXISTS was_never_there;',
      'ROLLBACK;',
    );
    assert.match(stderr, /NOTICE: {2}looked at 42/);
    assert.match(stderr, /NOTICE: {2}table "was_never_there" does not exist, skipping/);
    assert.match(stderr, /WARNING: {2}there is no transaction in progress/);
  });

  await t.test('LISTEN and NOTIFY, in one session and between two', async (t) => {
    const listener = start(t, psql, ['-XAtq'], { env });
    listener.process.stdin!.write("LISTEN news;\nNOTIFY news, 'of mine';\nSELECT 'listening';\n");
    await until('it to listen', () => listener.printed.stdout.includes('listening'));
    assert.match(listener.printed.stdout, /Asynchronous notification "news" with payload "of mine" received/);
    await ask(t, "NOTIFY news, 'of another'");
    await until('the news to arrive', () => {
      // psql looks for them after each command.
      listener.process.stdin!.write('SELECT 1;\n');
      return listener.printed.stdout.includes('"of another"');
    });
    listener.process.stdin!.end();
    assert.equal((await listener.ended).code, 0);
  });

  await t.test('Ctrl-C cancels the statement, a read as well as a write', async (t) => {
    for (const sql of ['SELECT pg_sleep(600)', "INSERT INTO notes SELECT 800, 'late' FROM pg_sleep(600)"]) {
      const asked = start(t, psql, ['-Xc', sql], { env });
      await until('the statement to run', async () => (await running(stage, 'pg_sleep(600)')) === 1);
      asked.process.kill('SIGINT');
      const { stderr } = await asked.ended;
      assert.match(stderr, /^Cancel request sent\nERROR: {2}canceling statement due to user request\n$/);
      assert.equal(await running(stage, 'pg_sleep(600)'), 0);
    }
    assert.deepEqual(await cluster.primary.admin('SELECT * FROM notes WHERE id = 800'), []);
  });

  await t.test('startup parameters: PGTZ, PGOPTIONS, PGAPPNAME, client_encoding', async (t) => {
    const sql = `SELECT current_setting('TimeZone'), current_setting('search_path'), current_setting('application_name'),
      current_setting('client_encoding'), current_setting('DateStyle')`;
    const options = {
      PGTZ: 'Asia/Tokyo',
      PGOPTIONS: '-c search_path=a,b -c datestyle=German',
      PGAPPNAME: 'it is me',
    };
    const out = await ask(t, sql, { env: { ...options, PGCLIENTENCODING: 'LATIN1' } });
    assert.equal(out, 'Asia/Tokyo|a,b|it is me|LATIN1|German, DMY\n');
    assert.equal(await ask(t, 'SHOW search_path', { env: options }), 'a,b\n');
    assert.equal(await ask(t, 'SHOW search_path'), '"$user", public\n');
  });

  await t.test('TLS that is insisted on is refused clearly', async (t) => {
    const { code, stderr } = await run(t, psql, ['-XAtqc', 'SELECT 1'], {
      env: { ...env, PGSSLMODE: 'require' },
    });
    assert.equal(code, 2);
    assert.match(stderr, /server does not support SSL/);
  });

  await t.test('transactions, savepoints, cursors and \\gset', async (t) => {
    const { stdout, stderr, code } = await type(
      t,
      'BEGIN;',
      "INSERT INTO notes VALUES (801, 'kept');",
      'SAVEPOINT s;',
      "INSERT INTO notes VALUES (801, 'twice');",
      'ROLLBACK TO s;',
      'DECLARE c CURSOR FOR SELECT generate_series(1, 5);',
      'FETCH 2 FROM c;',
      'MOVE 1 FROM c;',
      'FETCH ALL FROM c;',
      'COMMIT;',
      'SELECT note AS saved FROM notes WHERE id = 801 \\gset',
      '\\echo :saved',
    );
    assert.equal(code, 0);
    assert.match(stderr, /duplicate key value/);
    assert.equal(stdout, '1\n2\n4\n5\nkept\n');
  });
}

export async function pgbenchTests(t: TestContext, stage: Stage): Promise<void> {
  const pgbench = stage.cluster.binaries.pgbench!;
  const front = await stage.front(t, { pool: { maxServerConnections: 6 } });
  const env = environment(stage, front);
  const replicaReads = async () => {
    await front.refresh();
    return stage.replicaNames.reduce((sum, name) => sum + front.node(name).units.replica, 0);
  };
  // A thread a client: PQprepare blocks its thread, and with it a client whose transaction others wait for.
  const bench = async (t: TestContext, ...args: string[]) => {
    const out = await succeed(t, pgbench, ['-n', '-c', '16', '-j', '16', '-t', '40', ...args], { env });
    assert.match(out, /number of transactions actually processed: 640\/640\n/);
    assert.match(out, /number of failed transactions: 0 /);
  };

  await t.test('pgbench -i', async (t) => {
    await succeed(t, pgbench, ['-i', '-q', '-s', '1'], { env });
    await stage.cluster.waitCaughtUp();
    const [row] = await stage.cluster.primary.admin('SELECT count(*)::int AS n FROM pgbench_accounts');
    assert.equal(row?.n, 100_000);
  });

  for (const mode of ['simple', 'extended', 'prepared']) {
    await t.test(`the default mix, -M ${mode}: no error, and the sums agree`, async (t) => {
      await bench(t, '-M', mode);
      const [sums] = await stage.cluster.primary.admin(`
        SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)
           AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) AS agree`);
      assert.equal(sums?.agree, true);
    });

    await t.test(`-S -M ${mode}: no error, all reads on replicas`, async (t) => {
      const before = await replicaReads();
      await bench(t, '-S', '-M', mode);
      const served = (await replicaReads()) - before;
      assert.ok(served >= 640, `${served} reads on replicas`);
    });
  }
}

function environment(stage: Stage, front: Front): Record<string, string> {
  const { user, password, database } = stage.cluster.user;
  return {
    PGHOST: front.proxy.host,
    PGPORT: String(front.proxy.port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
  };
}
