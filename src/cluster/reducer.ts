// How one picture of a cluster follows from another: (snapshot, event) -> snapshot.
// Pure: it opens no socket, reads no clock and orders nothing; who is the primary is decided in election.ts.

import type { ProbeFailureKind, ProbeReading } from '../protocol/node-control.js';
import { noteAbsences } from './absence.js';
import type { ClusterNodeConfig } from './config.js';
import { elect, follows, inferLastPrimary, isAvailable } from './election.js';
import { type ClusterSnapshot, findNode, type NodeSnapshot, type NodeUpstream } from './snapshot.js';

export type ClusterEvent =
  | { readonly type: 'configured'; readonly nodes: readonly ClusterNodeConfig[]; readonly nowMs: number }
  | {
      readonly type: 'restored';
      readonly epoch: number;
      readonly primary: string | null;
      readonly fenced: readonly string[];
      /** A promotion was under way when the state was saved: nobody is the primary until its outcome is known. */
      readonly unfinished: boolean;
      readonly nowMs: number;
    }
  | {
      readonly type: 'answered';
      readonly node: string;
      readonly reading: ProbeReading;
      readonly lagMs: number | null;
      readonly lagDistance: number | null;
      readonly nowMs: number;
    }
  | {
      readonly type: 'failed';
      readonly node: string;
      readonly kind: ProbeFailureKind;
      readonly message: string;
      readonly sentAtMs: number;
      readonly nowMs: number;
    }
  /** The data path lost a connection to it. */
  | { readonly type: 'reported'; readonly node: string; readonly message: string; readonly nowMs: number }
  | { readonly type: 'errant'; readonly node: string; readonly errant: boolean; readonly nowMs: number }
  | { readonly type: 'verdict'; readonly verdict: string; readonly nowMs: number }
  | { readonly type: 'failover-started'; readonly verdict: string; readonly nowMs: number }
  | { readonly type: 'promoted'; readonly node: string; readonly nowMs: number }
  | {
      readonly type: 'failover-ended';
      readonly verdict: string;
      readonly blocked: boolean;
      readonly nowMs: number;
    }
  | { readonly type: 'blocked'; readonly verdict: string; readonly nowMs: number }
  /** An operator has looked: a blocked cluster may fail over again. */
  | { readonly type: 'acknowledged'; readonly nowMs: number }
  /** An operator says that this node may be the primary again. */
  | { readonly type: 'unfenced'; readonly node: string; readonly nowMs: number };

export interface ReducerRules {
  /** Failed probes in a row, none answered by a server, after which a node is down. */
  readonly downAfterProbes: number;
}

export function emptySnapshot(cluster: string, nowMs: number): ClusterSnapshot {
  return {
    cluster,
    epoch: 1,
    phase: 'starting',
    primary: null,
    lastPrimary: null,
    nodes: [],
    verdict: '',
    takenAtMs: nowMs,
    explanation: 'no node has been asked yet',
  };
}

function newNode(config: ClusterNodeConfig): NodeSnapshot {
  const { name, host, port, weight, tags, mode } = config;
  return {
    ...{ name, host, port, weight, tags, mode },
    role: 'unknown',
    health: 'suspect',
    reason: 'not asked yet',
    writable: false,
    applied: null,
    appliedAtMs: Number.NEGATIVE_INFINITY,
    received: null,
    lagMs: null,
    lagDistance: null,
    upstream: null,
    timeline: 0,
    serverId: null,
    version: null,
    wasPrimary: false,
    fenced: false,
    errant: false,
    seenAsReplica: false,
    failures: 0,
    failureKind: null,
    failingSinceMs: null,
    reportedAtMs: Number.NEGATIVE_INFINITY,
    changedAtMs: Number.NEGATIVE_INFINITY,
    awaySinceMs: null,
    backSinceMs: Number.NEGATIVE_INFINITY,
    claims: null,
  };
}

export function reduce(snapshot: ClusterSnapshot, event: ClusterEvent, rules: ReducerRules): ClusterSnapshot {
  const taken = { ...snapshot, takenAtMs: event.nowMs };
  switch (event.type) {
    case 'configured':
      return settle({ ...taken, nodes: configureNodes(taken.nodes, event.nodes) });
    case 'restored':
      return settle({
        ...taken,
        epoch: event.epoch,
        lastPrimary: event.primary,
        phase: event.unfinished ? 'failing-over' : taken.phase,
        verdict: event.unfinished ? 'a promotion was under way when the proxy ended' : '',
        nodes: taken.nodes.map((node) => ({
          ...node,
          fenced: event.fenced.includes(node.name),
          wasPrimary: event.fenced.includes(node.name) || node.name === event.primary,
        })),
      });
    case 'answered':
      return settle(change(taken, event.node, (node) => answered(node, event)));
    case 'failed':
      return settle(change(taken, event.node, (node) => failed(node, event, rules)));
    case 'reported':
      return settle(
        change(taken, event.node, (node) => ({
          ...node,
          health: node.health === 'down' ? 'down' : 'suspect',
          reason: node.health === 'down' ? node.reason : event.message,
          reportedAtMs: event.nowMs,
        })),
      );
    case 'errant':
      return settle(change(taken, event.node, (node) => ({ ...node, errant: event.errant })));
    case 'verdict':
      return settle({ ...taken, verdict: event.verdict });
    case 'failover-started':
      return settle({ ...taken, phase: 'failing-over', verdict: event.verdict });
    case 'promoted':
      return promoted(taken, event.node, event.nowMs);
    case 'failover-ended':
      return settle({ ...taken, phase: event.blocked ? 'blocked' : 'no-primary', verdict: event.verdict });
    case 'blocked':
      return settle({ ...taken, phase: 'blocked', verdict: event.verdict });
    case 'acknowledged':
      return settle({
        ...taken,
        phase: taken.phase === 'blocked' ? 'no-primary' : taken.phase,
        verdict: '',
      });
    case 'unfenced':
      return settle(change(taken, event.node, (node) => ({ ...node, fenced: false })));
  }
}

function change(
  snapshot: ClusterSnapshot,
  name: string,
  edit: (node: NodeSnapshot) => NodeSnapshot,
): ClusterSnapshot {
  return { ...snapshot, nodes: snapshot.nodes.map((node) => (node.name === name ? edit(node) : node)) };
}

/** A node keeps what is known of it while its name and address stay. */
function configureNodes(
  nodes: readonly NodeSnapshot[],
  configs: readonly ClusterNodeConfig[],
): readonly NodeSnapshot[] {
  return configs.map((config) => {
    const known = nodes.find(
      ({ name, host, port }) => name === config.name && host === config.host && port === config.port,
    );
    if (known === undefined) return newNode(config);
    return { ...known, weight: config.weight, tags: config.tags, mode: config.mode };
  });
}

function answered(node: NodeSnapshot, event: ClusterEvent & { type: 'answered' }): NodeSnapshot {
  const { reading } = event;
  if (reading.sentAtMs <= node.changedAtMs) return node;
  const cleared = reading.sentAtMs > node.reportedAtMs;
  const next: NodeSnapshot = {
    ...node,
    health: cleared ? 'up' : 'suspect',
    reason: cleared ? null : node.reason,
    writable: reading.writable,
    applied: reading.applied,
    appliedAtMs: reading.sentAtMs,
    received: reading.received,
    lagMs: event.lagMs,
    lagDistance: event.lagDistance,
    upstream: upstreamAfter(node, reading),
    timeline: reading.timeline,
    serverId: reading.serverId,
    version: reading.version,
    seenAsReplica: node.seenAsReplica || reading.role === 'replica',
    failures: 0,
    failureKind: null,
    failingSinceMs: null,
    claims: reading.role,
  };
  return next;
}

function upstreamAfter(node: NodeSnapshot, reading: ProbeReading): NodeUpstream | null {
  if (reading.upstream === null) return null;
  const before = node.upstream;
  // The first answer moves nothing: that the node has received something once is no sign of life now.
  const moved =
    before !== null &&
    (before.lastMessage !== reading.upstream.lastMessage || node.received?.text !== reading.received.text);
  return {
    ...reading.upstream,
    movedAtMs: moved ? reading.sentAtMs : (before?.movedAtMs ?? Number.NEGATIVE_INFINITY),
  };
}

function failed(
  node: NodeSnapshot,
  event: ClusterEvent & { type: 'failed' },
  rules: ReducerRules,
): NodeSnapshot {
  if (event.sentAtMs <= node.changedAtMs) return node;
  const nobodyThere = event.kind === 'refused' || event.kind === 'timeout' || event.kind === 'lost';
  const failures = nobodyThere ? node.failures + 1 : 0;
  return {
    ...node,
    health: failures >= rules.downAfterProbes ? 'down' : 'suspect',
    reason: event.message,
    failures,
    failureKind: event.kind,
    failingSinceMs: nobodyThere ? (node.failingSinceMs ?? event.sentAtMs) : null,
  };
}

function promoted(snapshot: ClusterSnapshot, name: string, nowMs: number): ClusterSnapshot {
  return settle({
    ...snapshot,
    epoch: snapshot.epoch + 1,
    phase: 'normal',
    lastPrimary: name,
    verdict: '',
    nodes: snapshot.nodes.map((node) => {
      if (node.name === name)
        return {
          ...node,
          claims: 'primary',
          writable: true,
          health: 'up',
          reason: null,
          failures: 0,
          failureKind: null,
          failingSinceMs: null,
          fenced: false,
          errant: false,
          upstream: null,
          lagMs: 0,
          lagDistance: 0,
          changedAtMs: nowMs,
        };
      // Positions of the old history are not compared with the new one's.
      const replaced = node.name === snapshot.lastPrimary;
      return {
        ...node,
        lagMs: null,
        lagDistance: null,
        fenced: node.fenced || replaced,
        wasPrimary: node.wasPrimary || replaced,
      };
    }),
  });
}

const asked = (node: NodeSnapshot): boolean =>
  node.claims !== null || node.failures > 0 || node.failureKind !== null;

/** Everything that follows from the rest: primary, phase, roles, fences, absences, explanation. */
function settle(given: ClusterSnapshot): ClusterSnapshot {
  return noteAbsences(elected(given));
}

function elected(given: ClusterSnapshot): ClusterSnapshot {
  const unfenced = unfenceRejoined(given);
  const snapshot =
    unfenced.lastPrimary === null && unfenced.nodes.every(asked)
      ? { ...unfenced, lastPrimary: inferLastPrimary(unfenced.nodes) }
      : unfenced;
  // While nodes are still unknown an old primary could be the only one heard; during a failover nobody is one.
  const open = snapshot.phase === 'starting' && !snapshot.nodes.every(asked);
  if (open)
    return { ...withRoles(snapshot), primary: null, explanation: 'not every node has been asked yet' };
  if (snapshot.phase === 'failing-over')
    return { ...withRoles(snapshot), primary: null, explanation: snapshot.verdict };

  const { primary, why } = elect(snapshot);
  const replaced = primary !== null && snapshot.lastPrimary !== null && primary !== snapshot.lastPrimary;
  const next: ClusterSnapshot = {
    ...snapshot,
    primary,
    lastPrimary: primary ?? snapshot.lastPrimary,
    // A node that was promoted by somebody else starts an epoch just as well.
    epoch: replaced ? snapshot.epoch + 1 : snapshot.epoch,
    phase: primary !== null ? 'normal' : snapshot.phase === 'blocked' ? 'blocked' : 'no-primary',
    verdict: primary !== null ? '' : snapshot.verdict,
    nodes: snapshot.nodes.map((node) => {
      if (node.name === primary)
        return node.wasPrimary && node.lagMs === 0
          ? node
          : { ...node, wasPrimary: true, lagMs: 0, lagDistance: 0 };
      if (!replaced) return node;
      const fenced = node.fenced || (node.name === snapshot.lastPrimary && node.claims !== 'replica');
      return { ...node, fenced, lagMs: null, lagDistance: null };
    }),
  };
  return explain(withRoles(next), why);
}

/** A former primary that receives from the present one has been rejoined. */
function unfenceRejoined(snapshot: ClusterSnapshot): ClusterSnapshot {
  const primary = findNode(snapshot, snapshot.lastPrimary);
  const rejoined = (node: NodeSnapshot): boolean => {
    if (!node.fenced || node.claims !== 'replica' || node.upstream?.receiving !== true) return false;
    if (primary === null || primary === node || !isAvailable(node)) return false;
    return follows(node, primary) || !snapshot.nodes.some((other) => follows(node, other));
  };
  if (!snapshot.nodes.some(rejoined)) return snapshot;
  return {
    ...snapshot,
    nodes: snapshot.nodes.map((node) => (rejoined(node) ? { ...node, fenced: false } : node)),
  };
}

function withRoles(snapshot: ClusterSnapshot): ClusterSnapshot {
  return {
    ...snapshot,
    nodes: snapshot.nodes.map((node) => {
      const role = node.fenced
        ? 'unknown'
        : node.claims === 'replica'
          ? 'replica'
          : node.name === snapshot.lastPrimary && node.claims !== null
            ? 'primary'
            : 'unknown';
      const reason = node.health === 'up' ? oddity(node, snapshot) : node.reason;
      return role === node.role && reason === node.reason ? node : { ...node, role, reason };
    }),
  };
}

/** What is worth a word about a node that answers. */
function oddity(node: NodeSnapshot, snapshot: ClusterSnapshot): string | null {
  if (node.fenced) {
    const doing = node.writable
      ? 'still takes writes'
      : node.claims === 'replica'
        ? 'is a replica'
        : 'is read-only';
    return `fenced: it was replaced as the primary and ${doing}; nothing is sent to it until it has been rejoined`;
  }
  if (node.errant) return 'it has history that the primary does not have; it is never promoted';
  if (node.claims === 'primary') {
    if (node.name !== snapshot.lastPrimary)
      return node.writable ? 'it takes writes, but is not the primary' : 'not a replica, but read-only';
    return node.writable ? null : 'the primary is read-only';
  }
  const upstream = node.upstream;
  if (upstream === null) return null;
  if (!upstream.receiving) return `does not receive: ${upstream.lastError ?? 'stopped'}`;
  if (!upstream.applying) return `does not apply: ${upstream.lastError ?? 'paused'}`;
  return null;
}

function explain(snapshot: ClusterSnapshot, why: string): ClusterSnapshot {
  const parts: string[] = [];
  if (why !== '') parts.push(why);
  if (snapshot.verdict !== '') parts.push(snapshot.verdict);
  const mode = findNode(snapshot, snapshot.primary)?.mode;
  if (mode === 'drain' || mode === 'offline')
    parts.push(`primary ${snapshot.primary} is set to ${mode}: nothing new is sent to it`);
  for (const node of snapshot.nodes)
    if (node.health === 'up' && (node.fenced || node.errant)) parts.push(`${node.name}: ${node.reason}`);
  return { ...snapshot, explanation: parts.join('; ') };
}
