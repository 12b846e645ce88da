// Several workers behave as one proxy: spread, sums, cancels, reload, limits, a worker that is killed, a failover, the end.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatementsReport } from '../../src/admin/statements.js';
import { scheelite } from '../cli/run.js';
import { available, type Kind, skipWithout } from '../servers/available.js';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import * as mysqlActivity from './mysql-activity.js';
import * as postgresActivity from './postgres-activity.js';
import { rejects, Stage } from './stage.js';
import { crashTests } from './workers-crash.js';
import {
  controlConnections,
  isAlive,
  type Placed,
  serverConnections,
  WORKERS,
  WorkersFront,
} from './workers-stage.js';

const CLIENTS = 10;
/** For a row that somebody else holds: SLEEP() would answer a kill with a value. */
const WAITING = 'UPDATE items SET name = name WHERE id = 1';

export function workersSuite(kind: Kind): void {
  test(`${kind}: several workers`, { skip: skipWithout(available(kind)) }, async (t) => {
    const stage = await Stage.open(t, kind);
    await t.test('limits', (t) => limitTests(t, stage));
    await t.test('one proxy', (t) => oneProxyTests(t, stage));
    await t.test('crashes', (t) => crashTests(t, stage));
    if (kind === 'postgres') await t.test('ends', (t) => endTests(t, stage));
    // Last: the cluster is another one afterwards.
    await t.test('failover', (t) => failoverTest(t, stage));
  });
}

async function oneProxyTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const front = await WorkersFront.open(t, stage);
  const clients = await front.connectMany(t, CLIENTS);

  await t.test('clients are spread evenly', async () => {
    for (let worker = 0; worker < WORKERS; worker++)
      assert.equal(clients.filter((client) => client.worker === worker).length, CLIENTS / WORKERS);
    assert.equal(new Set(clients.map(({ id }) => id)).size, CLIENTS);
  });

  await t.test('status and metrics are sums', async () => {
    const before = await front.metric('units_total');
    for (const client of clients) for (let i = 0; i < 5; i++) await client.query('SELECT 1 AS one');
    const status = await front.status();
    assert.equal(status.listeners[0]?.clients, CLIENTS);
    assert.equal(status.clusters[0]?.clients, CLIENTS);
    assert.deepEqual(
      status.workers?.map(({ state, clients, restarts }) => ({ state, clients, restarts })),
      Array.from({ length: WORKERS }, () => ({ state: 'running', clients: CLIENTS / WORKERS, restarts: 0 })),
    );
    assert.equal(await front.metric('client_connections'), CLIENTS);
    assert.equal((await front.metric('units_total')) - before, 5 * CLIENTS);
    assert.equal(await front.metric('node_primary'), 1);
    assert.equal(await front.metric('worker_running'), WORKERS);
    assert.ok((await front.metric('probes_total', 'answered')) > 0);
    const top = await scheelite(['top', '--once', '--json', '--admin', front.server.admin]);
    const { statements } = JSON.parse(top.stdout) as StatementsReport;
    assert.equal(statements.find(({ shape }) => /^select .* as one$/i.test(shape))?.calls, 5 * CLIENTS);
  });

  await t.test('one monitor for all', async () => {
    const answered = await front.metric('probes_total', 'answered');
    await until('it goes on', async () => (await front.metric('probes_total', 'answered')) > answered + 20);
    // On the primary others ask as well: for the catalog, and for users.
    for (const replica of cluster.replicas)
      await until(
        `one connection watches ${replica.name}`,
        async () => (await controlConnections(stage, replica)) === 1,
      );
  });

  await t.test('a cancel reaches the worker of its client, wherever it comes in', async (t) => {
    const holder = await stage.direct(t, cluster.primary);
    await holder.query('BEGIN');
    await holder.query("UPDATE items SET name = 'held' WHERE id = 1");
    for (let i = 0; i < 6; i++) {
      const victim = clients[i % 2]!;
      const canceller = clients.find((other) => other !== victim && other.worker === (i >> 1) % WORKERS)!;
      const running = victim.query(WAITING);
      const refused = assert.rejects(running, (error) => /57014|1317/.test(driver.codeOf(error)));
      await cancelOnceRunning(stage, front, victim, canceller);
      await refused;
    }
    await holder.query('ROLLBACK');
    if (stage.kind === 'postgres') return;
    for (const canceller of clients.slice(0, 2)) {
      const victim = await front.connect(t);
      await canceller.query(`KILL ${victim.id}`);
      await until('it is cut', () => victim.broken());
    }
    for (const client of clients.slice(0, 2))
      for (const id of [4_000_000, 4_000_001])
        await rejects(driver, client.query(`KILL QUERY ${id}`), '1094');
  });

  await t.test('a reload reaches all', async () => {
    const place = async (client: Placed) =>
      stage.nodeAt((await client.query('SELECT node_port() AS port'))[0]?.port);
    for (const client of clients)
      await until('it reads from a replica', async () => (await place(client)) !== cluster.primary.name);
    // The watch of the file may have taken it over already.
    const outcomes = ['applied', 'unchanged'];
    assert.ok(outcomes.includes(await front.reload({ consistency: { level: 'primary' } })));
    for (const client of clients) assert.equal(await place(client), cluster.primary.name);
    assert.ok(outcomes.includes(await front.reload({})));
  });

  if (stage.kind === 'postgres')
    await t.test('DDL through one worker changes what the others know of the schema', async () => {
      const [here, there] = [0, 1].map((worker) => clients.find((client) => client.worker === worker)!);
      const define = (volatility: string) =>
        here!.query(
          `CREATE OR REPLACE FUNCTION where_am_i() RETURNS int ${volatility} LANGUAGE sql AS $$SELECT current_setting('port')::int$$`,
        );
      const place = async () =>
        stage.nodeAt((await there!.query('SELECT where_am_i() AS port'))[0]?.port) === cluster.primary.name;
      await define('STABLE');
      await until('it is a read for the other worker', async () => !(await place()));
      await define('VOLATILE');
      // Much sooner than the next reading of the catalog is due.
      await until('it is a write for the other worker', place, 30_000);
    });

  // What has nothing to do with the servers is tried with one kind.
  if (stage.kind === 'postgres') await replacementTests(t, front, clients);
}

async function replacementTests(t: TestContext, front: WorkersFront, clients: Placed[]): Promise<void> {
  await t.test('a worker that is killed is replaced, and the others notice nothing', async (t) => {
    const accepted = await front.metric('client_connections_accepted_total');
    const [, victim] = await front.workers();
    const mine = clients.filter(({ worker }) => worker === 0);
    const lost = clients.filter(({ worker }) => worker === 1);
    const running = mine[0]!.query('SELECT pause(1)');
    process.kill(victim!.pid!, 'SIGKILL');
    await until('its clients notice', () => lost.every((client) => client.broken()));
    await running;
    for (const client of mine) await client.query('SELECT 1');
    for (const client of await front.connectMany(t, 2)) await client.query('SELECT 1');
    await until('it is replaced', async () => {
      const worker = (await front.workers())[1]!;
      return worker.restarts === 1 && worker.state === 'running';
    });
    const newcomers = await front.connectMany(t, 2 * WORKERS);
    for (let worker = 0; worker < WORKERS; worker++)
      assert.ok(newcomers.some((client) => client.worker === worker));
    for (const client of newcomers) await client.query('INSERT INTO counters VALUES (7, 1)').catch(() => {});
    assert.ok((await front.metric('client_connections_accepted_total')) >= accepted + 2 + 2 * WORKERS);
    for (const client of mine) assert.equal(client.broken(), false);
    const line = front.server.log().find(({ msg }) => msg === 'a worker has ended and is replaced');
    assert.equal(line?.worker, 2);
  });

  await t.test('a worker that hangs is replaced', async () => {
    const { pid, restarts } = (await front.workers())[0]!;
    process.kill(pid!, 'SIGSTOP');
    await until('it is replaced', async () => (await front.workers())[0]!.restarts > restarts, 120_000);
    assert.ok(front.server.log().some(({ msg, worker }) => msg === 'a worker hangs: killed' && worker === 1));
    await front.allRun();
  });

  await t.test('workers that keep ending are replaced ever more slowly', async () => {
    const deaths = () =>
      front.server
        .log()
        .filter(({ msg, worker }) => msg === 'a worker has ended and is replaced' && worker === 2);
    const before = deaths().length;
    for (let i = 1; i <= 3; i++) {
      process.kill((await front.workers())[1]!.pid!, 'SIGKILL');
      await until('its end is told', () => deaths().length === before + i);
      await front.allRun();
    }
    const delays = deaths().map(({ nextInMs }) => Number(nextInMs));
    for (let i = before + 1; i < delays.length; i++) assert.ok(delays[i]! > delays[i - 1]!, String(delays));
    const shown = await scheelite(['status', '--admin', front.server.admin]);
    assert.match(shown.stdout, new RegExp(`^2 +\\d+ +running +\\d+ +${before + 3} +SIGKILL`, 'm'));
  });
}

/** PostgreSQL: on a connection of its own, which lands on any worker. MySQL: by another client. */
async function cancelOnceRunning(
  stage: Stage,
  front: WorkersFront,
  victim: Placed,
  canceller: Placed,
): Promise<void> {
  const activity = stage.kind === 'postgres' ? postgresActivity : mysqlActivity;
  await until('it runs', async () => (await activity.running(stage, WAITING)) === 1);
  if (stage.kind !== 'postgres') {
    await canceller.query(`KILL QUERY ${victim.id}`);
    return;
  }
  const packet = Buffer.alloc(16);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(80877102, 4);
  packet.writeInt32BE(victim.id, 8);
  packet.writeInt32BE(victim.secretKey, 12);
  const socket = connect(front.server.listeners[0]!.port, '127.0.0.1', () => socket.write(packet));
  socket.resume();
  await once(socket, 'close');
}

async function limitTests(parent: TestContext, stage: Stage): Promise<void> {
  const t = parent;
  const { cluster, driver } = stage;
  const maxServerConnections = 4;
  const pool = { maxServerConnections, idleTimeoutMs: 600_000 };
  const front = await WorkersFront.open(t, stage, { pool }, { maxClients: 12 });
  let most = 0;
  let ended = false;
  const watch = (async () => {
    while (!ended) {
      for (const node of cluster.nodes)
        most = Math.max(most, await serverConnections(stage, node, maxServerConnections));
      await sleep(10);
    }
  })();
  const clients = await front.connectMany(t, 12);

  await t.test('clients: the one too many is refused, on whichever worker', async (t) => {
    for (let i = 0; i < 4; i++) await rejects(driver, front.connect(t), driver.code('too-many-clients'));
    const leaving = clients.filter(({ worker }) => worker === 0).slice(0, 2);
    for (const client of leaving) {
      clients.splice(clients.indexOf(client), 1);
      await client.close();
    }
    await until('they have left', async () => (await front.status()).listeners[0]!.clients === 10);
    // More on one worker than its even part: what the other does not use.
    clients.push(...(await front.connectMany(parent, 2)));
    for (let i = 0; i < 2; i++) await rejects(driver, front.connect(t), driver.code('too-many-clients'));
  });

  await t.test('server connections: many units on both workers share them', async () => {
    const work = clients.map(async (client) => {
      for (let i = 0; i < 5; i++) {
        await client.query('BEGIN');
        await client.query('SELECT pause(0.01)');
        await client.query('COMMIT');
      }
    });
    await Promise.all(work);
    assert.ok(most <= maxServerConnections, `${most} at a time`);
  });

  await t.test('server connections: one worker gets what the others do not use', async () => {
    const mine = clients.filter(({ worker }) => worker === 1).slice(0, maxServerConnections);
    const other = clients.find(({ worker }) => worker === 0)!;
    assert.equal(mine.length, maxServerConnections);
    for (const client of mine) {
      await client.query('BEGIN');
      await client.query('SELECT 1');
    }
    let isServed = false;
    const waiting = (async () => {
      await other.query('BEGIN');
      await other.query('SELECT 1');
      isServed = true;
      await other.query('COMMIT');
    })();
    await until('it waits', async () => (await front.metric('pool_waiting_units')) === 1);
    await until('all are seen at work', () => most === maxServerConnections);
    assert.equal(isServed, false);
    await mine[0]!.query('COMMIT');
    await waiting;
    for (const client of mine.slice(1)) await client.query('COMMIT');
  });

  ended = true;
  await watch;
  assert.equal(most, maxServerConnections);
  front.server.signal('SIGTERM');
  await front.server.ended;

  await t.test('server connections of one user', async (t) => {
    const { user: name, password } = cluster.user;
    const users = [{ name, password, maxServerConnections: 2 }];
    const front = await WorkersFront.open(t, stage, { users });
    const clients = await front.connectMany(t, 6);
    let most = 0;
    const work = clients.map(async (client) => {
      for (let i = 0; i < 5; i++) {
        await client.query('BEGIN');
        await client.query('SELECT pause(0.02)');
        most = Math.max(most, await serverConnections(stage, cluster.primary, 2));
        await client.query('COMMIT');
      }
    });
    await Promise.all(work);
    assert.ok(most >= 1 && most <= 2, `${most} at a time`);
  });
}

async function endTests(t: TestContext, stage: Stage): Promise<void> {
  await t.test('SIGTERM drains all workers, and all processes end', async (t) => {
    const front = await WorkersFront.open(t, stage);
    const clients = await front.connectMany(t, 4);
    for (const client of clients) await client.query('BEGIN');
    const pids = (await front.workers()).map(({ pid }) => pid!);
    front.server.signal('SIGTERM');
    await front.server.logged('draining');
    for (const client of clients) {
      await client.query('SELECT 1');
      await client.query('COMMIT');
    }
    await until('clients are told to go', () => clients.every((client) => client.broken()));
    assert.equal((await front.server.ended).code, 0);
    assert.deepEqual(pids.filter(isAlive), []);
  });

  await t.test('workers end with their supervisor', async (t) => {
    const front = await WorkersFront.open(t, stage);
    const pids = (await front.workers()).map(({ pid }) => pid!);
    front.server.signal('SIGKILL');
    await until('they end', () => pids.every((pid) => !isAlive(pid)));
  });
}

interface Writer {
  readonly client: Placed;
  readonly number: number;
  readonly acknowledged: Set<number>;
  readonly errors: string[];
}

async function failoverTest(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const old = cluster.primary;
  const front = await WorkersFront.open(t, stage, { failover: { mode: 'automatic', holdMs: 60_000 } });
  const clients = await front.connectMany(t, 6);
  const writers = clients.map(
    (client, i): Writer => ({ client, number: 200 + i, acknowledged: new Set(), errors: [] }),
  );
  let total = 0;
  let ended = false;
  const loops = writers.map(async ({ client, number, acknowledged, errors }) => {
    for (let seq = 1; !ended; seq++) {
      try {
        await client.query(`INSERT INTO ledger VALUES (${number}, ${seq})`);
        acknowledged.add(seq);
        total++;
      } catch (error) {
        errors.push(driver.codeOf(error));
        if (client.broken()) throw error;
      }
      await sleep(1);
    }
  });
  const all = Promise.all(loops);
  all.catch(() => {
    ended = true;
  });
  const more = (count: number) => {
    const goal = total + count;
    return until(`${count} more writes`, () => ended || total >= goal);
  };
  await more(200);
  await old.kill('SIGKILL');
  const survivors = await Promise.all(cluster.replicas.map((node) => ledgerOf(node)));
  await until(
    'a new primary',
    async () => ![null, old.name].includes((await front.status()).clusters[0]!.primary),
  );
  await more(200);
  ended = true;
  await all;
  const { primary } = (await front.status()).clusters[0]!;
  const there = await ledgerOf(cluster.nodes.find(({ name }) => name === primary)!);
  for (const survivor of survivors)
    for (const entry of survivor) assert.ok(there.has(entry), `${entry} is gone`);
  let lost = 0;
  for (const { client, number, acknowledged, errors } of writers) {
    assert.equal(client.broken(), false);
    assert.ok(
      errors.length <= 1 && errors.every((code) => code === driver.code('outcome-unknown')),
      String(errors),
    );
    for (const seq of acknowledged) if (!there.has(`${number}:${seq}`)) lost++;
  }
  assert.equal(new Set(clients.map(({ worker }) => worker)).size, WORKERS);
  assert.equal(await front.metric('failovers_total', 'done'), 1);
  await t.test('a worker that does not follow is ended before anybody is promoted', (t) =>
    frozenWorker(t, stage, primary!),
  );
  t.diagnostic(`${total} acknowledged writes, ${lost} of them lost with the old primary`);
}

/** The second failover of the cluster, with one worker stopped: it could write to the old primary when it wakes up. */
async function frozenWorker(t: TestContext, stage: Stage, primary: string): Promise<void> {
  const failover = { mode: 'automatic', blockMs: 0 } as const;
  const nodes = stage.cluster.nodes.filter(({ pid }) => pid !== undefined);
  const front = await WorkersFront.open(t, stage, {
    nodes: nodes.map(({ name, host, port }) => ({ name, host, port })),
    failover,
  });
  const clients = await front.connectMany(t, 4);
  for (const client of clients) await client.query('SELECT 1');
  const pid = (await front.workers())[1]!.pid!;
  process.kill(pid, 'SIGSTOP');
  t.after(() => {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  });
  await nodes.find(({ name }) => name === primary)!.kill('SIGKILL');
  const mine = clients.filter(({ worker }) => worker === 0);
  for (const client of mine) {
    const write = (number: number) => client.query(`INSERT INTO ledger VALUES (${number}, ${client.id})`);
    // Its server process may take the first one before it notices that the others are gone: that outcome is not known.
    await write(300).catch(() => write(301));
  }
  await until('the promotion is told', () => promotionIn(front.server.log()) >= 0);
  const log = front.server.log();
  const killed = log.findIndex(({ msg }) => msg === 'a worker does not follow a change of roles: killed');
  const promoted = promotionIn(log);
  assert.ok(killed >= 0 && killed < promoted, `killed: line ${killed}, promoted: line ${promoted}`);
  assert.ok(!isAlive(pid));
  await front.allRun();
  for (const client of mine) assert.equal(client.broken(), false);
}

function promotionIn(log: readonly { msg?: unknown; epoch?: unknown }[]): number {
  return log.findIndex(({ msg, epoch }) => msg === 'cluster is normal' && epoch === 2);
}

async function ledgerOf(node: TestNode): Promise<Set<string>> {
  const rows = await node.admin('SELECT client, seq FROM ledger WHERE client >= 200');
  return new Set(rows.map(({ client, seq }) => `${client}:${seq}`));
}
