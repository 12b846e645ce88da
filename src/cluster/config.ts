// What the monitor and the failover need to be told of a cluster; the zod schema of the configuration produces it.
// Types and defaults only; it reads no file.

/**
 * `online`: everything. `drain`: nothing new is routed to it, what is there may end, and it is not promoted. `offline`: the
 * same, and what is there is ended. `standby-only`: no reads, promoted when nothing better has as much.
 */
export type NodeMode = 'online' | 'offline' | 'drain' | 'standby-only';

export interface ClusterNodeConfig {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Share of the reads; 0 takes none while another node may. */
  readonly weight: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly mode: NodeMode;
}

export interface MonitorSettings {
  readonly user: string;
  readonly password: string;
  /** PostgreSQL: the database that the monitor connects to. */
  readonly database: string;
  /** Between the starts of two probes of one node; at least 100. */
  readonly intervalMs: number;
  /** A probe that has not answered by then has failed. */
  readonly timeoutMs: number;
}

export interface FailoverSettings {
  readonly mode: 'automatic' | 'off';
  /** So many probes in a row must fail before a node is down. */
  readonly probes: number;
  /** A second failure of the primary so soon after a failover waits for an operator. */
  readonly blockMs: number;
  /** The longest that the candidate may take to apply what it has received; beyond it nothing is promoted. */
  readonly maxUnappliedMs: number;
  /** For each single command to a node (stop receiving, follow). */
  readonly stepTimeoutMs: number;
  /** For the promotion itself, which may have to wait for a checkpoint or a long apply. */
  readonly promoteTimeoutMs: number;
}

export interface ClusterConfig {
  readonly name: string;
  readonly nodes: readonly ClusterNodeConfig[];
  readonly monitor: MonitorSettings;
  readonly failover: FailoverSettings;
  /** Epoch, primary and fenced nodes survive a restart of the proxy here; null: they do not. */
  readonly stateFile: string | null;
  /** JSON lines, one for every step that changes a role; null: only the log has them. */
  readonly auditFile: string | null;
}

/** What the configuration file does not set. */
export const FAILOVER_DEFAULTS = {
  maxUnappliedMs: 60_000,
  stepTimeoutMs: 5_000,
  promoteTimeoutMs: 30_000,
} as const satisfies Partial<FailoverSettings>;
