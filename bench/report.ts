// Turns what was measured into rows (medians): the report as it stands in the JSON file.

import type { Cpu, Figures, Run } from './load.js';
import type { Options } from './options.js';
import { type Mode, rowsPerStatement, type SubjectName } from './scenarios.js';
import { median } from './statistics.js';
import { tooManyClients } from './subjects.js';

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
  /** Of statements that bring many rows. */
  readonly rowsPerSecond?: number | null;
  readonly cpuSecondsPerMillionRows?: Cpu | null;
  /** Of neighbours: the same clients without the heavy one. The figures above are those beside it. */
  readonly alone?: Percentiles;
  /** p99 beside the heavy client by p99 without it. */
  readonly p99Ratio?: number | null;
  /** What the heavy client got done, statements a second. */
  readonly heavyQps?: number | null;
  /** `stolen`: the share of the processors that went to others than this machine. */
  readonly rounds: readonly {
    readonly qps: number;
    readonly p99Ms: number;
    readonly deadlocks: number;
    readonly stolen: number;
  }[];
  readonly failures: readonly string[];
}

interface Percentiles {
  readonly qps: number | null;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

export interface LeftOut {
  readonly clients: number;
  readonly subject: SubjectName;
  readonly reason: string;
}

export interface Report {
  readonly scenario: string;
  readonly server: string;
  readonly seconds: number;
  readonly rounds: number;
  readonly scale: number;
  /** Null where rows are not the point. */
  readonly rowsPerStatement: number | null;
  readonly startedAt: string;
  readonly machine: string;
  /** Average load over a minute before the first run and after the last, by other work as well. */
  readonly loadAverages: readonly [before: number, after: number];
  readonly rows: readonly Row[];
  /** Subjects that were wanted and could not be had or started. */
  readonly absent: readonly { readonly subject: SubjectName; readonly reason: string }[];
  /** What no subject of the kind could do here; not a failure. */
  readonly leftOut: readonly LeftOut[];
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

/** For a million rows instead of 10,000 statements. */
function perMillionRows(cpu: Cpu | null, rows: number): Cpu | null {
  if (cpu === null) return null;
  const of = (seconds: number) => rounded((seconds / 10_000 / rows) * 1e6, 3) ?? Number.NaN;
  const nodes = Object.entries(cpu.nodes).map(([name, seconds]) => [name, of(seconds)] as const);
  return {
    ...{ client: of(cpu.client), proxy: of(cpu.proxy), server: of(cpu.server) },
    nodes: Object.fromEntries(nodes),
  };
}

/** `rows`: that each statement brings, where they are the point. */
export function rowsOf(cells: readonly Cell[], rows: number | null = null): Row[] {
  const qpsOf = (cell: Cell | undefined) =>
    cell === undefined || cell.failures.length > 0 ? Number.NaN : median(cell.runs.map((run) => run.qps));
  return cells.map((cell) => {
    const { mode, clients, subject, runs, failures } = cell;
    const ours = cells.find(
      (other) => other.subject === 'scheelite' && other.mode === mode && other.clients === clients,
    );
    const whole = failures.length === 0 && runs.length > 0;
    const middle = (pick: (run: Run) => number) => (whole ? rounded(median(runs.map(pick))) : null);
    const percentiles = (pick: (run: Run) => Figures): Percentiles => ({
      qps: middle((run) => pick(run).qps),
      p50Ms: middle((run) => pick(run).p50Ms),
      p95Ms: middle((run) => pick(run).p95Ms),
      p99Ms: middle((run) => pick(run).p99Ms),
    });
    const cpu = whole ? medianCpu(runs) : null;
    return {
      ...{ mode, clients, subject },
      ...percentiles((run) => run),
      scheeliteRatio: rounded(qpsOf(ours) / qpsOf(cell), 3),
      cpuSecondsPer10k: cpu,
      ...(rows === null
        ? {}
        : {
            rowsPerSecond: middle((run) => run.qps * rows),
            cpuSecondsPerMillionRows: perMillionRows(cpu, rows),
          }),
      ...(runs.some((run) => run.neighbours !== undefined)
        ? {
            alone: percentiles((run) => run.neighbours?.alone ?? run),
            p99Ratio: middle((run) => run.p99Ms / (run.neighbours?.alone.p99Ms ?? Number.NaN)),
            heavyQps: middle((run) => run.neighbours?.heavyQps ?? Number.NaN),
          }
        : {}),
      rounds: runs.map(({ qps, p99Ms, deadlocks, stolen }) => ({
        qps: rounded(qps) ?? 0,
        p99Ms: rounded(p99Ms) ?? 0,
        deadlocks,
        stolen: rounded(stolen, 2) ?? 0,
      })),
      failures,
    };
  });
}

/** What went wrong, in full: it must not be looked for. */
export function troubles(report: Pick<Report, 'rows' | 'absent' | 'leftOut' | 'complaints'>): string[] {
  return [
    ...report.rows.flatMap(({ mode, clients, subject, failures }) =>
      failures.map((failure) => `FAILED ${mode}, ${clients} clients, ${subject}: ${failure}`),
    ),
    ...report.absent.map(({ subject, reason }) => `NOT MEASURED ${subject}: ${reason}`),
    ...report.leftOut.map(
      ({ clients, subject, reason }) => `LEFT OUT ${clients} clients, ${subject}: ${reason}`,
    ),
    ...report.complaints.map((line) => `LOG ${line}`),
  ];
}

/** Subjects that cannot have that many clients here, whatever they are worth. */
export function leftOutOf(options: Pick<Options, 'clients'>, subjects: readonly SubjectName[]): LeftOut[] {
  return options.clients.flatMap((clients) =>
    subjects.flatMap((subject) => {
      const reason = tooManyClients(subject, clients);
      return reason === null ? [] : [{ clients, subject, reason }];
    }),
  );
}

export function failed({ rows, absent, complaints }: Report): boolean {
  return rows.some((row) => row.failures.length > 0) || absent.length > 0 || complaints.length > 0;
}

export function headOf(
  options: Options,
  server: string,
): Pick<Report, 'scenario' | 'server' | 'seconds' | 'rounds' | 'scale' | 'rowsPerStatement'> {
  const { scenario, seconds, rounds, scale } = options;
  return {
    ...{ scenario: scenario.name, server, seconds, rounds, scale },
    rowsPerStatement: rowsPerStatement(scenario, scale),
  };
}
