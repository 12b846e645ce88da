// Owns one server process: starts it, waits until it serves, signals it, keeps the end of its log.
// It does not know what the server speaks; whoever makes one says how to see that it is ready.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalOne, signalTree } from './process-tree.js';
import type { RunAs } from './run-as.js';
import type { TempRoot } from './temp-root.js';

export interface ServerProcessOptions {
  readonly name: string;
  /** Program and arguments; asked for at every start. */
  readonly command: () => readonly string[];
  readonly as: RunAs;
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly root: TempRoot;
  /** Orderly end, waiting for nobody. */
  readonly stopSignal: NodeJS.Signals;
  /** Immediate end at which the server still frees what the system would keep (shared memory). */
  readonly farewell: NodeJS.Signals;
  /** Called every few milliseconds until it says true or the process ends. */
  readonly ready: (pid: number, log: () => string) => Promise<boolean> | boolean;
  /** A failed start that is worth another try, seen in the log. */
  readonly retryStart?: (log: string) => boolean;
}

/** Generous: a shared machine may be slow, and a process that dies is noticed at once. */
const startDeadlineMs = 90_000;
const stopDeadlineMs = 60_000;

let deathSignal: boolean | undefined;

/**
 * Where util-linux's setpriv is there, the kernel itself signals the server when this process dies, even by SIGKILL
 * (prctl(2), PR_SET_PDEATHSIG). It then executes the server, so the process id stays the same.
 */
function launcher(farewell: NodeJS.Signals): string[] {
  deathSignal ??=
    process.platform === 'linux' && spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;
  return deathSignal ? ['setpriv', '--pdeathsig', farewell.slice('SIG'.length), '--'] : [];
}

export class ServerProcess {
  readonly #options: ServerProcessOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  /** Where in the log file the present run begins, in bytes. */
  #logStart = 0;

  constructor(options: ServerProcessOptions) {
    this.#options = options;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.#options.name} runs already`);
    const deadline = performance.now() + startDeadlineMs;
    for (;;) {
      const pid = this.#spawn();
      while (this.#child !== undefined && performance.now() < deadline) {
        if (await this.#options.ready(pid, () => this.#log())) return;
        await sleep(10);
      }
      const log = this.logTail();
      const timedOut = this.#child !== undefined;
      await this.kill();
      if (timedOut)
        throw new Error(`${this.#options.name} is not ready after ${startDeadlineMs} ms:\n${log}`);
      if (this.#options.retryStart?.(log) !== true || performance.now() > deadline) {
        throw new Error(`${this.#options.name} ended while it started:\n${log}`);
      }
      await sleep(100);
    }
  }

  #spawn(): number {
    const { command, as, cwd, env, logFile, root, farewell, name } = this.#options;
    const [program, ...args] = [...launcher(farewell), ...command()];
    if (program === undefined) throw new Error(`${name} has no command`);
    const log = openSync(logFile, 'a');
    this.#logStart = fstatSync(log).size;
    // A group of its own: Ctrl-C in a terminal is for us, and we tell the servers.
    const child = spawn(program, args, {
      ...as,
      cwd,
      env: env ?? process.env,
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const pid = child.pid;
    this.#ended = new Promise((resolve) => {
      const done = () => {
        if (pid !== undefined) root.forget(pid);
        this.#child = undefined;
        resolve();
      };
      child.once('exit', done);
      child.once('error', done);
    });
    if (pid === undefined) throw new Error(`${name} cannot be started: ${program}`);
    root.adopt(pid, farewell);
    // A server must not keep a test or the demo from ending.
    child.unref();
    this.#child = child;
    return pid;
  }

  /** To the server's main process only. */
  signal(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) signalOne(this.pid, signal);
  }

  /** The main process and all that it has forked, as if the machine froze. */
  freeze(): void {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGSTOP');
  }

  thaw(): void {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGCONT');
  }

  /** As if the machine died; returns when the process has been reaped. */
  async kill(): Promise<void> {
    if (this.pid !== undefined) signalTree(this.pid, 'SIGKILL');
    await this.ended();
  }

  /** Asks it to end, thaws it if it is frozen, and kills it if it does not end in time. */
  async stop(): Promise<void> {
    if (this.pid === undefined) return;
    this.signal(this.#options.stopSignal);
    this.thaw();
    const patience = new AbortController();
    const late = await Promise.race([
      this.ended().then(() => false),
      sleep(stopDeadlineMs, true, { signal: patience.signal }).catch(() => false),
    ]);
    patience.abort();
    if (late) await this.kill();
  }

  /** Settles when the process has ended; keeps the event loop alive until then. */
  async ended(): Promise<void> {
    this.#child?.ref();
    await this.#ended;
  }

  /** The last lines of what the server wrote since it was started. */
  logTail(lines = 30): string {
    return this.#log().trimEnd().split('\n').slice(-lines).join('\n');
  }

  #log(): string {
    try {
      return readFileSync(this.#options.logFile).subarray(this.#logStart).toString('utf8');
    } catch {
      return '';
    }
  }
}
