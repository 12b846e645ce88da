// Who may log in to PostgreSQL through the proxy, by which method, and what the others are told.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ListenerConfig, UserConfig } from '../../src/config/schema.js';
import { until } from '../servers/poll.js';
import { run } from './programs.js';
import { type Front, rejects, type Stage } from './stage.js';

type Auth = ListenerConfig['auth'];

export async function authTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const { database } = cluster.user;
  const { app, app_md5, app_plain, app_trust } = cluster.users as Record<
    string,
    { user: string; password: string }
  >;
  const listening = (t: TestContext, auth: Auth, users?: readonly Partial<UserConfig>[]) =>
    stage.front(t, users === undefined ? {} : { users: users as { name: string; password: string }[] }, {
      listeners: [{ name: 'test', host: '127.0.0.1', port: 0, auth }],
    });
  /** Logs in, reads from a replica and from the primary: the proxy has logged in to both as that user. */
  const enters = async (t: TestContext, front: Front, login: { user: string; password: string }) => {
    const client = await front.connect(t, { ...login, database });
    const [read] = await client.query('SELECT current_user::text AS me, node_port() AS port');
    assert.equal(read?.me, login.user);
    assert.ok(stage.replicaNames.includes(stage.nodeAt(read?.port)));
    await client.query('BEGIN');
    const [row] = await client.query('SELECT session_user::text AS me, node_port() AS port');
    assert.deepEqual([row?.me, stage.nodeAt(row?.port)], [login.user, cluster.primary.name]);
    await client.query('COMMIT');
    await client.close();
  };
  const isRefused = async (front: Front, login: { user: string; password: string }) => {
    const error = await rejects(driver, driver.connect(front.proxy, { ...login, database }), '28P01');
    assert.equal(error.message, `password authentication failed for user "${login.user}"`);
  };

  await t.test('no list of users: the verifiers of the primary', async (t) => {
    const front = await listening(t, 'auto');
    await enters(t, front, app!);
    await enters(t, front, app_md5!);
    await isRefused(front, { ...app!, password: 'wrong' });
    await isRefused(front, { ...app_md5!, password: 'wrong' });
    await isRefused(front, { user: 'nobody', password: 'wrong' });
    await isRefused(front, { ...app_trust!, password: 'none is stored' });
  });

  await t.test('no list, cleartext passwords asked for: what nodes want to know is known', async (t) => {
    const front = await listening(t, 'password');
    await enters(t, front, app!);
    await enters(t, front, app_md5!);
    await enters(t, front, app_plain!);
    await isRefused(front, { ...app_plain!, password: 'wrong' });
  });

  await t.test('no list, a node that wants the password of a client who has only proved it', async (t) => {
    const front = await listening(t, 'auto');
    const error = await rejects(
      driver,
      driver.connect(front.proxy, { ...app_plain!, database }),
      driver.code('server-login-failed'),
    );
    assert.match(error.message, /node node\d refused the login of user "app_plain"/);
  });

  await t.test('trust: nothing is asked, and a node that trusts takes the user', async (t) => {
    const front = await listening(t, 'trust');
    await enters(t, front, app_trust!);
  });

  const withPasswords = [app!, app_md5!, app_plain!].map(({ user, password }) => ({ name: user, password }));
  for (const auth of ['auto', 'scram-sha-256', 'md5', 'password'] as const) {
    await t.test(`users with passwords, method ${auth}`, async (t) => {
      const front = await listening(t, auth, withPasswords);
      for (const login of [app!, app_md5!, app_plain!]) await enters(t, front, login);
      await isRefused(front, { ...app!, password: 'wrong' });
      await isRefused(front, { ...app_trust!, password: 'not in the list' });
    });
  }

  await t.test('users with a verifier in place of the password', async (t) => {
    const stored = await cluster.primary.admin(
      "SELECT rolname AS name, rolpassword AS verifier FROM pg_authid WHERE rolname IN ('app', 'app_md5')",
    );
    const front = await listening(
      t,
      'auto',
      stored.map((row) => ({ name: String(row.name), verifier: String(row.verifier) })),
    );
    await enters(t, front, app!);
    await enters(t, front, app_md5!);
    await isRefused(front, { ...app!, password: 'wrong' });
    await isRefused(front, { ...app_plain!, password: 'not in the list' });
  });

  await t.test('a database that does not exist', async (t) => {
    const front = await listening(t, 'auto');
    const error = await rejects(
      driver,
      driver.connect(front.proxy, { ...app!, database: 'nowhere' }),
      '3D000',
    );
    assert.match(error.message, /database "nowhere" does not exist/);
  });

  await t.test('psql says the same to people', async (t) => {
    const front = await listening(t, 'auto');
    const ask = (user: string, password: string, name: string) =>
      run(t, cluster.binaries.psql!, ['-Xc', 'SELECT 1'], {
        env: {
          PGHOST: front.proxy.host,
          PGPORT: String(front.proxy.port),
          PGUSER: user,
          PGPASSWORD: password,
          PGDATABASE: name,
        },
      });
    const wrong = await ask('app', 'wrong', 'app');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /FATAL: {2}password authentication failed for user "app"/);
    const nowhere = await ask('app', app!.password, 'nowhere');
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /FATAL: {2}database "nowhere" does not exist/);
  });

  await t.test(
    'a changed password counts for new clients after a moment, and the old one does not',
    async (t) => {
      const front = await listening(t, 'auto');
      await cluster.primary.admin("CREATE ROLE changing LOGIN PASSWORD 'first'");
      t.after(() => cluster.primary.admin('DROP ROLE changing'));
      await cluster.waitCaughtUp();
      await enters(t, front, { user: 'changing', password: 'first' });
      await cluster.primary.admin("ALTER ROLE changing PASSWORD 'second'");
      await cluster.waitCaughtUp();
      await until('the new password to count', () =>
        enters(t, front, { user: 'changing', password: 'second' }).then(() => true),
      );
      // By each worker, once it has asked.
      await until('the old one to be refused', () =>
        isRefused(front, { user: 'changing', password: 'first' }).then(() => true),
      );
    },
  );
}
