// The decision where a unit runs: a pure function of statement class, session view, snapshot and policy.
// It opens no socket and reads no clock; load and freshness come in as data.

import type { Position, PositionFunctions } from '../protocol/position.js';
import type { StatementClass } from '../sql/statement.js';
import type { ReadReason } from '../telemetry/counters.js';
import type { Balancer } from './balance.js';
import { type Effort, type GateAsked, recourse } from './gating.js';
import { type NodeMode, takesUnits } from './node-mode.js';
import type { Fallback, Target } from './policy.js';

/** What a decision needs of a node; a snapshot's node has it. */
export interface RoutingNode {
  readonly name: string;
  readonly role: 'primary' | 'replica' | 'unknown';
  readonly health: 'up' | 'suspect' | 'down';
  readonly mode: NodeMode;
  readonly applied: Position | null;
  /** Milliseconds; null while it is not known. */
  readonly lagMs: number | null;
  readonly weight: number;
  readonly tags: Readonly<Record<string, string>>;
  /** It has history that the primary does not have. */
  readonly errant: boolean;
}

export interface RoutingSnapshot {
  readonly primary: string | null;
  readonly nodes: readonly RoutingNode[];
}

export const LEVELS = ['eventual', 'bounded', 'session', 'strong', 'primary'] as const;
export type ConsistencyLevel = (typeof LEVELS)[number];

/** What a decision needs of a session. */
export interface SessionView {
  readonly consistency: ConsistencyLevel;
  readonly maxLagMs: number;
  /** False: what has no target goes to the primary. */
  readonly splitReads: boolean;
  /** Where its reads are wanted; null: anywhere. */
  readonly target: Target | null;
  readonly fallback: Fallback;
  /** A position that any node must cover; null: none. */
  readonly watermark: Position | null;
  /** The watermark is not known yet: reads go to the primary. */
  readonly watermarkPending: boolean;
  readonly lastReplica: string | null;
  /** What any replica but the last one must cover; `unknown`: none other will do. */
  readonly moveFloor: Position | 'unknown' | null;
  /** Nodes that have already failed this unit. */
  readonly excluded: readonly string[];
  /** What is done when no replica is known to be fresh enough; null: nothing. */
  readonly effort: Effort | null;
}

/** Why a unit went where it went: for a read the label of its metric, else what it is. */
export type RouteReason = ReadReason | 'write' | 'session-state' | 'no-primary' | 'no-target';

export type Decision =
  | {
      readonly kind: 'node';
      readonly node: string;
      readonly onReplica: boolean;
      readonly reason: RouteReason;
      /** Null: what is known of the node is enough. */
      readonly gate: GateAsked | null;
    }
  /** A read that may find a replica soon. */
  | { readonly kind: 'wait'; readonly for: 'position' | 'replica' }
  /** No node may take it now; it waits for another snapshot. */
  | { readonly kind: 'hold'; readonly reason: RouteReason };

/** Why a node does not take a read of this session: the metric's label and a sentence. */
export interface PassedOver {
  readonly label: ReadReason;
  readonly why: string;
}

const NO_NODES: RoutingNode[] = [];

const NOT_A_REPLICA: PassedOver = { label: 'no-replica', why: 'is not a replica' };
const ERRANT: PassedOver = { label: 'no-replica', why: 'has history that the primary does not have' };
const NOT_THE_TARGET: PassedOver = { label: 'target-unavailable', why: 'is not where the read is wanted' };
const FAILED_ALREADY: PassedOver = { label: 'no-replica', why: 'has already failed this unit' };
const LAG_UNKNOWN: PassedOver = { label: 'replicas-lag', why: 'its lag is not known' };
const WATERMARK_UNKNOWN: PassedOver = {
  label: 'watermark-unknown',
  why: 'the position of what the session wrote or saw is not known yet',
};
const BEHIND: PassedOver = {
  label: 'replicas-behind-watermark',
  why: 'has not what the session wrote or saw',
};
const MAY_BE_BEHIND: PassedOver = {
  label: 'replicas-behind-watermark',
  why: 'may be behind the replica from which the session read last',
};

/** Null: the node may take it. For `explain` as much as for the decision. */
export function passedOver(
  node: RoutingNode,
  session: SessionView,
  positions: Pick<PositionFunctions, 'covers'>,
): PassedOver | null {
  if (node.role !== 'replica') return NOT_A_REPLICA;
  if (node.health !== 'up') return { label: 'no-replica', why: `is ${node.health}` };
  if (node.mode !== 'online') return { label: 'no-replica', why: `is set to ${node.mode}` };
  if (!isTarget(node, session.target)) return NOT_THE_TARGET;
  if (node.errant) return ERRANT;
  if (session.excluded.includes(node.name)) return FAILED_ALREADY;
  if (node.lagMs === null) return LAG_UNKNOWN;
  // Where the bound is what matters, it is a position that tells, and exactly.
  if (node.lagMs > session.maxLagMs && session.consistency !== 'bounded')
    return {
      label: 'replicas-lag',
      why: `lags ${Math.round(node.lagMs)} ms, more than ${session.maxLagMs} ms`,
    };
  if (session.consistency === 'eventual') return null;
  if (session.watermarkPending) return WATERMARK_UNKNOWN;
  if (session.watermark !== null && !has(node, session.watermark, positions)) return BEHIND;
  if (session.lastReplica !== null && session.lastReplica !== node.name && session.moveFloor !== null) {
    if (session.moveFloor === 'unknown' || !has(node, session.moveFloor, positions)) return MAY_BE_BEHIND;
  }
  return null;
}

function isTarget(node: Pick<RoutingNode, 'name' | 'tags'>, target: Target | null): boolean {
  switch (target?.kind) {
    case 'node':
      return node.name === target.name;
    case 'tag':
      return node.tags[target.tag] === target.value;
    default:
      return true;
  }
}

/** The level, or whoever wants the read somewhere, names the primary. */
function asksForPrimary(
  { consistency, target, splitReads }: SessionView,
  { primary, nodes }: RoutingSnapshot,
): boolean {
  if (consistency === 'primary') return true;
  switch (target?.kind) {
    case undefined:
      return !splitReads;
    case 'primary':
      return true;
    case 'replica':
      return false;
    default: {
      // Only the primary is meant: it is no substitute then.
      const meant = nodes.filter((node) => isTarget(node, target!));
      return meant.length === 1 && meant[0]!.name === primary;
    }
  }
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

/** Whether the statement, by itself, may run on a replica. */
export function isReplicaRead(statement: StatementClass): boolean {
  return statement.pin === null && (statement.route === 'replica' || isReplicaTransaction(statement));
}

export function decide(
  statement: StatementClass,
  session: SessionView,
  snapshot: RoutingSnapshot,
  positions: Pick<PositionFunctions, 'covers' | 'related' | 'union'>,
  balancer: Pick<Balancer, 'choose'>,
): Decision {
  if (!isReplicaRead(statement)) {
    if (statement.route !== 'session') return toPrimary(snapshot, 'write');
    // What only sets session state touches no data: any node will do while there is no primary.
    const standIn = primaryForUnits(snapshot) ?? snapshot.nodes.find(isUsable)?.name;
    if (standIn === undefined) return { kind: 'hold', reason: 'no-primary' };
    return {
      kind: 'node',
      node: standIn,
      onReplica: standIn !== snapshot.primary,
      reason: 'session-state',
      gate: null,
    };
  }
  if (asksForPrimary(session, snapshot)) return toPrimary(snapshot, 'primary-asked');

  let eligible: RoutingNode[] = NO_NODES;
  let fallback: ReadReason = 'no-replica';
  for (const node of snapshot.nodes) {
    const over = passedOver(node, session, positions);
    // A list that grows takes room for seventeen, and this is done for each read.
    if (over === null) eligible = eligible.length === 0 ? [node] : [...eligible, node];
    else if (over.label !== 'no-replica') fallback = over.label;
  }
  if (eligible.length === 0) {
    const other = recourse(snapshot.nodes, session, positions, balancer, passedOver);
    if (other?.kind === 'wait') return other;
    if (other?.kind === 'gate')
      return { kind: 'node', node: other.node, onReplica: true, reason: 'fresh-by-gate', gate: other.gate };
    if (session.target === null) return toPrimary(snapshot, fallback);
    if (session.fallback === 'hold') return { kind: 'hold', reason: 'no-target' };
    return toPrimary(snapshot, 'target-unavailable');
  }
  const reason = session.watermark === null ? 'no-watermark' : 'fresh-by-probe';
  return { kind: 'node', node: balancer.choose(eligible).name, onReplica: true, reason, gate: null };
}

/** While there is no primary: a node that follows it. */
export function isUsable(node: RoutingNode): boolean {
  return node.role === 'replica' && node.health === 'up' && node.mode === 'online';
}

function toPrimary(snapshot: RoutingSnapshot, reason: RouteReason): Decision {
  const primary = primaryForUnits(snapshot);
  if (primary === null) return { kind: 'hold', reason: 'no-primary' };
  return { kind: 'node', node: primary, onReplica: false, reason, gate: null };
}

/** Null: there is none, or its mode keeps units away from it. */
export function primaryForUnits({ primary, nodes }: RoutingSnapshot): string | null {
  if (primary === null) return null;
  for (const node of nodes) if (node.name === primary && !takesUnits(node.mode, true)) return null;
  return primary;
}
