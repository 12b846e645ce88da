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
export const MACHINE_OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();
