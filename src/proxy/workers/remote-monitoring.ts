// A cluster's monitoring as a worker has it: the supervisor's snapshots, and questions to the supervisor.
// It watches no node; it knows the channel as `link` only.

import { PositionResolver } from '../../cluster/position-resolver.js';
import { emptySnapshot } from '../../cluster/reducer.js';
import { type ClusterSnapshot, type NodeSnapshot, primaryOf } from '../../cluster/snapshot.js';
import type { ClusterConfig } from '../../config/schema.js';
import { MACHINE_MARGIN_MS, MACHINE_OFFSET_MS, monotonicMs, systemClock } from '../../lib/clock.js';
import type { Protocol } from '../../protocol/protocol.js';
import type { Standing } from '../../protocol/server-connection.js';
import type { ClusterMonitorPort } from '../cluster-runtime.js';
import { type Monitoring, openOnPrimary } from '../monitoring.js';
import type { FromWorker, SupervisorCall, VerifierAnswer } from './messages.js';
import { fromWire, type WireSnapshot } from './wire-snapshot.js';

export interface SupervisorLink {
  send(message: FromWorker): void;
  ask(call: SupervisorCall): Promise<unknown>;
}

interface Failure {
  readonly atMs: number;
  readonly message: string;
}

export class RemoteMonitoring implements Monitoring {
  readonly #cluster: string;
  readonly #config: ClusterConfig;
  readonly #protocol: Protocol;
  readonly #link: SupervisorLink;
  readonly #first: WireSnapshot | null;
  readonly #listeners: ((snapshot: ClusterSnapshot) => void)[] = [];
  /** One query at a time for this worker; the supervisor makes one of all workers' queries. */
  readonly #resolver: PositionResolver;
  #snapshot: ClusterSnapshot;
  /** What the data path found out about nodes: it stands until a probe that was sent later has been answered. */
  readonly #failures = new Map<string, Failure>();
  readonly #unsaid = new Map<string, string>();
  #publishing = false;

  constructor(parts: {
    config: ClusterConfig;
    protocol: Protocol;
    link: SupervisorLink;
    first: WireSnapshot | null;
  }) {
    this.#cluster = parts.config.name;
    this.#config = parts.config;
    this.#protocol = parts.protocol;
    this.#link = parts.link;
    this.#first = parts.first;
    this.#resolver = new PositionResolver(systemClock, parts.config.monitor.timeoutMs);
    this.#snapshot = emptySnapshot(this.#cluster, monotonicMs());
  }

  get port(): ClusterMonitorPort {
    const snapshot = (): ClusterSnapshot => this.#snapshot;
    return {
      get snapshot() {
        return snapshot();
      },
      samples: this.#resolver,
      onSnapshot: (listener) => void this.#listeners.push(listener),
      reportFailure: (node, error) => this.#report(node, error),
      requestPosition: (afterMs, came) => this.#resolver.request(afterMs, came),
      verifier: (user) =>
        this.#link.ask({ kind: 'verifier', cluster: this.#cluster, user }) as Promise<VerifierAnswer>,
      standing: (user, database, maxAgeMs) => {
        const call = { kind: 'standing', cluster: this.#cluster, user, database, maxAgeMs } as const;
        return this.#link.ask(call) as Promise<Standing>;
      },
      openOnPrimary: () => openOnPrimary(this.#protocol, this.#config, this.#snapshot),
      schemaChanged: () => this.#link.send({ type: 'schema-changed', cluster: this.#cluster }),
      leaveDatabase: (database) =>
        this.#link.send({ type: 'leave-database', cluster: this.#cluster, database }),
    };
  }

  start(): Promise<void> {
    if (this.#first !== null) this.received(this.#first);
    return Promise.resolve();
  }

  configure(): void {}

  stop(): Promise<void> {
    this.#resolver.close();
    return Promise.resolve();
  }

  received(wire: WireSnapshot): void {
    const snapshot = fromWire(wire, this.#protocol.positions);
    const primary = primaryOf(snapshot);
    if (snapshot.primary !== this.#snapshot.primary || snapshot.epoch !== this.#snapshot.epoch) {
      const query = async (): Promise<ReturnType<Protocol['positions']['parse']>> => {
        const afterMs = monotonicMs() + MACHINE_OFFSET_MS + MACHINE_MARGIN_MS;
        const text = await this.#link.ask({ kind: 'position', cluster: this.#cluster, afterMs });
        return this.#protocol.positions.parse(String(text));
      };
      this.#resolver.setPrimary(primary === null ? null : query, snapshot.epoch);
    }
    const isSample =
      primary?.claims === 'primary' &&
      primary.applied !== null &&
      primary.appliedAtMs > primary.changedAtMs &&
      Number.isFinite(primary.appliedAtMs);
    if (isSample) this.#resolver.add(primary.appliedAtMs - MACHINE_MARGIN_MS, primary.applied!);
    this.#publish({ ...snapshot, nodes: snapshot.nodes.map((node) => this.#withFailure(node)) });
  }

  /** What fails while listeners are told of one picture makes another, told after it. */
  #publish(snapshot: ClusterSnapshot): void {
    this.#snapshot = snapshot;
    if (this.#publishing) return;
    this.#publishing = true;
    try {
      for (let told: ClusterSnapshot | null = null; told !== this.#snapshot; ) {
        told = this.#snapshot;
        for (const listener of this.#listeners) listener(told);
      }
    } finally {
      this.#publishing = false;
    }
  }

  /** The snapshot may have been on its way already when the node failed here. */
  #withFailure(node: NodeSnapshot): NodeSnapshot {
    const failure = this.#failures.get(node.name);
    if (failure === undefined) return node;
    if (node.appliedAtMs > failure.atMs) {
      this.#failures.delete(node.name);
      return node;
    }
    return node.health === 'up' ? { ...node, health: 'suspect', reason: failure.message } : node;
  }

  /** Said once a turn: a node that dies ends hundreds of connections at once. */
  #report(node: string, { message }: Error): void {
    this.#failures.set(node, { atMs: monotonicMs(), message });
    if (this.#unsaid.size === 0) queueMicrotask(() => this.#sayFailures());
    this.#unsaid.set(node, message);
    const nodes = this.#snapshot.nodes.map((each) => (each.name === node ? this.#withFailure(each) : each));
    this.#publish({ ...this.#snapshot, nodes });
  }

  #sayFailures(): void {
    for (const [node, message] of this.#unsaid)
      this.#link.send({ type: 'node-failed', cluster: this.#cluster, node, message });
    this.#unsaid.clear();
  }
}
