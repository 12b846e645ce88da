// A snapshot on its way to a worker: positions as text, times as the machine's; the rest as it is.
// Pure; it knows no channel.

import type { ClusterSnapshot, NodeSnapshot } from '../../cluster/snapshot.js';
import { MACHINE_OFFSET_MS } from '../../lib/clock.js';
import type { Position, PositionFunctions } from '../../protocol/position.js';

type WireNode = Omit<NodeSnapshot, 'applied' | 'received'> & {
  readonly applied: string | null;
  readonly received: string | null;
};
export type WireSnapshot = Omit<ClusterSnapshot, 'nodes'> & { readonly nodes: readonly WireNode[] };

export function toWire(snapshot: ClusterSnapshot): WireSnapshot {
  return {
    ...snapshot,
    takenAtMs: snapshot.takenAtMs + MACHINE_OFFSET_MS,
    nodes: snapshot.nodes.map((node) => ({
      ...shifted(node, MACHINE_OFFSET_MS),
      applied: node.applied?.text ?? null,
      received: node.received?.text ?? null,
    })),
  };
}

export function fromWire(snapshot: WireSnapshot, positions: PositionFunctions): ClusterSnapshot {
  const parse = (text: string | null): Position | null => (text === null ? null : positions.parse(text));
  return {
    ...snapshot,
    takenAtMs: snapshot.takenAtMs - MACHINE_OFFSET_MS,
    nodes: snapshot.nodes.map((node) => ({
      ...shifted(node, -MACHINE_OFFSET_MS),
      applied: parse(node.applied),
      received: parse(node.received),
    })),
  };
}

type Times = Pick<
  NodeSnapshot,
  | 'appliedAtMs'
  | 'failingSinceMs'
  | 'reportedAtMs'
  | 'changedAtMs'
  | 'awaySinceMs'
  | 'backSinceMs'
  | 'upstream'
>;

/** Infinities stay what they are. */
function shifted<T extends Times>(node: T, byMs: number): T {
  const { upstream } = node;
  return {
    ...node,
    appliedAtMs: node.appliedAtMs + byMs,
    failingSinceMs: node.failingSinceMs === null ? null : node.failingSinceMs + byMs,
    reportedAtMs: node.reportedAtMs + byMs,
    changedAtMs: node.changedAtMs + byMs,
    awaySinceMs: node.awaySinceMs === null ? null : node.awaySinceMs + byMs,
    backSinceMs: node.backSinceMs + byMs,
    upstream: upstream === null ? null : { ...upstream, movedAtMs: upstream.movedAtMs + byMs },
  };
}
