// Runs client programs (psql, pgbench, mysql, sysbench ...) against the proxy and keeps all that they print.

import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly cwd?: string;
}

export interface Program {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly printed: { stdout: string; stderr: string };
}

export function start(
  t: TestContext,
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Program {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  // A program that has ended does not read.
  child.stdin.on('error', () => {});
  if (options.stdin !== undefined) child.stdin.end(options.stdin);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...printed }));
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await ended.catch(() => {});
  });
  return { process: child, ended, printed };
}

/** Runs a program to its end. */
export function run(
  t: TestContext,
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  return start(t, program, args, { stdin: '', ...options }).ended;
}

/** The same, and it must succeed; answers what it printed. */
export async function succeed(
  t: TestContext,
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(t, program, args, options);
  if (code !== 0) throw new Error(`${program} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}
