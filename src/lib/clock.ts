// The monotonic clock, injectable so that what decides by time can be tested without waiting.

/** Milliseconds, with a fraction, that never go back; their zero means nothing. */
export interface Clock {
  nowMs(): number;
}

export const monotonicClock: Clock = {
  nowMs: () => performance.now(),
};
