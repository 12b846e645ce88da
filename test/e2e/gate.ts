// Reads that are sent to a replica together with the question how far it is: what it shows counts only when it has what the
// session has seen. The probes are so rare here that they prove next to nothing.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import type { Front, Stage } from './stage.js';

const READ = 'SELECT value, node_port() AS port FROM counters WHERE id = ?';
const RARE_PROBES_MS = 2000;

interface Seen {
  readonly value: number;
  readonly onReplica: boolean;
}

type Way = 'text' | 'values' | 'prepared' | 'transaction';
const WAYS: readonly Way[] = ['text', 'values', 'prepared', 'transaction'];

class Scene {
  readonly stage: Stage;
  readonly front: Front;

  constructor(stage: Stage, front: Front) {
    this.stage = stage;
    this.front = front;
  }

  async read(client: Client, id: number, way: Way): Promise<Seen> {
    const rows = await this.#rows(client, id, way);
    assert.equal(rows.length, 1, 'exactly one answer');
    const [row] = rows;
    const node = this.stage.nodeAt(row?.port);
    return { value: Number(row?.value), onReplica: node !== this.stage.cluster.primary.name };
  }

  async #rows(client: Client, id: number, way: Way) {
    switch (way) {
      case 'text':
        return client.query(READ.replace('?', String(id)));
      case 'values':
        return client.query(READ, [id]);
      case 'prepared':
        return client.execute(READ, [id]);
      case 'transaction': {
        await client.query('START TRANSACTION READ ONLY');
        const rows = await client.execute(READ, [id]);
        await client.query('COMMIT');
        return rows;
      }
    }
  }

  get byGate(): number {
    return this.front.counters().reads['fresh-by-gate'];
  }

  get refused(): number {
    return this.stage.replicaNames.reduce(
      (sum, name) => sum + this.front.node(name).retries['gate-failed'],
      0,
    );
  }
}

const write = (client: Client, id: number, value: number) =>
  client.query('UPDATE counters SET value = ? WHERE id = ?', [value, id]);

export async function gateTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const monitor = { ...cluster.superuser, intervalMs: RARE_PROBES_MS, timeoutMs: 10_000 };
  const owner = await stage.direct(t, cluster.primary);
  for (let id = 101; id <= 164; id++) await owner.query('INSERT INTO counters VALUES (?, 0)', [id]);
  await cluster.waitCaughtUp();

  for (const sharing of [true, false]) {
    const how = sharing ? 'shared' : 'leased';
    await t.test(`${how}: a replica that has it serves what a session has just written`, async (t) => {
      const scene = new Scene(
        stage,
        await stage.front(t, { monitor, sharing: { ...ONE_SHARED, enabled: sharing } }),
      );
      for (const way of WAYS) {
        const client = await scene.front.connect(t);
        // Its kind is known to be quick, so that it may be shared.
        for (let i = 0; i < 3; i++) await scene.read(client, 101, way);
        const before = scene.byGate;
        let value = 0;
        await until(`a read by gate: ${way}`, async () => {
          await write(client, 101, ++value);
          await cluster.waitCaughtUp();
          const seen = await scene.read(client, 101, way);
          assert.equal(seen.value, value, way);
          return seen.onReplica && (way === 'transaction' || scene.byGate > before);
        });
      }
    });

    await t.test(`${how}: a replica that has it not is refused, and the primary answers once`, async (t) => {
      const scene = new Scene(
        stage,
        await stage.front(t, { monitor, sharing: { ...ONE_SHARED, enabled: sharing } }),
      );
      t.after(() => Promise.all(cluster.replicas.map((node) => node.resumeReplay())));
      for (const way of WAYS) {
        const client = await scene.front.connect(t);
        for (let i = 0; i < 3; i++) await scene.read(client, 102, way);
        const before = scene.refused;
        let value = 0;
        await until(`a gate that refuses: ${way}`, async () => {
          // Of a replica that is known to be late nothing is asked.
          for (const node of cluster.replicas) await node.resumeReplay();
          await cluster.waitCaughtUp();
          for (const node of cluster.replicas) await node.pauseReplay();
          await write(client, 102, ++value);
          // Time for its position to be known.
          await sleep(20);
          const seen = await scene.read(client, 102, way);
          assert.deepEqual(seen, { value, onReplica: false }, way);
          return scene.refused > before;
        });
        for (const node of cluster.replicas) await node.resumeReplay();
        await cluster.waitCaughtUp();
      }
      assert.equal(scene.front.counters().errors['internal-error'] ?? 0, 0);
    });
  }

  await t.test('a write that tells its position leaves nothing to be asked of the primary', async (t) => {
    if (stage.kind === 'postgres') return t.skip('PostgreSQL tells none');
    const scene = new Scene(stage, await stage.front(t, { monitor }));
    let value = 0;
    for (const inTransaction of [false, true])
      for (let i = 0; i < 5; i++) {
        const client = await scene.front.connect(t);
        if (inTransaction) await client.query('BEGIN');
        await write(client, 104, ++value);
        if (inTransaction) await client.query('COMMIT');
        await cluster.waitCaughtUp();
        assert.equal((await scene.read(client, 104, 'values')).value, value);
        await client.close();
      }
    const { reads, holds } = scene.front.counters();
    assert.equal(reads['watermark-unknown'] + holds['watermark-pending'], 0, JSON.stringify(reads));
    assert.ok(reads['fresh-by-gate'] + reads['fresh-by-probe'] >= 8, JSON.stringify(reads));
  });

  await t.test(
    'many sessions in shared pipelines, each behind its own gate, while replay stops and goes on',
    async (t) => {
      const scene = new Scene(stage, await stage.front(t, { monitor }));
      const clients = await scene.front.connectMany(t, 32);
      let ended = false;
      let reads = 0;
      const running = Promise.all(
        clients.map(async (client, i) => {
          const id = 110 + i;
          const way = WAYS[i % WAYS.length]!;
          let value = 0;
          while (!ended) {
            await write(client, id, ++value);
            for (let k = 0; k < 4; k++) {
              const seen = await scene.read(client, id, way);
              assert.equal(seen.value, value, `${way}, on a ${seen.onReplica ? 'replica' : 'primary'}`);
              reads++;
              await sleep(3 * k);
            }
          }
        }),
      ).finally(() => {
        ended = true;
      });
      running.catch(() => {});
      for (let round = 0; round < 6 && !ended; round++) {
        for (const node of cluster.replicas) await node.pauseReplay();
        await sleep(150);
        for (const node of cluster.replicas) await node.resumeReplay();
        await sleep(600);
      }
      ended = true;
      await running;
      const { reads: reasons } = scene.front.counters();
      t.diagnostic(`reads ${reads}, refused ${scene.refused}, ${JSON.stringify(reasons)}`);
      assert.ok(scene.byGate > 0, 'none was served by gate');
      assert.ok(scene.refused > 0, 'none was refused');
    },
  );
  await cluster.waitCaughtUp();

  await t.test('a replica that dies while it is asked: the read runs elsewhere', async (t) => {
    const scene = new Scene(stage, await stage.front(t, { monitor }));
    const [frozen, other] = cluster.replicas;
    for (const way of WAYS) {
      const client = await scene.front.connect(t);
      await until('it to read from the one that will die', async () => {
        await write(client, 103, 0);
        await cluster.waitCaughtUp();
        const rows = await client.query(READ, [103]);
        return stage.nodeAt(rows[0]?.port) === frozen!.name;
      });
      await other!.pauseReplay();
      await write(client, 103, 7);
      await frozen!.kill('SIGSTOP');
      const reading = scene.read(client, 103, way);
      await sleep(100);
      await frozen!.kill('SIGKILL');
      assert.equal((await reading).value, 7, way);
      await other!.resumeReplay();
      await frozen!.start();
      await cluster.waitCaughtUp();
      await client.close();
    }
  });
  await cluster.waitCaughtUp();
}
