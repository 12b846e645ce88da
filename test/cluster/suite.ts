// What must hold of the monitor and the failover on every kind of cluster; each kind's test file runs it.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { saveState } from '../../src/cluster/state-file.js';
import type { Position } from '../../src/protocol/position.js';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { startCluster, type TestCluster, type TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { controlCallTests } from './control-calls.js';
import { Relay } from './relay.js';
import {
  append,
  configFor,
  controlFor,
  createLedger,
  delaySeconds,
  entries,
  holdApplier,
  positionsOf,
  receivedEverywhere,
  releaseApplier,
  stopIncoming,
  type Watched,
  watch,
} from './watch.js';

const normal = (watched: Watched, primary: TestNode) =>
  watched.sees(
    `${primary.name} is the primary and two replicas receive`,
    ({ nodes, primary: name, phase }) =>
      phase === 'normal' &&
      name === primary.name &&
      nodes.filter((node) => node.role === 'replica' && node.health === 'up' && node.upstream?.receiving)
        .length === 2,
  );

/** A question of the resolver has the time of a probe, which a machine that stands still may take. */
async function positionOf({ resolver }: Watched['monitor']): Promise<Position> {
  let position = null as Position | null;
  await until('a position', async () => {
    position = await new Promise((resolve) => resolver.request(performance.now(), resolve));
    return position !== null;
  });
  return position!;
}

export function clusterSuite(kind: Kind, version?: number): void {
  const label = version === undefined ? kind : `${kind} ${version}`;
  const there = version === undefined ? available(kind) : available(kind, version);
  const skip = skipWithout(there);
  const start = (settings?: Record<string, string | number>) =>
    startCluster(kind, {
      ...(version === undefined ? {} : { version }),
      ...(settings === undefined ? {} : { settings }),
    });

  test(`${label}: watching`, { skip }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    await createLedger(cluster);
    // A server may take longer to restart than three probes take to fail.
    const watched = await watch(cluster, { failover: { mode: 'off' } });
    t.after(() => watched.stop());
    const { monitor } = watched;
    const { primary } = cluster;
    const [first, second] = cluster.replicas as [TestNode, TestNode];
    const positions = positionsOf(kind);

    await t.test('roles, versions and upstreams are found', async () => {
      await normal(watched, primary);
      assert.equal(watched.node(primary).role, 'primary');
      assert.equal(watched.node(primary).lagMs, 0);
      for (const replica of cluster.replicas) {
        const node = watched.node(replica);
        assert.equal(node.role, 'replica');
        assert.equal(node.writable, false);
        assert.deepEqual(node.upstream?.address, { host: primary.host, port: primary.port });
        assert.ok(node.version?.startsWith(cluster.version.split('.')[0]!), node.version ?? '');
        assert.equal(node.errant, false);
      }
      assert.equal(monitor.snapshot.explanation, '');
      assert.equal(monitor.snapshot.epoch, 1);
    });

    await t.test('a position asked for after a write covers it, and replicas come to cover it', async () => {
      await append(primary, 1);
      const position = await positionOf(monitor);
      for (const replica of cluster.replicas)
        await watched.sees(`${replica.name} covers ${position.text}`, ({ nodes }) =>
          nodes.some(
            (node) =>
              node.name === replica.name && node.applied !== null && positions.covers(node.applied, position),
          ),
        );
      for (const replica of cluster.replicas) assert.deepEqual(await entries(replica), [1]);
    });

    await t.test('an idle cluster has no lag and no open question', async () => {
      await watched.sees('lag 0 everywhere', ({ nodes }) =>
        nodes.every((node) => node.lagMs === 0 && node.lagDistance === 0),
      );
      assert.equal(monitor.resolver.waiting, 0);
    });

    await t.test('lag is seen in time and distance, positions stay true, and it goes again', async () => {
      await first.delay(30_000);
      await watched.sees('the replica is up', () => watched.node(first).health === 'up');
      await append(primary, 2);
      const position = await positionOf(monitor);
      await watched.sees('it lags, and has received what it has not applied', () => {
        const { applied, received, lagDistance, lagMs } = watched.node(first);
        return (
          (lagMs ?? 0) > 1_000 &&
          positions.covers(received!, position) &&
          !positions.covers(applied!, position) &&
          (lagDistance ?? 0) > 0 &&
          watched.node(second).lagMs === 0
        );
      });
      await first.delay(0);
      await watched.sees('it has caught up', () => watched.node(first).lagMs === 0);
      assert.deepEqual(await entries(first), [1, 2]);
    });

    await t.test('paused replay is told', async () => {
      await first.pauseReplay();
      await watched.sees('it does not apply', () => watched.node(first).upstream?.applying === false);
      assert.match(watched.node(first).reason ?? '', /does not apply/);
      await first.resumeReplay();
      await watched.sees('it applies', () => watched.node(first).upstream?.applying === true);
    });

    await t.test(
      'a replica that dies leaves at once when the data path says so, and comes back by itself',
      async () => {
        await second.kill('SIGKILL');
        monitor.reportFailure(second.name, new Error('connection reset'));
        assert.equal(watched.node(second).health, 'suspect');
        await watched.sees('it is down', () => watched.node(second).health === 'down');
        assert.equal(watched.node(second).failureKind, 'refused');
        assert.equal(monitor.snapshot.primary, primary.name);
        await second.start();
        await normal(watched, primary);
        assert.equal(watched.node(second).failures, 0);
      },
    );

    await t.test('a false alarm is cleared by the next probe', async () => {
      monitor.reportFailure(first.name, new Error('one connection was cut'));
      assert.equal(watched.node(first).health, 'suspect');
      await watched.sees('it is up', () => watched.node(first).health === 'up');
    });

    await t.test('a frozen replica is timed out and comes back', async () => {
      await first.kill('SIGSTOP');
      await watched.sees('it is down', () => watched.node(first).health === 'down');
      assert.equal(watched.node(first).failureKind, 'timeout');
      await first.kill('SIGCONT');
      await normal(watched, primary);
    });

    await t.test('a primary that restarts quickly stays the primary', async () => {
      await primary.kill('SIGKILL');
      monitor.reportFailure(primary.name, new Error('connection reset'));
      await primary.start();
      await watched.sees('it is the primary', ({ primary: name }) => name === primary.name);
      assert.equal(monitor.snapshot.epoch, 1);
      assert.deepEqual(watched.node(primary).fenced, false);
      await normal(watched, primary);
      await append(primary, 3);
    });

    await controlCallTests(t, cluster, monitor.control(primary.name)!);

    await t.test('failures are typed', async () => {
      const wrong = controlFor(
        { ...cluster, superuser: { user: cluster.superuser.user, password: 'wrong' } },
        primary,
      );
      await assert.rejects(wrong.probe(5_000), { name: 'ProbeFailure', kind: 'login-refused' });
      await wrong.close();
      const nobody = controlFor(cluster, { host: '127.0.0.1', port: 1 });
      await assert.rejects(nobody.probe(5_000), { name: 'ProbeFailure', kind: 'refused' });
      await nobody.close();
    });

    await t.test('nodes are reconfigured, removed and added without a restart', async () => {
      const config = configFor(cluster);
      await normal(watched, primary);
      monitor.configure({
        ...config,
        nodes: config.nodes
          .filter((node) => node.name !== second.name)
          .map((node) => (node.name === first.name ? { ...node, weight: 9, mode: 'drain' as const } : node)),
      });
      assert.deepEqual(
        monitor.snapshot.nodes.map((node) => node.name),
        [primary.name, first.name],
      );
      assert.equal(watched.node(first).weight, 9);
      assert.equal(watched.node(first).health, 'up', 'what is known of it is kept');
      assert.equal(monitor.control(second.name), null);
      monitor.configure(config);
      await normal(watched, primary);
    });
  });

  test(`${label}: lag is known at once, however rare probes are`, { skip }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    const watched = await watch(cluster, { monitor: { intervalMs: 60_000 } });
    t.after(() => watched.stop());
    // Sooner than any node is asked again by the interval.
    await watched.sees(
      'lag of all',
      ({ nodes, primary }) => primary !== null && nodes.every((node) => node.lagMs !== null),
      40_000,
    );
  });

  test(`${label}: primary killed; the most received is chosen though it has applied the least`, {
    skip,
  }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    await createLedger(cluster);
    const folder = mkdtempSync(join(tmpdir(), 'scheelite-cluster-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const files = { stateFile: join(folder, 'state.json'), auditFile: join(folder, 'audit.jsonl') };
    const watched = await watch(cluster, files);
    t.after(() => watched.stop());
    const { primary } = cluster;
    const [behind, best] = cluster.replicas as [TestNode, TestNode];
    await normal(watched, primary);

    await append(primary, 1);
    await cluster.waitCaughtUp();
    await stopIncoming(cluster, behind);
    await best.pauseReplay();
    for (let id = 2; id <= 20; id++) await append(primary, id);
    const control = controlFor(cluster, primary);
    const written = await control.position(5_000);
    await control.close();
    await watched.sees('the best has received all', () =>
      positionsOf(kind).covers(watched.node(best).received!, written),
    );
    assert.deepEqual(await entries(best), [1], 'it has applied the least');

    await primary.kill('SIGKILL');
    await watched.sees(
      'the best is the primary',
      ({ primary: name, phase }) => name === best.name && phase === 'normal',
    );
    assert.equal(watched.monitor.snapshot.epoch, 2);
    const all = Array.from({ length: 20 }, (_, index) => index + 1);
    assert.deepEqual(await entries(best), all, 'nothing that it had received is lost');
    await append(best, 100);
    await watched.sees('the other follows', () => {
      const { upstream, role } = watched.node(behind);
      return role === 'replica' && upstream?.receiving === true && upstream.address?.port === best.port;
    });
    await until('the other has everything', async () => (await entries(behind)).at(-1) === 100);
    assert.deepEqual(await entries(behind), [...all, 100]);
    await watched.sees('lag is known again', () => watched.node(behind).lagMs === 0);
    assert.ok(
      watched.snapshots.every((snapshot) => snapshot.epoch === 1 || snapshot.primary !== primary.name),
      'the old primary is never named again',
    );

    await until('its end is recorded', () => readFileSync(files.auditFile, 'utf8').includes('failover-end'));
    const events = readFileSync(files.auditFile, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string; node?: string; candidate?: string });
    const order = events.map(({ event }) => event).filter((event, index, list) => event !== list[index - 1]);
    assert.deepEqual(order, [
      'failover-begin',
      'stop-receiving',
      'choose',
      'apply',
      'promote',
      'follow',
      'failover-end',
    ]);
    assert.equal(events.find(({ event }) => event === 'choose')?.candidate, best.name);

    await t.test('the old primary returns with an entry that nobody has: fenced and reported', async () => {
      await primary.start();
      await append(primary, 999);
      await watched.sees('it is reported', ({ explanation }) =>
        new RegExp(`${primary.name}: fenced: .* still takes writes`).test(explanation),
      );
      assert.equal(watched.monitor.snapshot.primary, best.name);
      assert.equal(watched.node(primary).role, 'unknown');
    });

    await t.test('a restarted proxy remembers epoch and fence', async (t) => {
      await watched.stop();
      const again = await watch(cluster, files);
      t.after(() => again.stop());
      await again.sees('the new primary', ({ primary: name }) => name === best.name);
      assert.equal(again.monitor.snapshot.epoch, 2);
      assert.equal(again.node(primary).fenced, true);
      await append(best, 101);

      await t.test('and a second failure so soon waits for an operator', async () => {
        await until('caught up', async () => (await entries(behind)).at(-1) === 101);
        await best.kill('SIGKILL');
        await again.sees('blocked', ({ phase }) => phase === 'blocked');
        assert.match(again.monitor.snapshot.explanation, /an operator must acknowledge/);
        assert.equal(again.monitor.snapshot.primary, null);
        again.monitor.acknowledge();
        await again.sees('the last replica is the primary', ({ primary: name }) => name === behind.name);
        assert.equal(again.monitor.snapshot.epoch, 3);
        assert.deepEqual(await entries(behind), [...all, 100, 101]);
        await append(behind, 102);
      });
    });
  });

  test(`${label}: primary frozen while nobody writes; replaced, fenced when it thaws`, {
    skip,
  }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    await createLedger(cluster);
    const watched = await watch(cluster);
    t.after(() => watched.stop());
    const { primary } = cluster;
    await normal(watched, primary);
    await append(primary, 1);
    await cluster.waitCaughtUp();

    await primary.kill('SIGSTOP');
    await watched.sees(
      'another primary',
      ({ primary: name, phase }) => phase === 'normal' && name !== null && name !== primary.name,
    );
    const promoted = cluster.replicas.find((node) => node.name === watched.monitor.snapshot.primary)!;
    const other = cluster.replicas.find((node) => node !== promoted)!;
    await append(promoted, 2);
    await until('the other follows', async () => (await entries(other)).length === 2);

    await primary.kill('SIGCONT');
    await watched.sees(
      'thawed and fenced',
      () => watched.node(primary).health === 'up' && watched.node(primary).fenced,
    );
    await append(primary, 666);
    await append(promoted, 3);
    await until('the other has the new history', async () => (await entries(other)).length === 3);
    assert.deepEqual(await entries(other), [1, 2, 3]);
    assert.equal(watched.monitor.snapshot.primary, promoted.name);
    assert.equal(watched.monitor.snapshot.epoch, 2);
  });

  for (const how of ['closed', 'silent'] as const)
    test(`${label}: primary cut off from the proxy only (${how}); not replaced, explained`, {
      skip,
    }, async (t) => {
      const cluster = await start();
      t.after(() => cluster.stop());
      await createLedger(cluster);
      const { primary } = cluster;
      const relay = new Relay(primary);
      await relay.listen();
      t.after(() => relay.close());
      const watched = await watch(cluster, { through: new Map([[primary, relay.address]]) });
      t.after(() => watched.stop());
      await normal(watched, primary);

      if (how === 'closed') await relay.close();
      else relay.silence();
      await watched.sees('the alert', ({ explanation }) =>
        /still receive from it: it is cut off/.test(explanation),
      );
      assert.equal(watched.monitor.snapshot.primary, null, 'it cannot be written to');
      // An idle primary and a busy one, for longer than any of the delays in the judgement.
      for (let id = 1; id <= 50; id++) {
        await append(primary, id);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.equal(watched.monitor.snapshot.epoch, 1);
      assert.ok(watched.snapshots.every(({ phase }) => phase !== 'failing-over'));
      assert.deepEqual(
        await entries(primary),
        Array.from({ length: 50 }, (_, index) => index + 1),
      );

      if (how === 'closed') await relay.listen();
      else relay.open();
      await normal(watched, primary);
      assert.equal(watched.monitor.snapshot.epoch, 1);
      assert.equal(watched.monitor.snapshot.explanation, '');
    });

  test(`${label}: mode off reports and promotes nobody`, { skip }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    const watched = await watch(cluster, { failover: { mode: 'off' } });
    t.after(() => watched.stop());
    await normal(watched, cluster.primary);
    await cluster.primary.kill('SIGKILL');
    await watched.sees('the reason', ({ explanation }) => /failover.mode is off/.test(explanation));
    assert.equal(watched.monitor.snapshot.primary, null);
    for (const replica of cluster.replicas) assert.equal(watched.node(replica).role, 'replica');
  });

  test(`${label}: everything received is applied at once, an hour's delay or not`, { skip }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    await createLedger(cluster);
    const watched = await watch(cluster);
    t.after(() => watched.stop());
    const { primary } = cluster;
    for (const replica of cluster.replicas) await replica.delay(3_600_000);
    await normal(watched, primary);
    for (let id = 1; id <= 20; id++) await append(primary, id);
    await receivedEverywhere(cluster, watched);
    for (const replica of cluster.replicas) assert.deepEqual(await entries(replica), []);

    await primary.kill('SIGKILL');
    await watched.sees('another primary', ({ epoch, phase }) => phase === 'normal' && epoch === 2);
    const promoted = cluster.replicas.find((node) => node.name === watched.monitor.snapshot.primary)!;
    const other = cluster.replicas.find((node) => node !== promoted)!;
    assert.deepEqual((await entries(promoted)).length, 20);
    await append(promoted, 21);
    await watched.sees(
      'the other follows',
      () => watched.node(other).upstream?.address?.port === promoted.port,
    );
    await until(
      'the other has its delay as before',
      async () => (await delaySeconds(cluster, other)) === 3_600,
    );
    assert.ok((await entries(other)).length < 21, 'and keeps it');
  });

  test(`${label}: what cannot be applied in time is not promoted, and nothing is lost by that`, {
    skip,
  }, async (t) => {
    const cluster = await start(kind === 'postgres' ? { max_standby_streaming_delay: -1 } : undefined);
    t.after(() => cluster.stop());
    await createLedger(cluster);
    const watched = await watch(cluster, { failover: { maxUnappliedMs: 1_500 } });
    t.after(() => watched.stop());
    const { primary } = cluster;
    await normal(watched, primary);
    await append(primary, 1);
    await cluster.waitCaughtUp();
    for (const replica of cluster.replicas) await holdApplier(cluster, replica);
    if (kind === 'postgres') await primary.admin('ALTER TABLE ledger ADD COLUMN note text');
    for (let id = 2; id <= 20; id++) await append(primary, id);
    await receivedEverywhere(cluster, watched);

    await primary.kill('SIGKILL');
    await watched.sees('refused', ({ phase }) => phase === 'blocked');
    assert.match(watched.monitor.snapshot.explanation, /has not applied what it received: .* after 1500 ms/);
    assert.equal(watched.monitor.snapshot.primary, null);
    assert.equal(watched.monitor.snapshot.epoch, 1);
    for (const replica of cluster.replicas) assert.equal(watched.node(replica).writable, false);

    for (const replica of cluster.replicas) await releaseApplier(cluster, replica);
    watched.monitor.acknowledge();
    await watched.sees('another primary', ({ epoch, phase }) => phase === 'normal' && epoch === 2);
    const promoted = cluster.replicas.find((node) => node.name === watched.monitor.snapshot.primary)!;
    assert.equal((await entries(promoted)).length, 20);
  });

  test(`${label}: a proxy that ended before the promotion: taken back`, { skip }, async (t) => {
    const { cluster, watched, left, right } = await interrupted(t, start, 'apply', false);
    await normal(watched, cluster.primary);
    assert.equal(watched.monitor.snapshot.epoch, 7);
    await append(cluster.primary, 1);
    for (const node of [left, right])
      await until(`${node.name} receives again`, async () => (await entries(node)).length === 1);
  });

  test(`${label}: a proxy that ended after the promotion: completed`, { skip }, async (t) => {
    const { cluster, watched, left, right } = await interrupted(t, start, 'promote', true);
    await watched.sees('the candidate is the primary', ({ primary }) => primary === left.name);
    assert.equal(watched.monitor.snapshot.epoch, 8);
    assert.equal(watched.node(cluster.primary).fenced, true, 'it takes writes as well');
    assert.ok(watched.snapshots.every(({ primary }) => primary !== cluster.primary.name));
    await append(left, 1);
    await until('the other follows', async () => (await entries(right)).length === 1);
  });

  test(`${label}: a proxy that starts while the primary is dead replaces it all the same`, {
    skip,
  }, async (t) => {
    const cluster = await start();
    t.after(() => cluster.stop());
    await createLedger(cluster);
    await append(cluster.primary, 1);
    await cluster.waitCaughtUp();
    await cluster.primary.kill('SIGKILL');
    const watched = await watch(cluster);
    t.after(() => watched.stop());
    await watched.sees('another primary', ({ epoch, phase }) => phase === 'normal' && epoch === 2);
    assert.equal(watched.node(cluster.primary).fenced, true);
    const promoted = cluster.replicas.find((node) => node.name === watched.monitor.snapshot.primary)!;
    assert.deepEqual(await entries(promoted), [1]);
  });

  test(`${label}: too many connections is typed and not mistaken for death`, { skip }, async (t) => {
    // PostgreSQL lets a standby not have fewer than its primary had, so there most are kept for superusers.
    const few = kind === 'postgres' ? { superuser_reserved_connections: 188 } : { 'max-connections': 12 };
    const cluster = await start(few);
    t.after(() => cluster.stop());
    // A probe that ran out of time would give up the monitor's connection, and get no other.
    const watched = await watch(cluster, { failover: { mode: 'off' }, monitor: { timeoutMs: 30_000 } });
    t.after(() => watched.stop());
    await normal(watched, cluster.primary);
    const controls: ReturnType<typeof controlFor>[] = [];
    t.after(() => Promise.all(controls.map((control) => control.close())));
    let refusal: unknown;
    for (let i = 0; i < 40 && refusal === undefined; i++) {
      const superuser = kind === 'postgres' ? cluster.user : cluster.superuser;
      const control = controlFor({ ...cluster, superuser }, cluster.primary);
      controls.push(control);
      await control.probe(10_000).catch((error: unknown) => {
        refusal = error;
      });
    }
    assert.equal((refusal as { kind?: unknown }).kind, 'too-many-connections', String(refusal));
    const probedAt = watched.node(cluster.primary).appliedAtMs;
    await watched.sees('the monitor goes on', () => watched.node(cluster.primary).appliedAtMs > probedAt);
    assert.equal(watched.monitor.snapshot.primary, cluster.primary.name);
  });

  if (kind !== 'postgres')
    test(`${label}: a replica that was written to is reported and not promoted`, { skip }, async (t) => {
      const cluster = await start();
      t.after(() => cluster.stop());
      await createLedger(cluster);
      const watched = await watch(cluster);
      t.after(() => watched.stop());
      await normal(watched, cluster.primary);
      const [errant, clean] = cluster.replicas as [TestNode, TestNode];
      await errant.admin(kind === 'mysql' ? 'SET GLOBAL super_read_only = 0' : 'SET GLOBAL read_only = 0');
      await errant.admin('CREATE TABLE stray (id int PRIMARY KEY)');
      await watched.sees('it is errant', () => watched.node(errant).errant);
      assert.match(watched.monitor.snapshot.explanation, /never promoted/);
      assert.equal(watched.node(clean).errant, false);
      await cluster.primary.kill('SIGKILL');
      await watched.sees('the clean one is the primary', ({ primary }) => primary === clean.name);
    });
}

/** Both replicas have stopped receiving and a state file says that a failover was under way. */
async function interrupted(
  t: TestContext,
  start: () => Promise<TestCluster>,
  step: 'apply' | 'promote',
  promoted: boolean,
) {
  const cluster = await start();
  t.after(() => cluster.stop());
  await createLedger(cluster);
  const [left, right] = cluster.replicas as [TestNode, TestNode];
  for (const node of [left, right]) {
    const control = controlFor(cluster, node);
    await control.stopReceiving(30_000);
    if (promoted && node === left) await control.promote(30_000);
    await control.close();
  }
  const folder = mkdtempSync(join(tmpdir(), 'scheelite-cluster-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const stateFile = join(folder, 'state.json');
  await saveState(stateFile, {
    cluster: 'test',
    epoch: 7,
    primary: cluster.primary.name,
    fenced: [],
    pendingFollow: [],
    lastFailoverAt: null,
    attempt: {
      oldPrimary: cluster.primary.name,
      candidate: left.name,
      step,
      stopped: [left.name, right.name],
    },
  });
  const watched = await watch(cluster, { stateFile });
  t.after(() => watched.stop());
  return { cluster, watched, left, right };
}
