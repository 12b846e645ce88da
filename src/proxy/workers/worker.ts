// One worker: the data path of a process that the supervisor has started, wired to the supervisor by messages.
// It watches no node, reads no configuration file and serves no admin request; without its supervisor it ends.

import { describeError } from '../../lib/errors.js';
import type { NodePool, PoolLimits } from '../../pool/node-pool.js';
import type { Peers } from '../../protocol/protocol.js';
import { type OpenLog, openLog } from '../../telemetry/log.js';
import { surviveErrors } from '../../telemetry/uncaught.js';
import type { PoolAllowance } from '../cluster-runtime.js';
import { DataPath, type Protocols } from '../data-path.js';
import type { Places } from '../listener.js';
import { redisWatermarks } from '../shared-watermarks.js';
import { Allowances } from './allowances.js';
import { answerOf, Calls } from './calls.js';
import { limitKey } from './limits.js';
import type { FromWorker, SupervisorCall, ToWorker, WorkerCall, WorkerReport } from './messages.js';
import { RemoteMonitoring } from './remote-monitoring.js';
import { SupervisorWatermarks } from './supervisor-watermarks.js';

/** Sent unasked too, so that little is lost of what a worker counted that dies. */
const REPORT_INTERVAL_MS = 1000;
/** Shapes of a cluster in one report: what is beyond waits for the next. */
const MAX_REPORTED_SHAPES = 1000;

type Start = Extract<ToWorker, { type: 'start' }>;

/** Runs until the supervisor says otherwise, or is gone. */
export function runWorker(number: number, protocols: Protocols): void {
  // A terminal sends its signals to all processes: what is to be done is the supervisor's to say.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  process.on('disconnect', () => process.exit(1));
  let worker: Worker | null = null;
  process.on('message', (message: ToWorker) => {
    if (message.type === 'start') worker = new Worker(number, protocols, message);
    else worker?.received(message);
  });
  send({ type: 'hello' });
}

function send(message: FromWorker): void {
  // It fails when the supervisor is gone, and then this process ends anyway.
  if (process.connected) process.send!(message, undefined, undefined, () => {});
}

class Worker {
  readonly #opened: OpenLog;
  readonly #calls = new Calls();
  readonly #allowances: Allowances;
  readonly #monitorings = new Map<string, RemoteMonitoring>();
  readonly #dataPath: DataPath;
  readonly #index: number;
  readonly #count: number;

  constructor(number: number, protocols: Protocols, { config, index, count, snapshots, shares }: Start) {
    this.#index = index;
    this.#count = count;
    this.#opened = openLog(config.log);
    const log = this.#opened.log.child({ worker: number });
    surviveErrors(log);
    this.#allowances = new Allowances(shares, (use) => send({ type: 'use', use }));
    this.#dataPath = new DataPath({
      config,
      log,
      protocols,
      monitoring: (cluster, protocol) => {
        const link = { send, ask: (call: SupervisorCall) => this.#ask(call) };
        const first = snapshots.find((snapshot) => snapshot.cluster === cluster.name) ?? null;
        const monitoring = new RemoteMonitoring({ config: cluster, protocol, link, first });
        this.#monitorings.set(cluster.name, monitoring);
        return monitoring;
      },
      watermarks: (parts) =>
        redisWatermarks({ ...parts, worker: number }) ??
        new SupervisorWatermarks(parts.cluster.name, parts.counters.store, (call) => this.#ask(call)),
      sharing: {
        peers: (cluster) => this.#peers(cluster),
        pools: (cluster) => this.#pools(cluster),
        places: (listener) => this.#places(listener),
      },
    });
    this.#dataPath.open().then(
      () => {
        send({ type: 'listening', listeners: this.#dataPath.listeners });
        setInterval(() => send({ type: 'report', report: this.#report() }), REPORT_INTERVAL_MS).unref();
      },
      (error: unknown) => send({ type: 'failed', message: describeError(error) }),
    );
  }

  received(message: Exclude<ToWorker, Start>): void {
    switch (message.type) {
      case 'snapshot':
        this.#monitorings.get(message.snapshot.cluster)?.received(message.snapshot);
        break;
      case 'reload':
        this.#opened.setLevel(message.config.log.level);
        this.#dataPath.reload(message.config);
        break;
      case 'share':
        this.#allowances.told(message.share);
        break;
      case 'share-poll':
        this.#allowances.polled(message.key);
        break;
      case 'schema-changed':
        this.#dataPath.cluster(message.cluster)?.forgetCatalog();
        break;
      case 'leave-database':
        this.#dataPath.cluster(message.cluster)?.leaveDatabaseHere(message.database, null);
        break;
      case 'call':
        void answerOf(message.id, this.#answer(message.call)).then(send);
        break;
      case 'answer':
      case 'refusal':
        this.#calls.answered(message);
        break;
      case 'close':
        void this.#close();
    }
  }

  async #close(): Promise<void> {
    await this.#dataPath.close();
    await this.#opened.flush();
    process.exit(0);
  }

  #ask(call: SupervisorCall): Promise<unknown> {
    return this.#calls.ask((id) => send({ type: 'call', id, call }));
  }

  async #answer(call: WorkerCall): Promise<unknown> {
    switch (call.kind) {
      case 'report':
        return this.#report();
      case 'sync':
        return null;
      case 'drain':
        return this.#dataPath.drain();
      case 'explain':
        return this.#dataPath.explain(call.request);
      case 'sessions':
        return this.#dataPath.sessions(call.request);
      case 'peer':
        return this.#dataPath.cluster(call.cluster)?.protocol.answerPeer(call.request) ?? null;
    }
  }

  #report(): WorkerReport {
    const { user, system } = process.cpuUsage();
    return {
      counters: this.#dataPath.counters(),
      statements: new Map(
        this.#dataPath
          .statements()
          .map(({ cluster, statements }) => [cluster, statements.drain(MAX_REPORTED_SHAPES)]),
      ),
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (user + system) / 1e6,
    };
  }

  #peers(cluster: string): Peers {
    const ask: Peers['ask'] = (index, request) =>
      this.#ask({ kind: 'peer', cluster, index, request }).then(
        (answer) => (typeof answer === 'string' ? answer : null),
        () => null,
      );
    return { index: this.#index, count: this.#count, ask };
  }

  #places(listener: string): Places {
    const key = limitKey({ of: 'clients', listener });
    return {
      allowed: () => this.#allowances.of(key),
      short: () => this.#allowances.short(key),
      fewer: () => this.#allowances.fewer(key),
      adopt: (user) => this.#allowances.use(key, user),
    };
  }

  #pools(cluster: string): PoolAllowance {
    const changed = (node: string) => () => this.#dataPath.cluster(cluster)?.limitsChanged(node);
    const keys = new Map<string, Map<string | null, string>>();
    const keysOf = (node: string): Map<string | null, string> => {
      let known = keys.get(node);
      if (known === undefined) {
        known = new Map([[null, limitKey({ of: 'node', cluster, node })]]);
        keys.set(node, known);
      }
      return known;
    };
    return {
      limits: (node, whole) => this.#part(whole, cluster, node, keysOf(node)),
      adopt: (node, pool) => {
        const known = keysOf(node);
        for (const [user, key] of known) this.#allowances.use(key, userOf(pool, user, changed(node)));
        pool.onShort = (user) => {
          const key = known.get(user)!;
          if (user !== null) this.#allowances.use(key, userOf(pool, user, changed(node)));
          this.#allowances.short(key);
        };
        pool.onFewer = () => {
          for (const key of known.values()) this.#allowances.fewer(key);
        };
      },
    };
  }

  #part(whole: PoolLimits, cluster: string, node: string, keys: Map<string | null, string>): PoolLimits {
    const byUser = (user: string): number | undefined => {
      const limit = whole.maxByUser?.get(user);
      if (limit === undefined) return undefined;
      let key = keys.get(user);
      if (key === undefined) {
        key = limitKey({ of: 'user', cluster, node, user });
        keys.set(user, key);
      }
      return Math.min(limit, this.#allowances.of(key));
    };
    return {
      ...whole,
      maxServerConnections: Math.min(whole.maxServerConnections, this.#allowances.of(keys.get(null)!)),
      // Not worth a word to the supervisor: it bounds memory.
      maxWaiting: Math.ceil(whole.maxWaiting / this.#count),
      maxByUser: { get: byUser },
    };
  }
}

function userOf(pool: NodePool, user: string | null, changed: () => void): Parameters<Allowances['use']>[1] {
  return { held: () => pool.open(user), wanted: () => pool.wanted(user), allowed: changed };
}
