// Reads from /proc what processes and all that they have forked took of the processor and of memory; it starts none.

import { readdirSync, readFileSync } from 'node:fs';

/** proc(5): times are in clock ticks; the kernel shows 100 of them a second to programs (USER_HZ). */
const TICKS_PER_SECOND = 100;

interface Stat {
  readonly parent: number;
  /** Of the process, with its threads, and of its children that have ended and were waited for. */
  readonly seconds: number;
}

function statOf(pid: string): Stat | null {
  try {
    // The second field is in parentheses and may hold anything, so count from the last one: state is the first here.
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const seconds = (index: number) => Number(fields[index]) / TICKS_PER_SECOND;
    const own = fields[17] === '1' ? nanoseconds(pid) : null;
    const ended = seconds(13) + seconds(14);
    return {
      parent: Number(fields[1]),
      seconds: ended + (own === null ? seconds(11) + seconds(12) : own / 1e9),
    };
  } catch {
    return null; // It ended meanwhile.
  }
}

/**
 * Of a process with one thread, exactly: of a server that has a thousand of them, each may do less than a tick in a
 * whole run, and ticks are rounded down. Null where the kernel does not count it (sched-stats, CONFIG_SCHED_INFO).
 */
function nanoseconds(pid: string): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ', 1)[0]);
  } catch {
    return null;
  }
}

/** Processor time of this process's children that have ended; to a tick. */
export function endedChildrenSeconds(): number {
  const text = readFileSync('/proc/self/stat', 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** Processor time of the whole machine so far, in seconds: all of it, and what a hypervisor gave to others (proc(5), "steal"). */
export function machineSeconds(): { readonly all: number; readonly stolen: number } {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  // The last two, of guests, are in the first two as well.
  const ticks = line.split(/\s+/).slice(1, 9).map(Number);
  return {
    all: ticks.reduce((sum, each) => sum + each, 0) / TICKS_PER_SECOND,
    stolen: (ticks[7] ?? 0) / TICKS_PER_SECOND,
  };
}

/** All processes of the machine at one moment, as trees. */
export class ProcessTable {
  readonly #stats = new Map<number, Stat>();
  readonly #children = new Map<number, number[]>();

  constructor() {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const stat = statOf(name);
      if (stat === null) continue;
      this.#stats.set(Number(name), stat);
      const siblings = this.#children.get(stat.parent);
      if (siblings === undefined) this.#children.set(stat.parent, [Number(name)]);
      else siblings.push(Number(name));
    }
  }

  /** The processes themselves and their descendants. */
  trees(roots: readonly number[]): number[] {
    const found: number[] = [];
    const open = [...roots];
    for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
      found.push(pid);
      open.push(...(this.#children.get(pid) ?? []));
    }
    return found;
  }

  /** Processor time, user and system, since they were started. */
  cpuSeconds(roots: readonly number[]): number {
    return this.trees(roots).reduce((sum, pid) => sum + (this.#stats.get(pid)?.seconds ?? 0), 0);
  }
}

export interface Memory {
  /** Resident; pages that processes share count for each of them. */
  readonly rss: number;
  /** The same, but a page that n processes share counts for an nth in each (also those that are not of the trees). */
  readonly pss: number;
}

/** Of the trees, in bytes. */
export function memoryOf(roots: readonly number[]): Memory {
  let [rss, pss] = [0, 0];
  for (const pid of new ProcessTable().trees(roots)) {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      const bytes = (field: string) =>
        Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
      rss += bytes('Rss');
      pss += bytes('Pss');
    } catch {
      // It ended meanwhile.
    }
  }
  return { rss, pss };
}
