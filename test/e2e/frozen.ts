// The primary freezes instead of dying: nothing is closed, nothing answers. It is replaced all the same, units that wait for
// its answer are told that their outcome is unknown, and when it thaws nobody writes to it.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { readLoad } from './replicas.js';
import { rejects, Stage } from './stage.js';

export function frozenSuite(kind: Kind): void {
  test(`${kind}: a frozen primary`, { skip: skipWithout(available(kind)) }, async (t) =>
    frozenTests(t, await Stage.open(t, kind)),
  );
}

async function frozenTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const old = cluster.primary;
  const front = await stage.front(t, {
    monitor: { ...cluster.superuser, intervalMs: 100, timeoutMs: 300 },
    failover: { mode: 'automatic', holdMs: 60_000 },
  });
  const idle = await front.connect(t);
  await idle.query('INSERT INTO ledger VALUES (80, 1)');
  const inside = await front.connect(t);
  await inside.query('BEGIN');
  await inside.query('INSERT INTO ledger VALUES (81, 1)');
  const reads = await readLoad(t, front, 4);
  await reads.more(20);
  await cluster.waitCaughtUp();

  await old.kill('SIGSTOP');
  let thawed = false;
  const thaw = async () => {
    if (!thawed) await old.kill('SIGCONT');
    thawed = true;
  };
  t.after(thaw);
  const caught = await front.connect(t).catch(() => null);
  const written = idle.query('INSERT INTO ledger VALUES (80, 2)');
  const settled = written.then(
    () => 'done',
    (error: unknown) => driver.codeOf(error),
  );
  await until('a new primary', () => ![old.name, null].includes(front.status().primary));
  const successor = cluster.nodes.find((node) => node.name === front.status().primary)!;

  await t.test('a write that was sent to it has an unknown outcome; one that was held is done', async () => {
    const outcome = await settled;
    assert.ok(['done', driver.code('outcome-unknown')].includes(outcome), outcome);
    const there = await successor.admin('SELECT seq FROM ledger WHERE client = 80 AND seq = 2');
    if (outcome === 'done') assert.equal(there.length, 1);
    await idle.query('INSERT INTO ledger VALUES (80, 3)');
    assert.equal(idle.broken, null);
    caught?.kill();
  });

  await t.test('a transaction on it is lost with one clear error', async () => {
    const error = await inside.query('INSERT INTO ledger VALUES (81, 2)').then(
      () => assert.fail('it went on'),
      (error: unknown) => error,
    );
    const expected = [driver.code('transaction-lost'), driver.code('transaction-aborted')];
    assert.ok(expected.includes(driver.codeOf(error)), String(error));
    await inside.query('ROLLBACK');
    await inside.query('INSERT INTO ledger VALUES (81, 3)');
    assert.deepEqual(await inside.query('SELECT seq FROM ledger WHERE client = 81'), [{ seq: 3 }]);
  });

  await t.test('reads never failed', async () => {
    await reads.everyoneMore(5);
    await reads.end();
  });

  await t.test('thawed, it gets neither writes nor reads', async (t) => {
    await thaw();
    await until('the proxy to see it', () => front.nodeStatus(old.name).state === 'up');
    for (let seq = 10; seq < 30; seq++) {
      const client = seq % 2 === 0 ? idle : inside;
      await client.query('INSERT INTO ledger VALUES (82, ?)', [seq]);
      assert.notEqual(await front.whereIs(client), old.name);
    }
    const late = await front.connect(t);
    assert.notEqual(await front.whereIs(late), old.name);
    assert.deepEqual(await old.admin('SELECT seq FROM ledger WHERE client = 82'), []);
    await until('the successor to be the primary', () => front.status().primary === successor.name);
    // What it was told before it froze never became two truths: the transaction of a lost client is not there.
    assert.deepEqual(await successor.admin('SELECT seq FROM ledger WHERE client = 81 AND seq < 3'), []);
  });
  await rejects(
    driver,
    front.connect(t, { ...cluster.user, password: 'wrong' }),
    driver.code('authentication-failed'),
  );
}
