// What an operator does while clients are connected: other weights, nodes and users without a dropped connection, and a
// shutdown that lets clients finish.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { configFor } from '../proxy/proxy-under-test.js';
import { until } from '../servers/poll.js';
import { type ClusterChanges, FUNCTIONS, rejects, type Stage } from './stage.js';

export async function operationTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const [a, b] = stage.replicaNames as [string, string];
  const nodes = (weights: Record<string, number>) =>
    cluster.nodes
      .filter(({ name }) => weights[name] !== undefined)
      .map(({ name, host, port }) => ({ name, host, port, weight: weights[name]! }));
  const balance = 'weighted' as const;
  const routing = { balance, readFunctions: FUNCTIONS };

  await t.test('reload: weights, nodes and users change, no connection drops', async (t) => {
    const users = [{ name: cluster.user.user, password: cluster.user.password }];
    const base: ClusterChanges = { routing, users, nodes: nodes({ node1: 1, [a]: 1, [b]: 1 }) };
    const front = await stage.front(t, base);
    const reload = async (changes: ClusterChanges) => {
      const result = front.proxy.proxy.reload(configFor(cluster, { ...base, ...changes }));
      assert.deepEqual(result, { ok: true });
      await front.refresh();
    };
    const idle = await front.connect(t);
    const inside = await front.connect(t);
    await inside.query('BEGIN');
    await inside.query("INSERT INTO notes VALUES (600, 'across reloads')");
    assert.deepEqual(await front.spread(t, 8), { [a]: 4, [b]: 4 });

    await reload({ nodes: nodes({ node1: 1, [a]: 1, [b]: 3 }) });
    assert.deepEqual(await front.spread(t, 8), { [a]: 2, [b]: 6 });

    await reload({ nodes: nodes({ node1: 1, [b]: 1 }) });
    await front.seesReplicas([b]);
    assert.deepEqual(await front.spread(t, 4), { [b]: 4 });

    await reload({ nodes: nodes({ node1: 1, [a]: 1, [b]: 1 }) });
    await front.seesReplicas([a, b]);
    assert.deepEqual(await front.spread(t, 4), { [a]: 2, [b]: 2 });

    await reload({
      nodes: nodes({ node1: 1, [a]: 1, [b]: 1 }).map((node) =>
        node.name === a ? { ...node, mode: 'drain' } : node,
      ),
    });
    assert.deepEqual(await front.spread(t, 4), { [b]: 4 });

    const [other] = Object.values(cluster.users).filter((login) => login.user !== cluster.user.user);
    const { database } = cluster.user;
    await rejects(
      driver,
      driver.connect(front.proxy, { ...other!, database }),
      driver.code('authentication-failed'),
    );
    await reload({ users: [...users, { name: other!.user, password: other!.password }] });
    await (await front.connect(t, { ...other!, database }))
      .query('SELECT name FROM items WHERE id = 1')
      .catch((error) => {
        // It has no right to the table on PostgreSQL: an answer of the server all the same.
        assert.equal(driver.codeOf(error), '42501');
      });

    await inside.query('COMMIT');
    assert.deepEqual(await inside.query('SELECT note FROM notes WHERE id = 600'), [
      { note: 'across reloads' },
    ]);
    assert.equal((await idle.query('SELECT name FROM items WHERE id = 1'))[0]?.name, 'one');
    assert.equal(idle.broken ?? inside.broken, null);
  });

  await t.test('reload: between units it looks for input, or sleeps', async (t) => {
    const front = await stage.front(t);
    const client = await front.connect(t);
    const lookedMs = async () => {
      await front.proxy.proxy.refresh();
      return front.proxy.proxy.counters().busyPollMs;
    };
    const looksOf = async (units: number) => {
      const before = await lookedMs();
      for (let i = 0; i < units; i++) await client.query('SELECT name FROM items WHERE id = 1');
      return (await lookedMs()) - before;
    };
    await front.reload({ ...front.proxy.config, busyPollUs: 1000 });
    await until('it looks', async () => (await looksOf(20)) > 0);
    await front.reload({ ...front.proxy.config, busyPollUs: 0 });
    // Also a worker has taken that over.
    await until('it sleeps', async () => (await looksOf(20)) === 0);
    assert.equal(await looksOf(50), 0);
  });

  await t.test('drain: idle clients are told, a transaction may end, nobody new comes in', async (t) => {
    const front = await stage.front(t);
    const idle = await front.connect(t);
    const inside = await front.connect(t);
    await inside.query('BEGIN');
    await inside.query("INSERT INTO notes VALUES (700, 'last words')");
    let drained = false;
    const draining = front.proxy.proxy.drain().then(() => {
      drained = true;
    });
    await until('the idle client to be closed', () => idle.broken !== null);
    if (stage.kind === 'postgres') assert.equal(driver.codeOf(idle.broken), driver.code('shutting-down'));
    await assert.rejects(driver.connect(front.proxy, cluster.user));
    assert.equal(inside.broken, null);
    assert.equal(drained, false);
    await inside.query('COMMIT');
    await draining;
    assert.deepEqual(await cluster.primary.admin('SELECT note FROM notes WHERE id = 700'), [
      { note: 'last words' },
    ]);
  });
}
