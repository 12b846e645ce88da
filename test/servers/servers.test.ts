// The harness itself: every kind of cluster replicates, lags, dies, comes back and leaves nothing behind.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isRunning } from '../../src/cli/demo/process-tree.js';
import { available, type Kind, skipWithout } from './available.js';
import { startCluster, type TestNode } from './cluster.js';
import { until } from './poll.js';
import { leftovers, sweepDead } from './root.js';

const kinds: readonly { kind: Kind; version?: number; says: RegExp }[] = [
  { kind: 'postgres', version: 15, says: /^15\./ },
  { kind: 'postgres', version: 18, says: /^18\./ },
  { kind: 'mariadb', says: /^10\.11\./ },
  { kind: 'mysql', says: /^9\./ },
];

async function entries(node: TestNode): Promise<number[]> {
  const rows = await node.admin('SELECT id FROM ledger ORDER BY id');
  return rows.map((row) => Number(row.id));
}

for (const { kind, version, says } of kinds) {
  const title = version === undefined ? kind : `${kind} ${version}`;
  test(`${title}: a primary and two replicas`, { skip: skipWithout(available(kind, version)) }, async (t) => {
    const cluster = await startCluster(kind, version === undefined ? {} : { version });
    t.after(() => cluster.stop());
    const { primary, replicas } = cluster;
    const [first, second] = replicas;
    assert.ok(first !== undefined && second !== undefined && replicas.length === 2);
    assert.match(cluster.version, says);

    await primary.admin('CREATE TABLE ledger (id int PRIMARY KEY)');
    await primary.admin('INSERT INTO ledger VALUES (1)');
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(first), [1]);
    assert.deepEqual(await entries(second), [1]);

    // A delay holds one replica back and not the other; taking it off lets it catch up.
    await first.delay(3_600_000);
    await primary.admin('INSERT INTO ledger VALUES (2)');
    await until('the other replica has the entry', async () => (await entries(second)).length === 2);
    assert.deepEqual(await entries(first), [1]);
    await first.delay(0);
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(first), [1, 2]);

    await first.pauseReplay();
    await primary.admin('INSERT INTO ledger VALUES (3)');
    await until('the other replica has the entry', async () => (await entries(second)).length === 3);
    assert.deepEqual(await entries(first), [1, 2]);
    await first.resumeReplay();
    await cluster.waitCaughtUp();

    // What is written while a replica is dead reaches it after it has been started again.
    const died = second.pid;
    assert.ok(died !== undefined);
    await second.kill('SIGKILL');
    assert.equal(second.pid, undefined);
    assert.equal(isRunning(died), false);
    await primary.admin('INSERT INTO ledger VALUES (4)');
    await second.start();
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(second), [1, 2, 3, 4]);

    // A frozen server answers nobody, and goes on where it was.
    await first.kill('SIGSTOP');
    const answer = first.admin('SELECT 1 AS one');
    assert.equal(
      await Promise.race([answer, primary.admin('SELECT 2 AS one').then(() => 'frozen')]),
      'frozen',
    );
    await first.kill('SIGCONT');
    assert.equal(Number((await answer)[0]?.one), 1);

    await cluster.rebuild(second, primary);
    await primary.admin('INSERT INTO ledger VALUES (5)');
    await cluster.waitCaughtUp();
    assert.deepEqual(await entries(second), [1, 2, 3, 4, 5]);

    const running = cluster.nodes.map((node) => node.pid ?? 0);
    assert.ok(running.every(isRunning));
    await cluster.stop();
    assert.deepEqual(running.filter(isRunning), []);
    assert.deepEqual(leftovers(), { processes: [], files: [] });
  });
}

/** Process ids of servers whose command line names the folder. */
function serversIn(folder: string): string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder);
    } catch {
      return false;
    }
  });
}

const starter = fileURLToPath(new URL('./start-and-wait.js', import.meta.url));

for (const [how, signal] of [
  ['is interrupted', 'SIGINT'],
  ['is terminated', 'SIGTERM'],
  ['crashes', 'SIGUSR2'],
  ['is killed', 'SIGKILL'],
] as const) {
  for (const kind of ['postgres', 'mariadb'] as const) {
    test(`${kind}: no server outlives a process that ${how}`, {
      skip: skipWithout(available(kind)),
    }, async () => {
      const child = spawn(process.execPath, [starter, kind], { stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      for await (const chunk of child.stdout) {
        text += chunk;
        if (text.includes('\n')) break;
      }
      const folder = text.trim();
      assert.ok(existsSync(folder), `the child said: ${text}`);
      assert.ok(serversIn(folder).length > 0);
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
      await until('its servers are gone', () => serversIn(folder).length === 0);
      // Nobody is left to remove the folder of a killed process; the next harness does.
      if (signal === 'SIGKILL') sweepDead();
      assert.equal(existsSync(folder), false);
    });
  }
}
