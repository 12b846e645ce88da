// The monitor of one cluster: drives the probes, folds what they say into snapshots and tells whoever listens.
// It decides nothing: roles are the reducer's, whether a primary is dead is judged by the evidence, what is done about it is failover's.

import type { Clock } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';
import type { NodeControl, ProbeFailureKind, ProbeReading } from '../protocol/node-control.js';
import type { Position, PositionFunctions } from '../protocol/position.js';
import { Audit } from './audit.js';
import type { ClusterConfig, ClusterNodeConfig, MonitorSettings } from './config.js';
import { Failover } from './failover.js';
import { PrimaryHistory } from './lag.js';
import type { Log } from './log.js';
import { PositionResolver } from './position-resolver.js';
import { ProbeLoop } from './probe-loop.js';
import { type ClusterEvent, emptySnapshot, reduce } from './reducer.js';
import { type ClusterSnapshot, findNode } from './snapshot.js';

export interface ClusterMonitorOptions {
  readonly config: ClusterConfig;
  /** Opens nothing yet. Called again for a node whose address or monitor account changes. */
  readonly control: (node: ClusterNodeConfig, monitor: MonitorSettings) => NodeControl;
  readonly positions: PositionFunctions;
  readonly clock: Clock;
  readonly log: Log;
  /** For the metrics: how each probe ended, null when it was answered. */
  readonly onProbe?: (node: string, failure: ProbeFailureKind | null) => void;
  /** Resolves once every data path has acted on the present snapshot; absent: they do while they are told. */
  readonly settled?: () => Promise<void>;
}

export type SnapshotListener = (snapshot: ClusterSnapshot, previous: ClusterSnapshot) => void;

interface WatchedNode {
  readonly config: ClusterNodeConfig;
  readonly control: NodeControl;
  readonly loop: ProbeLoop;
  /** Readings in a row that showed history which the primary, asked later, did not have. */
  aheadCount: number;
  lastRead: { readonly position: Position; readonly answeredAtMs: number } | null;
}

/** Seen so often in a row, history beyond the primary's is no race between two probes. */
const ERRANT_AFTER = 2;

export class ClusterMonitor {
  readonly #control: ClusterMonitorOptions['control'];
  readonly #positions: PositionFunctions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onProbe: ClusterMonitorOptions['onProbe'];
  readonly #nodes = new Map<string, WatchedNode>();
  readonly #listeners = new Set<SnapshotListener>();
  readonly #history: PrimaryHistory;
  readonly #failover: Failover;
  /** Positions of the present primary, for watermarks. */
  readonly resolver: PositionResolver;
  #config: ClusterConfig;
  #snapshot: ClusterSnapshot;
  #running = false;
  readonly #queue: ClusterEvent[] = [];
  #dispatching = false;

  constructor(options: ClusterMonitorOptions) {
    this.#config = options.config;
    this.#control = options.control;
    this.#positions = options.positions;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onProbe = options.onProbe;
    this.#history = new PrimaryHistory(options.positions);
    this.resolver = new PositionResolver(options.clock, options.config.monitor.timeoutMs);
    this.#snapshot = emptySnapshot(options.config.name, options.clock.now());
    this.#snapshot = this.#reduced({
      type: 'configured',
      nodes: options.config.nodes,
      nowMs: this.#clock.now(),
    });
    this.#failover = new Failover({
      cluster: options.config.name,
      config: () => this.#config,
      snapshot: () => this.#snapshot,
      control: (name) => this.#nodes.get(name)?.control ?? null,
      dispatch: (event) => this.#dispatch(event),
      urge: () => this.#urgeAll(),
      positions: options.positions,
      clock: options.clock,
      log: options.log,
      audit: new Audit(options.config.name, () => this.#config.auditFile, options.log),
      ...(options.settled === undefined ? {} : { settled: options.settled }),
    });
  }

  get snapshot(): ClusterSnapshot {
    return this.#snapshot;
  }

  /** The control connections of a node, for verifiers and the catalog; null: there is no such node. */
  control(name: string): NodeControl | null {
    return this.#nodes.get(name)?.control ?? null;
  }

  /** Called with every new snapshot, synchronously; the answer unsubscribes. */
  onSnapshot(listener: SnapshotListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Loads the state file and starts the probes; rejects when the state file cannot be read. */
  async start(): Promise<void> {
    await this.#failover.restore();
    this.#running = true;
    for (const node of this.#config.nodes) this.#watch(node);
  }

  /** Ends probes and control connections; a failover that is under way is given up where it stands. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#failover.stop();
    const nodes = [...this.#nodes.values()];
    this.#nodes.clear();
    for (const node of nodes) node.loop.stop();
    this.resolver.close();
    await Promise.allSettled(nodes.map((node) => node.control.close()));
    await this.#failover.settled();
  }

  /** Takes over another configuration of the same cluster; nodes that stay keep their connections and what is known of them. */
  configure(config: ClusterConfig): void {
    const before = this.#config;
    this.#config = config;
    const sameMonitor = JSON.stringify(before.monitor) === JSON.stringify(config.monitor);
    for (const [name, watched] of this.#nodes) {
      const next = config.nodes.find((node) => node.name === name);
      if (next !== undefined && sameMonitor && sameAddress(next, watched.config)) continue;
      this.#unwatch(name, watched);
    }
    this.#dispatch({ type: 'configured', nodes: config.nodes, nowMs: this.#clock.now() });
    if (!this.#running) return;
    for (const node of config.nodes) if (!this.#nodes.has(node.name)) this.#watch(node);
  }

  /** The data path lost a connection to the node, or could not open one: it is suspect until a later probe has answered. */
  reportFailure(name: string, error: Error): void {
    const watched = this.#nodes.get(name);
    if (watched === undefined) return;
    this.#dispatch({ type: 'reported', node: name, message: describeError(error), nowMs: this.#clock.now() });
    watched.loop.urge();
  }

  /** An operator has looked at a blocked cluster: the next failure may be handled again. */
  acknowledge(): void {
    this.#failover.acknowledge();
  }

  /** An operator says that a fenced node may be the primary. */
  unfence(name: string): void {
    this.#dispatch({ type: 'unfenced', node: name, nowMs: this.#clock.now() });
  }

  #watch(config: ClusterNodeConfig): void {
    const { monitor } = this.#config;
    const control = this.#control(config, monitor);
    const { name } = config;
    const loop = new ProbeLoop({
      control,
      clock: this.#clock,
      intervalMs: monitor.intervalMs,
      timeoutMs: monitor.timeoutMs,
      onAnswer: (reading) => {
        this.#onProbe?.(name, null);
        this.#answered(name, reading);
      },
      onFailure: (kind, message, sentAtMs) => {
        this.#onProbe?.(name, kind);
        this.#failed(name, kind, message, sentAtMs);
      },
    });
    this.#nodes.set(name, { config, control, loop, aheadCount: 0, lastRead: null });
    loop.start();
  }

  #unwatch(name: string, watched: WatchedNode): void {
    watched.loop.stop();
    this.#nodes.delete(name);
    watched.control.close().catch((error: unknown) => {
      this.#log.warn({ node: name, error: describeError(error) }, 'control connections did not close');
    });
  }

  #urgeAll(except?: string): void {
    for (const [name, { loop }] of this.#nodes) if (name !== except) loop.urge();
  }

  #answered(name: string, reading: ProbeReading): void {
    const primary = findNode(this.#snapshot, this.#snapshot.primary);
    const isPrimary = primary !== null && primary.name === name && reading.role === 'primary';
    const knewNothing = this.#history.newest === null;
    if (isPrimary && reading.sentAtMs > primary.changedAtMs) {
      this.#history.add(reading.sentAtMs, reading.applied);
      this.resolver.add(reading.sentAtMs, reading.applied);
    }
    const newest = this.#history.newest;
    this.#dispatch({
      type: 'answered',
      node: name,
      reading,
      lagMs: isPrimary ? 0 : this.#history.lagMs(reading.applied, reading.sentAtMs),
      lagDistance:
        isPrimary || newest === null
          ? isPrimary
            ? 0
            : null
          : this.#positions.distance(reading.applied, newest),
      nowMs: this.#clock.now(),
    });
    const watched = this.#nodes.get(name);
    if (watched === undefined) return;
    watched.lastRead =
      reading.role === 'replica'
        ? { position: reading.history ?? reading.applied, answeredAtMs: reading.answeredAtMs }
        : null;
    if (isPrimary) this.#lookForErrant(reading);
    // What the replicas have answered before this says nothing of how late they are.
    if (knewNothing && this.#history.newest !== null) this.#urgeAll(name);
  }

  /** A replica cannot have what its primary, asked later, does not have; unless somebody else has written to it. */
  #lookForErrant(primary: ProbeReading): void {
    for (const [name, watched] of this.#nodes) {
      const read = watched.lastRead;
      if (read === null || read.answeredAtMs >= primary.sentAtMs) continue;
      // Each reading counts once.
      watched.lastRead = null;
      const ahead = this.#positions.ahead(read.position, primary.applied) > 0;
      watched.aheadCount = ahead ? watched.aheadCount + 1 : 0;
      const errant = watched.aheadCount >= ERRANT_AFTER;
      const node = findNode(this.#snapshot, name);
      if (node === null || node.errant === errant || (ahead && !errant)) continue;
      this.#dispatch({ type: 'errant', node: name, errant, nowMs: this.#clock.now() });
    }
  }

  #failed(name: string, kind: ProbeFailureKind, message: string, sentAtMs: number): void {
    this.#dispatch({ type: 'failed', node: name, kind, message, sentAtMs, nowMs: this.#clock.now() });
  }

  #reduced(event: ClusterEvent): ClusterSnapshot {
    return reduce(this.#snapshot, event, { downAfterProbes: this.#config.failover.probes });
  }

  /** Events that come up while one is being told are told after it: every listener sees every snapshot, in order. */
  #dispatch(event: ClusterEvent): void {
    this.#queue.push(event);
    if (this.#dispatching) return;
    this.#dispatching = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#apply(next);
    } finally {
      this.#dispatching = false;
    }
  }

  #apply(event: ClusterEvent): void {
    const previous = this.#snapshot;
    const snapshot = this.#reduced(event);
    this.#snapshot = snapshot;
    if (snapshot.epoch !== previous.epoch) this.#history.clear();
    if (snapshot.primary !== previous.primary || snapshot.epoch !== previous.epoch) {
      const { primary, epoch } = snapshot;
      // Looked up at each query: a reload may have given the node other connections.
      const query = async (timeoutMs: number): Promise<Position> => {
        const control = this.control(primary ?? '');
        if (control === null) throw new Error('the primary is no longer configured');
        return control.position(timeoutMs);
      };
      this.resolver.setPrimary(primary === null ? null : query, epoch);
      // Lag is counted from what it answers as the primary: reads should not wait an interval for that.
      if (primary !== null) this.#nodes.get(primary)?.loop.urge();
    }
    this.#tell(snapshot, previous);
    for (const listener of this.#listeners) {
      try {
        listener(snapshot, previous);
      } catch (error) {
        this.#log.error({ error: describeError(error) }, 'a listener of the snapshot failed');
      }
    }
    this.#failover.consider();
  }

  /** One line for each change that a person would want to know of. */
  #tell(snapshot: ClusterSnapshot, previous: ClusterSnapshot): void {
    const { cluster, epoch, phase, primary, explanation } = snapshot;
    if (phase !== previous.phase || primary !== previous.primary || epoch !== previous.epoch)
      this.#log.info({ cluster, epoch, phase, primary, explanation }, `cluster is ${phase}`);
    else if (explanation !== previous.explanation && explanation !== '')
      this.#log.warn({ cluster, epoch, phase, primary }, explanation);
    for (const node of snapshot.nodes) {
      const before = findNode(previous, node.name);
      if (
        before === null ||
        (before.role === node.role && before.health === node.health && before.fenced === node.fenced)
      )
        continue;
      const { name, role, health, reason, fenced } = node;
      const fields = { cluster, node: name, role, health, fenced, reason };
      if (health === 'down' || fenced) this.#log.warn(fields, `node is ${health}`);
      else this.#log.info(fields, `node is ${health}`);
    }
  }
}

function sameAddress(a: ClusterNodeConfig, b: ClusterNodeConfig): boolean {
  return a.host === b.host && a.port === b.port;
}
