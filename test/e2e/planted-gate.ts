// A gate that is broken on purpose: the checks that the other tests make would see it.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { mysqlPositions } from '../../src/mysql/position.js';
import { postgresPositions } from '../../src/postgres/position.js';
import type { PositionFunctions } from '../../src/protocol/position.js';
import { until } from '../servers/poll.js';
import { ONE_PROCESS, type Stage } from './stage.js';

/** Positions are compared rightly everywhere but behind a gate. */
function breakGates(t: TestContext, positions: PositionFunctions): void {
  const { covers } = positions;
  t.after(() => {
    positions.covers = covers;
  });
  positions.covers = (have, want) =>
    covers(have, want) || /\/(?:postgres|mysql)\/gate\.js/.test(new Error('where').stack ?? '');
}

export async function plantedTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  await t.test('a gate that lets everything pass shows an old state, and is found out', async (t) => {
    // What is broken is this process's.
    const front = await stage.front(
      t,
      { monitor: { ...cluster.superuser, intervalMs: 2000, timeoutMs: 10_000 } },
      ONE_PROCESS,
    );
    const client = await front.connect(t);
    await client.query('INSERT INTO counters VALUES (301, 0)');
    await cluster.waitCaughtUp();
    t.after(() => Promise.all(cluster.replicas.map((node) => node.resumeReplay())));
    await client.query('SELECT value FROM counters WHERE id = 301');
    for (const node of cluster.replicas) await node.pauseReplay();
    breakGates(t, stage.kind === 'postgres' ? postgresPositions : mysqlPositions);
    let value = 0;
    await until('a stale read', async () => {
      await client.query('UPDATE counters SET value = ? WHERE id = 301', [++value]);
      await sleep(20);
      const [row] = await client.query('SELECT value FROM counters WHERE id = 301');
      return Number(row?.value) < value;
    });
    assert.ok(front.counters().reads['fresh-by-gate'] > 0);
  });
  await Promise.all(cluster.replicas.map((node) => node.resumeReplay()));
  await cluster.waitCaughtUp();
}
