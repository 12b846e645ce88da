// Sharing of server connections on a real server: it must never be visible except as speed (neighbours).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cancelRequest, say } from '../e2e/postgres-wire.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { available, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { held, own, row, SharingScene, sharingCluster } from './sharing-scene.js';

const skip = skipWithout(available('postgres'));
const CANCELLED = ['ErrorResponse ERROR 57014 canceling statement due to user request', 'ReadyForQuery I'];
/** Of the pool, in bytes: what a slow reader may keep in the proxy, with what is in sockets. */
const MAX_READ_AHEAD = 16 * 1024 * 1024;

test('postgres: neighbours on a shared connection', { skip }, async (t) => {
  const cluster = await sharingCluster(t);

  await t.test('of a blocked query run elsewhere, whatever they are', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const [teacher, simple, extended, named] = await scene.clients(4);
    await named!.talk(say.parse('mine', 'SELECT v FROM t WHERE id = $1'), say.sync());
    const bound = (id: number) => [say.bind('mine', [id]), say.execute(), say.sync()] as const;
    await scene.learn(teacher!, own(1), held(1), say.run('SELECT v FROM t WHERE id = $1', [1]));
    await scene.learn(named!, Buffer.concat(bound(1)));
    const slow = await scene.holdHead();
    const before = scene.moved;
    await scene.share(
      [simple!, say.query(own(11))],
      [extended!, say.run('SELECT v FROM t WHERE id = $1', [12])],
      [named!, Buffer.concat(bound(13))],
    );
    assert.deepEqual(await simple!.ready(), row('v11'));
    assert.deepEqual(await extended!.ready(), ['ParseComplete', 'BindComplete', ...row('v12')]);
    assert.deepEqual(await named!.ready(), ['BindComplete', ...row('v13').slice(1)]);
    assert.equal(scene.moved - before, 3);
    assert.equal((await scene.active('locked')).length, 1, 'the slow one still runs');
    await scene.unlock();
    assert.deepEqual(await slow.ready(), row('locked1'));
    for (const [i, wire] of [simple!, extended!, named!].entries())
      assert.deepEqual(await wire.talk(say.query(own(20 + i))), row(`v${20 + i}`));
  });

  await t.test('of a query that is slow by itself run elsewhere', async (t) => {
    const scene = await SharingScene.open(t, cluster, { sharing: { ...ONE_SHARED, maxHeadMs: 100 } });
    const [teacher, slow, next] = await scene.clients(3);
    const count = (n: number) => `SELECT count(*) FROM generate_series(1, ${n})`;
    await scene.learn(teacher!, own(1), count(10));
    await scene.share([slow!, say.query(count(2_000_000_000))]);
    await until('it runs', async () => (await scene.active('2000000000')).length === 1);
    for (let i = 1; i <= 20; i++) assert.deepEqual(await next!.talk(say.query(own(i))), row(`v${i}`));
    const [running] = await scene.active('2000000000');
    assert.ok(running !== undefined, 'it still runs');
    await cancelRequest(scene.proxy, slow!);
    assert.deepEqual(await slow!.ready(), CANCELLED);
    await until('it ends', async () => (await scene.active('2000000000')).length === 0);
  });

  for (const [kind, limits] of [
    ['may share', { spreadMs: 10, maxUsualMs: 10_000 }],
    ['may not', { maxUsualMs: 10 }],
  ] as const)
    await t.test(`of a read that waits use what idle connections there are: one that ${kind}`, async (t) => {
      const CONNECTIONS = 4;
      const scene = await SharingScene.open(t, cluster, {
        routing: { splitReads: false, readFunctions: ['pg_sleep'] },
        pool: { maxServerConnections: CONNECTIONS },
        sharing: { maxHeadMs: 10_000, ...limits },
      });
      const clients = await scene.clients(2 * CONNECTIONS);
      const unit = say.query('SELECT 1 FROM pg_sleep(0.02)');
      await clients[0]!.talk(unit);
      const before = scene.shared;
      let isOver = false;
      const running = clients.map(async (wire) => {
        while (!isOver) assert.equal((await wire.talk(unit)).length, 4);
      });
      // They begin together, on one connection.
      await until(
        'they use all connections',
        async () => (await scene.active('pg_sleep')).length === CONNECTIONS,
      );
      isOver = true;
      await Promise.all(running);
      assert.equal(scene.shared > before, kind === 'may share');
    });

  await t.test('of a slow reader are not held up, and its reply does not pile up', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const [teacher, reader, next] = await scene.clients(3);
    const rows = (n: number) => `SELECT repeat('y', 1000) AS y FROM generate_series(1, ${n})`;
    await scene.learn(teacher!, own(1), rows(3));
    const node = () => scene.proxy.proxy.counters().clusters.get('main')!.nodes.get(cluster.primary.name)!;
    const received = node().bytesReceived;
    reader!.socket.pause();
    await scene.share([reader!, say.query(rows(60_000))]);
    await until('the node cannot go on', async () => {
      const [backend] = await scene.active('60000');
      return backend?.wait_event === 'ClientWrite';
    });
    for (let i = 1; i <= 20; i++) assert.deepEqual(await next!.talk(say.query(own(i))), row(`v${i}`));
    const piled = node().bytesReceived - received;
    assert.ok(piled < MAX_READ_AHEAD, `${piled} bytes of it have been read`);
    reader!.socket.resume();
    const lines = await reader!.ready();
    assert.equal(lines.length, 60_000 + 3);
    assert.deepEqual(lines.slice(-2), ['CommandComplete SELECT 60000', 'ReadyForQuery I']);
    assert.deepEqual(await reader!.talk(say.query(own(3))), row('v3'));
  });

  await t.test('of a client that dies are answered, and what it ran does not stay', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const [teacher, queued, next, last] = await scene.clients(4);
    await scene.learn(teacher!, own(1), held(1));
    const head = await scene.holdHead();
    await scene.share([queued!, say.query(held(2))], [next!, say.query(own(5))]);
    queued!.socket.destroy();
    head.socket.destroy();
    assert.deepEqual(await next!.ready(), row('v5'));
    await until('nothing of theirs runs', async () => (await scene.active('locked')).length === 0);
    assert.deepEqual(await last!.talk(say.query(own(6))), row('v6'));
    await scene.unlock();
  });

  await t.test(
    'of a client that dies behind them are answered, and what it had queued does not stay',
    async (t) => {
      const scene = await SharingScene.open(t, cluster, { sharing: { ...ONE_SHARED, maxHeadMs: 200 } });
      const [teacher, next] = await scene.clients(2);
      await scene.learn(teacher!, own(1), held(1));
      const head = await scene.holdHead();
      const queued = await scene.client();
      queued.send(say.query(held(2)));
      await until('it runs elsewhere', async () => (await scene.active('locked')).length === 2);
      queued.socket.destroy();
      await until('it does not run any more', async () => (await scene.active('locked')).length === 1);
      assert.deepEqual(await next!.talk(say.query(own(6))), row('v6'));
      await scene.unlock();
      assert.deepEqual(await head.ready(), row('locked1'));
    },
  );

  await t.test('of a cancelled query get their answers, and only it gets 57014', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const neighbours = await scene.clients(5);
    await scene.learn(neighbours[0]!, own(1), held(1));
    const head = await scene.holdHead();
    await scene.share(...neighbours.map((wire, i): [typeof wire, Buffer] => [wire, say.query(own(30 + i))]));
    await cancelRequest(scene.proxy, head);
    assert.deepEqual(await head.ready(), CANCELLED);
    for (const [i, wire] of neighbours.entries()) assert.deepEqual(await wire.ready(), row(`v${30 + i}`));
    await until('it does not run any more', async () => (await scene.active('locked')).length === 0);
    for (const [i, wire] of [head, ...neighbours].entries())
      assert.deepEqual(await wire.talk(say.query(own(40 + i))), row(`v${40 + i}`));
    await scene.unlock();
  });

  await t.test('before a cancelled query are not hit', async (t) => {
    const scene = await SharingScene.open(t, cluster, { sharing: { ...ONE_SHARED, maxHeadMs: 10_000 } });
    const [teacher, second, third] = await scene.clients(3);
    await scene.learn(teacher!, own(1), held(1));
    const head = await scene.holdHead();
    await scene.share([second!, say.query(own(7))], [third!, say.query(own(8))]);
    await cancelRequest(scene.proxy, second!);
    assert.deepEqual(await second!.ready(), CANCELLED);
    assert.equal((await scene.active('locked')).length, 1, 'the head still runs');
    await scene.unlock();
    assert.deepEqual(await head.ready(), row('locked1'));
    assert.deepEqual(await third!.ready(), row('v8'));
    assert.deepEqual(await second!.talk(say.query(own(9))), row('v9'));
  });

  await t.test('a cancel in the middle of a row leaves the client with a whole one', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const [teacher, reader, next] = await scene.clients(3);
    const rows = (length: number, n: number) =>
      `SELECT repeat('y', ${length}) AS y FROM generate_series(1, ${n})`;
    await scene.learn(teacher!, own(1), rows(3, 1));
    reader!.socket.pause();
    await scene.share([reader!, say.query(rows(3_000_000, 40))]);
    await until('the node cannot go on', async () => {
      const [backend] = await scene.active('3000000');
      return backend?.wait_event === 'ClientWrite';
    });
    await cancelRequest(scene.proxy, reader!);
    for (let i = 1; i <= 20; i++) assert.deepEqual(await next!.talk(say.query(own(i))), row(`v${i}`));
    reader!.socket.resume();
    const lines = await reader!.ready();
    assert.deepEqual(lines.slice(-2), CANCELLED);
    assert.ok(lines.slice(1, -2).every((line) => line.endsWith('(3000000)')));
    assert.deepEqual(await reader!.talk(say.query(own(3))), row('v3'));
  });

  await t.test('of a query that takes the server connection down with it get their answers', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const neighbours = await scene.clients(5);
    await scene.learn(neighbours[0]!, own(1), held(1));
    const head = await scene.holdHead();
    await scene.share(...neighbours.map((wire, i): [typeof wire, Buffer] => [wire, say.query(own(50 + i))]));
    const [backend] = await scene.active('locked');
    await scene.admin(`SELECT pg_terminate_backend(${String(backend!.pid)})`);
    for (const [i, wire] of neighbours.entries()) assert.deepEqual(await wire.ready(), row(`v${50 + i}`));
    await scene.unlock();
    assert.deepEqual(await head.ready(), row('locked1'));
  });

  await t.test('that need a connection to themselves get one', async (t) => {
    const scene = await SharingScene.open(t, cluster, { pool: { maxServerConnections: 1 } });
    const crowd = await scene.clients(4);
    await scene.learn(crowd[0]!, own(1));
    let ended = false;
    const loads = crowd.map(async (wire, client) => {
      for (let i = 0; !ended; i++) {
        const id = 1 + ((client + i) % 100);
        assert.deepEqual(await wire.talk(say.query(own(id))), row(`v${id}`));
      }
    });
    const writer = await scene.client();
    for (let i = 0; i < 30; i++) {
      await writer.talk(say.query('BEGIN'));
      await writer.talk(say.query('UPDATE written SET v = v + 1 WHERE id = 50'));
      assert.deepEqual(await writer.talk(say.query('COMMIT')), ['CommandComplete COMMIT', 'ReadyForQuery I']);
    }
    ended = true;
    await Promise.all(loads);
    assert.deepEqual(await writer.talk(say.query('SELECT v FROM written WHERE id = 50')), row('30'));
  });
});
