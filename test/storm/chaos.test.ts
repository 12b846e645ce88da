// Chaos over a planted cluster: what it cannot do is told as a violation, and only what it has done is counted.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TestCluster, TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { Chaos } from './chaos.js';
import type { StormProxy } from './proxy.js';
import { Random } from './random.js';
import { Tally } from './tally.js';
import { Weather } from './unit.js';

function plantedCluster(admin: TestNode['admin'], kill: TestNode['kill'] = async () => {}): TestCluster {
  const nodes = ['node1', 'node2', 'node3'].map(
    (name) => ({ name, admin, kill, start: async () => {} }) as Partial<TestNode> as TestNode,
  );
  const [primary, ...replicas] = nodes;
  const user = { user: 'app', password: '', database: 'app' };
  return { kind: 'postgres', nodes, primary, replicas, user } as Partial<TestCluster> as TestCluster;
}

/** Until `done`. */
async function rage(cluster: TestCluster, done: (tally: Tally) => boolean): Promise<Tally> {
  const [tally, weather] = [new Tally(), new Weather()];
  const nodes = cluster.nodes.map(({ name }) => ({ name, takesReads: true, takesWrites: true }));
  const proxy = { status: async () => ({ primary: 'node1', nodes }) } as Partial<StormProxy> as StormProxy;
  const random = new Random(1);
  const raging = new Chaos({ cluster, proxy, random, tally, weather, failover: false }).rage();
  await until('all of it', () => done(tally)).finally(() => {
    weather.over = true;
  });
  await raging;
  return tally;
}

const NAMES = ['server connections ended', 'locks held', 'tables changed', 'replicas frozen'];

describe('chaos', { concurrency: true }, () => {
  test('what is done is counted, and no violation', async () => {
    const cluster = plantedCluster(async () => [{ id: '1', who: 'app' }]);
    const names = [...NAMES, 'replicas restarted', 'locks that held clients up on a replica'];
    const tally = await rage(cluster, ({ chaos }) => names.every((name) => chaos[name] !== undefined));
    assert.deepEqual(tally.violations, []);
  });

  test('what cannot be done is a violation, and is not counted as done', async () => {
    const refuses = async () => {
      throw new Error('planted');
    };
    const cluster = plantedCluster(refuses, refuses);
    const notDone = NAMES.map((name) => `${name}: not done`);
    const tally = await rage(cluster, ({ chaos }) => notDone.every((name) => chaos[name] !== undefined));
    for (const name of NAMES) {
      const found = tally.violations.find(({ what }) => what === `not done: ${name}`);
      assert.equal(found?.got, 'planted', name);
      assert.equal(tally.chaos[name], undefined);
    }
  });

  test('locks that nobody meets, and connections that are not there, are not counted', async () => {
    const cluster = plantedCluster(async () => []);
    const tally = await rage(cluster, ({ chaos }) => (chaos['locks held'] ?? 0) > 1);
    assert.deepEqual(tally.violations, []);
    assert.equal(tally.chaos['locks that held clients up on a replica'], undefined);
    assert.equal(tally.chaos['server connections ended'], undefined);
  });
});
