// What a monitor's account must be allowed on PostgreSQL, and that less is told and not misread.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { startCluster, type TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { controlFor } from './watch.js';

for (const version of [15, 18]) {
  const skip = skipWithout(available('postgres', version));
  test(`PostgreSQL ${version}: pg_monitor is enough to probe, less is refused`, { skip }, async (t) => {
    const cluster = await startCluster('postgres', { version, replicas: 1 });
    t.after(() => cluster.stop());
    const replica = cluster.replicas[0] as TestNode;
    await cluster.primary.admin(`CREATE ROLE watcher LOGIN PASSWORD 'watcher' IN ROLE pg_monitor`);
    await cluster.primary.admin(`CREATE ROLE stranger LOGIN PASSWORD 'stranger'`);
    await cluster.waitCaughtUp();
    const as = (user: string, node: TestNode) => {
      const control = controlFor({ ...cluster, superuser: { user, password: user } }, node);
      t.after(() => control.close());
      return control;
    };

    const watcher = as('watcher', replica);
    const reading = await watcher.probe(10_000);
    assert.equal(reading.role, 'replica');
    assert.deepEqual(reading.upstream?.address, { host: cluster.primary.host, port: cluster.primary.port });
    assert.equal(reading.upstream?.receiving, true);
    assert.ok(reading.upstream?.lastMessage !== null);
    assert.equal(reading.timeline, 1);
    const primary = await as('watcher', cluster.primary).probe(10_000);
    assert.equal(primary.writable, true);
    assert.equal(primary.serverId, reading.serverId);
    await assert.rejects(as('watcher', cluster.primary).verifier('app', 10_000), { kind: 'other' });

    await assert.rejects(as('stranger', replica).probe(10_000), {
      kind: 'login-refused',
      message: /pg_monitor/,
    });
    await cluster.primary.kill('SIGKILL');
    await until(
      'the end of the receiver is seen',
      async () => (await watcher.probe(10_000)).upstream?.receiving === false,
    );
    assert.equal(
      (await watcher.probe(10_000)).upstream?.address?.port,
      cluster.primary.port,
      'from primary_conninfo',
    );
  });
}
