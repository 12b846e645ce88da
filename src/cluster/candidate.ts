// Which replica is promoted: the one that has received the most, of those that may be.
// Pure; how the replicas were made to stop receiving is failover's business.

import type { Position, PositionFunctions } from '../protocol/position.js';
import type { NodeSnapshot } from './snapshot.js';

export interface StoppedReplica {
  readonly node: NodeSnapshot;
  /** All that it has received; it receives nothing more. */
  readonly received: Position;
}

export interface Choice {
  readonly candidate: StoppedReplica | null;
  /** Why the others were not taken, by name; for people. */
  readonly passedOver: Readonly<Record<string, string>>;
  /** What nodes that may not be promoted have received beyond the candidate; lost with them. Bytes or transactions. */
  readonly lost: number;
}

/** Replicas that could not apply what they had received, and why, by name. */
export type Unfit = ReadonlyMap<string, string>;

/** Among equals. The other modes are no candidates. */
const PREFERENCE: Readonly<Record<NodeSnapshot['mode'], number>> = {
  online: 0,
  'standby-only': 1,
  drain: 2,
  offline: 2,
};

/**
 * The applier runs, or has nothing left to do. One that stands still may do so for good: a replica of MariaDB that is killed
 * between a DDL statement and the record of its GTID does not apply anything any more, and goes on receiving.
 */
function applies({ node, received }: StoppedReplica, positions: PositionFunctions): boolean {
  return (
    node.upstream?.applying === true || (node.applied !== null && positions.covers(node.applied, received))
  );
}

export function choose(
  stopped: readonly StoppedReplica[],
  positions: PositionFunctions,
  unfit: Unfit = new Map(),
): Choice {
  const passedOver: Record<string, string> = {};
  const eligible = stopped.filter(({ node }) => {
    const why = exclusion(node) ?? unfit.get(node.name) ?? null;
    if (why !== null) passedOver[node.name] = why;
    return why === null;
  });
  // How much of what the others have a node would have to do without.
  const missing = (replica: StoppedReplica): number =>
    eligible.reduce((sum, other) => sum + positions.distance(replica.received, other.received), 0);
  const ranked = eligible
    .map((replica) => ({ replica, missing: missing(replica) }))
    .sort(
      (a, b) =>
        a.missing - b.missing ||
        Number(applies(b.replica, positions)) - Number(applies(a.replica, positions)) ||
        PREFERENCE[a.replica.node.mode] - PREFERENCE[b.replica.node.mode] ||
        b.replica.node.weight - a.replica.node.weight ||
        (a.replica.node.name < b.replica.node.name ? -1 : 1),
    );
  const candidate = ranked[0]?.replica ?? null;
  if (candidate === null) return { candidate, passedOver, lost: 0 };
  for (const { replica } of ranked.slice(1)) {
    const less = positions.distance(replica.received, candidate.received);
    passedOver[replica.node.name] =
      less > 0
        ? `has received ${less} ${positions.distanceUnit} less`
        : applies(replica, positions)
          ? 'has received as much'
          : `has received as much, but does not apply it: ${replica.node.upstream?.lastError ?? 'paused'}`;
  }
  const lost = stopped
    .filter((replica) => !eligible.includes(replica))
    .map((replica) => positions.distance(candidate.received, replica.received));
  return { candidate, passedOver, lost: Math.max(0, ...lost) };
}

function exclusion(node: NodeSnapshot): string | null {
  // As the primary it would take nothing either.
  if (node.mode === 'offline' || node.mode === 'drain') return `its mode is ${node.mode}`;
  if (node.errant) return 'it has history that the primary did not have';
  if (node.fenced) return 'it was replaced as the primary before';
  return null;
}
