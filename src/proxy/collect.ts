// States that are read rather than counted, put into the counters when somebody asks for them.
// It counts nothing.

import { busyPoll } from '../lib/busy-poll.js';
import { passedOver } from '../routing/decide.js';
import { type ClusterCounters, type Counters, nodeCounters } from '../telemetry/counters.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { Listener } from './listener.js';
import { type ClusterFacts, freshSession } from './status.js';

export function collectStates(
  counters: Counters,
  clusters: readonly ClusterRuntime[],
  listeners: readonly Listener[],
): Counters {
  for (const listener of listeners) listener.collect();
  for (const runtime of clusters) collectCluster(runtime);
  counters.busyPollMs = busyPoll.idleMs;
  return counters;
}

function collectCluster(runtime: ClusterRuntime): void {
  const { counters, snapshot, protocol } = runtime;
  const stats = protocol.classificationStats;
  counters.cacheHits = stats.hits;
  counters.cacheMisses = stats.misses;
  counters.cacheRefusals = stats.refused;
  counters.cacheEntries = stats.entries;
  counters.cacheBytes = stats.bytes;
  counters.lexedBytes = stats.lexedBytes;
  Object.assign(counters.autoPrepare, protocol.autoPrepareStats);
  counters.holding = runtime.hold.size + runtime.waits.size;
  counters.keys = runtime.keyed.size;
  counters.keyEvictions = runtime.keyed.evictions;
  collectSnapshot(counters, runtime);
  for (const node of snapshot.nodes) {
    const numbers = nodeCounters(counters, node.name);
    const pool = runtime.pool(node.name);
    if (pool === null) continue;
    numbers.poolIdle = pool.idle;
    numbers.poolLeased = pool.leased;
    numbers.poolShared = pool.shared;
    numbers.sharedUnits = pool.sharedUnits;
    numbers.slowHeads = pool.evacuations;
    numbers.poolWaiting = pool.waiting;
    numbers.poolWaits = pool.counts.waited;
    numbers.poolTimeouts = pool.counts.timeouts;
    numbers.poolRefusals = pool.counts.refusals;
    numbers.serverConnectionsOpened = pool.counts.opened;
    numbers.serverConnectionsOpenFailures = pool.counts.openFailures;
    numbers.serverConnectionsClosed = pool.counts.closed;
    numbers.bytesReceived = pool.bytesReceived;
    numbers.bytesSent = pool.bytesSent;
  }
}

/** What the monitor knows. */
export function collectSnapshot(
  counters: ClusterCounters,
  facts: Pick<ClusterFacts, 'snapshot' | 'settings' | 'positions'>,
): void {
  const { snapshot } = facts;
  counters.epoch = snapshot.epoch;
  for (const node of snapshot.nodes) {
    const numbers = nodeCounters(counters, node.name);
    numbers.up = node.health === 'up';
    numbers.primary = snapshot.primary === node.name;
    numbers.takesReads = passedOver(node, freshSession(facts), facts.positions) === null;
    numbers.lagMs = node.lagMs;
  }
}
