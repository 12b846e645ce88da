// npm run consistency as its users start it: a history is judged again from its file, and wrong words are explained.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Entry, writeHistory } from './history.js';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));

function consistency(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, stderr, last: stdout.trimEnd().split('\n').at(-1) ?? '' };
}

test('a file is judged: exit status, story and counts', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'scheelite-history-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'history.jsonl');
  const head = { history: 1, level: 'session', about: { seed: 42 } } as const;
  const good: Entry[] = [
    { s: 'a', at: [0, 1], do: [['w', 'r1', 'x']] },
    { s: 'a', at: [2, 3], do: [['r', 'r1', 1, 'x']] },
  ];
  await writeHistory(file, { head, entries: good });
  const passed = consistency('--check', file);
  assert.equal(passed.status, 0, passed.stderr);
  assert.equal((JSON.parse(passed.last) as { total: number }).total, 0);

  await writeHistory(file, { head, entries: [...good, { s: 'a', at: [4, 5], do: [['r', 'r1', 0, null]] }] });
  const { status, stderr, last } = consistency('--check', file);
  assert.equal(status, 1, stderr);
  assert.match(stderr, /^read-your-writes: operation 2 read depth 0 of r1/m);
  const result = JSON.parse(last) as { violations: Record<string, number>; seed: number; operations: number };
  assert.equal(result.violations['read-your-writes'], 1);
  assert.equal(result.operations, 3);
  assert.equal(result.seed, 42);
});

test('a wrong command line is explained, with exit status 2', () => {
  for (const [args, message] of [
    [[], /--server : one of postgres, mysql, mariadb/],
    [['--server', 'oracle'], /--server oracle: one of/],
    [['--server', 'mysql', '--level', 'weak'], /--level weak: one of session, strong, eventual/],
    [['--server', 'mysql', '--operations', 'many'], /--operations many: a whole number/],
    [['--server', 'mysql', '--nonsense'], /nonsense/],
  ] as const) {
    const { status, stderr } = consistency(...args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
    assert.match(stderr, /Usage: npm run consistency/);
  }
});
