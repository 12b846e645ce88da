// Listeners and clusters of one process: everything that clients touch, whoever watches the nodes.
// It decides nothing by itself; monitoring, and its part of the limits, are given to it.

import {
  clusterAsked,
  type ExplainReport,
  type ExplainRequest,
  type SessionsReport,
  type SessionsRequest,
  type Unanswerable,
} from '../admin/explain.js';
import type { ClusterConfig, Config, Protocol as ProtocolName } from '../config/schema.js';
import { busyPoll } from '../lib/busy-poll.js';
import { systemClock } from '../lib/clock.js';
import { ProxyError } from '../lib/errors.js';
import { processors } from '../lib/processors.js';
import { tidyHeapWhenIdle } from '../lib/tidy-heap.js';
import type { Peers, Protocol } from '../protocol/protocol.js';
import { bugReporter } from '../telemetry/bug.js';
import {
  type ClusterCounters,
  type Counters,
  clusterCounters,
  createCounters,
  listenerCounters,
} from '../telemetry/counters.js';
import type { Log } from '../telemetry/log.js';
import type { ClusterStatements } from '../telemetry/statement-report.js';
import { ClusterRuntime, type PoolAllowance } from './cluster-runtime.js';
import { collectStates } from './collect.js';
import { explainOn, sessionsOf } from './explain.js';
import { Listener, type Places } from './listener.js';
import type { Monitoring } from './monitoring.js';
import type { ReloadResult, RunningProxy } from './running-proxy.js';
import type { SharedWatermarks, SharedWatermarksParts } from './shared-watermarks.js';
import { clusterStatus } from './status.js';

/** Those that the configuration's clusters speak. */
export type Protocols = Readonly<Partial<Record<ProtocolName, Protocol>>>;

/** Longer than a point read and what a client does between two of them take. */
const BUSY_POLL_US = 200;
/** How often a drain looks for clients that have become idle. */
const DRAIN_STEP_MS = 50;

export interface DataPathOptions {
  readonly config: Config;
  readonly log: Log;
  readonly protocols: Protocols;
  readonly monitoring: (config: ClusterConfig, protocol: Protocol, counters: ClusterCounters) => Monitoring;
  /** Null: this process is the only one. */
  /** Null: nobody else serves the same keys. */
  readonly watermarks: (parts: Omit<SharedWatermarksParts, 'worker'>) => SharedWatermarks | null;
  readonly sharing: {
    peers(cluster: string): Peers;
    pools(cluster: string): PoolAllowance;
    places(listener: string): Places;
  } | null;
}

interface RunningCluster {
  readonly monitoring: Monitoring;
  readonly runtime: ClusterRuntime;
  readonly watermarks: SharedWatermarks | null;
}

/** Who looks for input needs a processor for that, and another one for those who send it. */
function busyPollUs(config: Config): number {
  if (config.busyPollUs !== 'auto') return config.busyPollUs;
  return processors() < 2 ? 0 : BUSY_POLL_US;
}

export class DataPath implements RunningProxy {
  readonly #options: DataPathOptions;
  readonly #counters: Counters = createCounters();
  readonly #clusters = new Map<string, RunningCluster>();
  readonly #listeners = new Map<string, Listener>();
  #config: Config;
  #state: 'running' | 'draining' | 'closed' = 'running';
  #stopTidying = (): void => {};

  constructor(options: DataPathOptions) {
    const { config, sharing } = options;
    this.#options = options;
    this.#config = config;
    for (const cluster of config.clusters) this.#clusters.set(cluster.name, this.#createCluster(cluster));
    for (const listener of config.listeners) {
      const { runtime } = this.#clusters.get(listener.cluster)!;
      const counters = listenerCounters(this.#counters, listener.name);
      const places = sharing?.places(listener.name) ?? null;
      this.#listeners.set(listener.name, new Listener(listener, config.limits, runtime, counters, places));
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

  cluster(name: string): ClusterRuntime | null {
    return this.#clusters.get(name)?.runtime ?? null;
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  counters(): Counters {
    const runtimes = [...this.#clusters.values()].map(({ runtime }) => runtime);
    return collectStates(this.#counters, runtimes, [...this.#listeners.values()]);
  }

  statements(): ClusterStatements[] {
    return [...this.#clusters].map(([cluster, { runtime }]) => ({ cluster, statements: runtime.statements }));
  }

  resetStatements(): void {
    for (const { runtime } of this.#clusters.values()) runtime.statements.reset();
  }

  explain(request: ExplainRequest): Promise<ExplainReport | Unanswerable> {
    const cluster = clusterAsked(request.cluster, [...this.#clusters.keys()]);
    if (typeof cluster !== 'string') return Promise.resolve(cluster);
    return Promise.resolve(explainOn(this.#clusters.get(cluster)!.runtime, request, this.#config.limits));
  }

  sessions(request: SessionsRequest): Promise<SessionsReport> {
    const runtimes = [...this.#clusters.values()].map(({ runtime }) => runtime);
    return Promise.resolve(sessionsOf(runtimes, request));
  }

  get listeners(): { name: string; host: string; port: number }[] {
    return [...this.#listeners.values()].map(({ name, host, port }) => ({ name, host, port }));
  }

  async open(): Promise<void> {
    await Promise.all([...this.#clusters.values()].map(({ monitoring }) => monitoring.start()));
    await Promise.all([...this.#clusters.values()].map(({ watermarks }) => watermarks?.start()));
    for (const listener of this.#listeners.values()) await listener.open();
    busyPoll.limitUs = busyPollUs(this.#config);
    this.#stopTidying = tidyHeapWhenIdle(
      () => this.#arrivals(),
      () => this.letGo(),
    );
  }

  reload(next: Config): ReloadResult {
    this.#config = next;
    busyPoll.limitUs = busyPollUs(next);
    for (const config of next.clusters) {
      const cluster = this.#clusters.get(config.name);
      if (cluster === undefined) continue;
      cluster.monitoring.configure(config);
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
    this.#stopTidying();
    const error = new ProxyError('shutting-down');
    for (const listener of this.#listeners.values()) await listener.stopAccepting();
    for (const { runtime } of this.#clusters.values()) runtime.close(error);
    await Promise.all([...this.#clusters.values()].map(({ watermarks }) => watermarks?.stop()));
    await Promise.all([...this.#clusters.values()].map(({ monitoring }) => monitoring.stop()));
    for (const listener of this.#listeners.values()) listener.destroyAll();
  }

  /** Only what nobody would miss; sessions may be in the middle of something. */
  letGo(): void {
    const held = new Map<string, string>();
    for (const { runtime } of this.#clusters.values())
      for (const session of runtime.sessions) session.letGo(held);
  }

  /** Clients that have come so far. */
  #arrivals(): number {
    let count = 0;
    for (const { clientsTotal } of this.#counters.listeners.values()) count += clientsTotal;
    return count;
  }

  #clientCount(): number {
    let count = 0;
    for (const listener of this.#listeners.values()) count += listener.clients;
    return count;
  }

  #createCluster(config: ClusterConfig): RunningCluster {
    const { sharing, protocols } = this.#options;
    const protocol = protocols[config.protocol]!;
    const log = this.#options.log.child({ cluster: config.name });
    const counters = clusterCounters(this.#counters, config.name);
    const bug = bugReporter(log, counters);
    const monitoring = this.#options.monitoring(config, protocol, counters);
    const watermarks = this.#options.watermarks({
      config: this.#options.config,
      cluster: config,
      counters,
      log,
      ttlMs: () => runtime.config.consistency.keyTtlMs,
      positionNow: (callback) => runtime.sharedPosition(callback),
      primary: () => runtime.snapshot.primary,
    });
    const runtime: ClusterRuntime = new ClusterRuntime({
      config,
      protocol: protocol.createRuntime({
        cluster: config.name,
        log,
        bug,
        routing: config.routing,
        autoPrepare: config.autoPrepare,
        catalogWanted: () => queueMicrotask(() => runtime.catalogWanted()),
        peers: sharing?.peers(config.name) ?? null,
      }),
      positions: protocol.positions,
      monitor: monitoring.port,
      counters,
      log,
      bug,
      allowance: sharing?.pools(config.name) ?? null,
      store: watermarks,
    });
    return { monitoring, runtime, watermarks };
  }
}
