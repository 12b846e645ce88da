// What of the machine's processors a quota leaves, from files like the kernel's.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { processors } from '../../src/lib/processors.js';

const folder = mkdtempSync(join(tmpdir(), 'scheelite-processors-'));
after(() => rmSync(folder, { recursive: true }));

let count = 0;
/** Files as the kernel has them: the process's groups, and the limits of groups by their paths. */
function system(ownCgroups: string, limits: Record<string, string>): [mount: string, ownCgroups: string] {
  const mount = join(folder, String(count++));
  for (const [group, limit] of Object.entries(limits)) {
    mkdirSync(join(mount, group), { recursive: true });
    writeFileSync(join(mount, group, 'cpu.max'), `${limit}\n`);
  }
  mkdirSync(mount, { recursive: true });
  const own = join(mount, 'own');
  writeFileSync(own, ownCgroups);
  return [mount, own];
}

describe('the processors that a process may use', () => {
  it('are those of the machine where nothing limits them', () => {
    assert.equal(processors(join(folder, 'nothing'), join(folder, 'nothing')), availableParallelism());
    assert.equal(processors(...system('0::/\n', { '/': 'max 100000' })), availableParallelism());
  });

  it('are those of the quota, whole and at least one', () => {
    assert.equal(processors(...system('0::/\n', { '/': '150000 100000' })), 1);
    assert.equal(processors(...system('0::/\n', { '/': '20000 100000' })), 1);
    const many = availableParallelism() + 5;
    assert.equal(processors(...system('0::/\n', { '/': `${many * 1000} 1000` })), availableParallelism());
  });

  it('are those of the tightest group around it', () => {
    const groups = '4:memory:/elsewhere\n0::/system.slice/scheelite.service\n';
    const service = '/system.slice/scheelite.service';
    assert.equal(processors(...system(groups, { [service]: '100000 100000', '/': 'max 100000' })), 1);
    assert.equal(processors(...system(groups, { '/system.slice': '100000 100000' })), 1);
  });

  it('are known although the group is not mounted where it says, or says nonsense', () => {
    assert.equal(processors(...system('0::/../other\n', { '/': '100000 100000' })), 1);
    assert.equal(processors(...system('nonsense', { '/': 'nonsense' })), availableParallelism());
  });
});
