// How many processors this process may keep busy: Node's availableParallelism() knows the affinity, but in the versions that we
// support not the quota of a container (https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max).

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

/** At least 1, whole: of a quota of 1.5 processors 1 can be kept busy. */
export function processors(mount = '/sys/fs/cgroup', ownCgroups = '/proc/self/cgroup'): number {
  return Math.max(1, Math.floor(Math.min(availableParallelism(), quota(mount, ownCgroups))));
}

/** Of this process's group and all around it; Infinity where there is none, or no such system. */
function quota(mount: string, ownCgroups: string): number {
  const own = /^0::(\/.*)$/m.exec(contents(ownCgroups))?.[1] ?? '/';
  let least = Infinity;
  // In a container the folder of its own group may be mounted as the root: then only that is there.
  for (let group = own; ; group = dirname(group)) {
    const [most, period] = contents(join(mount, group, 'cpu.max'))
      .trim()
      .split(' ')
      .map(Number);
    if (most! > 0 && period! > 0) least = Math.min(least, most! / period!);
    if (group === '/') return least;
  }
}

function contents(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
