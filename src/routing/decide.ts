// The decision where a unit runs: a pure function of statement class, session view, snapshot and policy.
// It opens no socket and reads no clock; load and freshness come in as data.

import type { Position, PositionFunctions } from '../protocol/position.js';
import type { StatementClass } from '../sql/statement.js';
import type { Balancer } from './balance.js';

/** What a decision needs of a node; a snapshot's node has it. */
export interface RoutingNode {
  readonly name: string;
  readonly role: 'primary' | 'replica' | 'unknown';
  readonly health: 'up' | 'suspect' | 'down';
  readonly mode: 'online' | 'offline' | 'drain' | 'standby-only';
  readonly applied: Position | null;
  /** Milliseconds; null while it is not known. */
  readonly lagMs: number | null;
  readonly weight: number;
}

export interface RoutingSnapshot {
  readonly primary: string | null;
  readonly nodes: readonly RoutingNode[];
}

export type ConsistencyLevel = 'eventual' | 'session' | 'primary';

/** What a decision needs of a session. */
export interface SessionView {
  readonly consistency: ConsistencyLevel;
  readonly maxLagMs: number;
  readonly splitReads: boolean;
  /** A position that any node must cover; null: none. */
  readonly watermark: Position | null;
  /** The watermark is not known yet: reads go to the primary. */
  readonly watermarkPending: boolean;
  readonly lastReplica: string | null;
  /** What any replica but the last one must cover; `unknown`: none other will do. */
  readonly moveFloor: Position | 'unknown' | null;
  /** Nodes that have already failed this unit. */
  readonly excluded: readonly string[];
}

/** Why a unit went where it went; label of a metric, so a closed set. */
export type RouteReason =
  | 'write'
  | 'fresh-replica'
  | 'no-split'
  | 'consistency-primary'
  | 'watermark-pending'
  | 'no-fresh-replica'
  | 'session-state'
  | 'no-primary';

export type Decision =
  | {
      readonly kind: 'node';
      readonly node: string;
      readonly onReplica: boolean;
      readonly reason: RouteReason;
    }
  /** No node may take it now; it waits for another snapshot. */
  | { readonly kind: 'hold'; readonly reason: RouteReason };

/** Why this node does not take a read of this session; null: it does. For `explain` as much as for the decision. */
export function passedOver(
  node: RoutingNode,
  session: SessionView,
  positions: Pick<PositionFunctions, 'covers'>,
): string | null {
  if (node.role !== 'replica') return node.role === 'primary' ? 'is the primary' : 'its role is unknown';
  if (node.health !== 'up') return `is ${node.health}`;
  if (node.mode !== 'online') return `is set to ${node.mode}`;
  if (session.excluded.includes(node.name)) return 'has already failed this unit';
  if (node.lagMs === null) return 'its lag is unknown';
  if (node.lagMs > session.maxLagMs) return `lags ${Math.round(node.lagMs)} ms`;
  if (session.consistency === 'eventual') return null;
  if (session.watermarkPending) return 'the position of the session is not known yet';
  if (session.watermark !== null && !has(node, session.watermark, positions))
    return 'has not what the session wrote or saw';
  if (session.lastReplica !== null && session.lastReplica !== node.name && session.moveFloor !== null) {
    if (session.moveFloor === 'unknown' || !has(node, session.moveFloor, positions))
      return 'may be behind the replica that the session read from';
  }
  return null;
}

function has(node: RoutingNode, position: Position, positions: Pick<PositionFunctions, 'covers'>): boolean {
  return node.applied !== null && positions.covers(node.applied, position);
}

/** A transaction that declares itself READ ONLY may run on one replica; a standby refuses SERIALIZABLE. */
function isReplicaTransaction(statement: StatementClass): boolean {
  const transaction = statement.transaction;
  return (
    statement.statements === 1 &&
    transaction?.kind === 'begin' &&
    transaction.readOnly === true &&
    transaction.isolation !== 'serializable'
  );
}

export function decide(
  statement: StatementClass,
  session: SessionView,
  snapshot: RoutingSnapshot,
  positions: Pick<PositionFunctions, 'covers'>,
  balancer: Balancer,
): Decision {
  const mayUseReplica =
    statement.pin === null && (statement.route === 'replica' || isReplicaTransaction(statement));
  if (!mayUseReplica) {
    // What only sets session state touches no data: any node will do while there is no primary.
    if (statement.route === 'session' && snapshot.primary === null) {
      const standIn = snapshot.nodes.find((node) => node.health === 'up' && node.mode === 'online');
      if (standIn !== undefined)
        return { kind: 'node', node: standIn.name, onReplica: true, reason: 'session-state' };
    }
    return toPrimary(snapshot, statement.route === 'session' ? 'session-state' : 'write');
  }
  if (!session.splitReads) return toPrimary(snapshot, 'no-split');
  if (session.consistency === 'primary') return toPrimary(snapshot, 'consistency-primary');

  const eligible = snapshot.nodes.filter((node) => passedOver(node, session, positions) === null);
  if (eligible.length > 0) {
    const node = balancer.choose(eligible);
    return { kind: 'node', node: node.name, onReplica: true, reason: 'fresh-replica' };
  }
  return toPrimary(
    snapshot,
    session.watermarkPending && session.consistency !== 'eventual' ? 'watermark-pending' : 'no-fresh-replica',
  );
}

function toPrimary(snapshot: RoutingSnapshot, reason: RouteReason): Decision {
  if (snapshot.primary === null) return { kind: 'hold', reason: 'no-primary' };
  return { kind: 'node', node: snapshot.primary, onReplica: false, reason };
}
