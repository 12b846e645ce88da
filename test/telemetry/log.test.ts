// What the log looks like, and what never gets into it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { openLog } from '../../src/telemetry/log.js';

function captured(format: 'json' | 'pretty' = 'json') {
  const lines: string[] = [];
  const { log, setLevel } = openLog({ level: 'info', format }, (text) => lines.push(text));
  return { log, setLevel, lines };
}

test('a line is one JSON object with a level by name and an ISO time', () => {
  const { log, lines } = captured();
  log.info({ node: 'a' }, 'is up');
  log.debug('not written');
  assert.equal(lines.length, 1);
  const line = JSON.parse(lines[0]!);
  assert.equal(line.level, 'info');
  assert.equal(line.msg, 'is up');
  assert.equal(line.node, 'a');
  assert.match(line.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

test('secrets are redacted down to two levels', () => {
  const { log, lines } = captured();
  log.info({
    password: 'hunter2',
    monitor: { user: 'root', password: 'hunter2' },
    options: { admin: { token: 'hunter2' } },
    users: [{ name: 'app', verifier: 'hunter2' }],
    credential: { kind: 'scram-keys', clientKey: Buffer.from('hunter2') },
  });
  log.child({ token: 'hunter2' }).warn('child');
  const text = lines.join('');
  assert.doesNotMatch(text, /hunter2|104,117/);
  assert.match(text, /\[redacted\]/);
  assert.match(text, /"user":"root"/);
});

test('the level changes while it runs, also that of derived logs', () => {
  const { log, setLevel, lines } = captured();
  const child = log.child({ cluster: 'main' });
  const grandchild = child.child({ node: 'a' });
  setLevel('debug');
  for (const each of [log, child, grandchild]) each.debug('now it is');
  assert.equal(lines.length, 3);
  setLevel('error');
  for (const each of [log, child, grandchild]) each.warn('now it is not');
  assert.equal(lines.length, 3);
});

test('pretty lines are for people, and keep the stack of an error', () => {
  const { log, lines } = captured('pretty');
  log.warn({ node: 'a', detail: 'two words', count: 3 }, 'is slow');
  assert.match(lines[0]!, /^[\d:.]{12} WARN {2}is slow node=a detail="two words" count=3\n$/);
  log.error({ err: new Error('broken') }, 'failed');
  assert.match(lines[1]!, /ERROR failed\nError: broken\n +at /);
});

test('flush hands over everything before the process ends', () => {
  const program = `
    import { openLog } from ${JSON.stringify(new URL('../../src/telemetry/log.js', import.meta.url).href)};
    const { log, flush } = openLog({ level: 'info', format: process.argv[1] });
    for (let i = 0; i < 20000; i++) log.info({ i }, 'line');
    await flush();
    process.exit(0);`;
  for (const format of ['json', 'pretty']) {
    const text = execFileSync(process.execPath, ['--input-type=module', '-e', program, format], {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    assert.equal(text.trimEnd().split('\n').length, 20_000, format);
  }
});
