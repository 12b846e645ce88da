// Raises the limit of open files of this process, and so of all that it starts afterwards.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Soft limit of open files, as proc(5) shows it. */
export function fileLimit(): number {
  const line = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return line?.[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line?.[1] ?? 0);
}

/** Throws where the system does not allow as many. */
export function raiseFileLimit(wanted: number): void {
  if (fileLimit() >= wanted) return;
  const { stderr } = spawnSync('prlimit', [`--pid=${process.pid}`, `--nofile=${wanted}:${wanted}`], {
    encoding: 'utf8',
  });
  if (fileLimit() >= wanted) return;
  throw new Error(
    `this many clients need ${wanted} open files and the limit is ${fileLimit()}: run as root, or "ulimit -n ${wanted}" first (${stderr?.trim() ?? 'no prlimit'})`,
  );
}
