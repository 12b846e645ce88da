// Turns statement statistics into what is told of them: sorted, with an id, as a report or as labels. Pure functions.
// What it is given has shapes only, never a literal.

import { createHash } from 'node:crypto';
import type {
  StatementReport,
  StatementSort,
  StatementSums,
  StatementsQuery,
  StatementsReport,
} from '../admin/statements.js';
import { addSums, noSums, type StatementPart, type Statements } from './statements.js';

/** The statistics of one cluster. */
export interface ClusterStatements {
  readonly cluster: string;
  readonly statements: Statements;
}

const KEYS: Record<StatementSort, (statement: StatementPart) => number> = {
  time: ({ nodeMs }) => nodeMs,
  calls: ({ calls }) => calls,
  mean: ({ nodeMs, calls }) => nodeMs / calls,
  max: ({ maxNodeMs }) => maxNodeMs,
  proxy: proxyMs,
  rows: ({ rows }) => rows,
  bytes: ({ bytes }) => bytes,
  errors: ({ errors }) => errors,
  primary: ({ primary }) => primary,
  replica: ({ replica }) => replica,
};

function proxyMs({ waitMs, holdMs, queueMs }: StatementSums): number {
  return waitMs + holdMs + queueMs;
}

export function statementId(shape: string): string {
  return createHash('sha256').update(shape).digest('hex').slice(0, 16);
}

/** The `limit` greatest of all clusters together, the greatest first. */
export function topStatements(
  clusters: readonly ClusterStatements[],
  sort: StatementSort,
  limit: number,
): StatementReport[] {
  const key = KEYS[sort];
  const all: { cluster: string; part: StatementPart; key: number }[] = [];
  for (const { cluster, statements } of clusters) {
    for (const part of statements.all()) all.push({ cluster, part, key: key(part) });
  }
  all.sort((a, b) => b.key - a.key);
  return all.slice(0, limit).map(({ cluster, part }) => ({
    cluster,
    id: statementId(part.shape),
    ...part,
    meanNodeMs: part.nodeMs / part.calls,
    proxyMs: proxyMs(part),
  }));
}

export function statementsReport(
  clusters: readonly ClusterStatements[],
  sinceMs: number,
  query: StatementsQuery,
): StatementsReport {
  const asked = clusters.filter(({ cluster }) => query.cluster === null || query.cluster === cluster);
  return {
    since: new Date(sinceMs).toISOString(),
    sort: query.sort,
    statements: topStatements(asked, query.sort, query.limit),
    clusters: asked.map(({ cluster, statements }) => {
      const other = noSums();
      addSums(other, statements.other);
      return { cluster, tracked: statements.size, evicted: statements.evicted, other };
    }),
  };
}

const MAX_LABEL_CHARS = 100;

/** For terminals and labels: a name in double quotes may hold anything. */
export function onOneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they break lines, and terminals.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** A shape as a label, bounded. */
export function shapeLabel(shape: string): string {
  const line = onOneLine(shape);
  return line.length <= MAX_LABEL_CHARS ? line : `${line.slice(0, MAX_LABEL_CHARS - 3)}...`;
}
