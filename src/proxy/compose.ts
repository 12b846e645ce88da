// The one place where the parts are wired together: from a configuration to a running proxy.
// It decides nothing by itself.

import type { ClusterConfig as MonitorConfig } from '../cluster/config.js';
import { FAILOVER_DEFAULTS } from '../cluster/config.js';
import { ClusterMonitor } from '../cluster/monitor.js';
import type { ClusterConfig, Config } from '../config/schema.js';
import { systemClock } from '../lib/clock.js';
import { ProxyError } from '../lib/errors.js';
import { mysqlProtocol } from '../mysql/protocol.js';
import { postgresProtocol } from '../postgres/protocol.js';
import type { NodeAddress, NodeControlOptions } from '../protocol/node-control.js';
import type { Protocol } from '../protocol/protocol.js';
import {
  type Counters,
  clusterCounters,
  createCounters,
  listenerCounters,
  nodeCounters,
} from '../telemetry/counters.js';
import type { Log } from '../telemetry/log.js';
import { type ClusterMonitorPort, ClusterRuntime } from './cluster-runtime.js';
import { collectStates } from './collect.js';
import { Listener } from './listener.js';
import type { ReloadResult, RunningProxy, StartOptions } from './running-proxy.js';
import { clusterStatus } from './status.js';

const PROTOCOLS: Readonly<Record<ClusterConfig['protocol'], Protocol>> = {
  postgres: postgresProtocol,
  mysql: mysqlProtocol,
};
/** How often a drain looks for clients that have become idle. */
const DRAIN_STEP_MS = 50;
const APPLICATION_NAME = 'scheelite';

interface RunningCluster {
  readonly monitor: ClusterMonitor;
  readonly runtime: ClusterRuntime;
}

/** Rejects when a listener cannot bind or a state file cannot be read; nothing is left open then. */
export async function startProxy(options: StartOptions): Promise<RunningProxy> {
  const proxy = new ComposedProxy(options.config, options.log);
  try {
    await proxy.open();
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return proxy;
}

class ComposedProxy implements RunningProxy {
  readonly #counters: Counters = createCounters();
  readonly #log: Log;
  readonly #clusters = new Map<string, RunningCluster>();
  readonly #listeners = new Map<string, Listener>();
  #config: Config;
  #state: 'running' | 'draining' | 'closed' = 'running';

  constructor(config: Config, log: Log) {
    this.#config = config;
    this.#log = log;
    for (const cluster of config.clusters) this.#clusters.set(cluster.name, this.#createCluster(cluster));
    for (const listener of config.listeners) {
      const { runtime } = this.#clusters.get(listener.cluster)!;
      const counters = listenerCounters(this.#counters, listener.name);
      this.#listeners.set(listener.name, new Listener(listener, config.limits, runtime, counters));
    }
  }

  readonly admin = {
    status: () => ({
      state: this.#state === 'running' ? ('running' as const) : ('draining' as const),
      listeners: [...this.#listeners.values()].map((listener) => ({
        name: listener.name,
        host: listener.host,
        port: listener.port,
        cluster: listener.cluster.name,
        clients: listener.clients,
        maxClients: listener.maxClients,
      })),
      clusters: [...this.#clusters.values()].map(({ runtime }) => clusterStatus(runtime)),
    }),
    ready: () => {
      const reasons = this.#state === 'running' ? [] : ['the proxy is draining'];
      for (const { runtime } of this.#clusters.values()) {
        const { snapshot } = runtime;
        if (snapshot.primary === null)
          reasons.push(`cluster ${runtime.name}: no primary; ${snapshot.explanation}`);
      }
      return { ok: reasons.length === 0, reasons };
    },
  };

  counters(): Counters {
    const runtimes = [...this.#clusters.values()].map(({ runtime }) => runtime);
    return collectStates(this.#counters, runtimes, [...this.#listeners.values()]);
  }

  get listeners(): { name: string; host: string; port: number }[] {
    return [...this.#listeners.values()].map(({ name, host, port }) => ({ name, host, port }));
  }

  async open(): Promise<void> {
    await Promise.all([...this.#clusters.values()].map(({ monitor }) => monitor.start()));
    for (const listener of this.#listeners.values()) await listener.open();
  }

  reload(next: Config): ReloadResult {
    this.#config = next;
    for (const config of next.clusters) {
      const cluster = this.#clusters.get(config.name);
      if (cluster === undefined) continue;
      cluster.monitor.configure(monitorConfig(config));
      cluster.runtime.reconfigure(config);
    }
    for (const config of next.listeners) this.#listeners.get(config.name)?.reconfigure(config, next.limits);
    return { ok: true };
  }

  /** Idle clients go at once, the others when their unit or transaction has ended, all of them at the deadline. */
  async drain(): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'draining';
    for (const listener of this.#listeners.values()) await listener.stopAccepting();
    const deadlineMs = systemClock.now() + this.#config.limits.drainMs;
    const error = new ProxyError('shutting-down');
    while (this.#clientCount() > 0 && systemClock.now() < deadlineMs) {
      for (const { runtime } of this.#clusters.values()) {
        for (const session of [...runtime.sessions]) if (session.isIdle) session.terminate(error);
      }
      await new Promise((resolve) => setTimeout(resolve, DRAIN_STEP_MS));
    }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const error = new ProxyError('shutting-down');
    for (const listener of this.#listeners.values()) await listener.stopAccepting();
    for (const { runtime } of this.#clusters.values()) runtime.close(error);
    await Promise.all([...this.#clusters.values()].map(({ monitor }) => monitor.stop()));
    for (const listener of this.#listeners.values()) listener.destroyAll();
  }

  #clientCount(): number {
    let count = 0;
    for (const listener of this.#listeners.values()) count += listener.clients;
    return count;
  }

  #createCluster(config: ClusterConfig): RunningCluster {
    const protocol = PROTOCOLS[config.protocol];
    const log = this.#log.child({ cluster: config.name });
    const control = (address: NodeAddress, database: string) =>
      protocol.createControl(address, controlOptions(config, database));
    const monitor = new ClusterMonitor({
      config: monitorConfig(config),
      control: (node) => control(node, config.monitor.database),
      positions: protocol.positions,
      clock: systemClock,
      // It names the cluster in each line by itself.
      log: this.#log,
      onProbe: (node, failure) => {
        const numbers = nodeCounters(clusterCounters(this.#counters, config.name), node);
        if (failure === null) numbers.probesAnswered++;
        else numbers.probesFailed[failure]++;
      },
    });
    const runtime: ClusterRuntime = new ClusterRuntime({
      config,
      protocol: protocol.createRuntime({
        cluster: config.name,
        log,
        routing: config.routing,
        autoPrepare: config.autoPrepare,
        catalogWanted: () => queueMicrotask(() => runtime.catalogWanted()),
      }),
      positions: protocol.positions,
      monitor: monitorPort(monitor, control),
      counters: clusterCounters(this.#counters, config.name),
      log,
    });
    return { monitor, runtime };
  }
}

function monitorPort(
  monitor: ClusterMonitor,
  open: (address: NodeAddress, database: string) => ReturnType<Protocol['createControl']>,
): ClusterMonitorPort {
  const primary = () => monitor.snapshot.nodes.find((node) => node.name === monitor.snapshot.primary) ?? null;
  return {
    get snapshot() {
      return monitor.snapshot;
    },
    samples: monitor.resolver,
    onSnapshot: (listener) => void monitor.onSnapshot(listener),
    reportFailure: (node, error) => monitor.reportFailure(node, error),
    requestPosition: (afterMs) => monitor.resolver.request(afterMs, ignore),
    controls: () => {
      const nodes = monitor.snapshot.nodes.filter((node) => node.health === 'up' && !node.fenced);
      nodes.sort(
        (a, b) => Number(b.name === monitor.snapshot.primary) - Number(a.name === monitor.snapshot.primary),
      );
      return nodes.map((node) => monitor.control(node.name)).filter((control) => control !== null);
    },
    openOnPrimary: () => {
      const node = primary();
      return node === null ? null : (database) => open(node, database);
    },
  };
}

/** The resolver keeps its answers as samples; sessions look there. */
function ignore(): void {}

function controlOptions(config: ClusterConfig, database: string): NodeControlOptions {
  const { user, password } = config.monitor;
  return { user, password, database: database || config.monitor.database, applicationName: APPLICATION_NAME };
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
