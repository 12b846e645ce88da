// scheelite serve as a process in front of a real cluster: ready, serving, reloading in three ways, draining, stopping.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, type TestContext, test } from 'node:test';
import pg from 'pg';
import type { StatusReport } from '../../src/admin/source.js';
import { processors } from '../../src/lib/processors.js';
import { type Folder, minimal, temporaryFolder } from '../config/folder.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster, type TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { type Server, scheelite, startServer } from './run.js';

const TOKEN = 'a token of the test';

describe('serve', { skip: skipWithout(available('postgres')) }, () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await startCluster('postgres');
    await cluster.waitCaughtUp();
  });
  after(() => cluster?.stop());

  const configured = (clusterParts: Record<string, unknown> = {}, top: Record<string, unknown> = {}) =>
    minimal(
      {
        nodes: cluster.nodes.map(({ name, host, port }) => ({ name, host, port })),
        monitor: { ...cluster.superuser, database: 'postgres' },
        ...clusterParts,
      },
      {
        listeners: [{ name: 'app', port: 0 }],
        admin: { port: 0, token: { file: 'token' } },
        limits: { drainMs: 60_000 },
        ...top,
      },
    );

  async function serve(
    t: TestContext,
    config: unknown = configured(),
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ server: Server; folder: Folder }> {
    const folder = temporaryFolder(t);
    folder.write('token', `${TOKEN}\n`);
    const server = await startServer(t, folder.write('proxy.json', config), { env });
    await until('it is ready', async () => (await fetch(`${server.admin}/readyz`)).ok);
    return { server, folder };
  }

  const statusOf = async (server: Server) =>
    (await (await fetch(`${server.admin}/api/v1/status`)).json()) as StatusReport;

  async function client(t: TestContext, server: Server): Promise<pg.Client> {
    const { user, password, database } = cluster.user;
    const connection = new pg.Client({
      host: '127.0.0.1',
      port: server.listeners[0]!.port,
      user,
      password,
      database,
    });
    // The end of the proxy is the end of the connection.
    connection.on('error', () => {});
    await connection.connect();
    t.after(() => connection.end().catch(() => {}));
    return connection;
  }

  test('serves, tells its status, and counts', async (t) => {
    const { server } = await serve(t);
    const app = await client(t, server);
    assert.deepEqual((await app.query('SELECT 1 AS one')).rows, [{ one: 1 }]);

    const status = await statusOf(server);
    assert.equal(status.pid, server.pid);
    assert.equal(status.config.revision, 1);
    assert.equal(status.config.lastReload, null);
    assert.equal(status.clusters[0]?.primary, cluster.primary.name);
    assert.equal(status.clusters[0]?.clients, 1);
    assert.deepEqual(
      status.clusters[0]?.nodes.map((node) => node.role),
      ['primary', 'replica', 'replica'],
    );
    assert.equal(status.listeners[0]?.port, server.listeners[0]!.port);
    assert.doesNotMatch(JSON.stringify(status), new RegExp(`${TOKEN}|${cluster.superuser.password}`));

    const metrics = await (await fetch(`${server.admin}/metrics`)).text();
    assert.match(metrics, /^scheelite_sessions\{cluster="main"\} 1$/m);
    assert.match(metrics, /^scheelite_client_connections_accepted_total\{listener="app"\} [1-9]/m);
    assert.match(
      metrics,
      new RegExp(`^scheelite_node_primary\\{cluster="main",node="${cluster.primary.name}"\\} 1$`, 'm'),
    );

    const shown = await scheelite(['status', '--admin', server.admin]);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(
      shown.stdout,
      new RegExp(`^  ${cluster.primary.name} +\\S+ +primary +up +online +writes`, 'm'),
    );
  });

  test('as many workers as there are processors, where they are to be as many', async (t) => {
    // What Node is told of the machine, in the server only.
    const one = `import { syncBuiltinESMExports } from 'node:module';
      import os from 'node:os';
      os.availableParallelism = () => 1;
      syncBuiltinESMExports();`;
    const onOne = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(one)}` };
    for (const [count, env] of [
      [processors(), {}],
      [1, onOne],
    ] as const) {
      const { server } = await serve(t, configured({}, { workers: 'auto' }), env);
      const status = await statusOf(server);
      // One is no worker: everything is in one process.
      assert.equal(status.workers?.length ?? 1, count);
      const app = await client(t, server);
      assert.deepEqual((await app.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    }
  });

  test('takes over a changed file, also on SIGHUP and on a call, and keeps its clients', async (t) => {
    const { server, folder } = await serve(t);
    const app = await client(t, server);
    const revision = async () => (await statusOf(server)).config.revision;

    folder.write('proxy.json', configured({ consistency: { maxLagMs: 5000 } }));
    await until('the file is taken over', async () => (await revision()) === 2);
    const line = await server.logged('configuration applied');
    assert.deepEqual(line.changes, ['cluster main: consistency.maxLagMs 10000 -> 5000']);

    folder.write(
      'proxy.json',
      configured({ consistency: { maxLagMs: 5000 }, pool: { maxServerConnections: 7 } }),
    );
    server.signal('SIGHUP');
    await until('the signal has done it', async () => (await revision()) === 3);
    assert.equal((await statusOf(server)).clusters[0]?.nodes[0]?.pool.limit, 7);

    const nodes = cluster.nodes.map(({ name, host, port }, i) => ({
      name,
      host,
      port,
      mode: i === 2 ? 'drain' : 'online',
    }));
    folder.write('proxy.json', configured({ nodes }));
    const reloaded = await scheelite(['reload', '--admin', server.admin], {
      env: { SCHEELITE_ADMIN_TOKEN: TOKEN },
    });
    assert.equal(reloaded.code, 0, reloaded.stderr);
    await until('the call has done it', async () => (await revision()) === 4);
    await until(
      'the node shows it',
      async () => (await statusOf(server)).clusters[0]?.nodes[2]?.mode === 'drain',
    );

    assert.deepEqual((await app.query('SELECT 2 AS two')).rows, [{ two: 2 }]);
  });

  test('refuses what is wrong or needs a restart, and says why', async (t) => {
    const { server, folder } = await serve(t);
    const app = await client(t, server);
    const lastReload = async () => (await statusOf(server)).config.lastReload;

    folder.write('proxy.json', configured({ pool: { maxServerConections: 1 } }));
    server.signal('SIGHUP');
    await until('it is refused', async () => (await lastReload())?.outcome === 'refused');
    assert.match((await lastReload())!.lines.join(), /unknown key; did you mean "maxServerConnections"\?$/);

    folder.write('proxy.json', configured({}, { admin: { port: 9, token: TOKEN } }));
    const refused = await scheelite(['reload', '--admin', server.admin], {
      env: { SCHEELITE_ADMIN_TOKEN: TOKEN },
    });
    assert.equal(refused.code, 1);
    assert.equal(refused.stdout, 'configuration refused\n  admin.port 0 -> 9 (needs a restart)\n');
    assert.equal((await statusOf(server)).config.revision, 1);
    assert.deepEqual((await app.query('SELECT 3 AS three')).rows, [{ three: 3 }]);
  });

  test('changes the log level while it runs', async (t) => {
    const { server, folder } = await serve(t, configured({}, { log: { level: 'info' } }));
    folder.write('proxy.json', configured({}, { log: { level: 'warn' } }));
    await until('it is taken over', async () => (await statusOf(server)).config.revision === 2);
    folder.write('proxy.json', configured({}, { log: { level: 'info' } }));
    await until('it is taken back', async () => (await statusOf(server)).config.revision === 3);
    // Its line comes by another way than the status.
    await server.logged('configuration applied');
    const applied = server.log().filter((line) => line.msg === 'configuration applied');
    // Announced at the new level: the change to warn is silent, the change to info is not.
    assert.deepEqual(
      applied.map((line) => line.changes),
      [['log.level "warn" -> "info"']],
    );
  });

  test('SIGTERM lets a transaction end, refuses new clients, and exits with 0', async (t) => {
    const { server } = await serve(t);
    const app = await client(t, server);
    await app.query('BEGIN');
    server.signal('SIGTERM');
    await until('it drains', async () => (await statusOf(server)).state === 'draining');
    assert.equal((await fetch(`${server.admin}/readyz`)).status, 503);
    assert.equal((await fetch(`${server.admin}/healthz`)).status, 200);
    // Comes too late to mean anything; it must not end the process.
    server.signal('SIGHUP');
    await assert.rejects(
      new Promise((resolve, reject) => {
        connect(server.listeners[0]!.port, '127.0.0.1').on('connect', resolve).on('error', reject);
      }),
      { code: 'ECONNREFUSED' },
    );
    assert.deepEqual((await app.query('SELECT 4 AS four')).rows, [{ four: 4 }]);
    await app.query('COMMIT');
    const { code, stderr } = await server.ended;
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.equal(server.log().at(-1)?.msg, 'stopped');
  });

  test('a second signal ends it at once', async (t) => {
    const { server } = await serve(t);
    const app = await client(t, server);
    await app.query('BEGIN');
    server.signal('SIGTERM');
    await server.logged('draining');
    server.signal('SIGTERM');
    assert.equal((await server.ended).code, 143);
    assert.equal(server.log().at(-1)?.msg, 'second signal: ended at once');
  });

  test('Ctrl-C without clients is quick, and the exit code 0', async (t) => {
    const { server } = await serve(t);
    server.signal('SIGINT');
    assert.equal((await server.ended).code, 0);
  });

  test('a port that is taken is said clearly', async (t) => {
    const { server, folder } = await serve(t);
    const { port } = server.listeners[0]!;
    const listener = configured({}, { listeners: [{ port }] });
    const one = await scheelite(['serve', '--config', folder.write('other.json', listener)]);
    assert.equal(one.code, 1);
    assert.match(one.stdout, new RegExp(`"level":"fatal".*cannot start: .*EADDRINUSE.*${port}`));
    const admin = configured({}, { admin: { port: Number(new URL(server.admin).port) } });
    const two = await scheelite(['serve', '--config', folder.write('other.json', admin)]);
    assert.equal(two.code, 1);
    assert.match(
      two.stdout,
      /"level":"fatal".*cannot start the admin server on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
    );
  });

  test('runs without an admin server', async (t) => {
    const folder = temporaryFolder(t);
    const config = configured({}, { admin: { enabled: false } });
    const server = await startServer(t, folder.write('proxy.json', config));
    assert.equal((await server.logged('ready')).admin, null);
    server.signal('SIGTERM');
    assert.equal((await server.ended).code, 0);
  });

  test('lives on without a single node, and is not ready', async (t) => {
    const folder = temporaryFolder(t);
    folder.write('token', TOKEN);
    const config = configured({ nodes: [{ host: '127.0.0.1', port: 1 }] });
    const server = await startServer(t, folder.write('proxy.json', config));
    const ready = await fetch(`${server.admin}/readyz`);
    assert.equal(ready.status, 503);
    assert.match(await ready.text(), /^not ready\ncluster main: no primary/);
    assert.equal((await fetch(`${server.admin}/healthz`)).status, 200);
  });
});
