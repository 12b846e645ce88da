// How V8's compilers are to treat memory in a process that serves; it knows no module.

import { setFlagsFromString } from 'node:v8';

/**
 * Maglev (V8 12 and later) leaves it to a thread with nothing better to do to free what a compilation took. When clients come in
 * a burst, hundreds of functions are compiled at once and that thread does not keep up: the heap of C++ grows by 5 to 30 MiB
 * within 50 ms, and is given back to nobody. To be called before much has run.
 */
export function freeCompilationsAtOnce(): void {
  // A V8 that does not know a flag reports it.
  if (Number.parseInt(process.versions.v8, 10) >= 12) setFlagsFromString('--no-maglev-destroy-on-background');
}
