// Sharing of server connections on a real server: each session keeps its own state, statements, errors and writes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PostgresWire, say } from '../e2e/postgres-wire.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { available, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { held, own, row, SharingScene, sharingCluster } from './sharing-scene.js';

const skip = skipWithout(available('postgres'));
/** Nothing is moved away from behind a head: what is queued stays queued. */
const PATIENT = { pool: { maxServerConnections: 2 }, sharing: { ...ONE_SHARED, maxHeadMs: 10_000 } };

async function ok(wire: PostgresWire, sql: string): Promise<void> {
  const lines = await wire.talk(say.query(sql));
  assert.ok(!lines.some((line) => line.startsWith('ErrorResponse')), `${sql}: ${lines.join('; ')}`);
}

test('postgres: sessions that share server connections', { skip }, async (t) => {
  const cluster = await sharingCluster(t);

  await t.test('keep their own state', async (t) => {
    await cluster.primary.admin(`CREATE ROLE other NOLOGIN; GRANT other TO app_trust;
      GRANT CREATE ON DATABASE ${cluster.user.database} TO app_trust`);
    const scene = await SharingScene.open(t, cluster, { pool: { maxServerConnections: 8 } });
    const owner = await scene.client();
    for (const schema of ['one', 'two']) {
      await ok(owner, `CREATE SCHEMA ${schema}`);
      await ok(owner, `CREATE TABLE ${schema}.place AS SELECT '${schema}'::text AS v`);
      await ok(owner, `GRANT USAGE ON SCHEMA ${schema} TO other; GRANT SELECT ON ${schema}.place TO other`);
    }
    const reads = [
      'SELECT v FROM place',
      "SELECT current_setting('work_mem') AS v",
      "SELECT current_setting('application_name') AS v",
      'SELECT current_user AS v',
    ];
    const sessions: { wire: PostgresWire; expected: string[] }[] = [];
    for (const [schema, memory, name, role] of [
      ['one', '1MB', 'first', 'app_trust'],
      ['two', '1MB', 'first', 'app_trust'],
      ['one', '2MB', 'first', 'app_trust'],
      ['one', '1MB', 'second', 'app_trust'],
      ['one', '1MB', 'first', 'other'],
      ['two', '2MB', 'second', 'other'],
    ] as const)
      for (let twin = 0; twin < 2; twin++) {
        const wire = await scene.client();
        await ok(wire, `SET search_path = ${schema}`);
        await ok(wire, `SET work_mem = '${memory}'`);
        await ok(wire, `SET application_name = '${name}'`);
        if (role !== 'app_trust') await ok(wire, `SET ROLE ${role}`);
        sessions.push({ wire, expected: [schema, memory, name, role] });
      }
    const before = scene.shared;
    await Promise.all(
      sessions.map(async ({ wire, expected }, session) => {
        for (let i = 0; i < 60; i++) {
          const which = (i + session) % reads.length;
          assert.deepEqual(await wire.talk(say.query(reads[which]!)), row(expected[which]!));
        }
      }),
    );
    assert.ok(scene.shared > before, 'they did share');
  });

  await t.test('are all told of a setting that has changed on the server', async (t) => {
    const scene = await SharingScene.open(t, cluster, { pool: { maxServerConnections: 1 } });
    const wires = await scene.clients(3);
    const tell = async (change: string, zone: (now: string | undefined) => boolean): Promise<void> => {
      await cluster.primary.admin(change);
      await cluster.primary.admin('SELECT pg_reload_conf()');
      await until(`all to be told (${change})`, async () => {
        for (const wire of wires) await ok(wire, own(1));
        return wires.every((wire) => zone(wire.parameters.get('TimeZone')));
      });
    };
    await ok(wires[0]!, own(1));
    await tell(`ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'`, (now) => now === 'Asia/Tokyo');
    await tell('ALTER SYSTEM RESET TimeZone', (now) => now !== 'Asia/Tokyo');
  });

  await t.test('share only where the switch says so, from one moment to the next', async (t) => {
    const scene = await SharingScene.open(t, cluster, { sharing: { enabled: false } });
    const [a, b] = (await scene.clients(2)) as [PostgresWire, PostgresWire];
    const some = async (): Promise<number> => {
      const before = scene.shared;
      for (let i = 1; i <= 50; i++)
        for (const lines of await Promise.all([a.talk(say.query(own(i))), b.talk(say.query(own(i)))]))
          assert.deepEqual(lines, row(`v${i}`));
      return scene.shared - before;
    };
    const turn = (enabled: boolean): void => {
      const { config, proxy } = scene.proxy;
      const clusters = config.clusters.map((each) => ({ ...each, sharing: { ...each.sharing, enabled } }));
      assert.deepEqual(proxy.reload({ ...config, clusters }), { ok: true });
    };
    assert.equal(await some(), 0);
    turn(true);
    await until('they share', async () => (await some()) > 0);
    turn(false);
    assert.equal(await some(), 0);
    await ok(a, 'BEGIN');
    await ok(b, 'BEGIN');
    for (const wire of [a, b]) await ok(wire, 'COMMIT');
  });

  await t.test('have their own errors in one pipeline', async (t) => {
    const scene = await SharingScene.open(t, cluster, PATIENT);
    const zero = (id: number, by: number): string => `SELECT 10 / (id - ${by}) AS v FROM t WHERE id = ${id}`;
    const missing = (id: number): string => `SELECT nothing FROM t WHERE id = ${id}`;
    const broken = (id: number): string => `SELECT v FROM WHERE id = ${id}`;
    const [teacher, ...wires] = await scene.clients(10);
    await scene.learn(teacher!, own(1), held(1), zero(3, 2), missing(1));
    await scene.learn(teacher!, say.run(own(1)), say.run(missing(1)));
    const head = await scene.holdHead();
    const units: [Buffer, (lines: string[]) => void][] = [
      [say.query(own(1)), (lines) => assert.deepEqual(lines, row('v1'))],
      [say.query(zero(4, 4)), (lines) => assert.match(lines.join(), /22012/)],
      [say.query(own(2)), (lines) => assert.deepEqual(lines, row('v2'))],
      [say.query(missing(1)), (lines) => assert.match(lines[0]!, /42703/)],
      [say.run(missing(2)), (lines) => assert.match(lines[0]!, /42703/)],
      [say.run(own(3)), (lines) => assert.deepEqual(lines, ['ParseComplete', 'BindComplete', ...row('v3')])],
      [say.query(zero(7, 5)), (lines) => assert.deepEqual(lines, row('5'))],
    ];
    await scene.share(...units.map(([unit], i): [PostgresWire, Buffer] => [wires[i]!, unit]));
    await scene.unlock();
    assert.deepEqual(await head.ready(), row('locked1'));
    for (const [i, [, check]] of units.entries()) check(await wires[i]!.ready());
    assert.match((await wires[8]!.talk(say.query(broken(1))))[0]!, /42601/);
    for (const [i, wire] of wires.entries())
      assert.deepEqual(await wire.talk(say.query(own(i + 1))), row(`v${i + 1}`));
  });

  await t.test('have their own named statements, also when their Parse fails for all', async (t) => {
    const scene = await SharingScene.open(t, cluster, PATIENT);
    const [teacher, a, b, c, d] = (await scene.clients(5)) as [
      PostgresWire,
      PostgresWire,
      PostgresWire,
      PostgresWire,
      PostgresWire,
    ];
    const text = 'SELECT v FROM late WHERE id = $1';
    const parsed = (name: string) =>
      Buffer.concat([say.parse(name, text), say.describeStatement(name), say.sync()]);
    const run = (name: string) =>
      Buffer.concat([say.parse(name, text), say.bind(name, [1]), say.execute(), say.sync()]);
    await scene.learn(teacher, held(1));
    // Its failures teach that it is short.
    await scene.learn(teacher, parsed('x'));
    const head = await scene.holdHead();
    await scene.share([a, parsed('a')], [b, parsed('b')], [c, run('c')], [d, say.query(held(2))]);
    await scene.unlock();
    await head.ready();
    for (const wire of [a, b, c]) {
      const lines = await wire.ready();
      assert.match(lines[0]!, /42P01 relation "late" does not exist/);
      assert.equal(lines[1], 'ReadyForQuery I');
    }
    assert.deepEqual(await d.ready(), row('locked2'));
    await ok(teacher, "CREATE TABLE late AS SELECT 1 AS id, 'here'::text AS v");
    for (let i = 0; i < 20; i++)
      for (const [at, wire] of [a, b, c, d].entries()) {
        const name = `n${at}_${i}`;
        const lines = await wire.talk(run(name));
        assert.deepEqual(lines, ['ParseComplete', 'BindComplete', ...row('here').slice(1)]);
        assert.deepEqual(await wire.talk(say.close(name), say.sync()), ['CloseComplete', 'ReadyForQuery I']);
      }
  });

  await t.test('never run the unnamed statement that another one has left', async (t) => {
    const scene = await SharingScene.open(t, cluster, { ...PATIENT, autoPrepare: { threshold: 1_000 } });
    const [teacher, failing, binding, other] = (await scene.clients(4)) as [
      PostgresWire,
      PostgresWire,
      PostgresWire,
      PostgresWire,
    ];
    const text = 'SELECT v FROM t WHERE id = $1';
    const foreign = "SELECT 'of another' AS v FROM t WHERE id = $1";
    await scene.learn(teacher, held(1), say.run(text, [1]), say.run(foreign, [1]));
    await failing.talk(say.parse('mine', text), say.sync());
    await binding.talk(say.parse('', text), say.sync());
    const head = await scene.holdHead();
    await scene.share(
      [other, say.run(foreign, [1])],
      [
        failing,
        Buffer.concat([
          say.bind('mine', ['no number']),
          say.execute(),
          say.parse('', text),
          say.bind('', [2]),
          say.execute(),
          say.sync(),
        ]),
      ],
      [binding, Buffer.concat([say.bind('', [3]), say.execute(), say.sync()])],
    );
    await scene.unlock();
    await head.ready();
    assert.deepEqual((await other.ready()).slice(2), row('of another'));
    assert.match((await failing.ready())[0]!, /22P02/);
    assert.deepEqual(await binding.ready(), ['BindComplete', ...row('v3').slice(1)]);
  });

  await t.test('pipeline several batches, with errors in the middle', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const wires = await scene.clients(6);
    const batch = (id: number): Buffer => say.run('SELECT v FROM t WHERE id = $1', [id]);
    const bad = say.run('SELECT v FROM t WHERE id = $1', ['x']);
    await scene.learn(wires[0]!, batch(1));
    const before = scene.shared;
    await Promise.all(
      wires.map(async (wire, client) => {
        for (let i = 0; i < 20; i++) {
          const ids = [1, 2, 3].map((n) => 1 + ((client * 17 + i * 3 + n) % 100));
          wire.send(batch(ids[0]!), bad, batch(ids[1]!), say.query(own(ids[2]!)));
          assert.deepEqual((await wire.ready()).slice(2), row(`v${ids[0]}`));
          assert.match((await wire.ready()).join(), /22P02/);
          assert.deepEqual((await wire.ready()).slice(2), row(`v${ids[1]}`));
          assert.deepEqual(await wire.ready(), row(`v${ids[2]}`));
        }
      }),
    );
    assert.ok(scene.shared > before);
  });

  await t.test('discard and deallocate only their own', async (t) => {
    const scene = await SharingScene.open(t, cluster, { pool: { maxServerConnections: 3 } });
    const wires = await scene.clients(6);
    const text = 'SELECT v FROM t WHERE id = $1 AND v IS NOT NULL';
    for (const wire of wires) await wire.talk(say.parse('kept', text), say.sync());
    const bound = (id: number) => Buffer.concat([say.bind('kept', [id]), say.execute(), say.sync()]);
    await scene.learn(wires[0]!, bound(1));
    await Promise.all(
      wires.map(async (wire, client) => {
        for (let i = 0; i < 40; i++) {
          const id = 1 + ((client + i) % 100);
          if (client < 4) {
            assert.deepEqual(await wire.talk(bound(id)), ['BindComplete', ...row(`v${id}`).slice(1)]);
            continue;
          }
          await ok(wire, client === 4 ? 'DISCARD ALL' : 'DEALLOCATE ALL');
          assert.match((await wire.talk(bound(id)))[0]!, /26000/);
          await wire.talk(say.parse('kept', text), say.sync());
        }
      }),
    );
  });

  await t.test('read what they have written', async (t) => {
    const scene = await SharingScene.open(t, cluster);
    const wires = await scene.clients(4);
    const read = (id: number): string => `SELECT v FROM written WHERE id = ${id}`;
    await scene.learn(wires[0]!, read(90));
    const before = scene.shared;
    await Promise.all(
      wires.map(async (wire, client) => {
        for (let i = 1; i <= 50; i++) {
          await ok(wire, `UPDATE written SET v = ${i} WHERE id = ${client + 1}`);
          assert.deepEqual(await wire.talk(say.query(read(client + 1))), row(String(i)));
        }
      }),
    );
    assert.ok(scene.shared > before);
  });

  await t.test('write, and have their transactions, on server connections of their own', async (t) => {
    const scene = await SharingScene.open(t, cluster, { ...PATIENT, pool: { maxServerConnections: 3 } });
    const [teacher, reader, writer] = (await scene.clients(3)) as [PostgresWire, PostgresWire, PostgresWire];
    await scene.learn(teacher, held(1), 'SELECT backend_id() AS v', own(1));
    const head = await scene.holdHead();
    const [{ pid } = {}] = await scene.active('locked');
    await scene.share([reader, say.query('SELECT backend_id() AS v')]);
    // Neither waits behind the head.
    const wrote = await writer.talk(
      say.query('UPDATE written SET v = 0 WHERE id = 60 RETURNING backend_id() AS v'),
    );
    assert.notEqual(wrote[1], `DataRow ${String(pid)}`);
    await ok(writer, 'BEGIN');
    const inside = await writer.talk(say.query('SELECT backend_id() AS v'));
    assert.notEqual(inside[1], `DataRow ${String(pid)}`);
    await ok(writer, 'COMMIT');
    assert.equal((await scene.active('locked')).length, 1, 'the head still runs');
    await scene.unlock();
    assert.deepEqual(await head.ready(), row('locked1'));
    assert.deepEqual(await reader.ready(), row(String(pid)));
  });
});
