// Where reads go by zone, by latency and after an absence, and what the modes of a node do to clients that are there: on real
// servers, with the configuration changed under them.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { configFor } from '../proxy/proxy-under-test.js';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { slowRelay } from './slow-relay.js';
import { type ClusterChanges, type Front, FUNCTIONS, ONE_PROCESS, rejects, type Stage } from './stage.js';

type NodeInput = NonNullable<ClusterChanges['nodes']>[number];
type Mode = NonNullable<NodeInput['mode']>;

export async function balancingTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const primary = cluster.primary.name;
  const [a, b] = cluster.replicas as [TestNode, TestNode];

  const nodes = (change: (node: TestNode) => Partial<NodeInput>): NodeInput[] =>
    cluster.nodes.map((node) => ({ name: node.name, host: node.host, port: node.port, ...change(node) }));

  /** Takes over these modes, and whatever else is to change, without a restart. */
  const set = async (
    front: Front,
    modes: Record<string, Mode>,
    changes: ClusterChanges = {},
  ): Promise<void> => {
    const { routing = {}, ...rest } = changes;
    const next = configFor(cluster, {
      nodes: nodes(({ name }) => ({ mode: modes[name] ?? 'online' })),
      ...rest,
      routing: { readFunctions: FUNCTIONS, ...routing },
    });
    assert.deepEqual(front.proxy.proxy.reload(next), { ok: true });
    await front.refresh();
  };
  const value = async (client: Client): Promise<{ value: number; node: string }> => {
    const [row] = await client.query('SELECT value, node_port() AS port FROM counters WHERE id = 1');
    return { value: Number(row?.value), node: stage.nodeAt(row?.port) };
  };
  const setup = await stage.direct(t, cluster.primary);
  await setup.query('INSERT INTO counters VALUES (1, 0)');
  await cluster.waitCaughtUp();

  const beginOnReplica = async (front: Front, node: TestNode): Promise<Client> => {
    for (;;) {
      const client = await front.connect(t);
      await client.query('START TRANSACTION READ ONLY');
      if ((await front.whereIs(client)) === node.name) return client;
      await client.query('COMMIT');
      await client.close();
    }
  };

  await t.test(
    'drain: a transaction there finishes, all else goes elsewhere, then nothing is open',
    async (t) => {
      const front = await stage.front(t);
      const inside = await beginOnReplica(front, a);
      const others = await front.connectMany(t, 4);
      for (const client of others) await front.whereIs(client);
      await set(front, { [a.name]: 'drain' });
      for (const client of others) assert.notEqual(await front.whereIs(client), a.name);
      assert.deepEqual(await front.spread(t, 4), { [b.name]: 4 });
      assert.equal(await front.whereIs(inside), a.name);
      assert.equal(front.nodeStatus(a.name).pool.open, 1);
      assert.equal(front.nodeStatus(a.name).excludedBecause, 'is set to drain');
      await inside.query('COMMIT');
      await until('its server connections to be gone', () => front.nodeStatus(a.name).pool.open === 0);
      assert.notEqual(await front.whereIs(inside), a.name);
      await set(front, {});
      await until('it to take reads again', async () => ((await front.spread(t, 4))[a.name] ?? 0) > 0);
    },
  );

  await t.test(
    'offline: what runs there runs elsewhere, a transaction there is lost, and said to be',
    async (t) => {
      const front = await stage.front(t);
      const inside = await beginOnReplica(front, a);
      await set(front, { [b.name]: 'drain' });
      const reader = await front.connect(t);
      const running = reader.query('SELECT pause(8) AS one, node_port() AS port');
      await until('it to run', () => front.nodeStatus(a.name).pool.leased === 2);
      await set(front, { [a.name]: 'offline' });
      await rejects(
        driver,
        inside.query('SELECT name FROM items WHERE id = 1'),
        driver.code('transaction-lost'),
      );
      await inside.query('ROLLBACK');
      assert.equal((await inside.query('SELECT name FROM items WHERE id = 1'))[0]?.name, 'one');
      assert.equal(stage.nodeAt((await running)[0]?.port), b.name);
      await until('its server connections to be gone', () => front.nodeStatus(a.name).pool.open === 0);
      assert.equal(inside.broken ?? reader.broken, null);
    },
  );

  await t.test('standby-only: no reads', async (t) => {
    const front = await stage.front(t);
    await set(front, { [a.name]: 'standby-only' });
    assert.deepEqual(await front.spread(t, 4), { [b.name]: 4 });
    await set(front, { [a.name]: 'standby-only', [b.name]: 'standby-only' });
    assert.deepEqual(await front.spread(t, 2), { [primary]: 2 });
  });

  await t.test('a drained primary: its transaction commits, new writes are held, reads go on', async (t) => {
    const front = await stage.front(t);
    const inside = await front.connect(t);
    await inside.query('BEGIN');
    await inside.query("INSERT INTO notes VALUES (810, 'inside')");
    const writer = await front.connect(t);
    await set(front, { [primary]: 'drain' });
    const held = writer.query("INSERT INTO notes VALUES (811, 'held')");
    await until('the write to be held', () => front.status().held === 1);
    assert.ok(front.status().state.includes('is set to drain') || front.status().alerts.length > 0);
    assert.equal(front.nodeStatus(primary).takesWrites, false);
    const served = await front.spread(t, 6);
    assert.equal(served[primary], undefined, JSON.stringify(served));
    await inside.query("INSERT INTO notes VALUES (812, 'inside too')");
    await inside.query('COMMIT');
    await until('the primary to be free', () => front.nodeStatus(primary).pool.leased === 0);
    assert.deepEqual(
      await cluster.primary.admin('SELECT id FROM notes WHERE id BETWEEN 810 AND 812 ORDER BY id'),
      [{ id: 810 }, { id: 812 }],
    );
    // Nothing was promoted for that, and a newcomer can log in.
    assert.equal(front.status().primary, primary);
    await set(front, {});
    await held;
    assert.equal((await writer.query('SELECT note FROM notes WHERE id = 811'))[0]?.note, 'held');
  });

  await t.test(
    'an offline primary: what is open is lost, what comes is held as long as it may be',
    async (t) => {
      const front = await stage.front(t);
      const inside = await front.connect(t);
      await inside.query('BEGIN');
      await inside.query("INSERT INTO notes VALUES (820, 'lost')");
      const writer = await front.connect(t);
      await set(front, { [primary]: 'offline' }, { failover: { holdMs: 200 } });
      await rejects(
        driver,
        inside.query('SELECT name FROM items WHERE id = 1'),
        driver.code('transaction-lost'),
      );
      await rejects(driver, writer.query("INSERT INTO notes VALUES (821, 'no')"), driver.code('no-primary'));
      await set(front, {});
      await inside.query('ROLLBACK');
      await writer.query("INSERT INTO notes VALUES (822, 'yes')");
      assert.deepEqual(await cluster.primary.admin('SELECT id FROM notes WHERE id BETWEEN 820 AND 822'), [
        { id: 822 },
      ]);
    },
  );

  await t.test('a session whose replica is drained leaves it without going back in time', async (t) => {
    await cluster.waitCaughtUp();
    const front = await stage.front(t);
    const session = await front.connect(t);
    await b.pauseReplay();
    t.after(() => b.resumeReplay());
    await setup.query('UPDATE counters SET value = value + 1 WHERE id = 1');
    await set(front, { [b.name]: 'drain' });
    // It has never written: all it knows is what it saw.
    let seen = await value(session);
    await until('it to have seen the new value on a', async () => {
      seen = await value(session);
      return seen.value === 1 && seen.node === a.name;
    });
    // b is all that is left, and does not have it.
    await set(front, { [a.name]: 'drain' });
    for (let i = 0; i < 20; i++) assert.deepEqual(await value(session), { value: 1, node: primary });
    await b.resumeReplay();
    await until('it to read from b', async () => {
      const now = await value(session);
      assert.equal(now.value, 1);
      return now.node === b.name;
    });
  });

  await t.test('locality: the zone serves everything while it may, and gets its sessions back', async (t) => {
    const zoned = (modes: Record<string, Mode> = {}): ClusterChanges => ({
      nodes: nodes(({ name }) => ({
        tags: { zone: name === a.name ? 'here' : 'there' },
        mode: modes[name] ?? 'online',
      })),
      routing: { locality: { tag: 'zone', value: 'here' } },
    });
    const front = await stage.front(t, zoned());
    assert.deepEqual(await front.spread(t, 5), { [a.name]: 5 });
    const session = await front.connect(t);
    assert.equal(await front.whereIs(session), a.name);
    await set(front, {}, zoned({ [a.name]: 'drain' }));
    assert.deepEqual(await front.spread(t, 3), { [b.name]: 3 });
    await until(
      'the session to read from the other zone',
      async () => (await front.whereIs(session)) === b.name,
    );
    await set(front, {}, zoned());
    await until('the session to be back', async () => (await front.whereIs(session)) === a.name);
    // Live: another zone, and none.
    await set(front, {}, { ...zoned(), routing: { locality: { tag: 'zone', value: 'there' } } });
    assert.equal((await front.spread(t, 3))[a.name], undefined);
    await set(front, {}, { ...zoned(), routing: {} });
    assert.deepEqual(await front.spread(t, 4), { [a.name]: 2, [b.name]: 2 });
  });

  await t.test('slow start: a node that comes back gets a tenth of its share at first', async (t) => {
    const slow: ClusterChanges = { routing: { slowStartMs: 3_600_000 } };
    // Turns are each worker's own.
    const front = await stage.front(t, slow, ONE_PROCESS);
    // The proxy has just come, not they.
    assert.deepEqual(await front.spread(t, 6), { [a.name]: 3, [b.name]: 3 });
    await set(front, { [a.name]: 'drain' }, slow);
    const drainedAtMs = performance.now();
    await until('it to have been away for a while', () => performance.now() - drainedAtMs > 700);
    await set(front, {}, slow);
    await front.seesReplicas([a.name, b.name]);
    const served = await front.spread(t, 60);
    assert.ok(served[a.name]! >= 1 && served[a.name]! <= 8, JSON.stringify(served));
    // Live: no more of that.
    await set(front, {}, { routing: { slowStartMs: 0 } });
    assert.deepEqual(await front.spread(t, 6), { [a.name]: 3, [b.name]: 3 });
  });

  await t.test(
    'peak-ewma: a replica far away gets little, and its share again when it is near',
    async (t) => {
      const relay = await slowRelay(t, a);
      const far: ClusterChanges = {
        nodes: nodes((node) => (node.name === a.name ? { port: relay.port } : {})),
        routing: { balance: 'peak-ewma', latencyDecayMs: 1_000 },
      };
      const front = await stage.front(t, far);
      // Of sessions that have seen nothing yet: one that reads without a pause stays where it is.
      const share = async (count: number): Promise<number> =>
        ((await front.spread(t, count))[a.name] ?? 0) / count;
      await until('both to serve', async () => {
        const part = await share(10);
        return part > 0 && part < 1;
      });
      // Far enough that the near one seems far only by a moment of a busy machine, which passes.
      relay.delayMs = 300;
      await until('it to get little', async () => (await share(40)) < 0.15);
      relay.delayMs = 0;
      await until('it to be near again', async () => (await share(20)) > 0.2);
    },
  );
}
