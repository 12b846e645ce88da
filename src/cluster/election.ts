// Which node is the primary, by what all nodes say of themselves and what is remembered; pure functions.
// It knows no event: the reducer calls it on every new picture.

import type { ProbeFailureKind } from '../protocol/node-control.js';
import { type ClusterSnapshot, findNode, type NodeSnapshot } from './snapshot.js';

export interface Election {
  /** The node to write to; null: none. */
  readonly primary: string | null;
  /** Why there is none, or what is odd about it; '' when nothing is. */
  readonly why: string;
}

/** After these nothing can be written to it, whatever was true a moment ago; a single time-out may be a busy moment. */
const GONE: ReadonlySet<ProbeFailureKind> = new Set(['refused', 'lost', 'starting-up']);

export function isAvailable(node: NodeSnapshot): boolean {
  if (node.claims === null || node.health === 'down') return false;
  return node.failureKind === null || !GONE.has(node.failureKind);
}

/** Whether a replica's own configuration names this node as its upstream. */
export function follows(replica: NodeSnapshot, node: NodeSnapshot): boolean {
  const address = replica.upstream?.address ?? null;
  return address !== null && address.host === node.host && address.port === node.port;
}

/** Reachable replicas that receive from the node. */
export function receiversOf(node: NodeSnapshot, nodes: readonly NodeSnapshot[]): readonly NodeSnapshot[] {
  return nodes.filter(
    (other) =>
      other.claims === 'replica' &&
      isAvailable(other) &&
      other.upstream?.receiving === true &&
      follows(other, node),
  );
}

/**
 * A proxy that starts while the primary is dead has never seen it: it is the node that has not answered and that the replicas
 * name as their source, if they agree. Null when anything else answers as a primary.
 */
export function inferLastPrimary(nodes: readonly NodeSnapshot[]): string | null {
  if (nodes.some((node) => node.claims === 'primary')) return null;
  const sources = nodes.filter((node) =>
    nodes.some((other) => other.claims === 'replica' && follows(other, node)),
  );
  const only = sources.length === 1 ? sources[0]! : null;
  return only !== null && only.claims === null && !only.fenced ? only.name : null;
}

/** PostgreSQL's system identifier is the cluster's (there is a timeline); a stranger is never written to. */
function isStranger(node: NodeSnapshot, snapshot: ClusterSnapshot): boolean {
  if (node.timeline === 0 || node.serverId === null) return false;
  const last = findNode(snapshot, snapshot.lastPrimary);
  if (last !== null && last !== node && last.serverId !== null) return last.serverId !== node.serverId;
  const known = snapshot.nodes.filter((other) => other.claims === 'replica' && other.serverId !== null);
  return known.length > 0 && known.every((replica) => replica.serverId !== node.serverId);
}

const names = (nodes: readonly NodeSnapshot[]): string => nodes.map((node) => node.name).join(', ');

export function elect(snapshot: ClusterSnapshot): Election {
  const last = findNode(snapshot, snapshot.lastPrimary);
  const writable = snapshot.nodes.filter(
    (node) =>
      isAvailable(node) &&
      node.claims === 'primary' &&
      node.writable &&
      !node.fenced &&
      !isStranger(node, snapshot),
  );
  if (writable.length === 0) return electNobody(snapshot, last);
  if (writable.length === 1) return electOnly(snapshot, writable[0]!, last);
  return electOne(snapshot, writable, last);
}

function electNobody(snapshot: ClusterSnapshot, last: NodeSnapshot | null): Election {
  // It was the primary and still says so, but takes no writes: the server's own error tells the client best.
  if (last !== null && isAvailable(last) && last.claims === 'primary' && !last.fenced)
    return { primary: last.name, why: `primary ${last.name} is read-only` };
  const strangers = snapshot.nodes.filter((node) => node.claims === 'primary' && isStranger(node, snapshot));
  if (strangers.length > 0)
    return { primary: null, why: `${names(strangers)}: another cluster, by its system identifier` };
  if (last !== null && last.claims === 'replica' && isAvailable(last))
    return { primary: null, why: `${last.name} was the primary and is a replica now; no node takes writes` };
  if (last !== null)
    return { primary: null, why: `primary ${last.name} does not serve: ${last.reason ?? 'not asked yet'}` };
  const readOnly = snapshot.nodes.filter(
    (node) => isAvailable(node) && node.claims === 'primary' && !node.writable,
  );
  if (readOnly.length > 0) return { primary: null, why: `${names(readOnly)}: not a replica, but read-only` };
  return { primary: null, why: 'no node takes writes' };
}

function electOnly(snapshot: ClusterSnapshot, only: NodeSnapshot, last: NodeSnapshot | null): Election {
  const chosen = { primary: only.name, why: '' };
  if (last === null || last === only) return chosen;
  // Another node than before. Somebody else has promoted it, if there is any sign of that.
  const replaced = last.claims === 'replica' && isAvailable(last);
  const newer = last.timeline > 0 && only.timeline > last.timeline;
  if (replaced || newer || only.seenAsReplica || receiversOf(only, snapshot.nodes).length > 0) return chosen;
  return {
    primary: null,
    why: `${only.name} takes writes, but ${last.name} is remembered as the primary and nothing shows that it was replaced`,
  };
}

function electOne(
  snapshot: ClusterSnapshot,
  writable: readonly NodeSnapshot[],
  last: NodeSnapshot | null,
): Election {
  const odd = (winner: NodeSnapshot, because: string): Election => ({
    primary: winner.name,
    why: `several nodes take writes (${names(writable)}): ${winner.name} is the primary, ${because}`,
  });
  const newest = Math.max(...writable.map((node) => node.timeline));
  const onNewest = writable.filter((node) => node.timeline === newest);
  if (onNewest.length === 1 && newest > 0) return odd(onNewest[0]!, `its timeline ${newest} is the newest`);
  const followed = onNewest.filter((node) => receiversOf(node, snapshot.nodes).length > 0);
  if (followed.length === 1) return odd(followed[0]!, 'the replicas receive from it');
  if (last !== null && onNewest.includes(last)) return odd(last, 'it was before');
  return {
    primary: null,
    why: `several nodes take writes and none can be told to be the primary: ${names(writable)}`,
  };
}
