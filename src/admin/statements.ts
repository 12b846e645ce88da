// Statement statistics as the API tells them: what may be asked, and the report. It knows neither who counts nor HTTP.
// Reports have shapes, never a literal: they are served without a token.

/** What is counted of a shape; sums, but for `maxNodeMs`. Milliseconds, bytes of replies to clients. */
export interface StatementSums {
  calls: number;
  /** Calls that ended in an error, of the node or of the proxy. */
  errors: number;
  /** Sent to the client, or changed. */
  rows: number;
  bytes: number;
  /** At the head of its server connection: what the node took, and the way there and back. */
  nodeMs: number;
  maxNodeMs: number;
  /** For a server connection. */
  waitMs: number;
  /** For a primary, or a replica that is fresh enough. */
  holdMs: number;
  /** Behind other units on a shared server connection, in attempts that were repeated, and in the proxy itself. */
  queueMs: number;
  /** Calls by the role of the node that answered; those that reached none are in neither. */
  primary: number;
  replica: number;
}

/** The greatest first: `mean` and `max` are of the time on the node, `time` is all of it, `proxy` all other time. */
export const STATEMENT_SORTS = [
  'time',
  'calls',
  'mean',
  'max',
  'proxy',
  'rows',
  'bytes',
  'errors',
  'primary',
  'replica',
] as const;
export type StatementSort = (typeof STATEMENT_SORTS)[number];

export interface StatementReport extends Readonly<StatementSums> {
  readonly cluster: string;
  /** The same for the same shape, in every process and at every time. */
  readonly id: string;
  readonly shape: string;
  readonly meanNodeMs: number;
  /** All time that was not the node's: waitMs, holdMs and queueMs. */
  readonly proxyMs: number;
  /** Calls by node. */
  readonly byNode: Readonly<Record<string, number>>;
}

export interface StatementsReport {
  /** When counting began, or was last reset. */
  readonly since: string;
  readonly sort: StatementSort;
  readonly statements: readonly StatementReport[];
  readonly clusters: readonly {
    readonly cluster: string;
    /** Shapes that are kept. */
    readonly tracked: number;
    /** Shapes that were left out for heavier ones, and the sums of their calls. */
    readonly evicted: number;
    readonly other: Readonly<StatementSums>;
  }[];
}

export interface StatementsQuery {
  readonly sort: StatementSort;
  readonly limit: number;
  /** Null: all. */
  readonly cluster: string | null;
}

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1_000;

/** `sort`, `limit` and `cluster` of a query string; text: what is wrong with it. */
export function statementsQuery(parameters: URLSearchParams): StatementsQuery | string {
  for (const name of parameters.keys())
    if (name !== 'sort' && name !== 'limit' && name !== 'cluster')
      return `unknown parameter ${name.slice(0, 100)}; there are: sort, limit, cluster`;
  const asked = parameters.get('sort') ?? 'time';
  const sort = STATEMENT_SORTS.find((each) => each === asked);
  if (sort === undefined) return `sort=${asked.slice(0, 100)}: one of ${STATEMENT_SORTS.join(', ')}`;
  const text = parameters.get('limit');
  const limit = text === null ? DEFAULT_LIMIT : Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
    return `limit: a whole number from 1 to ${MAX_LIMIT}`;
  return { sort, limit, cluster: parameters.get('cluster') };
}
