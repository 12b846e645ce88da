// Plain numbers that the data path and the monitor increment: one struct for each listener, cluster and node.
// It knows no metrics library, no label and no clock; metrics.ts turns the numbers into series when they are scraped.

import type { ErrorCode } from '../lib/errors.js';
import type { ProbeFailureKind } from '../protocol/node-control.js';
import type { PinReason, Route } from '../sql/statement.js';

/** Why a read went where it went. */
export const READ_REASONS = [
  /** Replica: the last probe shows that it is fresh enough. */
  'fresh-by-probe',
  /** Replica: its position query, sent with the read, shows that it is fresh enough. */
  'fresh-by-gate',
  /** Replica: it waited until one was fresh enough. */
  'waited',
  /** Replica: the session had no watermark, or the level asks for none. */
  'no-watermark',
  /** Primary: the level, a hint or splitReads says so. */
  'primary-asked',
  /** Primary: within a transaction or on a pinned connection. */
  'in-transaction',
  /** Primary: no replica is online. */
  'no-replica',
  /** Primary: every replica is over maxLagMs. */
  'replicas-lag',
  /** Primary: no replica has the session's watermark. */
  'replicas-behind-watermark',
  /** Primary: the position of the session's last write is not known. */
  'watermark-unknown',
  /** Primary: a rule or a hint wants it elsewhere, and no node there may take it. */
  'target-unavailable',
  /** Primary: the gate's answer came, and the replica did not have it. */
  'gate-failed',
] as const;
export type ReadReason = (typeof READ_REASONS)[number];

export const HOLD_REASONS = ['no-primary', 'watermark-pending', 'switchover', 'no-target'] as const;
export type HoldReason = (typeof HOLD_REASONS)[number];

export const RETRY_REASONS = [
  'server-lost',
  'neighbour-cancelled',
  'slow-head',
  'slow-group',
  'neighbour-failed',
  'gate-failed',
] as const;
export type RetryReason = (typeof RETRY_REASONS)[number];

/** Why what a store says of a key was not relied upon, so that the primary served the read. */
export const DOUBT_REASONS = ['not-joined', 'no-answer', 'member-missing', 'other-data'] as const;
export type DoubtReason = (typeof DOUBT_REASONS)[number];

/** Keyed watermarks that several processes share. */
export interface StoreCounters {
  reads: number;
  /** Keys that were not known. */
  unknown: number;
  readBatches: number;
  readMs: number;
  readonly doubts: Record<DoubtReason, number>;
  /** Replies that were kept back; those recorded; those let go because no lease ran. */
  writes: number;
  recorded: number;
  unrecorded: number;
  writeMs: number;
  writeErrors: number;
  /** 1: its lease runs. */
  joined: number;
  /** Members without a lease, as it knows. */
  missing: number;
}

export const FAILOVER_OUTCOMES = ['done', 'refused', 'failed'] as const;
export type FailoverOutcome = (typeof FAILOVER_OUTCOMES)[number];

export interface ListenerCounters {
  /** Connections now, also those that have not logged in. */
  clients: number;
  clientsTotal: number;
  loginFailures: number;
  /** Of clients: what they sent, what they were sent. */
  bytesReceived: number;
  bytesSent: number;
}

export interface NodeCounters {
  /** Units that were sent there, by what the statement was. */
  readonly units: Record<Exclude<Route, 'proxy'>, number>;
  readonly retries: Record<RetryReason, number>;
  /** Units that had to wait for a server connection, those that gave up, those that found the queue full. */
  poolWaits: number;
  poolTimeouts: number;
  poolRefusals: number;
  /** Units that shared a server connection; how often those behind a slow one were moved. */
  sharedUnits: number;
  slowHeads: number;
  /** Units that were answered under one Sync with others. */
  groupedUnits: number;
  serverConnectionsOpened: number;
  serverConnectionsOpenFailures: number;
  serverConnectionsClosed: number;
  /** Of server connections. */
  bytesReceived: number;
  bytesSent: number;
  probesAnswered: number;
  readonly probesFailed: Record<ProbeFailureKind, number>;

  // States, set by their owners rather than counted.
  poolIdle: number;
  poolLeased: number;
  poolShared: number;
  poolWaiting: number;
  up: boolean;
  primary: boolean;
  takesReads: boolean;
  /** Null when it is not known. */
  lagMs: number | null;
}

export interface ClusterCounters {
  readonly nodes: Map<string, NodeCounters>;
  /** Client connections that have logged in. */
  clients: number;
  /** Units that the proxy answered by itself. */
  unitsOwn: number;
  readonly reads: Record<ReadReason, number>;
  /** Errors of the proxy's own that were given to clients. Only codes that came up have a key. */
  readonly errors: Partial<Record<ErrorCode, number>>;
  /** Server connections that became bound to a client, and those that are now. Only reasons that came up have a key. */
  readonly pins: Partial<Record<PinReason, number>>;
  readonly pinned: Partial<Record<PinReason, number>>;
  /** Units that a rule matched, and those that it refused, by rule. Only rules that came up have a key. */
  readonly ruleMatches: Partial<Record<string, number>>;
  readonly ruleDenials: Partial<Record<string, number>>;
  /** Hints with a directive that could not be read. */
  hintsUnread: number;
  /** Units that were cancelled at their deadline. */
  timeouts: number;
  readonly holds: Record<HoldReason, number>;
  holdMs: number;
  /** Units held now. */
  holding: number;
  cacheHits: number;
  cacheMisses: number;
  cacheRefusals: number;
  cacheEntries: number;
  cacheBytes: number;
  /** Of statements, read by the lexer. */
  lexedBytes: number;
  /** Statements that the proxy prepared for recurring unnamed ones. */
  readonly autoPrepare: { hits: number; parses: number; takenOut: number };
  readonly failovers: Record<FailoverOutcome, number>;
  epoch: number;
  /** Keys that are remembered. */
  keys: number;
  keyEvictions: number;
  readonly store: StoreCounters;
}

export interface WorkerCounters {
  running: boolean;
  restarts: number;
  residentBytes: number;
  cpuSeconds: number;
}

export interface Counters {
  readonly listeners: Map<string, ListenerCounters>;
  readonly clusters: Map<string, ClusterCounters>;
  /** By number; empty where one process does everything. */
  readonly workers: Map<string, WorkerCounters>;
  /** Of the event loops that serve clients: time spent looking for input that had not come. */
  busyPollMs: number;
}

/** Numbers that say what is now: they end with the worker that said them. All others are counted on. */
const PRESENT: ReadonlySet<string> = new Set([
  'clients',
  'pinned',
  'holding',
  'cacheEntries',
  'cacheBytes',
  'keys',
  'joined',
  'missing',
  'poolIdle',
  'poolLeased',
  'poolShared',
  'poolWaiting',
]);
/** What the monitor knows; the workers' is a copy. */
const MONITORED: ReadonlySet<string> = new Set(['epoch', 'lagMs']);

/** Adds a worker's numbers to a sum. `ended`: it is gone, and only what it has counted stays. */
export function addCounters(sum: Counters, part: Counters, ended: boolean): void {
  sum.busyPollMs += part.busyPollMs;
  for (const [name, listener] of part.listeners) addNumbers(listenerCounters(sum, name), listener, ended);
  for (const [name, cluster] of part.clusters) {
    const into = clusterCounters(sum, name);
    addNumbers(into, cluster, ended);
    for (const [node, numbers] of cluster.nodes) addNumbers(nodeCounters(into, node), numbers, ended);
  }
}

function addNumbers(sum: object, part: object, ended: boolean): void {
  const into = sum as Record<string, unknown>;
  for (const [key, value] of Object.entries(part)) {
    if (typeof value === 'number') {
      if (!MONITORED.has(key) && !(ended && PRESENT.has(key))) into[key] = Number(into[key] ?? 0) + value;
    } else if (typeof value === 'object' && value !== null && !(value instanceof Map)) {
      if (!(ended && PRESENT.has(key))) addNumbers(into[key] as object, value, ended);
    }
  }
}

/** Every key at 0 from the start, so that a series exists before its first event. */
function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}

function newListener(): ListenerCounters {
  return { clients: 0, clientsTotal: 0, loginFailures: 0, bytesReceived: 0, bytesSent: 0 };
}

function newNode(): NodeCounters {
  return {
    units: { replica: 0, primary: 0, last: 0, session: 0 },
    retries: zeros(RETRY_REASONS),
    poolWaits: 0,
    poolTimeouts: 0,
    poolRefusals: 0,
    sharedUnits: 0,
    slowHeads: 0,
    groupedUnits: 0,
    serverConnectionsOpened: 0,
    serverConnectionsOpenFailures: 0,
    serverConnectionsClosed: 0,
    bytesReceived: 0,
    bytesSent: 0,
    probesAnswered: 0,
    probesFailed: {
      refused: 0,
      timeout: 0,
      lost: 0,
      'login-refused': 0,
      'too-many-connections': 0,
      'starting-up': 0,
      'disk-full': 0,
      other: 0,
    },
    poolIdle: 0,
    poolLeased: 0,
    poolShared: 0,
    poolWaiting: 0,
    up: false,
    primary: false,
    takesReads: false,
    lagMs: null,
  };
}

function newCluster(): ClusterCounters {
  return {
    nodes: new Map(),
    clients: 0,
    unitsOwn: 0,
    reads: zeros(READ_REASONS),
    errors: {},
    pins: {},
    pinned: {},
    ruleMatches: {},
    ruleDenials: {},
    hintsUnread: 0,
    timeouts: 0,
    holds: zeros(HOLD_REASONS),
    holdMs: 0,
    holding: 0,
    cacheHits: 0,
    cacheMisses: 0,
    cacheRefusals: 0,
    cacheEntries: 0,
    cacheBytes: 0,
    lexedBytes: 0,
    autoPrepare: { hits: 0, parses: 0, takenOut: 0 },
    failovers: zeros(FAILOVER_OUTCOMES),
    epoch: 0,
    keys: 0,
    keyEvictions: 0,
    store: {
      reads: 0,
      unknown: 0,
      readBatches: 0,
      readMs: 0,
      doubts: zeros(DOUBT_REASONS),
      writes: 0,
      recorded: 0,
      unrecorded: 0,
      writeMs: 0,
      writeErrors: 0,
      joined: 0,
      missing: 0,
    },
  };
}

export function createCounters(): Counters {
  return { listeners: new Map(), clusters: new Map(), workers: new Map(), busyPollMs: 0 };
}

function obtain<T>(map: Map<string, T>, name: string, create: () => T): T {
  let found = map.get(name);
  if (found === undefined) {
    found = create();
    map.set(name, found);
  }
  return found;
}

/** The structs are looked up once, when a listener, cluster or node starts, and then held by reference. */
export function listenerCounters(counters: Counters, name: string): ListenerCounters {
  return obtain(counters.listeners, name, newListener);
}

export function clusterCounters(counters: Counters, name: string): ClusterCounters {
  return obtain(counters.clusters, name, newCluster);
}

/** A node that a reload takes out is deleted from `cluster.nodes`; its series end with it. */
export function nodeCounters(cluster: ClusterCounters, name: string): NodeCounters {
  return obtain(cluster.nodes, name, newNode);
}

/** For the partial records: one more of `key`. */
export function countOne<K extends string>(record: Partial<Record<K, number>>, key: K): void {
  record[key] = ((record[key] as number | undefined) ?? 0) + 1;
}
