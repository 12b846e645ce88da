// The monotonic clock of the process, in milliseconds; parts that must be tested with another one take a `Clock`.

export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. */
  now(): number;
}

export function monotonicMs(): number {
  return performance.now();
}

export const systemClock: Clock = { now: monotonicMs };
