// Since when a node serves reads again after it was away: balancing lets it warm up first.
// Pure: part of every new picture; it decides nothing.

import type { ClusterSnapshot, NodeSnapshot } from './snapshot.js';

/** A shorter one is a connection that broke, or a probe that was late: the node has stayed as warm as it was. */
const AWAY_MS = 500;

/** Whether it serves reads as far as the node itself goes; how fresh it is for whom is the decision's. */
function serves(node: NodeSnapshot): boolean {
  return node.role === 'replica' && node.health === 'up' && node.mode === 'online' && !node.errant;
}

/** Before its first answer, while the proxy starts, it is the proxy that was away. */
function isUnheard(node: NodeSnapshot, snapshot: ClusterSnapshot): boolean {
  return snapshot.phase === 'starting' && node.claims === null && node.failureKind === null;
}

export function noteAbsences(snapshot: ClusterSnapshot): ClusterSnapshot {
  const nowMs = snapshot.takenAtMs;
  let changed = false;
  const nodes = snapshot.nodes.map((node): NodeSnapshot => {
    if (serves(node)) {
      if (node.awaySinceMs === null) return node;
      changed = true;
      const wasAway = nowMs - node.awaySinceMs >= AWAY_MS;
      return { ...node, awaySinceMs: null, backSinceMs: wasAway ? nowMs : node.backSinceMs };
    }
    if (node.awaySinceMs !== null || isUnheard(node, snapshot)) return node;
    changed = true;
    // A node that has never been heard, though the proxy was there, comes cold.
    return { ...node, awaySinceMs: node.claims === null ? Number.NEGATIVE_INFINITY : nowMs };
  });
  return changed ? { ...snapshot, nodes } : snapshot;
}
