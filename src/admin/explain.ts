// What the API is asked about one statement and about sessions, and what it answers. It knows neither HTTP nor who finds it out.
// No literal of a client's statement is in any of it: reports are served without a token.

import type { Protocol } from '../config/schema.js';

export interface ExplainRequest {
  readonly sql: string;
  /** Null: the only one. */
  readonly cluster: string | null;
  /** As a live session sees it; null: of somebody who has just logged in. */
  readonly session: number | null;
  /** Only without a session. */
  readonly user: string | null;
  readonly database: string | null;
  readonly application: string | null;
}

export interface SessionReport {
  /** Of its cluster: the process id of the cancel key, the connection id. */
  readonly id: number;
  readonly cluster: string;
  readonly listener: string;
  readonly user: string;
  readonly database: string;
  readonly application: string;
  readonly address: string;
  /** `idle`, `waiting` for a server connection, `held` until a node may take its unit, `running`. */
  readonly state: string;
  readonly transaction: 'idle' | 'transaction' | 'failed';
  readonly pins: readonly string[];
  /** The node of the server connection that it holds, or runs on; null: none. */
  readonly node: string | null;
  /** Others' units are under way on it too. */
  readonly shared: boolean;
  /** Of the unit that runs or waits; null without one. */
  readonly shape: string | null;
}

export interface SessionsRequest {
  /** Null: all. */
  readonly cluster: string | null;
  readonly user: string | null;
  readonly limit: number;
}

export interface SessionsReport {
  /** Of all that were asked for, also those that are not listed. */
  readonly total: number;
  /** Those that do something first. */
  readonly sessions: readonly SessionReport[];
}

export interface ExplainedNode {
  readonly name: string;
  readonly role: string;
  readonly verdict: 'chosen' | 'also' | 'passed-over';
  readonly why: string;
}

export interface ExplainReport {
  readonly cluster: string;
  readonly protocol: Protocol;
  /** With the settings by which its texts are read; null: none was named. */
  readonly session:
    | (SessionReport & {
        readonly settings: Readonly<Record<string, string>>;
        readonly tracked: readonly string[];
      })
    | null;
  readonly user: string;
  readonly database: string;
  readonly application: string;
  readonly shape: string;
  readonly hint: Readonly<Record<string, string>> | null;
  readonly verb: string;
  readonly statements: number;
  /** Where its class lets it run; `reasons`: why. */
  readonly route: string;
  readonly routeMeans: string;
  readonly reasons: readonly string[];
  readonly pin: string | null;
  readonly transaction: string | null;
  readonly ddl: boolean;
  /** The routing rules that have a say, with commas; null: none. */
  readonly rule: string | null;
  /** Every rule of the cluster, in order, and why it does not match. */
  readonly rules: readonly { readonly rule: string; readonly matches: boolean; readonly why: string }[];
  readonly consistency: {
    readonly level: string;
    /** Whose writes it must see, as `kind:name`; null: those of its connection. */
    readonly key: string | null;
    readonly maxLagMs: number;
    readonly splitReads: boolean;
    /** Text of the position that a node must have; null: none. */
    readonly watermark: string | null;
    readonly watermarkPending: boolean;
    readonly lastReplica: string | null;
    /** What any other replica must have; `unknown`: nobody can tell yet. */
    readonly moveFloor: string | null;
  };
  readonly decision: {
    /** `held-connection`: the session has one, and the unit runs there. */
    readonly kind: 'node' | 'hold' | 'held-connection' | 'proxy' | 'refused';
    readonly node: string | null;
    readonly onReplica: boolean;
    /** The label of the metric, where there is one. */
    readonly reason: string;
    readonly why: string;
  };
  readonly balance: string;
  readonly nodes: readonly ExplainedNode[];
  readonly sharing: { readonly would: boolean; readonly why: string };
  /** Null: the protocol prepares nothing by itself. */
  readonly autoPrepare: { readonly would: boolean; readonly why: string } | null;
  readonly notes: readonly string[];
}

/** It cannot be answered, and why. */
export interface Unanswerable {
  readonly problem: string;
}

const DEFAULT_SESSIONS = 100;
const MAX_SESSIONS = 1_000;
const EXPLAIN_KEYS = ['sql', 'cluster', 'session', 'user', 'database', 'application'];
const MAX_NAME = 256;

/** Text: what is wrong with it; it repeats nothing of the statement. */
export function explainRequest(body: string): ExplainRequest | string {
  let asked: unknown;
  try {
    asked = JSON.parse(body);
  } catch {
    return 'the body is not JSON';
  }
  if (typeof asked !== 'object' || asked === null || Array.isArray(asked)) return 'the body is not an object';
  const given = asked as Record<string, unknown>;
  for (const key of Object.keys(given))
    if (!EXPLAIN_KEYS.includes(key)) return `unknown key; there are: ${EXPLAIN_KEYS.join(', ')}`;
  if (typeof given.sql !== 'string') return 'sql: a text';
  const session = given.session ?? null;
  if (session !== null && (!Number.isSafeInteger(session) || (session as number) < 1))
    return 'session: the number that /api/v1/sessions shows';
  const texts: Record<string, string | null> = {};
  for (const key of ['cluster', 'user', 'database', 'application']) {
    const value = given[key] ?? null;
    if (value !== null && (typeof value !== 'string' || value.length > MAX_NAME))
      return `${key}: a text of at most ${MAX_NAME} characters`;
    texts[key] = value as string | null;
  }
  if (session !== null && (texts.user ?? texts.database ?? texts.application ?? null) !== null)
    return 'session: it has a user, a database and an application already';
  const { cluster, user, database, application } = texts;
  return {
    sql: given.sql,
    cluster: cluster ?? null,
    session: session as number | null,
    user: user ?? null,
    database: database ?? null,
    application: application ?? null,
  };
}

/** `cluster`, `user` and `limit` of a query string; text: what is wrong with it. */
export function sessionsRequest(parameters: URLSearchParams): SessionsRequest | string {
  for (const name of parameters.keys())
    if (name !== 'cluster' && name !== 'user' && name !== 'limit')
      return `unknown parameter ${name.slice(0, 100)}; there are: cluster, user, limit`;
  const text = parameters.get('limit');
  const limit = text === null ? DEFAULT_SESSIONS : Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_SESSIONS)
    return `limit: a whole number from 1 to ${MAX_SESSIONS}`;
  return { cluster: parameters.get('cluster'), user: parameters.get('user'), limit };
}

/** The cluster that is meant, by name or because it is the only one. */
export function clusterAsked(asked: string | null, names: readonly string[]): string | Unanswerable {
  if (asked === null)
    return names.length === 1
      ? names[0]!
      : { problem: `there is more than one cluster; name one of: ${names.join(', ')}` };
  return names.includes(asked)
    ? asked
    : { problem: `there is no cluster of that name; there is: ${names.join(', ')}` };
}

/** What several processes say together. */
export function mergeSessions(reports: readonly SessionsReport[], limit: number): SessionsReport {
  return {
    total: reports.reduce((sum, { total }) => sum + total, 0),
    sessions: reports
      .flatMap(({ sessions }) => sessions)
      .sort(byActivity)
      .slice(0, limit),
  };
}

export function byActivity(a: SessionReport, b: SessionReport): number {
  return rankOf(a) - rankOf(b) || (a.cluster === b.cluster ? a.id - b.id : a.cluster < b.cluster ? -1 : 1);
}

function rankOf({ state, transaction, node }: SessionReport): number {
  if (state !== 'idle') return 0;
  return transaction !== 'idle' || node !== null ? 1 : 2;
}
