// Writes a report for people: a table, with the columns that its scenario is about, and bars for the chart.

import type { Bar } from './chart.js';
import type { Cpu } from './load.js';
import { type Report, type Row, troubles } from './report.js';
import { median } from './statistics.js';

type Column = readonly [title: string, text: (row: Row) => string];

function fixed(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(digits);
}

function orFailed(row: Row, text: string): string {
  return row.failures.length > 0 ? 'FAILED' : text;
}

function timesOver(value: number | null | undefined): string {
  return value === null || value === undefined ? '' : `${value.toFixed(2)} x`;
}

const WHO: readonly Column[] = [
  ['mode', (row) => row.mode],
  ['clients', (row) => String(row.clients)],
  ['subject', (row) => row.subject],
];

const RATIO: Column = [
  'scheelite is',
  (row) => (row.subject === 'scheelite' ? '' : timesOver(row.scheeliteRatio)),
];

const PERCENTILES: readonly Column[] = [
  ['p50 ms', (row) => fixed(row.p50Ms, 2)],
  ['p95 ms', (row) => fixed(row.p95Ms, 2)],
  ['p99 ms', (row) => fixed(row.p99Ms, 2)],
];

function cpuColumns(of: (row: Row) => Cpu | null | undefined): readonly Column[] {
  return [
    ['cpu client', (row) => fixed(of(row)?.client, 3)],
    ['proxy', (row) => fixed(of(row)?.proxy, 3)],
    ['server', (row) => fixed(of(row)?.server, 3)],
    [
      'by node',
      (row) => {
        const seconds = Object.values(of(row)?.nodes ?? {});
        const all = of(row)?.server || 1;
        return seconds.length === 0
          ? '-'
          : `${seconds.map((each) => Math.round((each / all) * 100)).join('/')} %`;
      },
    ],
  ];
}

/** Of the rounds, each a rate that `by` makes of the statements a second. */
function spread(by: number): readonly Column[] {
  const rates = (row: Row) => row.rounds.map((round) => round.qps * by);
  const of = (row: Row, pick: (...values: number[]) => number) =>
    row.rounds.length === 0 ? '-' : fixed(pick(...rates(row)), 0);
  return [
    ['lowest', (row) => of(row, Math.min)],
    ['highest', (row) => of(row, Math.max)],
  ];
}

const STOLEN: Column = [
  'stolen',
  (row) =>
    row.rounds.length === 0 ? '-' : `${(100 * median(row.rounds.map(({ stolen }) => stolen))).toFixed(0)} %`,
];

function columnsOf({ scenario, rowsPerStatement }: Report): readonly Column[] {
  if (scenario === 'neighbours') {
    return [
      ...WHO,
      ['p99 is', (row) => orFailed(row, timesOver(row.p99Ratio))],
      ...PERCENTILES,
      ['queries/s', (row) => fixed(row.qps, 0)],
      RATIO,
      ['alone: p50 ms', (row) => fixed(row.alone?.p50Ms, 2)],
      ['p95 ms', (row) => fixed(row.alone?.p95Ms, 2)],
      ['p99 ms', (row) => fixed(row.alone?.p99Ms, 2)],
      ['queries/s', (row) => fixed(row.alone?.qps, 0)],
      ['heavy/s', (row) => fixed(row.heavyQps, 2)],
      ...cpuColumns((row) => row.cpuSecondsPer10k),
      STOLEN,
    ];
  }
  if (rowsPerStatement !== null) {
    return [
      ...WHO,
      ['rows/s', (row) => orFailed(row, fixed(row.rowsPerSecond, 0))],
      ...spread(rowsPerStatement),
      RATIO,
      ...PERCENTILES,
      ...cpuColumns((row) => row.cpuSecondsPerMillionRows),
      STOLEN,
    ];
  }
  return [
    ...WHO,
    ['queries/s', (row) => orFailed(row, fixed(row.qps, 0))],
    ...spread(1),
    RATIO,
    ...PERCENTILES,
    ...cpuColumns((row) => row.cpuSecondsPer10k),
    STOLEN,
  ];
}

function legendOf({ scenario, rowsPerStatement }: Report): string {
  if (scenario === 'neighbours')
    return "p99 is: beside one client with heavy queries, by that without it; heavy/s: that client's queries; cpu: seconds for 10,000 queries, its own among them; by node: the servers' part, primary first";
  const unit = rowsPerStatement === null ? '10,000 queries' : '1,000,000 rows';
  const size = rowsPerStatement === null ? '' : `${rowsPerStatement} rows a statement; `;
  return `${size}cpu: seconds for ${unit}; by node: the servers' part, primary first`;
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
  const { scenario, server, rounds, seconds, rows } = report;
  const columns = columnsOf(report);
  return [
    `${scenario} on ${server}: medians of ${rounds} rounds of ${seconds} s; ${legendOf(report)}`,
    ...aligned([columns.map(([title]) => title), ...rows.map((row) => columns.map(([, text]) => text(row)))]),
    ...troubles(report),
  ];
}

export interface Bars {
  readonly unit: string;
  readonly bars: readonly Bar[];
}

export function barsOf({ scenario, rows, rowsPerStatement }: Report): Bars {
  const [unit, value] =
    scenario === 'neighbours'
      ? (['p99 in microseconds beside a heavy client, median', microseconds] as const)
      : rowsPerStatement === null
        ? (['queries a second, median', (row: Row) => row.qps] as const)
        : (['rows a second, median', (row: Row) => row.rowsPerSecond ?? null] as const);
  return {
    unit,
    bars: rows.map((row) => ({
      group: `${row.mode}, ${row.clients} clients`,
      subject: row.subject,
      value: value(row),
    })),
  };
}

function microseconds({ p99Ms }: Row): number | null {
  return p99Ms === null ? null : p99Ms * 1_000;
}
