// Reloading: on a call and when files change, in all the ways in which editors and Kubernetes change files; all or nothing.

import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../src/config/load.js';
import type { Config } from '../../src/config/schema.js';
import { Reloader, type ReloadOutcome } from '../../src/config/watch.js';
import { minimal, temporaryFolder } from './folder.js';

const DEADLINE_MS = 30_000;

async function until(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(Date.now() < end, `still waiting until ${what}`);
    await sleep(10);
  }
}

interface Running {
  readonly reloader: Reloader;
  /** All configurations that reached the proxy. */
  readonly applied: Config[];
  readonly outcomes: ReloadOutcome[];
  /** What the proxy answers when it is asked to take one over. */
  refuse: readonly string[] | null;
}

async function start(t: TestContext, path: string, env: Record<string, string> = {}): Promise<Running> {
  const loaded = await loadConfig(path, env);
  assert.deepEqual(loaded.problems, []);
  const running = {
    applied: [] as Config[],
    outcomes: [] as ReloadOutcome[],
    refuse: null as readonly string[] | null,
  };
  const reloader = new Reloader({
    path,
    loaded: { ...loaded, config: loaded.config! },
    env,
    apply: (next) => {
      if (running.refuse !== null) return { ok: false, problems: running.refuse };
      running.applied.push(next);
      return { ok: true };
    },
    onReload: (outcome) => running.outcomes.push(outcome),
  });
  t.after(() => reloader.stop());
  return Object.assign(running, { reloader });
}

const lagging = (maxLagMs: number) => minimal({ consistency: { maxLagMs } });

describe('a reload', () => {
  test('takes over what is live', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', lagging(1000));
    const { reloader, applied } = await start(t, file);
    folder.write('proxy.json', lagging(2000));
    const outcome = await reloader.reload('signal');
    assert.equal(outcome.outcome, 'applied');
    assert.equal(outcome.trigger, 'signal');
    assert.deepEqual(outcome.lines, ['cluster main: consistency.maxLagMs 1000 -> 2000']);
    assert.equal(applied.length, 1);
    assert.equal(reloader.config.clusters[0]!.consistency.maxLagMs, 2000);
    assert.equal(reloader.revision, 2);
    assert.equal(reloader.lastReload, outcome);
    assert.deepEqual(reloader.counts, { applied: 1, unchanged: 0, refused: 0 });
  });

  test('of the same configuration does nothing', async (t) => {
    const folder = temporaryFolder(t);
    const { reloader, applied } = await start(t, folder.write('proxy.json', lagging(1000)));
    assert.equal((await reloader.reload('api')).outcome, 'unchanged');
    assert.equal(applied.length, 0);
    assert.equal(reloader.revision, 1);
  });

  test('of an invalid configuration changes nothing and says why', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', lagging(1000));
    const { reloader, applied } = await start(t, file);
    folder.write('proxy.json', minimal({ consistency: { maxLagMs: 2000 }, pool: { maxWaiting: -1, x: 1 } }));
    const outcome = await reloader.reload('signal');
    assert.equal(outcome.outcome, 'refused');
    assert.deepEqual(
      outcome.lines.map((line) => line.replace(/^.*proxy\.json:\d+:\d+: /, '')),
      [
        'clusters[0].pool.maxWaiting: must be at least 0, not -1',
        'clusters[0].pool.x: unknown key; known keys: maxServerConnections, maxWaiting, waitTimeoutMs, idleTimeoutMs, maxLifetimeMs, connectTimeoutMs',
      ],
    );
    assert.equal(applied.length, 0);
    assert.equal(reloader.config.clusters[0]!.consistency.maxLagMs, 1000);
    assert.equal(reloader.revision, 1);
  });

  test('that needs a restart for one thing does not do the others', async (t) => {
    const folder = temporaryFolder(t);
    const { reloader, applied } = await start(t, folder.write('proxy.json', lagging(1000)));
    folder.write('proxy.json', { ...lagging(2000), listeners: [{ name: '127.0.0.1:6432', port: 6433 }] });
    const outcome = await reloader.reload('signal');
    assert.equal(outcome.outcome, 'refused');
    assert.deepEqual(outcome.lines, ['listener 127.0.0.1:6432: port 6432 -> 6433 (needs a restart)']);
    assert.equal(applied.length, 0);
  });

  test('that the proxy refuses is refused, and can be tried again', async (t) => {
    const folder = temporaryFolder(t);
    const running = await start(t, folder.write('proxy.json', lagging(1000)));
    folder.write('proxy.json', lagging(2000));
    running.refuse = ['not now'];
    assert.deepEqual((await running.reloader.reload('api')).lines, ['not now']);
    assert.equal(running.reloader.revision, 1);
    running.refuse = null;
    assert.equal((await running.reloader.reload('api')).outcome, 'applied');
    assert.deepEqual(running.reloader.counts, { applied: 1, unchanged: 0, refused: 1 });
  });

  test('comes one after the other', async (t) => {
    const folder = temporaryFolder(t);
    const { reloader } = await start(t, folder.write('proxy.json', lagging(1000)));
    folder.write('proxy.json', lagging(2000));
    const outcomes = await Promise.all([
      reloader.reload('api'),
      reloader.reload('signal'),
      reloader.reload('api'),
    ]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.outcome),
      ['applied', 'unchanged', 'unchanged'],
    );
  });

  test('of a file that is gone keeps the configuration', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', lagging(1000));
    const { reloader } = await start(t, file);
    rmSync(file);
    const outcome = await reloader.reload('signal');
    assert.equal(outcome.outcome, 'refused');
    assert.match(outcome.lines.join(), /there is no such file/);
  });
});

const INTERVAL_MS = 20;

describe('the file is watched', () => {
  test('when it is written in place', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', lagging(1000));
    const { reloader, applied, outcomes } = await start(t, file);
    reloader.watch(INTERVAL_MS);
    folder.write('proxy.json', lagging(2000));
    await until('it is applied', () => applied.length === 1);
    assert.equal(outcomes[0]!.trigger, 'file');
  });

  test('when another file is renamed over it', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', lagging(1000));
    const { reloader, applied } = await start(t, file);
    reloader.watch(INTERVAL_MS);
    for (const lag of [2000, 3000]) {
      renameSync(folder.write('.proxy.json.swp', lagging(lag)), file);
      await until(`${lag} is applied`, () => applied.at(-1)?.clusters[0]?.consistency.maxLagMs === lag);
    }
    assert.equal(reloader.revision, 3);
  });

  test('when a folder is swapped by its symbolic link, as Kubernetes does', async (t) => {
    const { path } = temporaryFolder(t);
    for (const [version, lag] of [
      ['..1', 1000],
      ['..2', 2000],
    ] as const) {
      mkdirSync(join(path, version));
      writeFileSync(join(path, version, 'proxy.json'), JSON.stringify(lagging(lag)));
    }
    symlinkSync('..1', join(path, '..data'));
    symlinkSync('..data/proxy.json', join(path, 'proxy.json'));
    const { reloader, applied } = await start(t, join(path, 'proxy.json'));
    reloader.watch(INTERVAL_MS);
    symlinkSync('..2', join(path, '..data_tmp'));
    renameSync(join(path, '..data_tmp'), join(path, '..data'));
    await until('it is applied', () => applied.length === 1);
    assert.equal(reloader.config.clusters[0]!.consistency.maxLagMs, 2000);
  });

  test('and the files of its secrets', async (t) => {
    const folder = temporaryFolder(t);
    folder.write('password', 'one\n');
    const file = folder.write(
      'proxy.json',
      minimal({ users: [{ name: 'app', password: { file: 'password' } }] }),
    );
    const { reloader, applied, outcomes } = await start(t, file);
    reloader.watch(INTERVAL_MS);
    folder.write('password', 'two\n');
    await until('it is applied', () => applied.length === 1);
    assert.equal(reloader.config.clusters[0]!.users![0]!.password, 'two');
    assert.deepEqual(outcomes[0]!.lines, ['user main/app: password changed']);
  });

  test('an invalid state is refused once, and what mends it is applied', async (t) => {
    const folder = temporaryFolder(t);
    const file = folder.write('proxy.json', lagging(1000));
    const { reloader, applied, outcomes } = await start(t, file);
    reloader.watch(INTERVAL_MS);
    folder.write('proxy.json', '{ "listeners": [');
    await until('it is refused', () => outcomes.length === 1);
    assert.equal(outcomes[0]!.outcome, 'refused');
    await sleep(10 * INTERVAL_MS);
    assert.equal(outcomes.length, 1);
    assert.equal(applied.length, 0);
    folder.write('proxy.json', lagging(2000));
    await until('it is applied', () => applied.length === 1);
  });

  test('what a signal has taken over is not reported again as unchanged', async (t) => {
    const folder = temporaryFolder(t);
    const { reloader, outcomes } = await start(t, folder.write('proxy.json', lagging(1000)));
    reloader.watch(INTERVAL_MS);
    folder.write('proxy.json', lagging(2000));
    await reloader.reload('signal');
    await sleep(10 * INTERVAL_MS);
    assert.deepEqual(
      outcomes.filter((outcome) => outcome.outcome === 'unchanged'),
      [],
    );
    assert.equal(reloader.lastReload?.outcome, 'applied');
  });
});
