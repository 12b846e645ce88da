// The monitor of a cluster with its counters, and the face that it shows to the data path of the same process.
// It watches nothing by itself.

import { FAILOVER_DEFAULTS, type ClusterConfig as MonitorConfig } from '../cluster/config.js';
import { ClusterMonitor } from '../cluster/monitor.js';
import type { ClusterSnapshot } from '../cluster/snapshot.js';
import type { ClusterConfig } from '../config/schema.js';
import { systemClock } from '../lib/clock.js';
import type { NodeAddress, NodeControl } from '../protocol/node-control.js';
import type { Protocol } from '../protocol/protocol.js';
import { type ClusterCounters, nodeCounters } from '../telemetry/counters.js';
import type { Log } from '../telemetry/log.js';
import type { OpenControl } from './catalog-refresh.js';
import type { ClusterMonitorPort } from './cluster-runtime.js';

const APPLICATION_NAME = 'scheelite';
const USERS_TIMEOUT_MS = 5000;

/** What a data path needs of the monitoring of its cluster, wherever the monitor runs. */
export interface Monitoring {
  readonly port: ClusterMonitorPort;
  start(): Promise<void>;
  configure(config: ClusterConfig): void;
  stop(): Promise<void>;
}

export interface MonitoringOptions {
  readonly config: ClusterConfig;
  readonly protocol: Protocol;
  readonly counters: ClusterCounters;
  readonly log: Log;
  /** Resolves once every data path has acted on the present snapshot; absent: they do while they are told. */
  readonly settled?: () => Promise<void>;
}

export class LocalMonitoring implements Monitoring {
  readonly monitor: ClusterMonitor;
  readonly port: ClusterMonitorPort;

  constructor({ config, protocol, counters, log, settled }: MonitoringOptions) {
    const monitor = new ClusterMonitor({
      config: monitorConfig(config),
      control: (node) => openControl(protocol, config, node, config.monitor.database),
      positions: protocol.positions,
      clock: systemClock,
      // It names the cluster in each line by itself.
      log,
      onProbe: (node, failure) => {
        const numbers = nodeCounters(counters, node);
        if (failure === null) numbers.probesAnswered++;
        else numbers.probesFailed[failure]++;
      },
      ...(settled === undefined ? {} : { settled }),
    });
    monitor.onSnapshot((snapshot, before) => countFailovers(counters, snapshot, before));
    this.monitor = monitor;
    this.port = {
      get snapshot() {
        return monitor.snapshot;
      },
      samples: monitor.resolver,
      onSnapshot: (listener) => void monitor.onSnapshot(listener),
      reportFailure: (node, error) => monitor.reportFailure(node, error),
      requestPosition: (afterMs, came) => monitor.resolver.request(afterMs, came),
      verifier: (user) => ofUsers(monitor, (control) => control.verifier(user, USERS_TIMEOUT_MS)),
      standing: (user, database, maxAgeMs) =>
        ofUsers(monitor, (control) => control.standing(user, database, maxAgeMs, USERS_TIMEOUT_MS)),
      openOnPrimary: () => openOnPrimary(protocol, config, monitor.snapshot),
      schemaChanged: () => {},
      leaveDatabase: () => {},
    };
  }

  start(): Promise<void> {
    return this.monitor.start();
  }

  configure(config: ClusterConfig): void {
    this.monitor.configure(monitorConfig(config));
  }

  stop(): Promise<void> {
    return this.monitor.stop();
  }
}

export function openOnPrimary(
  protocol: Protocol,
  config: ClusterConfig,
  { primary, nodes }: ClusterSnapshot,
): OpenControl | null {
  const node = nodes.find(({ name }) => name === primary);
  return node === undefined ? null : (database) => openControl(protocol, config, node, database);
}

/** Asks the primary first, then who has its users by replication. */
async function ofUsers<T>(monitor: ClusterMonitor, ask: (control: NodeControl) => Promise<T>): Promise<T> {
  const { primary, nodes, explanation } = monitor.snapshot;
  let failure = new Error(`there is no node to ask: ${explanation}`);
  const asked = nodes.filter((node) => node.health === 'up' && !node.fenced);
  asked.sort((a, b) => Number(b.name === primary) - Number(a.name === primary));
  for (const { name } of asked) {
    try {
      const control = monitor.control(name);
      if (control !== null) return await ask(control);
    } catch (cause) {
      failure = cause instanceof Error ? cause : new Error(String(cause));
    }
  }
  throw failure;
}

function openControl(
  protocol: Protocol,
  config: ClusterConfig,
  address: NodeAddress,
  database: string,
): NodeControl {
  const { user, password, database: usual } = config.monitor;
  const options = { user, password, database: database || usual, applicationName: APPLICATION_NAME };
  return protocol.createControl(address, options);
}

function countFailovers(counters: ClusterCounters, snapshot: ClusterSnapshot, before: ClusterSnapshot): void {
  if (snapshot.epoch > before.epoch && before.lastPrimary !== null) counters.failovers.done++;
  else if (before.phase === 'failing-over' && snapshot.phase !== 'failing-over') counters.failovers.failed++;
  if (snapshot.phase === 'blocked' && before.phase !== 'blocked') counters.failovers.refused++;
}

function monitorConfig(config: ClusterConfig): MonitorConfig {
  const { mode, probes, blockMs, stateFile, auditFile } = config.failover;
  return {
    name: config.name,
    nodes: config.nodes,
    monitor: config.monitor,
    failover: { ...FAILOVER_DEFAULTS, mode, probes, blockMs },
    stateFile,
    auditFile,
  };
}
