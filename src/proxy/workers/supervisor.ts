// The process that watches the nodes, decides, shares out the limits and keeps the workers alive; no client's byte passes here.
// The sockets are node:cluster's: this process accepts and hands each client to the next worker (SCHED_RR), which spreads them evenly
// where the kernel's choice among waiting processes would not.

import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import {
  clusterAsked,
  type ExplainReport,
  type ExplainRequest,
  mergeSessions,
  type SessionsReport,
  type SessionsRequest,
  type Unanswerable,
} from '../../admin/explain.js';
import type { ClusterStatus, ProxyStatus, Readiness, WorkerStatus } from '../../admin/source.js';
import type { ClusterConfig, Config } from '../../config/schema.js';
import { MACHINE_OFFSET_MS } from '../../lib/clock.js';
import { tidyHeapWhenIdle } from '../../lib/tidy-heap.js';
import type { Protocol } from '../../protocol/protocol.js';
import {
  addCounters,
  type Counters,
  clusterCounters,
  createCounters,
  listenerCounters,
  nodeCounters,
} from '../../telemetry/counters.js';
import type { ClusterStatements } from '../../telemetry/statement-report.js';
import { Statements } from '../../telemetry/statements.js';
import { collectSnapshot } from '../collect.js';
import type { Protocols } from '../data-path.js';
import { LocalMonitoring } from '../monitoring.js';
import type { ListenerAddress, ReloadResult, RunningProxy, StartOptions } from '../running-proxy.js';
import { type ClusterFacts, clusterStatus } from '../status.js';
import { answerOf } from './calls.js';
import type { FromWorker, SupervisorCall, ToWorker, WorkerCall, WorkerReport } from './messages.js';
import { Publisher } from './publisher.js';
import { Shares } from './shares.js';
import { SupervisedKeys } from './supervised-keys.js';
import { WorkerHandle } from './worker-handle.js';

const ENTRY = fileURLToPath(new URL('./entry.js', import.meta.url));
/** A worker that has not answered by then: its last report is told instead. */
const REPORT_TIMEOUT_MS = 2_000;
/** A worker that has not acted on a change of roles by then is killed: it might write to a node that was replaced. */
const SETTLE_TIMEOUT_MS = 5_000;
const CLOSE_TIMEOUT_MS = 5_000;
const LOOK_INTERVAL_MS = 1_000;
/** Nodes notice a moment later that the connections of a worker have ended: only then do others get its part of the limits. */
const RELEASE_MS = 300;

export interface SupervisorOptions extends StartOptions {
  readonly workers: number;
  readonly protocols: Protocols;
}

interface WatchedCluster {
  readonly monitoring: LocalMonitoring;
  readonly publisher: Publisher;
  readonly protocol: Protocol;
  readonly statements: Statements;
  readonly keys: SupervisedKeys;
}

export class Supervisor implements RunningProxy {
  readonly #options: SupervisorOptions;
  /** What the monitors count. */
  readonly #monitored: Counters = createCounters();
  /** What workers have counted that are gone. */
  readonly #past: Counters = createCounters();
  readonly #clusters = new Map<string, WatchedCluster>();
  readonly #workers: readonly WorkerHandle[];
  readonly #shares: Shares;
  /** Of workers that have ended and whose part of the limits is still theirs. */
  readonly #releases = new Map<number, NodeJS.Timeout>();
  #config: Config;
  #state: 'starting' | 'running' | 'draining' | 'closed' = 'starting';
  #startFailed: ((error: Error) => void) | null = null;
  #onAllRunning: () => void = () => {};
  /** Looked at whenever a worker has ended. */
  readonly #watchers = new Set<() => void>();
  #refreshing: Promise<void> | null = null;
  /** For those who have asked since that one was sent. */
  #nextRefresh: Promise<void> | null = null;
  readonly #looks: NodeJS.Timeout;
  readonly #stopTidying: () => void;

  constructor(options: SupervisorOptions) {
    const { config, log, workers } = options;
    this.#options = options;
    this.#config = config;
    for (const cluster of config.clusters) this.#clusters.set(cluster.name, this.#watch(cluster));
    this.#shares = new Shares({
      config,
      workers,
      tell: (index, share) => this.#workers[index]?.send({ type: 'share', share }),
      poll: (index, key) => this.#workers[index]?.send({ type: 'share-poll', key }),
    });
    const writeLog = options.writeLog ?? ((lines: string) => void process.stdout.write(lines));
    const events = {
      message: (worker: WorkerHandle, message: FromWorker) => this.#onMessage(worker, message),
      ended: (worker: WorkerHandle) => this.#onEnded(worker),
      lines: writeLog,
    };
    const protocols = [...new Set(config.clusters.map(({ protocol }) => protocol))].join();
    this.#workers = Array.from(
      { length: workers },
      (_, index) => new WorkerHandle(index, protocols, events, log),
    );
    this.#looks = setInterval(() => {
      for (const worker of this.#workers) worker.look();
    }, LOOK_INTERVAL_MS).unref();
    // Clients that are handed on leave something behind here too.
    this.#stopTidying = tidyHeapWhenIdle(
      () => this.#arrivals(),
      () => {},
    );
  }

  #arrivals(): number {
    let count = 0;
    for (const counters of [this.#past, ...this.#workers.map(({ report }) => report?.counters)])
      for (const { clientsTotal } of counters?.listeners.values() ?? []) count += clientsTotal;
    return count;
  }

  #watch(config: ClusterConfig): WatchedCluster {
    const protocol = this.#options.protocols[config.protocol]!;
    const monitoring = new LocalMonitoring({
      config,
      protocol,
      counters: clusterCounters(this.#monitored, config.name),
      log: this.#options.log,
      settled: () => this.#settled(),
    });
    const publisher = new Publisher(monitoring.monitor.snapshot, {
      send: (snapshot) => this.#broadcast({ type: 'snapshot', snapshot }),
      settled: () => this.#settled(),
    });
    monitoring.port.onSnapshot((snapshot) => publisher.publish(snapshot));
    return {
      monitoring,
      publisher,
      protocol,
      statements: new Statements(),
      keys: new SupervisedKeys(config.consistency),
    };
  }

  // --- start and end ----------------------------------------------------------------------------------------

  async open(): Promise<void> {
    await Promise.all([...this.#clusters.values()].map(({ monitoring }) => monitoring.start()));
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({
      exec: ENTRY,
      args: [],
      // What is cloned keeps its Maps and infinities.
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    await new Promise<void>((resolve, reject) => {
      this.#startFailed = reject;
      this.#onAllRunning = resolve;
      for (const worker of this.#workers) worker.fork();
    });
    this.#startFailed = null;
    this.#state = 'running';
  }

  async drain(): Promise<void> {
    if (this.#state !== 'running') return;
    this.#state = 'draining';
    for (const worker of this.#workers) worker.last();
    await Promise.all(this.#active().map((worker) => worker.call({ kind: 'drain' }).catch(() => {})));
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    clearInterval(this.#looks);
    this.#stopTidying();
    for (const worker of this.#workers) worker.last();
    this.#broadcast({ type: 'close' });
    // One that does not serve yet has nothing to close.
    for (const worker of this.#workers) if (worker.state === 'forked') worker.kill();
    const late = setTimeout(() => {
      for (const worker of this.#workers) worker.kill();
    }, CLOSE_TIMEOUT_MS);
    await this.#until(() => this.#workers.every((worker) => worker.pid === null));
    clearTimeout(late);
    await Promise.all([...this.#clusters.values()].map(({ monitoring }) => monitoring.stop()));
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }

  // --- workers ----------------------------------------------------------------------------------------------

  #active(): WorkerHandle[] {
    return this.#workers.filter((worker) => worker.isActive);
  }

  #broadcast(message: Exclude<ToWorker, { type: 'start' }>, except?: WorkerHandle): void {
    for (const worker of this.#workers) if (worker !== except) worker.send(message);
  }

  #onMessage(worker: WorkerHandle, message: FromWorker): void {
    switch (message.type) {
      case 'hello':
        this.#release(worker.index);
        worker.start({
          type: 'start',
          config: this.#config,
          index: worker.index,
          count: this.#workers.length,
          snapshots: [...this.#clusters.values()].map(({ publisher }) => publisher.published),
          shares: this.#shares.join(worker.index),
        });
        break;
      case 'listening':
        this.#options.log.info({ worker: worker.number, pid: worker.pid }, 'a worker serves clients');
        if (this.#workers.every(({ state }) => state === 'running')) this.#onAllRunning();
        break;
      case 'failed':
        if (this.#startFailed !== null) this.#startFailed(new Error(message.message));
        else
          this.#options.log.error({ worker: worker.number, error: message.message }, 'a worker cannot serve');
        worker.kill();
        break;
      case 'node-failed':
        this.#clusters
          .get(message.cluster)
          ?.monitoring.port.reportFailure(message.node, new Error(message.message));
        break;
      case 'schema-changed':
      case 'leave-database':
        this.#broadcast(message, worker);
        break;
      case 'report':
        this.#addStatements(message.report);
        break;
      case 'use':
        this.#shares.used(worker.index, message.use);
        break;
      case 'call':
        void answerOf(message.id, this.#answer(worker, message.call)).then((answer) => worker.send(answer));
    }
  }

  #onEnded(worker: WorkerHandle): void {
    if (worker.report !== null) addCounters(this.#past, worker.report.counters, true);
    worker.report = null;
    this.#releases.set(worker.index, setTimeout(() => this.#release(worker.index), RELEASE_MS).unref());
    if (this.#state === 'starting') this.#startFailed?.(new Error(`a worker has ended: ${worker.lastEnd}`));
    for (const look of [...this.#watchers]) look();
  }

  #release(index: number): void {
    clearTimeout(this.#releases.get(index));
    if (this.#releases.delete(index)) this.#shares.leave(index);
  }

  async #answer(worker: WorkerHandle, call: SupervisorCall): Promise<unknown> {
    const watched = this.#clusters.get(call.cluster);
    if (watched === undefined) throw new Error(`there is no cluster ${call.cluster}`);
    switch (call.kind) {
      case 'keys-read':
        return watched.keys.read(worker.index, call.keys);
      case 'keys-written':
        watched.keys.written(worker.index, call.positions);
        return null;
      case 'verifier':
        return watched.monitoring.port.verifier(call.user);
      case 'standing':
        return watched.monitoring.port.standing(call.user, call.database, call.maxAgeMs);
      case 'position':
        return new Promise((resolve, reject) => {
          watched.monitoring.monitor.resolver.request(call.afterMs - MACHINE_OFFSET_MS, (position) => {
            if (position === null) reject(new Error('the primary has not told its position'));
            else resolve(position.text);
          });
        });
      case 'peer': {
        const peer = this.#workers[call.index];
        if (peer?.state !== 'running') return null;
        return peer.call({ kind: 'peer', cluster: call.cluster, request: call.request });
      }
    }
  }

  /** Resolves once all workers have acted on what they were sent; those that do not are ended. */
  async #settled(): Promise<void> {
    await Promise.all(this.#active().map((worker) => this.#settle(worker)));
  }

  async #settle(worker: WorkerHandle): Promise<void> {
    const { pid } = worker;
    const late = setTimeout(() => {
      this.#options.log.error(
        { worker: worker.number, pid },
        'a worker does not follow a change of roles: killed',
      );
      worker.kill();
    }, SETTLE_TIMEOUT_MS);
    // Rejects once the process has ended, and then it writes nowhere.
    await worker.call({ kind: 'sync' }).catch(() => {});
    clearTimeout(late);
  }

  // --- what is told of it -----------------------------------------------------------------------------------

  /** What is told then is no older than the call. */
  refresh(): Promise<void> {
    if (this.#refreshing !== null) {
      this.#nextRefresh ??= this.#refreshing.then(() => {
        this.#nextRefresh = null;
        return this.refresh();
      });
      return this.#nextRefresh;
    }
    this.#refreshing = this.#askReports().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #askReports(): Promise<void> {
    const call: WorkerCall = { kind: 'report' };
    const asked = this.#active().map(async (worker) => {
      const report = (await worker.call(call)) as WorkerReport;
      this.#addStatements(report);
      if (worker.state === 'running') worker.report = report;
    });
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, REPORT_TIMEOUT_MS).unref());
    await Promise.race([Promise.allSettled(asked), timeout]);
  }

  #addStatements(report: WorkerReport): void {
    for (const [cluster, part] of report.statements) this.#clusters.get(cluster)?.statements.add(part);
  }

  statements(): ClusterStatements[] {
    return [...this.#clusters].map(([cluster, { statements }]) => ({ cluster, statements }));
  }

  resetStatements(): void {
    for (const { statements } of this.#clusters.values()) statements.reset();
  }

  /** A session is known to its worker only, and tells which that is; about anything else any of them can say. */
  async explain(request: ExplainRequest): Promise<ExplainReport | Unanswerable> {
    const cluster = clusterAsked(request.cluster, [...this.#clusters.keys()]);
    if (typeof cluster !== 'string') return cluster;
    const { session } = request;
    const worker =
      session === null
        ? this.#workers.find(({ state }) => state === 'running')
        : this.#workers[session % this.#workers.length];
    if (worker?.state !== 'running') return { problem: 'the worker that could tell is not running now' };
    const call: WorkerCall = { kind: 'explain', request: { ...request, cluster } };
    const answer = await inTime(worker.call(call));
    return answer === null
      ? { problem: `worker ${worker.number} has not answered within ${REPORT_TIMEOUT_MS} ms` }
      : (answer as ExplainReport | Unanswerable);
  }

  async sessions(request: SessionsRequest): Promise<SessionsReport> {
    const call: WorkerCall = { kind: 'sessions', request };
    const answers = await Promise.all(this.#active().map((worker) => inTime(worker.call(call))));
    const reports = answers.filter((answer) => answer !== null) as SessionsReport[];
    return mergeSessions(reports, request.limit);
  }

  counters(): Counters {
    const sum = createCounters();
    for (const { name } of this.#config.listeners) listenerCounters(sum, name);
    addCounters(sum, this.#past, true);
    for (const worker of this.#workers) {
      const { report } = worker;
      if (report !== null) addCounters(sum, report.counters, false);
      sum.workers.set(String(worker.number), {
        running: worker.state === 'running',
        restarts: worker.restarts,
        residentBytes: report?.residentBytes ?? 0,
        cpuSeconds: report?.cpuSeconds ?? 0,
      });
    }
    addCounters(sum, this.#monitored, false);
    for (const config of this.#config.clusters) {
      const counters = clusterCounters(sum, config.name);
      for (const node of [...counters.nodes.keys()])
        if (!config.nodes.some(({ name }) => name === node)) counters.nodes.delete(node);
      collectSnapshot(counters, this.#facts(config, sum));
    }
    return sum;
  }

  #facts(config: ClusterConfig, sum: Counters): ClusterFacts {
    const { monitoring, protocol } = this.#clusters.get(config.name)!;
    const counters = clusterCounters(sum, config.name);
    return {
      name: config.name,
      config,
      snapshot: monitoring.monitor.snapshot,
      positions: protocol.positions,
      settings: config.consistency,
      counters,
      hold: { size: counters.holding },
      pool: (node) => {
        const { poolIdle, poolLeased, poolShared, poolWaiting } = nodeCounters(counters, node);
        return { idle: poolIdle, leased: poolLeased, shared: poolShared, waiting: poolWaiting };
      },
    };
  }

  get listeners(): ListenerAddress[] {
    const told = this.#workers.find(({ listeners }) => listeners.length > 0)?.listeners ?? [];
    return this.#config.listeners.map(({ name, host, port }) => {
      return told.find((listener) => listener.name === name) ?? { name, host, port };
    });
  }

  readonly admin = {
    status: (): ProxyStatus => {
      const sum = this.counters();
      return {
        state: this.#state === 'running' || this.#state === 'starting' ? 'running' : 'draining',
        listeners: this.listeners.map((listener) => {
          const { cluster, maxClients } = this.#config.listeners.find(({ name }) => name === listener.name)!;
          return { ...listener, cluster, maxClients, clients: listenerCounters(sum, listener.name).clients };
        }),
        clusters: this.#config.clusters.map((config) => this.#clusterStatus(config, sum)),
        workers: this.#workers.map(workerStatus),
      };
    },
    ready: (): Readiness => {
      const reasons = this.#state === 'running' ? [] : ['the proxy is draining'];
      if (!this.#workers.some(({ state }) => state === 'running')) reasons.push('no worker is running');
      for (const [name, { monitoring }] of this.#clusters) {
        const { primary, explanation } = monitoring.monitor.snapshot;
        if (primary === null) reasons.push(`cluster ${name}: no primary; ${explanation}`);
      }
      return { ok: reasons.length === 0, reasons };
    },
  };

  #clusterStatus(config: ClusterConfig, sum: Counters): ClusterStatus {
    const status = clusterStatus(this.#facts(config, sum));
    const missing = this.#workers.filter(({ state }) => state === 'replacing');
    const alerts = missing.map(({ number, lastEnd }) => `worker ${number} is being replaced: ${lastEnd}`);
    return { ...status, alerts: [...status.alerts, ...alerts] };
  }

  reload(next: Config): ReloadResult {
    this.#config = next;
    for (const config of next.clusters) {
      const watched = this.#clusters.get(config.name);
      watched?.monitoring.configure(config);
      if (watched !== undefined) watched.keys.limits = config.consistency;
    }
    this.#broadcast({ type: 'reload', config: next });
    this.#shares.configure(next);
    return { ok: true };
  }
}

/** Null: it did not come in time, or its worker has ended. */
async function inTime(answer: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), REPORT_TIMEOUT_MS);
  });
  try {
    return await Promise.race([answer.catch(() => null), late]);
  } finally {
    clearTimeout(timer);
  }
}

function workerStatus({ number, pid, state, restarts, report, lastEnd }: WorkerHandle): WorkerStatus {
  let clients = 0;
  for (const listener of report?.counters.listeners.values() ?? []) clients += listener.clients;
  const shown = state === 'running' ? 'running' : state === 'replacing' ? 'replacing' : 'starting';
  return { worker: number, pid, state: shown, restarts, clients, lastEnd };
}
