// How V8 is to compile WebAssembly in this process; it knows no module.

import { setFlagsFromString } from 'node:v8';

/**
 * For a module that is asked rarely: to be called before it is compiled. V8 would compile what runs often once more, by
 * its optimizing compiler, which for PostgreSQL's grammar takes 45 MiB of resident memory that are never given back (V8 13:
 * 550 for some seconds), and makes no difference that could be measured (28 microseconds a statement both ways); and it
 * would compile all of it at once, of which a third ever runs. Flags that a V8 does not know it reports and ignores.
 */
export function compileWasmLean(): void {
  // What --liftoff-only means to a V8 that starts with it. One that is told later (from 13 on) does not draw these conclusions.
  setFlagsFromString('--no-wasm-tier-up');
  setFlagsFromString('--no-wasm-dynamic-tiering');
  setFlagsFromString('--wasm-lazy-compilation');
}
