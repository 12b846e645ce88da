// Failover among replicas of which one cannot apply what it has received, on MySQL and MariaDB. Its applier meets a row that
// only it has; a MariaDB that is killed in the midst of a DDL statement comes back in much the same state.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { startCluster, type TestNode } from '../servers/cluster.js';
import {
  append,
  createLedger,
  entries,
  holdApplier,
  receivedEverywhere,
  releaseApplier,
  stopIncoming,
  watch,
} from './watch.js';

type Kind = 'mysql' | 'mariadb';

/** On this replica alone, and not in its binary log. */
async function unlogged(kind: Kind, node: TestNode, change: () => Promise<unknown>): Promise<void> {
  if (kind === 'mysql') await node.admin('SET GLOBAL super_read_only = 0');
  await node.admin('SET sql_log_bin = 0');
  await change();
  await node.admin('SET sql_log_bin = 1');
  if (kind === 'mysql') await node.admin('SET GLOBAL super_read_only = 1');
}

/** node2 is preferred among equals, and has the entry 2 before its time: its applier will not get past it. */
async function planted(t: TestContext, kind: Kind) {
  const cluster = await startCluster(kind);
  t.after(() => cluster.stop());
  await createLedger(cluster);
  const [broken, sound] = cluster.replicas as [TestNode, TestNode];
  const watched = await watch(cluster, { nodes: { [broken.name]: { weight: 5 } } });
  t.after(() => watched.stop());
  await append(cluster.primary, 1);
  await cluster.waitCaughtUp();
  await unlogged(kind, broken, () => append(broken, 2));
  await watched.sees(
    'both replicas receive',
    ({ phase }) =>
      phase === 'normal' && cluster.replicas.every((node) => watched.node(node).upstream?.receiving === true),
  );
  return { cluster, watched, broken, sound };
}

export function brokenApplier(kind: Kind): void {
  const skip = skipWithout(available(kind));

  test(`${kind}: a replica whose applier has failed is passed over`, { skip }, async (t) => {
    const { cluster, watched, broken, sound } = await planted(t, kind);
    for (const id of [2, 3]) await append(cluster.primary, id);
    await receivedEverywhere(cluster, watched);
    await watched.sees('it does not apply', () => watched.node(broken).upstream?.applying === false);
    assert.match(watched.node(broken).reason!, /does not apply: ./);
    await cluster.primary.kill('SIGKILL');
    await watched.sees('the other is the primary', ({ primary }) => primary === sound.name);
    assert.deepEqual(await entries(sound), [1, 2, 3]);
  });

  test(`${kind}: one whose applier fails during the failover is passed over for one that has as much`, {
    skip,
  }, async (t) => {
    const { cluster, watched, broken, sound } = await planted(t, kind);
    await holdApplier(cluster, broken);
    for (const id of [2, 3]) await append(cluster.primary, id);
    await receivedEverywhere(cluster, watched);
    await cluster.primary.kill('SIGKILL');
    await watched.sees('the preferred one is tried', ({ verdict }) =>
      verdict.includes(`${broken.name} applies what it has received`),
    );
    await releaseApplier(cluster, broken);
    await watched.sees('the other is the primary', ({ primary }) => primary === sound.name);
    assert.deepEqual(await entries(sound), [1, 2, 3]);
  });

  test(`${kind}: it is not passed over for one that has received less`, { skip }, async (t) => {
    const { cluster, watched, broken, sound } = await planted(t, kind);
    await stopIncoming(cluster, sound);
    for (const id of [2, 3]) await append(cluster.primary, id);
    await watched.sees('it does not apply', () => watched.node(broken).upstream?.applying === false);
    await watched.sees('it has received all', () => watched.node(broken).lagDistance === 2);
    await cluster.primary.kill('SIGKILL');
    await watched.sees('refused', ({ phase }) => phase === 'blocked');
    const { explanation, primary } = watched.monitor.snapshot;
    assert.equal(primary, null);
    assert.match(
      explanation,
      new RegExp(
        `${broken.name} has not applied what it received: the applier has stopped with 2 transactions`,
      ),
    );
    assert.match(explanation, new RegExp(`${sound.name} has received 2 transactions less`));

    await unlogged(kind, broken, () => broken.admin('DELETE FROM ledger WHERE id = 2'));
    watched.monitor.acknowledge();
    await watched.sees('it is the primary', ({ primary }) => primary === broken.name);
    assert.deepEqual(await entries(broken), [1, 2, 3]);
  });
}
