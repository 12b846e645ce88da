// One immutable picture of a cluster, and the words for its states; what routing, the pool, the admin API and failover read.
// Types and lookups only; how a picture follows from another is the reducer's business.

import type { NodeAddress, ProbeFailureKind } from '../protocol/node-control.js';
import type { Position } from '../protocol/position.js';
import type { NodeMode } from './config.js';

/**
 * `starting`: not every node has been asked yet. `normal`: there is a primary. `no-primary`: there is none now, and nothing is
 * being done (units are held). `failing-over`: a replica is being promoted. `blocked`: an operator must look.
 */
export type ClusterPhase = 'starting' | 'normal' | 'no-primary' | 'failing-over' | 'blocked';

/** `primary` is the one accepted primary; a second writable node is `unknown`. */
export type NodeRole = 'primary' | 'replica' | 'unknown';

/** `suspect`: something failed once; reads avoid it until a probe that was sent later has answered. */
export type NodeHealth = 'up' | 'suspect' | 'down';

export interface NodeUpstream {
  readonly address: NodeAddress | null;
  readonly receiving: boolean;
  readonly applying: boolean;
  readonly lastError: string | null;
  readonly secondsBehind: number | null;
  /** Changes with every message from the upstream; opaque. */
  readonly lastMessage: string | null;
  /** When the probe was sent that first saw the present `lastMessage` or received position. */
  readonly movedAtMs: number;
}

export interface NodeSnapshot {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly role: NodeRole;
  readonly health: NodeHealth;
  /** Why it is not simply up and usable: for people. */
  readonly reason: string | null;
  /** It said itself, in its last answer, that it takes writes. */
  readonly writable: boolean;
  /** What a query on it saw at `appliedAtMs`, or more; null: never known. */
  readonly applied: Position | null;
  /** Monotonic time at which the probe that read `applied` was sent; -Infinity: never. */
  readonly appliedAtMs: number;
  readonly received: Position | null;
  /** 0 on the primary; null while it cannot be told (no primary seen yet, no answer yet). */
  readonly lagMs: number | null;
  /** Bytes of WAL or transactions, by the protocol. */
  readonly lagDistance: number | null;
  readonly weight: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly mode: NodeMode;
  readonly upstream: NodeUpstream | null;
  readonly timeline: number;
  readonly serverId: string | null;
  readonly version: string | null;
  /** It has been the accepted primary at some time that is remembered. */
  readonly wasPrimary: boolean;
  /** It was replaced; nothing is written to it until an operator or the configuration says so, or it replicates again. */
  readonly fenced: boolean;
  /** It has history that the primary does not have: never promoted. */
  readonly errant: boolean;
  /** It answered at least once as a replica. */
  readonly seenAsReplica: boolean;
  /** Failed probes in a row. */
  readonly failures: number;
  readonly failureKind: ProbeFailureKind | null;
  /** When the first of them was sent; null without one. */
  readonly failingSinceMs: number | null;
  /** Only an answer to a probe sent after this clears a suspicion of the data path; -Infinity: none. */
  readonly reportedAtMs: number;
  /** Answers to probes sent before are dropped: a promotion has changed what it is since; -Infinity: none. */
  readonly changedAtMs: number;
  /** Since when it has not served reads, if that is not for the first time; null: it does, or has never been asked. */
  readonly awaySinceMs: number | null;
  /** Since when it serves reads again; -Infinity: it has not been away. */
  readonly backSinceMs: number;
  /** What it said of itself in its last answer; null: it has never answered. */
  readonly claims: 'primary' | 'replica' | null;
}

export interface ClusterSnapshot {
  readonly cluster: string;
  /** Counts promotions; rises whenever another node becomes the primary. */
  readonly epoch: number;
  readonly phase: ClusterPhase;
  /** The node to write to now; null: hold. */
  readonly primary: string | null;
  /** The last accepted primary, also while it does not answer. */
  readonly lastPrimary: string | null;
  readonly nodes: readonly NodeSnapshot[];
  /** What the failover has found out about the present trouble; '' without one. Part of the explanation. */
  readonly verdict: string;
  /** Monotonic. */
  readonly takenAtMs: number;
  /** What is the matter, in words; '' when nothing is. */
  readonly explanation: string;
}

export function findNode(snapshot: ClusterSnapshot, name: string | null): NodeSnapshot | null {
  if (name === null) return null;
  for (const node of snapshot.nodes) if (node.name === name) return node;
  return null;
}

export function primaryOf(snapshot: ClusterSnapshot): NodeSnapshot | null {
  return findNode(snapshot, snapshot.primary);
}
