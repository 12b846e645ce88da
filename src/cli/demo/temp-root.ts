// Owns one temporary folder and the server processes that live in it, and sees that neither outlives this process.
// It does not know what the servers are.

import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { descendants, isRunning, signalOne, signalTree } from './process-tree.js';

/** How long the last clean-up waits for servers that were asked to go before it kills them. */
const farewellMs = 3_000;

/** Where another user can get to: every folder on the way must let others pass. */
function reachableByAll(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Where temporary folders go that servers under another uid can reach. */
export function temporaryBase(): string {
  const preferred = tmpdir();
  if (process.getuid?.() !== 0 || reachableByAll(preferred)) return preferred;
  return '/tmp'; // root's own TMPDIR may be closed to the user that the servers run as
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

export class TempRoot {
  readonly path: string;
  /** Process id to the signal that makes that server leave at once and clean up after itself. */
  readonly #processes = new Map<number, NodeJS.Signals>();
  readonly #onExit = () => this.#removeNow();
  #open = true;

  /** Makes `<base>/<label>-<process id>-XXXXXX`, after sweeping those whose process was killed. */
  constructor(label: string, base = temporaryBase()) {
    sweep(label, base);
    this.path = mkdtempSync(join(base, `${label}-${process.pid}-`));
    // Servers under another uid must pass through; they own the folders below.
    chmodSync(this.path, 0o755);
    process.on('exit', this.#onExit);
    handleSignals();
  }

  folder(name: string): string {
    return join(this.path, name);
  }

  adopt(pid: number, farewell: NodeJS.Signals): void {
    this.#processes.set(pid, farewell);
  }

  /** The process is known to have ended. */
  forget(pid: number): void {
    this.#processes.delete(pid);
  }

  get processIds(): number[] {
    return [...this.#processes.keys()];
  }

  /** Ends what still runs and removes the folder. */
  remove(): void {
    process.off('exit', this.#onExit);
    this.#removeNow();
  }

  /** Runs in an `exit` handler as well, so nothing in here may be asynchronous. */
  #removeNow(): void {
    if (!this.#open) return;
    this.#open = false;
    const all: number[] = [];
    for (const [pid, farewell] of this.#processes) {
      all.push(pid, ...descendants(pid));
      signalOne(pid, farewell);
      signalTree(pid, 'SIGCONT');
    }
    const deadline = performance.now() + farewellMs;
    while (all.some(isRunning) && performance.now() < deadline) Atomics.wait(sleeper, 0, 0, 10);
    for (const pid of all) if (isRunning(pid)) signalTree(pid, 'SIGKILL');
    this.#processes.clear();
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}

let signalsHandled = false;

/** A signal's default action ends the process without `exit` handlers; go through them. */
function handleSignals(): void {
  if (signalsHandled) return;
  signalsHandled = true;
  for (const [signal, number] of [
    ['SIGHUP', 1],
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.on(signal, () => {
      // Whoever else listens has a way of its own to end, and will get to `exit`.
      if (process.listenerCount(signal) === 1) process.exit(128 + number);
    });
  }
}

/** Ends and removes what processes that were killed left behind: nothing else can have cleaned up for them. */
export function sweep(label: string, base: string): void {
  for (const name of readdirSync(base)) {
    const owner = new RegExp(`^${label}-(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isRunning(Number(owner))) continue;
    const path = join(base, name);
    try {
      if (statSync(path).uid !== process.getuid?.()) continue;
      for (const pid of processesIn(path)) signalTree(pid, 'SIGKILL');
      rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    } catch {
      // Another process may be sweeping the same folder.
    }
  }
}

/** Processes whose command line names the folder: every server is given its files by absolute path. */
function processesIn(folder: string): number[] {
  const found: number[] = [];
  let names: string[] = [];
  try {
    names = readdirSync('/proc');
  } catch {
    return found;
  }
  for (const name of names) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`${folder}/`)) found.push(Number(name));
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}
