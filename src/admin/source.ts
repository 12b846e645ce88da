// What the admin HTTP server asks of the running process: the interface between it and the parts that know the answers.
// Types only; it knows no HTTP. Nothing in these reports may be secret: they are served without a token.

import type { NodeMode, Protocol } from '../config/schema.js';
import type {
  ExplainReport,
  ExplainRequest,
  SessionsReport,
  SessionsRequest,
  Unanswerable,
} from './explain.js';
import type { StatementsQuery, StatementsReport } from './statements.js';

export interface PoolStatus {
  /** Server connections that are logged in. */
  readonly open: number;
  /** Of these, the ones that nobody uses. */
  readonly idle: number;
  /** Of these, the ones held by one client for a transaction or a pin. */
  readonly leased: number;
  /** Of these, the ones on which reads of several clients are pipelined. */
  readonly shared: number;
  /** Units that wait for one. */
  readonly waiting: number;
  /** Most server connections allowed. */
  readonly limit: number;
}

export interface NodeStatus {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly mode: NodeMode;
  readonly role: 'primary' | 'replica' | 'unknown';
  /** `up`: answers probes; `down`: does not; `refused`: a server is there and says no; `unknown`: not probed yet. */
  readonly state: 'up' | 'down' | 'refused' | 'unknown';
  /** Whether it takes reads / writes of clients now, and if neither, why. */
  readonly takesReads: boolean;
  readonly takesWrites: boolean;
  readonly excludedBecause: string | null;
  /** Behind the primary, in ms; null when unknown, 0 on the primary. */
  readonly lagMs: number | null;
  /** Seconds behind by the server's own account; shown only. */
  readonly secondsBehind: number | null;
  /** Text of the applied position. */
  readonly position: string | null;
  readonly upstream: string | null;
  readonly version: string | null;
  readonly weight: number;
  readonly lastError: string | null;
  /** Since the last probe that was answered, in ms; null before the first. */
  readonly probedMsAgo: number | null;
  readonly pool: PoolStatus;
}

export interface RuleStatus {
  readonly name: string;
  /** Units that it matched, and those that it refused, since the start. */
  readonly matches: number;
  readonly denials: number;
}

export interface ClusterStatus {
  readonly name: string;
  readonly protocol: Protocol;
  readonly primary: string | null;
  readonly epoch: number;
  /** One line: "ok", "no primary: held", "failing over to b: waiting until it has applied ...". */
  readonly state: string;
  readonly failoverMode: 'off' | 'automatic';
  /** Client connections. */
  readonly clients: number;
  /** Units that wait for a primary or a fresh replica now. */
  readonly held: number;
  /** Sessions that keep their server connection now, by reason; one may have several. */
  readonly pinned: Readonly<Partial<Record<string, number>>>;
  /** What an operator must look at: errant history, a blocked failover, two writable nodes ... */
  readonly alerts: readonly string[];
  /** In the order of the configuration. */
  readonly rules: readonly RuleStatus[];
  readonly nodes: readonly NodeStatus[];
}

export interface ListenerStatus {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly cluster: string;
  readonly clients: number;
  readonly maxClients: number;
}

export interface WorkerStatus {
  readonly worker: number;
  /** Null while it is being replaced. */
  readonly pid: number | null;
  readonly state: 'running' | 'starting' | 'replacing';
  /** How often it has been replaced since the start. */
  readonly restarts: number;
  readonly clients: number;
  /** Why the last one ended; null without one. */
  readonly lastEnd: string | null;
}

/** What the data path and the monitor know. */
export interface ProxyStatus {
  readonly state: 'running' | 'draining';
  readonly listeners: readonly ListenerStatus[];
  readonly clusters: readonly ClusterStatus[];
  /** Absent: one process does everything. */
  readonly workers?: readonly WorkerStatus[];
}

/** How one attempt to take a new configuration ended. */
export interface ReloadReport {
  readonly at: string;
  /** What asked for it. */
  readonly trigger: 'signal' | 'file' | 'api';
  readonly outcome: 'applied' | 'unchanged' | 'refused';
  /** One line for each change, or for each problem when it was refused. */
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
}

export interface StatusReport extends ProxyStatus {
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly config: {
    readonly path: string | null;
    /** 1 at start, one more with each reload that was applied. */
    readonly revision: number;
    readonly lastReload: ReloadReport | null;
  };
}

export interface Readiness {
  readonly ok: boolean;
  /** Why not: one line a cluster that cannot serve. */
  readonly reasons: readonly string[];
}

/** The proxy's share, implemented where its parts are wired together. Called on each request: it reads fields, it waits for nothing. */
export interface ProxyState {
  status(): ProxyStatus;
  /** ok: not draining, and every cluster has a primary that takes writes. */
  ready(): Readiness;
}

/** All that the admin server needs; `serve` adds process and configuration to the proxy's share. */
export interface AdminSource {
  status(): StatusReport | Promise<StatusReport>;
  ready(): Readiness;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** What statements have cost, by shape. */
  statements(query: StatementsQuery): StatementsReport | Promise<StatementsReport>;
  /** Counts from 0 again. */
  resetStatements(): void | Promise<void>;
  /** What a statement is and where it would go now. */
  explain(request: ExplainRequest): Promise<ExplainReport | Unanswerable>;
  sessions(request: SessionsRequest): Promise<SessionsReport>;
  /** Reads the configuration file again; never rejects. */
  reload(): Promise<ReloadReport>;
}
