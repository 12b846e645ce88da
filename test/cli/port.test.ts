// Free ports for servers of several processes at the same time.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { freePort } from '../../src/cli/demo/port.js';

const PORT = new URL('../../src/cli/demo/port.js', import.meta.url).href;

test('what one process has been given is for no other one, though nobody listens there', async (t) => {
  const random = Math.random;
  t.after(() => {
    Math.random = random;
  });
  // The same numbers in both.
  const numbers = Array.from({ length: 50 }, () => Math.random());
  const drawn = [...numbers];
  Math.random = () => drawn.shift() ?? random();
  const ours = new Set<number>();
  for (let i = 0; i < 20; i++) ours.add(await freePort());
  const script = `
    const numbers = ${JSON.stringify(numbers)};
    const random = Math.random;
    Math.random = () => numbers.shift() ?? random();
    const { freePort } = await import(${JSON.stringify(PORT)});
    const ports = [];
    for (let i = 0; i < 20; i++) ports.push(await freePort());
    console.log(JSON.stringify(ports));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const theirs = JSON.parse(output) as number[];
  assert.equal(ours.size, 20);
  assert.equal(new Set(theirs).size, 20);
  assert.deepEqual(
    theirs.filter((port) => ours.has(port)),
    [],
  );
});
