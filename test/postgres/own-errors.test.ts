// Errors of the proxy's own, wherever a unit is at that time: its client is told, and waits for nothing; others are answered; no
// server connection is lost to the pool. With a real server, and errors that the test plants in the running proxy.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AutoPrepareSession } from '../../src/postgres/auto-prepare-session.js';
import { PostgresServerConnection } from '../../src/postgres/server-connection.js';
import { SessionSettings } from '../../src/postgres/session-settings.js';
import { ClusterRuntime } from '../../src/proxy/cluster-runtime.js';
import { SessionPolicy } from '../../src/proxy/session-policy.js';
import { type PostgresWire, say } from '../e2e/postgres-wire.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { PLANTED, type Planted, plantError, plantedInLog } from '../proxy/planted-error.js';
import { available, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { held, own, row, SharingScene, sharingCluster } from './sharing-scene.js';

const skip = skipWithout(available('postgres'));
const TOLD = `ErrorResponse FATAL XX000 internal error in the proxy: ${PLANTED}`;
const write = (id: number): Buffer => say.query(`UPDATE written SET v = v + 1 WHERE id = ${id}`);
const WRITTEN = ['CommandComplete UPDATE 1', 'ReadyForQuery I'];

test('postgres: an error of our own', { skip }, async (t) => {
  const cluster = await sharingCluster(t);
  /** One server connection, so that whoever loses it is noticed. */
  const alone = (t: TestContext): Promise<SharingScene> =>
    SharingScene.open(t, cluster, { pool: { maxServerConnections: 1 }, sharing: { enabled: false } });

  async function isTold(wire: PostgresWire, planted: Planted, behind: readonly string[] = []): Promise<void> {
    assert.deepEqual(await wire.closed(), [...behind, TOLD]);
    assert.ok(planted.isOver);
  }

  async function othersGoOn(scene: SharingScene): Promise<void> {
    for (const [i, wire] of (await scene.clients(3)).entries())
      assert.deepEqual(await wire.talk(say.query(own(i + 1))), row(`v${i + 1}`));
    const stacks = plantedInLog(scene.proxy.lines);
    assert.equal(stacks.length, 1);
    assert.match(stacks[0]!, /\n +at /);
    assert.equal(scene.proxy.proxy.counters().clusters.get('main')!.errors['internal-error'], 1);
  }

  await t.test('when a unit has been answered ends its client', async (t) => {
    const scene = await alone(t);
    const wire = await scene.client();
    const planted = plantError(t, SessionSettings, 'unitEnded');
    wire.send(write(1));
    await isTold(wire, planted, WRITTEN);
    await othersGoOn(scene);
  });

  await t.test('when a unit comes to be written ends its client', async (t) => {
    const scene = await alone(t);
    const wire = await scene.client();
    const planted = plantError(t, PostgresServerConnection, 'run');
    wire.send(write(1));
    await isTold(wire, planted);
    await othersGoOn(scene);
  });

  await t.test('behind a statement of our own ends the client for whom that was', async (t) => {
    const scene = await alone(t);
    const [wire, other] = await scene.clients(2);
    assert.deepEqual(await wire!.talk(say.query("SET work_mem = '5MB'")), [
      'CommandComplete SET',
      'ReadyForQuery I',
    ]);
    assert.deepEqual(await other!.talk(write(2)), WRITTEN);
    const planted = plantError(t, PostgresServerConnection, 'run');
    wire!.send(write(1));
    await isTold(wire!, planted);
    assert.deepEqual(await other!.talk(write(2)), WRITTEN);
    await othersGoOn(scene);
  });

  await t.test('at a login ends who logs in', async (t) => {
    const scene = await alone(t);
    const planted = plantError(t, SessionPolicy, 'loggedIn');
    await isTold(await scene.arrival(), planted, ['AuthenticationOk']);
    await othersGoOn(scene);
  });

  await t.test('when a server connection comes free ends who has waited for it', async (t) => {
    const scene = await alone(t);
    const [holder, waiter] = await scene.clients(2);
    await holder!.talk(say.query('BEGIN'));
    await holder!.talk(write(1));
    waiter!.send(write(2));
    await until('it waits', () => scene.waiting === 1);
    const planted = plantError(t, PostgresServerConnection, 'run', (_run, messages) =>
      Buffer.concat(messages as Buffer[]).includes('UPDATE'),
    );
    assert.deepEqual(await holder!.talk(say.query('COMMIT')), ['CommandComplete COMMIT', 'ReadyForQuery I']);
    await isTold(waiter!, planted);
    assert.deepEqual(await holder!.talk(write(1)), WRITTEN);
    await othersGoOn(scene);
  });

  await t.test('when a unit is to run again without what was prepared for it ends its client', async (t) => {
    const scene = await SharingScene.open(t, cluster, { sharing: { enabled: false } });
    const wire = await scene.client();
    const divide = (id: number): Buffer => say.query(`SELECT 10 / (id - 5) AS v FROM t WHERE id = ${id}`);
    for (let i = 0; i < 30; i++)
      assert.deepEqual(await wire.talk(divide(6 + (i % 2))), row(`${10 / (1 + (i % 2))}`));
    const planted = plantError(
      t,
      AutoPrepareSession,
      'begin',
      (_unit, _server, _onReplica, isAgain) => isAgain === true,
    );
    wire.send(divide(5));
    await isTold(wire, planted);
    await othersGoOn(scene);
  });

  await t.test('at the head of a shared connection leaves those behind it their answers', async (t) => {
    const scene = await SharingScene.open(t, cluster, { sharing: { ...ONE_SHARED, maxHeadMs: 10_000 } });
    const [teacher, ...behind] = await scene.clients(5);
    await scene.learn(teacher!, own(1), held(1));
    const head = await scene.holdHead();
    await scene.share(...behind.map((wire, i) => [wire, say.query(own(10 + i))] as const));
    const planted = plantError(t, SessionSettings, 'unitEnded');
    await scene.unlock();
    await isTold(head, planted, row('locked1'));
    for (const [i, wire] of behind.entries()) assert.deepEqual(await wire.ready(), row(`v${10 + i}`));
    await othersGoOn(scene);
  });

  await t.test(
    'of a unit that is taken away from behind a slow head leaves the others their answers',
    async (t) => {
      const scene = await SharingScene.open(t, cluster, { sharing: { ...ONE_SHARED, maxHeadMs: 1_000 } });
      const [teacher, moved, ...behind] = await scene.clients(5);
      await scene.learn(teacher!, own(1), held(1));
      const head = await scene.holdHead();
      await scene.share(...[moved!, ...behind].map((wire, i) => [wire, say.query(own(10 + i))] as const));
      const planted = plantError(t, ClusterRuntime, 'decide');
      await isTold(moved!, planted);
      for (const [i, wire] of behind.entries()) assert.deepEqual(await wire.ready(), row(`v${11 + i}`));
      await scene.unlock();
      assert.deepEqual(await head.ready(), row('locked1'));
      await othersGoOn(scene);
    },
  );
});
