// Server connections are shared between clients one after the other, never two at a time: transactions stay apart, a client
// that dies leaves nothing behind, and the bound of the pool holds with a clear error.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { newcomers } from './newcomers.js';
import { ONE_PROCESS, rejects, type Stage } from './stage.js';

const BACKEND = 'SELECT backend_id() AS id';

export async function poolingTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const primary = cluster.primary.name;
  const backend = async (client: Client) => Number((await client.query(BACKEND))[0]?.id);

  await t.test('one server connection serves one client after the other', async (t) => {
    // Workers take turns, and reconnect at each.
    const front = await stage.front(t, { pool: { maxServerConnections: 1 } }, ONE_PROCESS);
    const seen = new Set<number>();
    for (const client of await front.connectMany(t, 5)) {
      await client.query('BEGIN');
      seen.add(await backend(client));
      await client.query('COMMIT');
    }
    assert.equal(seen.size, 1);
    assert.equal(front.node(primary).serverConnectionsOpened, 1);
  });

  await t.test('more clients than server connections: transactions never share one', async (t) => {
    const limit = 3;
    // What one worker gives back another opens again: then there are more, though never at a time (workers.ts).
    const isOne = stage.workers === 1;
    const front = await stage.front(t, { pool: { maxServerConnections: limit } });
    const setUp = await front.connect(t);
    await setUp.query("INSERT INTO notes VALUES (100, '')");
    const owners = new Map<number, number>();
    const used = new Set<number>();
    const clients = await front.connectMany(t, 12);
    await Promise.all(
      clients.map(async (client, me) => {
        for (let round = 0; round < 10; round++) {
          await client.query('BEGIN');
          const id = await backend(client);
          assert.equal(owners.get(id), undefined, `client ${me} got the connection of ${owners.get(id)}`);
          owners.set(id, me);
          used.add(id);
          await client.query('INSERT INTO ledger VALUES (?, ?)', [1000 + me, round]);
          const [row] = await client.execute('SELECT count(*) AS n FROM ledger WHERE client = ?', [
            1000 + me,
          ]);
          assert.equal(Number(row?.n), round + 1);
          assert.equal(await backend(client), id);
          owners.delete(id);
          await client.query('COMMIT');
        }
      }),
    );
    if (isOne) assert.ok(used.size <= limit, `${used.size} server connections`);
    if (isOne) assert.equal(front.node(primary).serverConnectionsOpened, used.size);
    // Another session's writes: only the primary surely has them at once.
    const count = 'SELECT count(*) AS n FROM ledger WHERE client >= 1000';
    const [row] = await setUp.query(`/* scheelite: route=primary */ ${count}`);
    assert.equal(Number(row?.n), 120);
  });

  await t.test('a client killed in a transaction: rolled back, nothing left for the next one', async (t) => {
    const front = await stage.front(t, { pool: { maxServerConnections: 1 } });
    const victim = await front.connect(t);
    await victim.query('BEGIN');
    await victim.query("INSERT INTO notes VALUES (200, 'of the dead')");
    victim.kill();
    const next = await front.connect(t);
    await next.query('BEGIN');
    assert.deepEqual(await next.query('SELECT note FROM notes WHERE id = 200'), []);
    await next.query("INSERT INTO notes VALUES (200, 'of the living')");
    await next.query('COMMIT');
    assert.deepEqual(await next.query('SELECT note FROM notes WHERE id = 200'), [{ note: 'of the living' }]);
  });

  await t.test('a client killed in a running statement: it is stopped on the server', async (t) => {
    const front = await stage.front(t, { pool: { maxServerConnections: 1 } });
    const victim = await front.connect(t);
    await victim.query('BEGIN');
    victim.query('SELECT pause(600)').catch(() => {});
    await until('the statement to run', () => front.nodeStatus(primary).pool.leased === 1);
    victim.kill();
    const next = await front.connect(t);
    await next.query('BEGIN');
    assert.ok((await backend(next)) > 0);
    await next.query('COMMIT');
  });

  await t.test('a full pool: a clear error after its time, and the client goes on', async (t) => {
    const front = await stage.front(t, { pool: { maxServerConnections: 1 } });
    const holder = await front.connect(t);
    const waiter = await front.connect(t);
    // Logins, and the first to use a replica, wait for a server connection as well.
    await waiter.query('SELECT name FROM items WHERE id = 1');
    const { config } = front.proxy;
    const clusters = config.clusters.map((each) => ({ ...each, pool: { ...each.pool, waitTimeoutMs: 200 } }));
    assert.deepEqual(await front.reload({ ...config, clusters }), { ok: true });
    await holder.query('BEGIN');
    assert.ok((await backend(holder)) > 0);
    const error = await rejects(
      driver,
      waiter.query("INSERT INTO notes VALUES (300, '')"),
      driver.code('pool-timeout'),
    );
    assert.match(error.message, /no server connection of node node1 became free within 200 ms/);
    assert.equal(waiter.broken, null);
    assert.equal(front.counters().errors['pool-timeout'], 1);
    // Reads do not need the primary.
    assert.equal((await waiter.query('SELECT name FROM items WHERE id = 1'))[0]?.name, 'one');
    await holder.query('COMMIT');
    await waiter.query("INSERT INTO notes VALUES (300, '')");
  });

  await t.test('a full queue: a clear error at once, and the client goes on', async (t) => {
    // Each worker has its part of the queue.
    const front = await stage.front(t, { pool: { maxServerConnections: 1, maxWaiting: 1 } }, ONE_PROCESS);
    const [holder, first, second] = (await front.connectMany(t, 3)) as [Client, Client, Client];
    await holder.query('BEGIN');
    assert.ok((await backend(holder)) > 0);
    const waiting = first.query("INSERT INTO notes VALUES (301, '')");
    await until('the queue to be full', () => front.nodeStatus(primary).pool.waiting === 1);
    await rejects(driver, second.query("INSERT INTO notes VALUES (302, '')"), driver.code('pool-queue-full'));
    await holder.query('COMMIT');
    await waiting;
    await second.query("INSERT INTO notes VALUES (302, '')");
  });

  await t.test('server connections that end under logins: nobody is refused', async (t) => {
    const front = await stage.front(t);
    const logins = newcomers(stage, front);
    for (let i = 0; i < 40; i++) {
      await endServerConnections(stage);
      await sleep(10);
    }
    const { entered, refused } = await logins.end();
    assert.deepEqual(refused, []);
    assert.ok(entered > 0);
  });

  await t.test('an error of the server is the client own, in and outside transactions', async (t) => {
    const front = await stage.front(t, { pool: { maxServerConnections: 1 } });
    const client = await front.connect(t);
    const duplicate = stage.kind === 'postgres' ? '23505' : '1062';
    await client.query("INSERT INTO notes VALUES (400, '')");
    await rejects(driver, client.query("INSERT INTO notes VALUES (400, '')"), duplicate);
    await rejects(driver, client.execute('INSERT INTO notes VALUES (?, ?)', [400, '']), duplicate);
    await client.query('BEGIN');
    await rejects(driver, client.query("INSERT INTO notes VALUES (400, '')"), duplicate);
    await client.query('ROLLBACK');
    const other = await front.connect(t);
    await other.query("UPDATE notes SET note = 'still' WHERE id = 400");
    // On a replica it need not be there for another client.
    assert.deepEqual(
      await client.query('/* scheelite: route=primary */ SELECT note FROM notes WHERE id = 400'),
      [{ note: 'still' }],
    );
  });
}

/** All of the application's on the primary, whatever they do. */
async function endServerConnections(stage: Stage): Promise<void> {
  const { primary } = stage.cluster;
  if (stage.kind === 'postgres') {
    await primary.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    return;
  }
  const rows = await primary.admin("SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = 'app'");
  // One may have gone meanwhile.
  for (const row of rows) await primary.admin(`KILL ${row.id}`).catch(() => {});
}
