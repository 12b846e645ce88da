// pgbench as a load tool: its arguments and what its output means.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestCluster } from '../test/servers/cluster.js';
import { newFolder } from '../test/servers/root.js';
import { distinct, type Figures, LoadFailed, type LoadTool, type Output } from './load.js';
import { type Mode, type PgbenchScenario, ROWS_TABLE } from './scenarios.js';
import { percentile } from './statistics.js';

/** A thread for each core of the reference machine. */
const THREADS = 2;

export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface PgbenchRun {
  readonly scenario: Pick<PgbenchScenario, 'script' | 'statementsPerTransaction'>;
  readonly mode: Mode;
  readonly clients: number;
  readonly until: { readonly seconds: number } | { readonly transactionsPerClient: number };
}

/** An alarm that never comes by itself. */
export const NEVER_SECONDS = 1_000_000;

const LOG_PREFIX = 'transactions';

export function pgbenchProgram(cluster: TestCluster): string {
  const program = cluster.binaries.pgbench;
  if (program === undefined) throw new Error('pgbench is not installed (run test/install)');
  return program;
}

export function pgbench(cluster: TestCluster, target: Target, run: PgbenchRun): LoadTool {
  const folder = newFolder('log');
  mkdirSync(folder);
  const { scenario, clients, until } = run;
  const script =
    scenario.script === 'rows'
      ? ['--file', scriptFile(folder, `SELECT * FROM ${ROWS_TABLE};\n`)]
      : ['--builtin', scenario.script];
  return {
    program: pgbenchProgram(cluster),
    args: [
      ...['--no-vacuum', ...script, '--protocol', run.mode],
      ...['--client', String(clients), '--jobs', String(Math.min(THREADS, clients))],
      ...('seconds' in until
        ? ['--time', String(NEVER_SECONDS)]
        : ['--transactions', String(until.transactionsPerClient)]),
      ...['--progress', '1', '--log', '--log-prefix', join(folder, LOG_PREFIX)],
      ...address(cluster, target),
    ],
    env: environment(cluster),
    // The alarm of --time is set before the clients connect, and a thousand of them may take longer to connect than
    // the whole run: so we send the alarm.
    ...('seconds' in until ? { end: { afterSeconds: until.seconds, signal: 'SIGALRM' } } : {}),
    progress(line) {
      const match = /^progress: ([\d.]+) s, ([\d.]+) tps/.exec(line);
      if (match === null) return null;
      return { seconds: Number(match[1]), qps: Number(match[2]) * scenario.statementsPerTransaction };
    },
    figures(output) {
      try {
        const times = latencies(folder);
        return figures(output, times, scenario.statementsPerTransaction);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

export function address(cluster: TestCluster, target: Target): string[] {
  const { user, database } = cluster.user;
  return ['--host', target.host, '--port', String(target.port), '--username', user, database];
}

/** Neither side encrypts, whoever the subject is. */
export function environment(cluster: TestCluster): Record<string, string> {
  return { PGPASSWORD: cluster.user.password, PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' };
}

function scriptFile(folder: string, text: string): string {
  const file = join(folder, 'script.sql');
  writeFileSync(file, text);
  return file;
}

/** Of all transactions, in milliseconds, ascending. Each thread has a file: `client number microseconds script ...`. */
function latencies(folder: string): Float64Array {
  const times: number[] = [];
  for (const name of readdirSync(folder).filter((each) => each.startsWith(LOG_PREFIX))) {
    for (const line of readFileSync(join(folder, name), 'utf8').split('\n')) {
      const microseconds = Number(line.split(' ', 3)[2] ?? Number.NaN);
      if (!Number.isNaN(microseconds)) times.push(microseconds / 1_000);
    }
  }
  return Float64Array.from(times).sort();
}

export function figures(output: Output, sortedMs: Float64Array, statementsPerTransaction: number): Figures {
  const reasons = distinct(
    output.stderr.split('\n').filter((line) => /\b(error|fatal|panic|aborted)\b/i.test(line)),
  );
  const failed = Number(/^number of failed transactions: (\d+)/m.exec(output.stdout)?.[1] ?? 0);
  if (failed > 0) reasons.push(`${failed} failed transactions`);
  const tps = Number(/^tps = ([\d.]+) \(without initial connection time\)/m.exec(output.stdout)?.[1] ?? 0);
  if (reasons.length === 0 && (tps === 0 || sortedMs.length === 0)) reasons.push('no transaction was run');
  if (reasons.length > 0) throw new LoadFailed(reasons);
  const transactions = Number(
    /^number of transactions actually processed: (\d+)/m.exec(output.stdout)?.[1] ?? 0,
  );
  return {
    qps: tps * statementsPerTransaction,
    statements: transactions * statementsPerTransaction,
    p50Ms: percentile(sortedMs, 0.5),
    p95Ms: percentile(sortedMs, 0.95),
    p99Ms: percentile(sortedMs, 0.99),
    // It does not run them again: a deadlock is a failed transaction.
    deadlocks: 0,
  };
}
