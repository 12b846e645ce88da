// The harness itself: every kind of cluster replicates, lags, dies, comes back and leaves nothing behind.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { isRunning } from '../../src/cli/demo/process-tree.js';
import { available, type Kind, skipWithout } from './available.js';
import { type Login, startCluster, type TestCluster, type TestNode } from './cluster.js';
import { until } from './poll.js';
import { leftovers, sweepDead } from './root.js';

const kinds: readonly { kind: Kind; version?: number; says: RegExp }[] = [
  { kind: 'postgres', version: 15, says: /^15\./ },
  { kind: 'postgres', version: 18, says: /^18\./ },
  { kind: 'mariadb', says: /^10\.11\./ },
  { kind: 'mysql', says: /^9\./ },
];

async function entries(node: TestNode): Promise<number[]> {
  const rows = await node.admin('SELECT id FROM ledger ORDER BY id');
  return rows.map((row) => Number(row.id));
}

for (const { kind, version, says } of kinds) {
  const title = version === undefined ? kind : `${kind} ${version}`;
  test(`${title}: a primary and two replicas`, { skip: skipWithout(available(kind, version)) }, async (t) => {
    const cluster = await startCluster(kind, version === undefined ? {} : { version });
    t.after(() => cluster.stop());
    const { primary, replicas } = cluster;
    const [first, second] = replicas;
    assert.ok(first !== undefined && second !== undefined && replicas.length === 2);
    assert.match(cluster.version, says);

    await primary.admin('CREATE TABLE ledger (id int PRIMARY KEY)');
    await primary.admin('INSERT INTO ledger VALUES (1)');
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(first), [1]);
    assert.deepEqual(await entries(second), [1]);

    // A delay holds one replica back and not the other; taking it off lets it catch up.
    await first.delay(3_600_000);
    await primary.admin('INSERT INTO ledger VALUES (2)');
    await until('the other replica has the entry', async () => (await entries(second)).length === 2);
    assert.deepEqual(await entries(first), [1]);
    await first.delay(0);
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(first), [1, 2]);

    await first.pauseReplay();
    await primary.admin('INSERT INTO ledger VALUES (3)');
    await until('the other replica has the entry', async () => (await entries(second)).length === 3);
    assert.deepEqual(await entries(first), [1, 2]);
    await first.resumeReplay();
    await cluster.waitCaughtUp();

    // What is written while a replica is dead reaches it after it has been started again.
    const died = second.pid;
    assert.ok(died !== undefined);
    await second.kill('SIGKILL');
    assert.equal(second.pid, undefined);
    assert.equal(isRunning(died), false);
    await primary.admin('INSERT INTO ledger VALUES (4)');
    await second.start();
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(second), [1, 2, 3, 4]);

    // A frozen server answers nobody, and goes on where it was.
    await first.kill('SIGSTOP');
    const answer = first.admin('SELECT 1 AS one');
    assert.equal(
      await Promise.race([answer, primary.admin('SELECT 2 AS one').then(() => 'frozen')]),
      'frozen',
    );
    await first.kill('SIGCONT');
    assert.equal(Number((await answer)[0]?.one), 1);

    await cluster.rebuild(second, primary);
    await primary.admin('INSERT INTO ledger VALUES (5)');
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(second), [1, 2, 3, 4, 5]);

    const running = cluster.nodes.map((node) => node.pid ?? 0);
    assert.ok(running.every(isRunning));
    await cluster.stop();
    assert.deepEqual(running.filter(isRunning), []);
    assert.deepEqual(leftovers(), { processes: [], files: [] });
  });
}

/** Makes `target` the primary and `other` its replica, as an administrator would. */
async function promote(kind: Kind, target: TestNode, other: TestNode): Promise<void> {
  if (kind === 'postgres') {
    await target.admin('SELECT pg_promote()');
    const [row] = await other.admin('SHOW primary_conninfo');
    const conninfo = String(row?.primary_conninfo).replace(/port=\d+/, `port=${target.port}`);
    await other.admin(`ALTER SYSTEM SET primary_conninfo = '${conninfo.replaceAll("'", "''")}'`);
    await other.admin('SELECT pg_reload_conf()');
    return;
  }
  const isMysql = kind === 'mysql';
  await target.admin(isMysql ? 'STOP REPLICA; RESET REPLICA ALL' : 'STOP SLAVE; RESET SLAVE ALL');
  await target.admin('SET GLOBAL read_only = 0');
  await other.admin(isMysql ? 'STOP REPLICA' : 'STOP SLAVE');
  await other.admin(
    isMysql
      ? `CHANGE REPLICATION SOURCE TO SOURCE_PORT = ${target.port}`
      : `CHANGE MASTER TO MASTER_PORT = ${target.port}`,
  );
  await other.admin(isMysql ? 'START REPLICA' : 'START SLAVE');
}

for (const { kind, version } of kinds) {
  const title = version === undefined ? kind : `${kind} ${version}`;
  test(`${title}: a replica takes over`, { skip: skipWithout(available(kind, version)) }, async (t) => {
    const cluster = await startCluster(kind, version === undefined ? {} : { version });
    t.after(() => cluster.stop());
    const { primary } = cluster;
    const [first, second] = cluster.replicas;
    assert.ok(first !== undefined && second !== undefined);
    await primary.admin('CREATE TABLE ledger (id int PRIMARY KEY)');
    await primary.admin('INSERT INTO ledger VALUES (1)');
    await cluster.waitCaughtUp();
    await primary.kill('SIGKILL');
    await promote(kind, first, second);
    await first.admin('INSERT INTO ledger VALUES (2)');
    await cluster.waitCaughtUp(first);
    assert.deepEqual(await entries(second), [1, 2]);

    // The old primary comes back as one; made anew, it follows and refuses the application's writes.
    await primary.start();
    assert.deepEqual(await entries(primary), [1]);
    await cluster.rebuild(primary, first);
    await first.admin('INSERT INTO ledger VALUES (3)');
    await cluster.waitCaughtUp(first);
    assert.deepEqual(await entries(primary), [1, 2, 3]);
    await assert.rejects(
      asUser(cluster, cluster.user, primary, 'INSERT INTO ledger VALUES (4)'),
      /read.only/i,
    );
  });

  test(`${title}: users log in by their passwords`, {
    skip: skipWithout(available(kind, version)),
  }, async (t) => {
    const cluster = await startCluster(kind, { replicas: 0, ...(version === undefined ? {} : { version }) });
    t.after(() => cluster.stop());
    for (const login of Object.values(cluster.users)) {
      await asUser(cluster, login, cluster.primary, 'SELECT 1');
      if (kind === 'postgres' && login.user === 'app_trust') continue;
      const wrong = { user: login.user, password: 'wrong' };
      await assert.rejects(
        asUser(cluster, wrong, cluster.primary, 'SELECT 1'),
        /password|denied/,
        login.user,
      );
    }
    const kept = {
      postgres:
        "SELECT rolname AS name, left(rolpassword, 3) AS kept FROM pg_authid WHERE rolname IN ('app', 'app_md5')",
      mysql: "SELECT user AS name, plugin AS kept FROM mysql.user WHERE user LIKE 'app%'",
      mariadb: "SELECT user AS name, plugin AS kept FROM mysql.user WHERE user LIKE 'app%'",
    } as const;
    const rows = await cluster.primary.admin(`${kept[kind]} ORDER BY 1`);
    assert.deepEqual(
      rows.map((row) => row.kept),
      {
        postgres: ['SCR', 'md5'],
        mysql: ['caching_sha2_password', 'caching_sha2_password'],
        mariadb: ['mysql_native_password', 'mysql_native_password'],
      }[kind],
    );
  });
}

/** One statement by a driver, straight to a node. */
async function asUser(cluster: TestCluster, login: Login, node: TestNode, sql: string): Promise<void> {
  const options = { host: node.host, port: node.port, database: cluster.user.database, ...login };
  if (cluster.kind === 'postgres') {
    const client = new pg.Client(options);
    try {
      await client.connect();
      await client.query(sql);
    } finally {
      await client.end();
    }
    return;
  }
  const connection = await mysql.createConnection(options);
  try {
    await connection.query(sql);
  } finally {
    await connection.end();
  }
}

/** Process ids of servers whose command line names the folder. */
function serversIn(folder: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder);
    } catch {
      return false;
    }
  });
}

const starter = fileURLToPath(new URL('./start-and-wait.js', import.meta.url));

for (const [how, signal] of [
  ['is interrupted', 'SIGINT'],
  ['is terminated', 'SIGTERM'],
  ['crashes', 'SIGUSR2'],
  ['is killed', 'SIGKILL'],
] as const) {
  for (const kind of ['postgres', 'mariadb'] as const) {
    test(`${kind}: no server outlives a process that ${how}`, {
      skip: skipWithout(available(kind)),
    }, async () => {
      const child = spawn(process.execPath, [starter, kind], {
        // The ordered crash would print its trace into a passing run.
        stdio: ['ignore', 'pipe', signal === 'SIGUSR2' ? 'ignore' : 'inherit'],
      });
      let text = '';
      for await (const chunk of child.stdout) {
        text += chunk;
        if (text.includes('\n')) break;
      }
      const folder = text.trim();
      assert.ok(existsSync(folder), `the child said: ${text}`);
      assert.ok(serversIn(folder).length > 0);
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
      await until('its servers are gone', () => serversIn(folder).length === 0);
      // Nobody is left to remove the folder of a killed process; the next harness does.
      if (signal === 'SIGKILL') sweepDead();
      assert.equal(existsSync(folder), false);
    });
  }
}
