// PostgreSQL's grammar is WebAssembly that V8 would optimize in the background: for 45 to 550 MiB, by its version. In a process of
// its own, as the most that a process has ever had is counted.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';

const MOST_MIB = 200;

const program = `
  import { readFileSync } from 'node:fs';
  const { loadProtocols } = await import(${JSON.stringify(new URL('../../../src/proxy/compose.js', import.meta.url).href)});
  await loadProtocols(new Set(['postgres']));
  const { parse } = await import(${JSON.stringify(new URL('../../../src/sql/postgres/parser.js', import.meta.url).href)});
  const end = performance.now() + 4000;
  let parsed = 0;
  while (performance.now() < end) {
    for (let i = 0; i < 200; i++)
      if (parse('SELECT a.*, count(*) FROM t a JOIN u b ON a.id = b.id WHERE a.n IN (1, 2, ' + parsed++ + ') GROUP BY 1', 1) === null)
        throw new Error('not parsed');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const peak = /VmHWM:\\s+(\\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  console.log(JSON.stringify({ parsed, peakMib: peak / 1024 }));
`;

const skip = existsSync('/proc/self/status') ? false : 'no /proc to read the peak from';

test('parsing takes no memory for a second compilation', { skip }, () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  assert.notEqual(stdout, '', stderr);
  const { parsed, peakMib } = JSON.parse(stdout) as { parsed: number; peakMib: number };
  assert.ok(parsed >= 200, `${parsed} texts`);
  assert.ok(peakMib < MOST_MIB, `${peakMib} MiB at the most`);
});
