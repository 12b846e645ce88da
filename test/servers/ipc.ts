// Frees what a killed PostgreSQL leaves in the kernel; it looks at nothing but the file that names it.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A server that was shut down removes postmaster.pid and its System V segment. A killed one leaves both; the
 * seventh line of the file holds the segment's key and id.
 */
export function removeDead(dataDir: string): void {
  let lines: string[];
  try {
    lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return;
  }
  const id = Number(lines[6]?.trim().split(/\s+/)[1]);
  if (id > 0) spawnSync('ipcrm', ['-m', String(id)], { stdio: 'ignore' });
}
