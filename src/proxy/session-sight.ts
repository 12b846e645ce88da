// What one session has seen, and where: it feeds the watermark and gives the decision its view of the session.
// It knows no server connection and no client.

import { Watermark } from '../consistency/watermark.js';
import { monotonicMs } from '../lib/clock.js';
import type { Unit } from '../protocol/unit.js';
import { isReplicaRead, type SessionView } from '../routing/decide.js';
import type { UnitPolicy } from '../routing/policy.js';
import type { ClusterRuntime } from './cluster-runtime.js';

const NO_NODES: readonly string[] = [];

/** Only looked at until the next session asks for its own. */
const view: { -readonly [K in keyof SessionView]: SessionView[K] } = {
  consistency: 'session',
  maxLagMs: 0,
  splitReads: true,
  target: null,
  fallback: 'primary',
  watermark: null,
  watermarkPending: false,
  lastReplica: null,
  moveFloor: null,
  excluded: NO_NODES,
};

export class SessionSight {
  readonly #cluster: ClusterRuntime;
  readonly #watermark: Watermark;
  /** The session reads outside transactions, so its watermark is worth asking for. */
  #splits = false;
  /** The last unit's reads went where everything seen before is. */
  #isChecked = true;

  constructor(cluster: ClusterRuntime) {
    this.#cluster = cluster;
    this.#watermark = new Watermark(cluster.positions);
  }

  /** For the decision about one unit; the same object for all sessions at each call. */
  viewFor(policy: UnitPolicy, excluded: readonly string[]): SessionView {
    const { samples, snapshot } = this.#cluster;
    this.#watermark.settle(samples, snapshot.epoch, monotonicMs());
    view.consistency = policy.consistency;
    this.#isChecked = policy.consistency !== 'eventual';
    view.maxLagMs = policy.maxLagMs;
    view.splitReads = policy.splitReads;
    view.target = policy.target;
    view.fallback = policy.fallback;
    view.excluded = excluded;
    view.watermark = this.#watermark.known;
    view.watermarkPending = this.#watermark.pending;
    view.lastReplica = this.#watermark.lastReplica(this.#cluster.generationOf);
    view.moveFloor = view.lastReplica === null ? null : this.#watermark.floorForMove(samples);
    return view;
  }

  /** The same for an operator: the session goes on as if nobody had looked. */
  peekFor(policy: UnitPolicy): SessionView {
    const isChecked = this.#isChecked;
    const seen = { ...this.viewFor(policy, NO_NODES) };
    this.#isChecked = isChecked;
    return seen;
  }

  /** What the session has now seen, and where. */
  ran({ statement }: Unit, node: string, onReplica: boolean, inTransaction: boolean): void {
    if (!inTransaction && isReplicaRead(statement)) this.splits();
    if (statement.route === 'session' || statement.route === 'proxy') return;
    if (onReplica) this.ranOnReplica(node);
    else this.ranOnPrimary(inTransaction);
  }

  /** It reads outside transactions. */
  splits(): void {
    this.#splits = true;
  }

  ranOnReplica(node: string): void {
    this.#watermark.ranOnReplica(node, this.#cluster.generationOf(node), monotonicMs(), this.#isChecked);
  }

  /** `inTransaction`: the next units go to the same place anyway, so nothing is asked yet. */
  ranOnPrimary(inTransaction: boolean): void {
    const now = monotonicMs();
    this.#watermark.ranOnPrimary(now);
    if (this.#splits && !inTransaction) this.#cluster.requestPosition(now);
  }
}
