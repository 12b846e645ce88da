// Every peer starts, passes a statement of a real client on to the right node, and leaves nothing behind.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { type Availability, available, availablePeer, skipWithout } from './available.js';
import { startCluster, type TestCluster } from './cluster.js';
import {
  type RunningPeer,
  startHaproxy,
  startMysqlRouter,
  startPgbouncer,
  startPgpool,
  startRedis,
} from './peers.js';
import { leftovers } from './root.js';

function both(first: Availability, second: Availability): string | false {
  return skipWithout(first) || skipWithout(second);
}

async function postgresAnswer(cluster: TestCluster, port: number, sql: string): Promise<unknown> {
  const { user, password, database } = cluster.user;
  const client = new pg.Client({ host: '127.0.0.1', port, user, password, database });
  await client.connect();
  try {
    const result = await client.query<{ answer: unknown }>(sql);
    return result.rows[0]?.answer;
  } finally {
    await client.end();
  }
}

async function mysqlPort(cluster: TestCluster, port: number): Promise<number> {
  const connection = await mysql.createConnection({ host: '127.0.0.1', port, ...cluster.user });
  try {
    const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT @@port AS port');
    return Number(rows[0]?.port);
  } finally {
    await connection.end();
  }
}

type Stoppable = Pick<RunningPeer, 'stop'>;

/** Ends all that a test started, in whatever way the test ended. */
async function using(body: (started: <T extends Stoppable>(what: T) => T) => Promise<void>): Promise<void> {
  const all: Stoppable[] = [];
  try {
    await body((what) => {
      all.push(what);
      return what;
    });
  } finally {
    for (const what of all.reverse()) await what.stop();
  }
  assert.deepEqual(leftovers(), { processes: [], files: [] });
}

async function ping(port: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.write('PING\r\n');
  const [answer] = await once(socket, 'data');
  socket.destroy();
  return String(answer).trim();
}

test('Redis answers, dies and comes back', { skip: skipWithout(availablePeer('redis')) }, () =>
  using(async (started) => {
    const redis = started(await startRedis());
    assert.equal(await ping(redis.port), '+PONG');
    await redis.kill('SIGKILL');
    assert.equal(redis.pid, undefined);
    await assert.rejects(ping(redis.port), { code: 'ECONNREFUSED' });
    await redis.start();
    assert.equal(await ping(redis.port), '+PONG');
  }),
);

for (const version of ['1.18', '1.26'] as const) {
  const peer = availablePeer(version === '1.26' ? 'pgbouncer-1.26' : 'pgbouncer');
  test(`PgBouncer ${version} pools`, { skip: both(available('postgres', 15), peer) }, () =>
    using(async (started) => {
      const cluster = started(await startCluster('postgres', { version: 15, replicas: 0 }));
      const bouncer = started(await startPgbouncer(cluster, cluster.primary, { version, poolSize: 1 }));
      // One server connection serves both clients, one after the other.
      const sql = 'SELECT pg_backend_pid() AS answer';
      assert.equal(
        await postgresAnswer(cluster, bouncer.port, sql),
        await postgresAnswer(cluster, bouncer.port, sql),
      );
    }),
  );
}

test('HAProxy passes on', { skip: both(available('mariadb'), availablePeer('haproxy')) }, () =>
  using(async (started) => {
    const cluster = started(await startCluster('mariadb', { replicas: 0 }));
    const haproxy = started(await startHaproxy(cluster.primary));
    assert.equal(await mysqlPort(cluster, haproxy.port), cluster.primary.port);
  }),
);

test(
  'MySQL Router splits by port',
  {
    skip: both(available('mysql'), availablePeer('mysqlrouter')),
  },
  () =>
    using(async (started) => {
      const cluster = started(await startCluster('mysql', { replicas: 1 }));
      const router = started(await startMysqlRouter(cluster));
      assert.equal(await mysqlPort(cluster, router.port), cluster.primary.port);
      assert.equal(await mysqlPort(cluster, router.readPort), cluster.replicas[0]?.port);
    }),
);

test(
  'Pgpool-II writes to the primary',
  {
    skip: both(available('postgres', 15), availablePeer('pgpool')),
  },
  () =>
    using(async (started) => {
      const cluster = started(await startCluster('postgres', { version: 15, replicas: 1 }));
      const pgpool = started(await startPgpool(cluster, 8));
      await postgresAnswer(cluster, pgpool.port, 'CREATE TABLE t (id int)');
      await postgresAnswer(cluster, pgpool.port, 'INSERT INTO t VALUES (7)');
      await cluster.waitCaughtUp();
      const read = new Set<unknown>();
      for (let attempt = 0; attempt < 200 && read.size < 2; attempt++) {
        read.add(
          await postgresAnswer(cluster, pgpool.port, "SELECT current_setting('port') AS answer FROM t"),
        );
      }
      assert.deepEqual(read, new Set(cluster.nodes.map((node) => String(node.port))));
    }),
);
