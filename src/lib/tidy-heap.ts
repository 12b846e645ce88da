// Gives memory back that a burst of clients has left as garbage, once the process has nothing to do. It knows no client.
// V8 collects when it allocates: a process that has become idle keeps a young generation as wide as the burst made it, and
// what died in the old one, for good (10,000 logins: 30 MiB).

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const LOOK_INTERVAL_MS = 1_000;
/** Of one core, over an interval: below, nobody is likely to be waiting while we collect (95 ms for 10,000 clients). */
const IDLE_SHARE = 0.25;
/** V8 narrows the young generation where little was allocated over the last five seconds. */
const QUIET_LOOKS = 6;
/** V8 narrows it by what it has seen allocated lately, and that may still be the burst. */
const MOST_COLLECTIONS = 4;
/** Narrow enough. */
const YOUNG_BYTES = 8 * 1024 * 1024;
/** Fewer leave too little to be worth it. */
const BURST = 500;

/** V8's own `gc`, with what it takes since V8 11. */
type Collector = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

let collector: Collector | null = null;

function collect(): void {
  if (collector === null) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as Collector;
  }
  // While this holds, pages that are a fifth empty are emptied into others, not only those that are mostly so.
  setFlagsFromString('--optimize-for-size');
  // The last resort alone gives back the pages that V8 (from 12 on) keeps for the next burst.
  collector({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  setFlagsFromString('--no-optimize-for-size');
}

function youngBytes(): number {
  const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
  return young?.physical_space_size ?? 0;
}

/**
 * Looks until the function that it answers is called. `arrivals`: of clients, since the start of the process; `letGo`: what the
 * caller keeps and could do without, before the heap is collected.
 */
export function tidyHeapWhenIdle(arrivals: () => number, letGo: () => void): () => void {
  // What loading and starting has left is worth it once.
  let tidiedAt = -BURST;
  let due = 0;
  let quietLooks = 0;
  let used = process.cpuUsage();
  const timer = setInterval(() => {
    const now = process.cpuUsage();
    const busyMs = (now.user + now.system - used.user - used.system) / 1000;
    used = now;
    quietLooks = busyMs > LOOK_INTERVAL_MS * IDLE_SHARE ? 0 : quietLooks + 1;
    if (quietLooks < QUIET_LOOKS) return;
    const arrived = arrivals();
    if (arrived - tidiedAt >= BURST) {
      tidiedAt = arrived;
      due = MOST_COLLECTIONS;
      letGo();
    }
    if (due === 0) return;
    due--;
    quietLooks = 0;
    collect();
    if (youngBytes() <= YOUNG_BYTES) due = 0;
    used = process.cpuUsage();
  }, LOOK_INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
