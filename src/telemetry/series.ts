// How a plain number of counters.ts becomes a series: a row of the table in metrics.ts, made by what the number belongs to.
// It knows no metrics library.

import type { StatementReport } from '../admin/statements.js';
import type {
  ClusterCounters,
  Counters,
  ListenerCounters,
  NodeCounters,
  WorkerCounters,
} from './counters.js';
import { type ClusterStatements, shapeLabel, topStatements } from './statement-report.js';
import type { Statements } from './statements.js';

/** What the process around the proxy adds. */
export interface ProcessFacts {
  readonly version: string;
  /** The configuration that runs now: 1 at the start. */
  readonly revision: number;
  readonly reloads: Readonly<Record<'applied' | 'unchanged' | 'refused', number>>;
}

export interface Sample {
  readonly counters: Counters;
  /** Absent: none are told of. */
  readonly statements?: { readonly top: number; readonly clusters: readonly ClusterStatements[] };
  readonly facts: ProcessFacts;
}
type Emit = (labels: Record<string, string>, value: number) => void;

export interface Row {
  readonly type: 'counter' | 'gauge';
  /** Without the prefix. */
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (sample: Sample, emit: Emit) => void;
}

type RowOf<N> = (type: Row['type'], name: string, help: string, value: (numbers: N) => number) => Row;

/** One series for each entry of a map. */
function byEntry<N>(label: string, mapOf: (counters: Counters) => ReadonlyMap<string, N>): RowOf<N> {
  return (type, name, help, value) => ({
    type,
    name,
    help,
    labels: [label],
    read: ({ counters }, emit) => {
      for (const [key, numbers] of mapOf(counters)) emit({ [label]: key }, value(numbers));
    },
  });
}

export const byListener = byEntry<ListenerCounters>('listener', ({ listeners }) => listeners);
/** No series where one process does everything. */
export const byWorker = byEntry<WorkerCounters>('worker', ({ workers }) => workers);
export const byCluster = byEntry<ClusterCounters>('cluster', ({ clusters }) => clusters);

/** One series for each key of a record of the cluster. */
export function byClusterAnd(
  label: string,
  name: string,
  help: string,
  record: (cluster: ClusterCounters) => Partial<Record<string, number>>,
  type: Row['type'] = 'counter',
): Row {
  return {
    type,
    name,
    help,
    labels: ['cluster', label],
    read: ({ counters }, emit) => {
      for (const [cluster, numbers] of counters.clusters) {
        for (const [key, value] of Object.entries(record(numbers)))
          emit({ cluster, [label]: key }, value ?? 0);
      }
    },
  };
}

/** One series for each of the statements that have taken most of the nodes' time. */
export function byStatement(name: string, help: string, value: (statement: StatementReport) => number): Row {
  return {
    type: 'counter',
    name,
    help,
    labels: ['cluster', 'id', 'shape'],
    read: (sample, emit) => {
      for (const statement of topOf(sample)) {
        const { cluster, id, shape } = statement;
        emit({ cluster, id, shape: shapeLabel(shape) }, value(statement));
      }
    },
  };
}

/** Sorted once a scrape. */
function topOf(sample: Sample): readonly StatementReport[] {
  const { statements } = sample;
  if (statements === undefined || statements.top === 0) return [];
  let top = topBySample.get(sample);
  if (top === undefined) {
    top = topStatements(statements.clusters, 'time', statements.top);
    topBySample.set(sample, top);
  }
  return top;
}

const topBySample = new WeakMap<Sample, readonly StatementReport[]>();

export function ofStatements(
  type: Row['type'],
  name: string,
  help: string,
  value: (statements: Statements) => number,
): Row {
  return {
    type,
    name,
    help,
    labels: ['cluster'],
    read: (sample, emit) => {
      for (const { cluster, statements } of sample.statements?.clusters ?? [])
        emit({ cluster }, value(statements));
    },
  };
}

/** `value` null: there is no series now. */
export function byNode(
  type: Row['type'],
  name: string,
  help: string,
  value: (node: NodeCounters) => number | null,
): Row {
  return {
    type,
    name,
    help,
    labels: ['cluster', 'node'],
    read: (sample, emit) => {
      eachNode(sample, (cluster, node, numbers) => {
        const number = value(numbers);
        if (number !== null) emit({ cluster, node }, number);
      });
    },
  };
}

export function byNodeAnd(
  type: Row['type'],
  label: string,
  name: string,
  help: string,
  record: (node: NodeCounters) => Readonly<Record<string, number>>,
): Row {
  return {
    type,
    name,
    help,
    labels: ['cluster', 'node', label],
    read: (sample, emit) => {
      eachNode(sample, (cluster, node, numbers) => {
        for (const [key, value] of Object.entries(record(numbers)))
          emit({ cluster, node, [label]: key }, value);
      });
    },
  };
}

function eachNode(
  { counters }: Sample,
  visit: (cluster: string, node: string, numbers: NodeCounters) => void,
): void {
  for (const [cluster, numbers] of counters.clusters) {
    for (const [node, nodeNumbers] of numbers.nodes) visit(cluster, node, nodeNumbers);
  }
}
