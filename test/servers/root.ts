// Owns the temporary folder of this test process; everything that the harness starts lives and ends with it.

import { existsSync, readdirSync, statfsSync } from 'node:fs';
import { sweep, TempRoot, temporaryBase } from '../../src/cli/demo/temp-root.js';

const label = 'scheelite-test';

/** Below the root; data directories that cannot be cached are kept in here until the process ends. */
export const templatesName = 'templates';

/**
 * A data directory is a thousand small files; in memory a copy takes a tenth of the time and a busy disk does not
 * matter. Where memory is scarce (a container's /dev/shm has 64 MB) it is the ordinary temporary folder.
 */
function base(): string {
  const named = process.env.SCHEELITE_TEST_FOLDER;
  if (named) return named;
  try {
    const memory = statfsSync('/dev/shm');
    if (memory.bavail * memory.bsize >= 6 * 1024 ** 3) return '/dev/shm';
  } catch {
    // No such file system here.
  }
  return temporaryBase();
}

let root: TempRoot | undefined;
let folders = 0;

/** Made at first use: a test that starts nothing leaves nothing. */
export function testRoot(): TempRoot {
  root ??= new TempRoot(label, base());
  return root;
}

/** A new name below the root; short, because paths of unix sockets may have 107 bytes only. */
export function newFolder(prefix: string): string {
  folders++;
  return testRoot().folder(`${prefix}${folders}`);
}

/** What runs and lies about now; both empty after everything was stopped. */
export function leftovers(): { processes: number[]; files: string[] } {
  if (root === undefined || !existsSync(root.path)) return { processes: [], files: [] };
  return {
    processes: root.processIds,
    files: readdirSync(root.path).filter((name) => name !== templatesName),
  };
}

/** Removes what killed test processes left; done by itself before the first server is started. */
export function sweepDead(): void {
  sweep(label, base());
}
