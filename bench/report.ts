// Turns what was measured into rows (medians), a table for people and the JSON file.

import type { Cpu, Run } from './load.js';
import type { Options } from './options.js';
import type { Mode, SubjectName } from './scenarios.js';
import { median } from './statistics.js';

/** One subject with one mode and number of clients. */
export interface Cell {
  readonly mode: Mode;
  readonly clients: number;
  readonly subject: SubjectName;
  readonly runs: Run[];
  readonly failures: string[];
}

export interface Row {
  readonly mode: Mode;
  readonly clients: number;
  readonly subject: SubjectName;
  /** Medians over the rounds; null if any run of this row failed. */
  readonly qps: number | null;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  /** Scheelite's qps by this subject's. */
  readonly scheeliteRatio: number | null;
  /** Processor seconds for 10,000 statements; null if the runs were too short to tell. */
  readonly cpuSecondsPer10k: Cpu | null;
  readonly rounds: readonly { readonly qps: number; readonly p99Ms: number; readonly deadlocks: number }[];
  readonly failures: readonly string[];
}

export interface Report {
  readonly scenario: string;
  readonly server: string;
  readonly seconds: number;
  readonly rounds: number;
  readonly scale: number;
  readonly startedAt: string;
  readonly machine: string;
  /** Average load over a minute before the first run and after the last, by other work as well. */
  readonly loadAverages: readonly [before: number, after: number];
  readonly rows: readonly Row[];
  /** Subjects that were wanted and could not be had or started. */
  readonly absent: readonly { readonly subject: SubjectName; readonly reason: string }[];
  /** Errors in the subjects' own logs. */
  readonly complaints: readonly string[];
}

/** Digits that mean something; a number that is not finite becomes null, as JSON would have it. */
function rounded(value: number, digits = 4): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(digits)) : null;
}

function medianCpu(runs: readonly Run[]): Cpu | null {
  const of = (pick: (cpu: Cpu) => number | undefined) => {
    const values = runs.map((run) => pick(run.cpu) ?? Number.NaN).filter(Number.isFinite);
    return values.length === 0 ? Number.NaN : Number(median(values).toPrecision(3));
  };
  const client = of((cpu) => cpu.client);
  if (Number.isNaN(client)) return null;
  const names = Object.keys(runs[0]?.cpu.nodes ?? {});
  return {
    client,
    proxy: of((cpu) => cpu.proxy),
    server: of((cpu) => cpu.server),
    nodes: Object.fromEntries(names.map((name) => [name, of((cpu) => cpu.nodes[name])])),
  };
}

export function rowsOf(cells: readonly Cell[]): Row[] {
  const qpsOf = (cell: Cell | undefined) =>
    cell === undefined || cell.failures.length > 0 ? Number.NaN : median(cell.runs.map((run) => run.qps));
  return cells.map((cell) => {
    const { mode, clients, subject, runs, failures } = cell;
    const ours = cells.find(
      (other) => other.subject === 'scheelite' && other.mode === mode && other.clients === clients,
    );
    const whole = failures.length === 0 && runs.length > 0;
    const middle = (pick: (run: Run) => number) => (whole ? rounded(median(runs.map(pick))) : null);
    return {
      ...{ mode, clients, subject },
      qps: middle((run) => run.qps),
      p50Ms: middle((run) => run.p50Ms),
      p95Ms: middle((run) => run.p95Ms),
      p99Ms: middle((run) => run.p99Ms),
      scheeliteRatio: rounded(qpsOf(ours) / qpsOf(cell), 3),
      cpuSecondsPer10k: whole ? medianCpu(runs) : null,
      rounds: runs.map(({ qps, p99Ms, deadlocks }) => ({
        qps: rounded(qps) ?? 0,
        p99Ms: rounded(p99Ms) ?? 0,
        deadlocks,
      })),
      failures,
    };
  });
}

const HEAD = [
  ...['mode', 'clients', 'subject', 'queries/s', 'lowest', 'highest', 'scheelite is'],
  ...['p50 ms', 'p95 ms', 'p99 ms', 'cpu client', 'proxy', 'server', 'by node'],
];

function fixed(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(digits);
}

function tableRow(row: Row): string[] {
  const { mode, clients, subject, qps, rounds, cpuSecondsPer10k: cpu } = row;
  const rates = rounds.map((round) => round.qps);
  const nodes = Object.entries(cpu?.nodes ?? {});
  const share = (seconds: number) => `${Math.round((seconds / (cpu?.server || 1)) * 100)}`;
  return [
    ...[mode, String(clients), subject],
    row.failures.length > 0 ? 'FAILED' : fixed(qps, 0),
    ...(rates.length === 0 ? ['-', '-'] : [fixed(Math.min(...rates), 0), fixed(Math.max(...rates), 0)]),
    subject === 'scheelite' || row.scheeliteRatio === null ? '' : `${row.scheeliteRatio.toFixed(2)} x`,
    ...[fixed(row.p50Ms, 2), fixed(row.p95Ms, 2), fixed(row.p99Ms, 2)],
    ...[fixed(cpu?.client, 3), fixed(cpu?.proxy, 3), fixed(cpu?.server, 3)],
    nodes.length === 0 ? '-' : `${nodes.map(([, seconds]) => share(seconds)).join('/')} %`,
  ];
}

export function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((text, column) =>
        /^[\d-]/.test(text) ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

export function tableOf(report: Report): string[] {
  const lines: string[] = [];
  lines.push(
    `${report.scenario} on ${report.server}: medians of ${report.rounds} rounds of ${report.seconds} s; ` +
      "cpu: seconds for 10,000 queries; by node: the servers' part, primary first",
  );
  lines.push(...aligned([HEAD, ...report.rows.map(tableRow)]));
  lines.push(...troubles(report));
  return lines;
}

/** What went wrong, in full: it must not be looked for. */
export function troubles(report: Pick<Report, 'rows' | 'absent' | 'complaints'>): string[] {
  return [
    ...report.rows.flatMap(({ mode, clients, subject, failures }) =>
      failures.map((failure) => `FAILED ${mode}, ${clients} clients, ${subject}: ${failure}`),
    ),
    ...report.absent.map(({ subject, reason }) => `NOT MEASURED ${subject}: ${reason}`),
    ...report.complaints.map((line) => `LOG ${line}`),
  ];
}

export function failed({ rows, absent, complaints }: Report): boolean {
  return rows.some((row) => row.failures.length > 0) || absent.length > 0 || complaints.length > 0;
}

export function headOf(
  options: Options,
  server: string,
): Pick<Report, 'scenario' | 'server' | 'seconds' | 'rounds' | 'scale'> {
  const { scenario, seconds, rounds, scale } = options;
  return { scenario: scenario.name, server, seconds, rounds, scale };
}
