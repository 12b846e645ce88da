// Runs the command line as its users do: in a process of its own, with its exit code and all that it prints.

import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../servers/poll.js';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Spawned {
  readonly process: ChildProcess;
  readonly printed: { stdout: string; stderr: string };
  readonly ended: Promise<Ended>;
}

export function start(args: readonly string[], options: RunOptions): Spawned {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...printed }));
  });
  return { process: child, printed, ended };
}

/** Runs a command to its end. */
export function scheelite(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return start(args, options).ended;
}

export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export interface Server {
  readonly pid: number;
  readonly listeners: readonly { name: string; host: string; port: number }[];
  /** `http://...` of the admin server. */
  readonly admin: string;
  readonly ended: Promise<Ended>;
  log(): LogLine[];
  stderr(): string;
  signal(signal: NodeJS.Signals): void;
  /** Resolves with the first line of that message that is there, or comes. */
  logged(message: string): Promise<LogLine>;
}

/** `scheelite serve`, once it is ready; ended with the test. */
export async function startServer(t: TestContext, config: string, options: RunOptions = {}): Promise<Server> {
  const { process: child, printed, ended } = start(['serve', '--config', config], options);
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const log = () =>
    printed.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  const find = (message: string) => log().find((line) => line.msg === message);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const logged = async (message: string) => {
    await until(`"${message}" is logged`, () => find(message) !== undefined || hasEnded());
    const line = find(message);
    if (line === undefined) throw new Error(`ended before "${message}": ${printed.stdout}${printed.stderr}`);
    return line;
  };
  const ready = await logged('ready');
  return {
    pid: child.pid!,
    listeners: ready.listeners as Server['listeners'],
    admin: `http://${ready.admin}`,
    ended,
    log,
    logged,
    stderr: () => printed.stderr,
    signal: (signal) => child.kill(signal),
  };
}
