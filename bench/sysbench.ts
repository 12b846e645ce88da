// sysbench as a load tool: its arguments and what its output means.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestCluster } from '../test/servers/cluster.js';
import { newFolder } from '../test/servers/root.js';
import { distinct, type Figures, LoadFailed, type LoadTool, type Output } from './load.js';
import { type Mode, ROWS_TABLE, type SysbenchScenario } from './scenarios.js';
import { histogramPercentile } from './statistics.js';

const TABLES = 4;
const ROWS_PER_SCALE = 20_000;

export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface SysbenchRun {
  readonly mode: Mode;
  readonly clients: number;
  /** Connecting does not count. */
  readonly until: { readonly seconds: number } | { readonly transactions: number };
}

export function sysbenchProgram(cluster: TestCluster): string {
  const program = cluster.binaries.sysbench;
  if (program === undefined) throw new Error('sysbench is not installed (run test/install)');
  return program;
}

export function sysbenchAddress(cluster: TestCluster, target: Target): string[] {
  const { user, password, database } = cluster.user;
  return [
    ...['--db-driver=mysql', `--mysql-host=${target.host}`, `--mysql-port=${target.port}`],
    ...[`--mysql-user=${user}`, `--mysql-password=${password}`, `--mysql-db=${database}`],
  ];
}

/** The tables of sysbench's own scripts. */
function tables(scale: number): string[] {
  return [`--tables=${TABLES}`, `--table-size=${scale * ROWS_PER_SCALE}`];
}

/** With --db-ps-mode=disable the driver sends prepared statements as text. */
const ROWS_SCRIPT = `function thread_init()
  connection = sysbench.sql.driver():connect()
  statement = connection:prepare("SELECT * FROM ${ROWS_TABLE}")
end
function event()
  statement:execute():free()
end
function thread_done()
  statement:close()
  connection:disconnect()
end
`;

/** Arguments that make the tables. */
export function sysbenchPrepare(cluster: TestCluster, script: string, scale: number): string[] {
  return [script, ...sysbenchAddress(cluster, cluster.primary), ...tables(scale), 'prepare'];
}

export function sysbench(
  cluster: TestCluster,
  scenario: Pick<SysbenchScenario, 'script'>,
  target: Target,
  scale: number,
  run: SysbenchRun,
): LoadTool {
  const { until } = run;
  const folder = newFolder('lua');
  mkdirSync(folder);
  const own = join(folder, 'rows.lua');
  writeFileSync(own, ROWS_SCRIPT);
  return {
    program: sysbenchProgram(cluster),
    args: [
      ...(scenario.script === 'rows' ? [own] : [scenario.script, ...tables(scale)]),
      ...sysbenchAddress(cluster, target),
      ...['--report-interval=1', '--histogram=on', `--threads=${run.clients}`],
      `--db-ps-mode=${run.mode === 'prepared' ? 'auto' : 'disable'}`,
      ...('seconds' in until
        ? [`--time=${until.seconds}`, '--events=0']
        : ['--time=0', `--events=${until.transactions}`]),
      'run',
    ],
    env: {},
    progress(line) {
      const match = /^\[ (\d+)s \] .*? qps: ([\d.]+)/.exec(line);
      return match === null ? null : { seconds: Number(match[1]), qps: Number(match[2]) };
    },
    figures(output) {
      rmSync(folder, { recursive: true, force: true });
      return figures(output);
    },
  };
}

/** The buckets are a fiftieth wide, so percentiles are exact to two percent. */
function histogram(stdout: string): [number, number][] {
  return [...stdout.matchAll(/^\s*([\d.]+) \|\**\s+(\d+)$/gm)].map((match) => [
    Number(match[1]),
    Number(match[2]),
  ]);
}

export function figures({ stdout, stderr }: Output): Figures {
  const reasons = distinct(
    `${stdout}\n${stderr}`
      .split('\n')
      .filter((line) => /^(FATAL|ALERT|PANIC|ERROR)\b|\(last message/.test(line)),
  );
  const count = (what: string) =>
    new RegExp(`^\\s+${what}:\\s+(\\d+)\\s+\\(([\\d.]+) per sec`, 'm').exec(stdout);
  const reconnects = Number(count('reconnects')?.[1] ?? 0);
  if (reconnects > 0) reasons.push(`${reconnects} reconnects`);
  const statements = Number(count('queries')?.[1] ?? 0);
  // Its own rate has two decimals only, too few for statements that take seconds.
  const seconds = Number(/^\s+total time:\s+([\d.]+)s/m.exec(stdout)?.[1] ?? 0);
  const qps = seconds === 0 ? 0 : statements / seconds;
  const buckets = histogram(stdout);
  if (reasons.length === 0 && (qps === 0 || buckets.length === 0)) reasons.push('no transaction was run');
  if (reasons.length > 0) throw new LoadFailed(reasons);
  return {
    ...{ qps, statements },
    p50Ms: histogramPercentile(buckets, 0.5),
    p95Ms: histogramPercentile(buckets, 0.95),
    p99Ms: histogramPercentile(buckets, 0.99),
    deadlocks: Number(count('ignored errors')?.[1] ?? 0),
  };
}
