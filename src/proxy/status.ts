// What the admin server is told of a running cluster: the snapshot and the pools in the words of the status report.
// It changes nothing.

import type { ClusterStatus, NodeStatus } from '../admin/source.js';
import type { NodeSnapshot } from '../cluster/snapshot.js';
import { hostPort } from '../lib/address.js';
import { monotonicMs } from '../lib/clock.js';
import { passedOver, type SessionView } from '../routing/decide.js';
import { takesUnits } from '../routing/node-mode.js';
import type { ClusterCounters } from '../telemetry/counters.js';
import type { ClusterRuntime } from './cluster-runtime.js';

/** A cluster of this process, or the sum of what the workers say of it. */
export interface ClusterFacts extends Pick<ClusterRuntime, 'name' | 'config' | 'snapshot' | 'positions'> {
  readonly settings: Pick<ClusterRuntime['settings'], 'maxLagMs'>;
  readonly counters: Pick<ClusterCounters, 'clients' | 'pinned' | 'ruleMatches' | 'ruleDenials'> & {
    readonly store: Pick<ClusterCounters['store'], 'joined' | 'missing'>;
  };
  readonly hold: { readonly size: number };
  pool(node: string): {
    readonly idle: number;
    readonly leased: number;
    readonly shared: number;
    readonly waiting: number;
  } | null;
}

export function clusterStatus(runtime: ClusterFacts): ClusterStatus {
  const { snapshot, config } = runtime;
  const { phase, explanation } = snapshot;
  const alerts: string[] = [];
  if (explanation !== '') alerts.push(explanation);
  for (const node of snapshot.nodes) {
    if (node.fenced)
      alerts.push(
        `${node.name} was replaced as the primary; nothing is written to it until it replicates again`,
      );
    if (node.errant) alerts.push(`${node.name} has history that the primary does not have`);
  }
  const { joined, missing } = runtime.counters.store;
  if (config.redis !== null && joined === 0)
    alerts.push('keys are not shared through Redis now: keyed reads go to the primary');
  else if (config.redis !== null && missing > 0)
    alerts.push('a proxy that shares keys through Redis has no lease: keyed reads go to the primary');
  return {
    name: runtime.name,
    protocol: config.protocol,
    primary: snapshot.primary,
    epoch: snapshot.epoch,
    state: phase === 'normal' ? 'ok' : `${phase}${explanation === '' ? '' : ': '}${explanation}`,
    failoverMode: config.failover.mode,
    clients: runtime.counters.clients,
    held: runtime.hold.size,
    pinned: Object.fromEntries(Object.entries(runtime.counters.pinned).filter(([, count]) => count > 0)),
    alerts,
    rules: config.rules.map(({ name }) => ({
      name,
      matches: runtime.counters.ruleMatches[name] ?? 0,
      denials: runtime.counters.ruleDenials[name] ?? 0,
    })),
    nodes: snapshot.nodes.map((node) => nodeStatus(runtime, node)),
  };
}

function nodeStatus(runtime: ClusterFacts, node: NodeSnapshot): NodeStatus {
  const { upstream } = node;
  const pool = runtime.pool(node.name);
  const isPrimary = runtime.snapshot.primary === node.name;
  const over = passedOver(node, freshSession(runtime), runtime.positions);
  const takesWrites = isPrimary && takesUnits(node.mode, true);
  const address = upstream?.address ?? null;
  return {
    name: node.name,
    host: node.host,
    port: node.port,
    mode: node.mode,
    role: node.role,
    state: stateOf(node),
    takesReads: over === null,
    takesWrites,
    excludedBecause: over === null || takesWrites ? null : isPrimary ? `is set to ${node.mode}` : over.why,
    lagMs: node.lagMs,
    secondsBehind: upstream?.secondsBehind ?? null,
    position: node.applied?.text ?? null,
    upstream: address === null ? null : hostPort(address.host, address.port),
    version: node.version,
    weight: node.weight,
    lastError: node.reason,
    probedMsAgo: Number.isFinite(node.appliedAtMs)
      ? Math.max(0, Math.round(monotonicMs() - node.appliedAtMs))
      : null,
    pool: {
      open: (pool?.idle ?? 0) + (pool?.leased ?? 0) + (pool?.shared ?? 0),
      idle: pool?.idle ?? 0,
      leased: pool?.leased ?? 0,
      shared: pool?.shared ?? 0,
      waiting: pool?.waiting ?? 0,
      limit: runtime.config.pool.maxServerConnections,
    },
  };
}

function stateOf(node: NodeSnapshot): NodeStatus['state'] {
  if (node.health !== 'down') return node.claims === null ? 'unknown' : 'up';
  const answered = node.failureKind !== null && !['refused', 'timeout', 'lost'].includes(node.failureKind);
  return answered ? 'refused' : 'down';
}

/** A session that has written and seen nothing yet: what any client may expect of a node. */
export function freshSession(runtime: Pick<ClusterFacts, 'settings'>): SessionView {
  return {
    consistency: 'eventual',
    maxLagMs: runtime.settings.maxLagMs,
    splitReads: true,
    target: null,
    fallback: 'primary',
    watermark: null,
    watermarkPending: false,
    lastReplica: null,
    moveFloor: null,
    excluded: [],
    effort: null,
  };
}
