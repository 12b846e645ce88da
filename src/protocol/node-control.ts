// What the monitor and the failover ask of one node, on a connection of their own; implemented by each protocol with its driver.
// Types only; it knows nothing of clients.

import type { SpareSizes } from '../lib/spare-connections.js';
import type { Position } from './position.js';
import type { Standing } from './server-connection.js';

export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

/** One answer to one probe. Times are milliseconds of the monotonic clock. */
export interface ProbeReading {
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
  /** What the node says of itself: in recovery / replicating, or not. */
  readonly role: 'primary' | 'replica';
  /** It would accept a write by an ordinary user: not in recovery, not read_only, not default_transaction_read_only. */
  readonly writable: boolean;
  /** Everything a query sees now: insert LSN or replay LSN; gtid_executed; gtid_current_pos / gtid_slave_pos. */
  readonly applied: Position;
  /** All that it could give to others, where that is more than what it applied from its upstream (MariaDB); else `applied`. */
  readonly history?: Position;
  /** Everything received, applied or not; equals `applied` on a primary. */
  readonly received: Position;
  /** Where it replicates from by its own configuration, and whether both halves run. */
  readonly upstream: {
    readonly address: NodeAddress | null;
    readonly receiving: boolean;
    readonly applying: boolean;
    readonly lastError: string | null;
    /** As the server reports it; shown only, never decided upon. */
    readonly secondsBehind: number | null;
    /**
     * Changes with every message from the upstream (time of the last message, heartbeats counted, bytes read); opaque.
     * A frozen primary leaves its replicas "receiving" for a minute: only what still moves is evidence of life.
     */
    readonly lastMessage: string | null;
  } | null;
  /** PostgreSQL timeline; 0 elsewhere. */
  readonly timeline: number;
  /** system_identifier; server_uuid; server_id: to tell two nodes that are one, and strangers. */
  readonly serverId: string;
  readonly version: string;
}

/** How a node failed to answer; `down` means no server is there, the rest means that one is. */
export type ProbeFailureKind =
  | 'refused'
  | 'timeout'
  | 'lost'
  | 'login-refused'
  | 'too-many-connections'
  | 'starting-up'
  | 'disk-full'
  | 'other';

export class ProbeFailure extends Error {
  override readonly name = 'ProbeFailure';
  readonly kind: ProbeFailureKind;

  /** `cause`: as the driver has it. */
  constructor(kind: ProbeFailureKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }

  /** A server process is there and said no: it must not be mistaken for dead (faults, row 13). */
  get serverAnswered(): boolean {
    return this.kind !== 'refused' && this.kind !== 'timeout' && this.kind !== 'lost';
  }
}

/** A user's stored password as the node holds it, in its own notation (rolpassword; plugin and authentication_string). */
export interface StoredVerifier {
  /** `scram-sha-256`, `md5`, `mysql_native_password`, `caching_sha2_password`, `none`, or the plugin's own name. */
  readonly method: string;
  readonly secret: string;
}

/**
 * One node's control connections. Every call has its own deadline in ms and rejects with ProbeFailure or Error;
 * connections are opened when needed and reopened after a failure; a call never waits for another one's time-out.
 */
export interface NodeControl {
  readonly address: NodeAddress;
  probe(timeoutMs: number): Promise<ProbeReading>;
  /** The primary's position now: everything acknowledged before the call is in it (design: coalesced position query). */
  position(timeoutMs: number): Promise<Position>;
  /** Null when there is no such user; for authentication without a user list. */
  verifier(user: string, timeoutMs: number): Promise<StoredVerifier | null>;
  /**
   * What a login would be given now. It is asked for at each login, so it must be cheap: what is the same for all logins may be as
   * old as `maxAgeMs`.
   */
  standing(user: string, database: string, maxAgeMs: number, timeoutMs: number): Promise<Standing>;
  /** Rows of the named queries, for the catalog. */
  query(sql: string, timeoutMs: number): Promise<Record<string, unknown>[]>;

  /**
   * Makes the receiver connect to its upstream anew and answers whether that succeeded: tells a frozen upstream from a
   * silent one. Changes nothing else.
   */
  confirmReceiving(timeoutMs: number): Promise<boolean>;
  /** Stops receiving from the old primary and answers all that has been received. */
  stopReceiving(timeoutMs: number): Promise<Position>;
  /**
   * Undoes `stopReceiving` and keeps all that has been received. `upstream` is where to receive from when the node itself
   * no longer knows.
   */
  resumeReceiving(upstream: NodeAddress, timeoutMs: number): Promise<void>;
  /**
   * Resolves with null once `position` has been applied; with what is missing, and why, after the time or as soon as the applier
   * has given up.
   */
  waitApplied(position: Position, timeoutMs: number): Promise<string | null>;
  /** Makes it a writable primary; resolves when it answers as one. */
  promote(timeoutMs: number): Promise<void>;
  /** Makes it replicate from `primary`, with the replication account that it already uses. */
  follow(primary: NodeAddress, timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Sizes for probes: they come together only where a node hangs. */
export const PROBES: SpareSizes = { keepIdle: 1, maxOpen: 2, maxWaiting: 0 };
/** Sizes for other calls: all users of a database may log in at a time, and opening a connection takes longer than most calls. */
export const CALLS: SpareSizes = { keepIdle: 2, maxOpen: 8, maxWaiting: 10_000 };

export interface NodeControlOptions {
  readonly user: string;
  readonly password: string;
  /** PostgreSQL: the database to connect to. */
  readonly database: string;
  /** MySQL and MariaDB are told apart by the server's own greeting; nothing to set. */
  readonly applicationName: string;
}
