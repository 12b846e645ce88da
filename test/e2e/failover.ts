// The primary dies by SIGKILL under clients of all sorts: none is dropped, units wait for its successor, what was
// acknowledged is counted, and the old primary gets nothing more when it is back.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { newcomers } from './newcomers.js';
import { readLoad } from './replicas.js';
import type { Front, Stage } from './stage.js';

/** Numbers of the writers in the ledger; the last two write in transactions, each entry twice: as n and as n + 50. */
const WRITERS = [1, 2, 3, 4, 5, 6];
const IN_TRANSACTIONS = [5, 6];
const PAIR = 50;

interface Writer {
  readonly acknowledged: Set<number>;
  readonly unknown: Set<number>;
  /** Codes of all errors. */
  readonly errors: string[];
  readonly inTransactions: boolean;
  slowestMs: number;
}

export async function failoverTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, driver } = stage;
  const old = cluster.primary;
  const front = await stage.front(t, { failover: { mode: 'automatic', holdMs: 60_000 } });
  const idle = await front.connectMany(t, 5);
  const waiting = await front.connect(t);
  const inside = await front.connect(t);
  await inside.query('BEGIN');
  await inside.query('INSERT INTO ledger VALUES (99, 1)');

  const reads = await readLoad(t, front, 4);
  const writes = await writeLoad(t, stage, front);
  const logins = newcomers(stage, front);
  await writes.more(200);
  await old.kill('SIGKILL');

  // What a replica has applied before anybody is promoted must never be gone.
  const survivors = await Promise.all(cluster.replicas.map((node) => ledgerOf(node)));
  const held = waiting.query('INSERT INTO ledger VALUES (98, 1)');
  await t.test('the most up-to-date replica becomes the primary', async () => {
    await until('a new primary', () => {
      const { primary } = front.status();
      return primary !== null && primary !== old.name;
    });
  });
  const successor = cluster.nodes.find((node) => node.name === front.status().primary)!;

  await t.test('a unit that came while there was no primary is held and done', async () => {
    await held;
    assert.ok(front.counters().holds['no-primary'] > 0);
    assert.deepEqual(await successor.admin('SELECT seq FROM ledger WHERE client = 98'), [{ seq: 1 }]);
  });

  await t.test('writers go on over the same connections, and reads never fail', async (t) => {
    await writes.more(200);
    await reads.more(50);
    const writers = await writes.end();
    await reads.end();
    for (const writer of writers) {
      // A write that was under way has an unknown outcome, a transaction is lost; nothing else may happen.
      const expected = [
        driver.code('outcome-unknown'),
        ...(writer.inTransactions ? [driver.code('transaction-lost')] : []),
      ];
      for (const code of writer.errors) assert.ok(expected.includes(code), writer.errors.join(', '));
      assert.ok(writer.errors.length <= 1, `${writer.errors.length} errors`);
    }
    t.diagnostic(`slowest write: ${Math.round(Math.max(...writers.map((writer) => writer.slowestMs)))} ms`);
  });

  await t.test('clients that logged in meanwhile were held, not refused', async (t) => {
    const { entered, refused } = await logins.end();
    assert.deepEqual(refused, []);
    t.diagnostic(`${entered} logins`);
  });

  await t.test(
    'acknowledged writes are there, but those that no replica had; none is there twice',
    async (t) => {
      const there = await ledgerOf(successor);
      for (const survivor of survivors) {
        for (const entry of survivor) assert.ok(there.has(entry), `${entry} was on a replica and is gone`);
      }
      let lost = 0;
      let acknowledged = 0;
      for (const [i, writer] of writes.writers.entries()) {
        for (const seq of writer.acknowledged) {
          acknowledged++;
          const entry = `${WRITERS[i]}:${seq}`;
          if (!there.has(entry)) lost++;
        }
        // The primary key forbids a second one; what was never sent, or failed, must not be there.
        for (const entry of there) {
          const [client, seq] = entry.split(':').map(Number);
          if (client !== WRITERS[i]) continue;
          assert.ok(
            writer.acknowledged.has(seq!) || writer.unknown.has(seq!),
            `${entry} was never acknowledged`,
          );
        }
      }
      for (const entry of there) {
        const [client, seq] = entry.split(':').map(Number);
        if (IN_TRANSACTIONS.includes(client!))
          assert.ok(there.has(`${client! + PAIR}:${seq}`), `half of transaction ${entry}`);
      }
      t.diagnostic(`${acknowledged} acknowledged writes, ${lost} of them lost with the old primary`);
    },
  );

  await t.test('idle clients are still connected and work', async () => {
    for (const [i, client] of idle.entries()) {
      assert.equal(client.broken, null);
      await client.query('INSERT INTO ledger VALUES (97, ?)', [i]);
      const [row] = await client.query('SELECT count(*) AS n FROM ledger WHERE client = 97');
      assert.equal(Number(row?.n), i + 1);
    }
  });

  await t.test('a client in a transaction gets one clear error and goes on after ROLLBACK', async () => {
    const transactionLost = [driver.code('transaction-lost'), driver.code('transaction-aborted')];
    await assert.rejects(inside.query('INSERT INTO ledger VALUES (99, 2)'), (error) =>
      transactionLost.includes(driver.codeOf(error)),
    );
    await inside.query('ROLLBACK');
    assert.equal(inside.broken, null);
    await inside.query('INSERT INTO ledger VALUES (99, 3)');
    assert.deepEqual(await inside.query('SELECT seq FROM ledger WHERE client = 99'), [{ seq: 3 }]);
  });

  await t.test('the other replica follows the new primary and serves reads', async (t) => {
    const other = cluster.replicas.find((node) => node !== successor)!;
    await front.seesReplicas([other.name]);
    assert.deepEqual(await front.spread(t, 4), { [other.name]: 4 });
  });

  await t.test('the old primary comes back and gets neither writes nor reads', async (t) => {
    await old.start();
    await until('the proxy to see it', () => front.nodeStatus(old.name).state === 'up');
    const before = await ledgerOf(old);
    const clients = await front.connectMany(t, 4);
    for (let seq = 0; seq < 40; seq++) {
      const client = clients[seq % clients.length]!;
      await client.query('INSERT INTO ledger VALUES (96, ?)', [seq]);
      assert.notEqual(await front.whereIs(client), old.name);
    }
    assert.deepEqual(await ledgerOf(old), before);
    assert.equal(front.status().primary, successor.name);
    assert.equal(front.nodeStatus(old.name).takesWrites, false);
    assert.equal(front.nodeStatus(old.name).takesReads, false);
    assert.ok(front.nodeStatus(old.name).excludedBecause !== null || front.status().alerts.length > 0);
  });
}

/** `client:seq` of every entry, straight from the node. */
async function ledgerOf(node: TestNode): Promise<Set<string>> {
  const rows = await node.admin('SELECT client, seq FROM ledger');
  return new Set(rows.map((row) => `${row.client}:${row.seq}`));
}

async function transaction(client: Client, number: number, seq: number): Promise<void> {
  await client.query('BEGIN');
  await client.query(`INSERT INTO ledger VALUES (${number}, ${seq})`);
  await client.execute('INSERT INTO ledger VALUES (?, ?)', [number + PAIR, seq]);
  await client.query('COMMIT');
}

/** Autocommit inserts, half of them prepared, each written down when it is acknowledged. */
async function writeLoad(t: TestContext, stage: Stage, front: Front) {
  const { driver } = stage;
  let ended = false;
  let total = 0;
  let failure: unknown = null;
  const loop = async (client: Client, number: number, writer: Writer) => {
    for (let seq = 1; !ended; seq++) {
      const started = performance.now();
      try {
        if (writer.inTransactions) await transaction(client, number, seq);
        else if (seq % 2 === 0) await client.execute('INSERT INTO ledger VALUES (?, ?)', [number, seq]);
        else await client.query(`INSERT INTO ledger VALUES (${number}, ${seq})`);
        writer.acknowledged.add(seq);
        total++;
      } catch (error) {
        if (client.broken !== null) throw client.broken;
        writer.errors.push(driver.codeOf(error));
        writer.unknown.add(seq);
        if (writer.inTransactions) await client.query('ROLLBACK');
      }
      writer.slowestMs = Math.max(writer.slowestMs, performance.now() - started);
      await sleep(1);
    }
  };
  const writers: Writer[] = [];
  const loops: Promise<void>[] = [];
  for (const number of WRITERS) {
    const writer: Writer = {
      acknowledged: new Set(),
      unknown: new Set(),
      errors: [],
      inTransactions: IN_TRANSACTIONS.includes(number),
      slowestMs: 0,
    };
    writers.push(writer);
    loops.push(loop(await front.connect(t), number, writer));
  }
  const running = Promise.all(loops).catch((error: unknown) => {
    failure = error;
    ended = true;
  });
  const check = () => {
    if (failure !== null) throw new Error('a writer lost its connection', { cause: failure });
  };
  return {
    writers,
    async more(writes: number) {
      const goal = total + writes;
      await until(`${writes} more writes`, () => failure !== null || total >= goal);
      check();
    },
    async end() {
      ended = true;
      await running;
      check();
      return writers;
    },
  };
}
