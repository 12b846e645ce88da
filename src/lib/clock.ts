// The monotonic clock of the process, in milliseconds; parts that must be tested with another one take a `Clock`.

export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. */
  now(): number;
}

export function monotonicMs(): number {
  return performance.now();
}

export const systemClock: Clock = { now: monotonicMs };

/**
 * What to add to this process's time to get the machine's: CLOCK_MONOTONIC, which all processes of a machine share, while
 * `performance.now()` starts at 0 in each.
 */
export const MACHINE_OFFSET_MS = machineOffset();

/** By how much two processes may differ about the machine's time: what must be later is taken to be that much later. */
export const MACHINE_MARGIN_MS = 0.1;

/** The tightest of many looks: code that has not run before takes half a millisecond between the two clocks. */
function machineOffset(): number {
  let tightest = Number.POSITIVE_INFINITY;
  let offset = 0;
  for (let i = 0; i < 1000; i++) {
    const before = performance.now();
    const machine = Number(process.hrtime.bigint()) / 1e6;
    const after = performance.now();
    if (after - before >= tightest) continue;
    tightest = after - before;
    offset = machine - (before + after) / 2;
  }
  return offset;
}
