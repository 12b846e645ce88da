// COPY TO STDOUT as a load: one psql for each client, given the next statement as soon as it says that one is done.
// pgbench cannot do it.

import { type ChildProcess, spawn } from 'node:child_process';
import type { TestCluster } from '../test/servers/cluster.js';
import { distinct, type Figures, LoadFailed } from './load.js';
import { address, environment, type Target } from './pgbench.js';
import { ROWS_TABLE } from './scenarios.js';
import { percentile } from './statistics.js';

export interface CopyRun {
  readonly clients: number;
  readonly until: { readonly seconds: number } | { readonly perClient: number };
}

/** psql writes what it copies to /dev/null, and the time of each statement to us. */
const BEGIN = '\\timing on\n\\o /dev/null\n\\echo connected\n';
const STATEMENT = `COPY ${ROWS_TABLE} TO STDOUT;\n`;
const END = '\\q\n';

class Client {
  readonly process: ChildProcess;
  readonly connected: Promise<void>;
  /** Why it ended, where it did so before it was told to; null if all went well. */
  readonly ended: Promise<string | null>;
  readonly timesMs: number[] = [];
  #onDone: () => void = () => {};

  constructor(program: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.process = child;
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    // One that has ended cannot be told more; its exit status says it.
    child.stdin.on('error', () => {});
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('close', (code, signal) => {
        const status = code === 0 ? '' : `exit status ${code ?? signal}`;
        resolve(`${errors}${status}`.trim() || null);
      });
    });
    this.connected = new Promise((resolve) => {
      let rest = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          if (line === 'connected') resolve();
          const time = /^Time: ([\d.]+) ms/.exec(line)?.[1];
          if (time === undefined) continue;
          this.timesMs.push(Number(time));
          this.#onDone();
        }
      });
    });
    child.stdin.write(BEGIN);
  }

  /** Runs statements one behind the other until it is told to stop, or ends by itself. */
  run(more: () => boolean): Promise<string | null> {
    this.#onDone = () => this.process.stdin?.write(more() ? STATEMENT : END);
    this.process.stdin?.write(STATEMENT);
    return this.ended;
  }
}

/** Throws `LoadFailed`. */
export async function runCopy(
  cluster: TestCluster,
  target: Target,
  { clients: count, until }: CopyRun,
  deadlineMs: number,
): Promise<Figures> {
  const program = cluster.binaries.psql;
  if (program === undefined) throw new Error('psql is not installed (run test/install)');
  const args = ['--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', ...address(cluster, target)];
  const clients = Array.from({ length: count }, () => new Client(program, args, environment(cluster)));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    for (const client of clients) client.process.kill('SIGKILL');
  }, deadlineMs);
  // They connect first; one that cannot has ended.
  await Promise.all(clients.map((client) => Promise.race([client.connected, client.ended])));
  const from = performance.now();
  const more = (client: Client) =>
    'seconds' in until
      ? performance.now() - from < until.seconds * 1_000
      : client.timesMs.length < until.perClient;
  const ends = await Promise.all(clients.map((client) => client.run(() => more(client))));
  const seconds = (performance.now() - from) / 1_000;
  clearTimeout(timer);
  const reasons = distinct(ends.filter((end) => end !== null));
  if (late) reasons.unshift(`not finished after ${deadlineMs} ms`);
  const times = Float64Array.from(clients.flatMap((client) => client.timesMs)).sort();
  if (reasons.length === 0 && times.length < count) reasons.push('a client has copied nothing');
  if (reasons.length > 0) throw new LoadFailed(reasons);
  return {
    qps: times.length / seconds,
    statements: times.length,
    p50Ms: percentile(times, 0.5),
    p95Ms: percentile(times, 0.95),
    p99Ms: percentile(times, 0.99),
    deadlocks: 0,
  };
}
