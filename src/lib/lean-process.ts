// What V8 and Node are told so that a process that serves stays small; it knows no module.

import { setFlagsFromString } from 'node:v8';

/** What is smaller than half of it is cut from a pool. */
const POOL_BYTES = 16_384;

/** To be called before much has run. */
export function stayLean(): void {
  freeCompilationsAtOnce();
  useSmallPools();
  getGlobalsOnce();
}

/**
 * Maglev (V8 12 and later) leaves it to a thread with nothing better to do to free what a compilation took. When clients come in
 * a burst, hundreds of functions are compiled at once and that thread does not keep up: the heap of C++ grows by 5 to 30 MiB
 * within 50 ms, and is given back to nobody.
 */
function freeCompilationsAtOnce(): void {
  // A V8 that does not know a flag reports it.
  if (Number.parseInt(process.versions.v8, 10) >= 12) setFlagsFromString('--no-maglev-destroy-on-background');
}

/**
 * A few bytes that are kept keep all of the pool that they were cut from, and Node 24 has pools of 64 KiB (8 before). What
 * lib/batched-writer.ts copies together still fits into these.
 */
function useSmallPools(): void {
  Buffer.poolSize = Math.min(Buffer.poolSize, POOL_BYTES);
}

/** Node has getters for these, which compiled code calls each time: for the clock that takes as long as the clock. */
function getGlobalsOnce(): void {
  for (const name of ['Buffer', 'performance'] as const) {
    const value = globalThis[name];
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
}
