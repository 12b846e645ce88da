// What is done with a read for which no replica is known to be fresh enough: it is gated, it waits, or neither.
// Pure, like the decision that it is a part of.

import type { Position, PositionFunctions } from '../protocol/position.js';
import type { Balancer } from './balance.js';
import type { PassedOver, RoutingNode, SessionView } from './decide.js';

/** The replica is asked for its position together with the read. */
export interface GateAsked {
  readonly want: Position;
  /** How long ago there was, somewhere, what it is asked for. */
  readonly ageMs: number;
}

/** What a session says about gating and waiting for one unit. */
export interface Effort {
  /** The unit may be run twice. */
  readonly mayGate: boolean;
  /** Ages at the time of the decision. */
  readonly watermarkAgeMs: number;
  readonly moveAgeMs: number;
  /** The position that is not known yet comes soon. */
  readonly mayAwaitPosition: boolean;
  readonly mayAwaitReplica: boolean;
  /**
   * Milliseconds for which a read of a session that reads on the primary, for no other reason than that replicas are behind it,
   * waits for one that will soon have what it needs; 0: it does not. (On the primary it would see newer state, be owed
   * that, and never come back while its pauses are shorter than the lag.)
   */
  readonly returnMs: number;
  isWorthGating(node: RoutingNode, ageMs: number): boolean;
}

type Functions = Pick<PositionFunctions, 'covers' | 'related' | 'union'>;

export type Recourse =
  | { readonly kind: 'gate'; readonly node: string; readonly gate: GateAsked }
  | { readonly kind: 'wait'; readonly for: 'position' | 'replica' };

/** By then an answer to a position query has commonly come. */
const POSITION_QUERY_MS = 2;

/** Null: the primary. Call when no node is eligible. */
export function recourse(
  nodes: readonly RoutingNode[],
  session: SessionView,
  positions: Functions,
  balancer: Pick<Balancer, 'choose'>,
  passedOver: (node: RoutingNode, session: SessionView, positions: Functions) => PassedOver | null,
): Recourse | null {
  const { effort } = session;
  if (effort === null) return null;
  const behind = nodes.filter(
    (node) => passedOver(node, session, positions)?.label === 'replicas-behind-watermark',
  );
  if (behind.length > 0) {
    const gated = effort.mayGate ? gate(behind, session, effort, positions, balancer) : null;
    if (gated !== null) return gated;
    if (effort.mayAwaitReplica) return { kind: 'wait', for: 'replica' };
    const returns = behind.some((node) => {
      const asked = gateFor(node, session, effort, positions);
      return asked !== null && hasSoon(node, asked.ageMs, effort);
    });
    return returns ? { kind: 'wait', for: 'replica' } : null;
  }
  if (!session.watermarkPending || !effort.mayAwaitPosition) return null;
  const isSoon = (node: RoutingNode): boolean =>
    passedOver(node, session, positions)?.label === 'watermark-unknown' &&
    (session.consistency !== 'session' ||
      effort.mayAwaitReplica ||
      effort.isWorthGating(node, effort.watermarkAgeMs + POSITION_QUERY_MS) ||
      hasSoon(node, effort.watermarkAgeMs, effort));
  return nodes.some(isSoon) ? { kind: 'wait', for: 'position' } : null;
}

/** By all that is known of it, the replica has it before the read has waited too long. */
function hasSoon(node: RoutingNode, ageMs: number, effort: Effort): boolean {
  const { returnMs } = effort;
  if (returnMs <= 0 || node.lagMs === null || node.lagMs > ageMs + returnMs) return false;
  return effort.isWorthGating(node, ageMs + returnMs);
}

function gate(
  behind: readonly RoutingNode[],
  session: SessionView,
  effort: Effort,
  positions: Functions,
  balancer: Pick<Balancer, 'choose'>,
): Recourse | null {
  const worth = behind.filter((node) => {
    const asked = gateFor(node, session, effort, positions);
    return (
      asked !== null &&
      node.applied !== null &&
      positions.related(node.applied, asked.want) &&
      effort.isWorthGating(node, asked.ageMs)
    );
  });
  if (worth.length === 0) return null;
  // Where it has read before nothing but its own watermark is needed.
  const node = worth.find(({ name }) => name === session.lastReplica) ?? balancer.choose(worth);
  return { kind: 'gate', node: node.name, gate: gateFor(node, session, effort, positions)! };
}

/** Null: it is not known what the node would have to have. */
function gateFor(
  node: RoutingNode,
  { watermark, lastReplica, moveFloor }: SessionView,
  { watermarkAgeMs, moveAgeMs }: Effort,
  positions: Functions,
): GateAsked | null {
  const moves = lastReplica !== null && lastReplica !== node.name && moveFloor !== null;
  if (!moves) return watermark === null ? null : { want: watermark, ageMs: watermarkAgeMs };
  if (moveFloor === 'unknown') return null;
  if (watermark === null) return { want: moveFloor, ageMs: moveAgeMs };
  return { want: positions.union(watermark, moveFloor), ageMs: Math.min(watermarkAgeMs, moveAgeMs) };
}
