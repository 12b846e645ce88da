// npm run storm as its users start it: what makes its exit status 1, planted, and what is explained.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Kind } from '../servers/available.js';
import { command } from './command.js';
import { Tally } from './tally.js';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));

interface Planted {
  readonly missing?: Kind;
  readonly violationOn?: Kind;
  readonly silent?: Kind;
}

/** The command over storms that did not take place. */
async function planted(args: readonly string[], { missing, violationOn, silent }: Planted) {
  const said: string[] = [];
  const printed: string[] = [];
  const status = await command(args, {
    available: (kind) =>
      kind === missing ? { available: false, reason: 'planted' } : { available: true, program: '' },
    storm: async ({ kind, seed, clients, seconds }) => {
      const tally = new Tally();
      if (kind !== silent) tally.count('answered', 'text');
      if (kind === violationOn) {
        const story = ['1.000 text: SELECT 7', '  2 ms: D 8'];
        tally.violation({
          client: 7,
          kind: 'text',
          what: 'not its row',
          asked: 'SELECT 7',
          got: 'D 8',
          story,
        });
      }
      return { server: kind, version: '1', seed, clients, seconds, tally, retries: {} };
    },
    print: (line) => printed.push(line),
    say: (line) => said.push(line),
  });
  return { status, said: said.join('\n'), result: JSON.parse(printed.join('\n')) as Record<string, unknown> };
}

test('three storms without a violation: exit status 0', async () => {
  const { status, said, result } = await planted(['--seed', '42'], {});
  assert.equal(status, 0, said);
  assert.deepEqual([result.seed, result.violations, result.missing], [42, 0, 0]);
  assert.equal((result.storms as unknown[]).length, 3);
});

test('a violation in any of them: exit status 1, with its story', async () => {
  for (const kind of ['postgres', 'mysql', 'mariadb'] as const) {
    const { status, said, result } = await planted([], { violationOn: kind });
    assert.equal(status, 1, said);
    assert.equal(result.violations, 1);
    assert.match(said, /^VIOLATION, client 7, text: not its row\n {2}asked: SELECT 7\n {2}got: {3}D 8\n/m);
    assert.match(said, /1\.000 text: SELECT 7/);
    assert.match(said, new RegExp(`^FAILED ${kind}: 1 violations$`, 'm'));
  }
});

test('a server that is not there: exit status 1, whatever the other storms came to', async () => {
  for (const args of [[], ['--server', 'mysql']]) {
    const { status, said, result } = await planted(args, { missing: 'mysql' });
    assert.equal(status, 1, said);
    assert.equal(result.missing, 1);
    assert.match(said, /^FAILED mysql is not there/m);
  }
  const other = await planted(['--server', 'postgres'], { missing: 'mysql' });
  assert.equal(other.status, 0, other.said);
});

test('a storm in which nobody was answered: exit status 1', async () => {
  const { status, said } = await planted([], { silent: 'mariadb' });
  assert.equal(status, 1);
  assert.match(said, /^FAILED mariadb: nobody was answered$/m);
});

function started(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
}

test('the process ends with that exit status', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'scheelite-nothing-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const { status, stdout, stderr } = started(['--server', 'mysql'], { SCHEELITE_CACHE: folder });
  assert.equal(status, 1, stderr);
  assert.match(stderr, /^FAILED mysql is not there/m);
  assert.equal((JSON.parse(stdout) as { missing: number }).missing, 1);
  const help = started(['--help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout, /^Usage: npm run storm/);
});

test('a wrong command line is explained, with exit status 2', () => {
  for (const [args, message] of [
    [['--server', 'oracle'], /--server oracle: one of postgres, mysql, mariadb/],
    [['--seconds', '0'], /--seconds 0: a whole number from 1/],
    [['--clients', 'many'], /--clients many: a whole number/],
    [['--nonsense'], /nonsense/],
  ] as const) {
    const { status, stderr } = started(args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
    assert.match(stderr, /Usage: npm run storm/);
  }
});
