// What an administrator changes while clients are connected counts for the next login, as with a direct connection: settings of
// roles and databases, passwords, who may log in, roles and databases that are dropped and made anew.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { startProxyFor } from '../proxy/proxy-under-test.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { asSuperuser } from './auto-prepare-scene.js';

test('postgres: logins while accounts change', { skip: skipWithout(available('postgres')) }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const admin = await asSuperuser(t, cluster);
  const proxy = await startProxyFor(cluster, { pool: { maxServerConnections: 4 } });
  t.after(() => proxy.stop());

  async function logIn(t: TestContext, user: string, password: string, database = cluster.user.database) {
    const client = new pg.Client({ host: proxy.host, port: proxy.port, user, password, database });
    client.on('error', () => {});
    await client.connect();
    t.after(() => client.end());
    return {
      value: async (sql: string): Promise<unknown> =>
        Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0],
      end: () => client.end(),
    };
  }
  const refusal = (t: TestContext, user: string, password: string, database?: string): Promise<unknown> =>
    logIn(t, user, password, database).then(
      () => 'let in',
      (error: { code?: string }) => error.code,
    );

  await t.test('settings of a role are those of the next login', async (t) => {
    await admin.do("CREATE ROLE settled LOGIN PASSWORD 'x'");
    const old = await logIn(t, 'settled', 'x');
    assert.equal(await old.value("SELECT current_setting('work_mem')"), '4MB');
    await admin.do("ALTER ROLE settled SET work_mem = '9MB'");
    await cluster.waitCaughtUp();
    const next = await logIn(t, 'settled', 'x');
    assert.equal(await next.value("SELECT current_setting('work_mem')"), '9MB');
    assert.equal(await old.value('SHOW work_mem'), '4MB');
    await admin.do('ALTER ROLE settled RESET ALL');
    await cluster.waitCaughtUp();
    assert.equal(await (await logIn(t, 'settled', 'x')).value('SHOW work_mem'), '4MB');
  });

  await t.test('another password counts at once, and who is in stays', async (t) => {
    await admin.do("CREATE ROLE rotated LOGIN PASSWORD 'one'");
    await cluster.waitCaughtUp();
    const old = [await logIn(t, 'rotated', 'one'), await logIn(t, 'rotated', 'one')];
    await old[0]!.value('SELECT 1');
    await admin.do("ALTER ROLE rotated PASSWORD 'two'");
    assert.equal(await refusal(t, 'rotated', 'one'), '28P01');
    // No server connection can be opened for them now; what is there serves both, a replica's too.
    for (const client of old) assert.equal(await client.value('SELECT 1'), 1);
    await Promise.all(old.map((client) => client.value('SELECT pg_sleep(0.01)')));
    const next = await logIn(t, 'rotated', 'two');
    await cluster.waitCaughtUp();
    // Who has proved the new one opens the door for all.
    await Promise.all([...old, next].map((client) => client.value('BEGIN')));
    for (const client of [...old, next]) assert.equal(await client.value('SELECT 2 FOR UPDATE'), 2);
    await Promise.all([...old, next].map((client) => client.value('COMMIT')));
  });

  await t.test('who may not log in is told so by the server', async (t) => {
    await admin.do("CREATE ROLE outside LOGIN PASSWORD 'x'");
    const old = await logIn(t, 'outside', 'x');
    await admin.do('ALTER ROLE outside NOLOGIN');
    assert.equal(await refusal(t, 'outside', 'x'), '28000');
    await admin.do("ALTER ROLE outside LOGIN VALID UNTIL '2001-01-01'");
    assert.equal(await refusal(t, 'outside', 'x'), '28P01');
    await admin.do("ALTER ROLE outside VALID UNTIL 'infinity' CONNECTION LIMIT 0");
    assert.equal(await refusal(t, 'outside', 'x'), '53300');
    assert.equal(await old.value('SELECT 3'), 3);
    await admin.do('ALTER ROLE outside CONNECTION LIMIT -1');
    await admin.do('CREATE DATABASE closed');
    const inside = await logIn(t, 'outside', 'x', 'closed');
    // Its replica may not have this database yet.
    assert.equal(await inside.value('SELECT 4'), 4);
    await admin.do('REVOKE CONNECT ON DATABASE closed FROM PUBLIC');
    assert.equal(await refusal(t, 'outside', 'x', 'closed'), '42501');
    await admin.do('GRANT CONNECT ON DATABASE closed TO PUBLIC');
    await admin.do('ALTER DATABASE closed ALLOW_CONNECTIONS false');
    assert.equal(await refusal(t, 'outside', 'x', 'closed'), '55000');
    await inside.end();
  });

  await t.test('a role that is made anew under its name is another one', async (t) => {
    await admin.do("CREATE ROLE anew LOGIN PASSWORD 'x'");
    await (await logIn(t, 'anew', 'x')).value('SELECT 1');
    await admin.do('DROP ROLE anew');
    assert.equal(await refusal(t, 'anew', 'x'), '28P01');
    await admin.do("CREATE ROLE anew LOGIN PASSWORD 'x'");
    await cluster.waitCaughtUp();
    assert.equal(await (await logIn(t, 'anew', 'x')).value('SELECT current_user'), 'anew');
  });
});
