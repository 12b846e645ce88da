// What one session has seen, and where: it feeds the watermark and gives the decision its view of the session.
// It knows no server connection and no client.

import { Watermark } from '../consistency/watermark.js';
import { monotonicMs } from '../lib/clock.js';
import type { Answered, Unit } from '../protocol/unit.js';
import { isReplicaRead, type RoutingNode, type SessionView } from '../routing/decide.js';
import type { Effort } from '../routing/gating.js';
import type { UnitPolicy } from '../routing/policy.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import { shownByPrimary } from './session-rules.js';

const NO_NODES: readonly string[] = [];
/** An answer to a position query that takes longer is not worth waiting for, where the primary can be read instead. */
const MAX_POSITION_WAIT_MS = 50;

/** Only looked at until the next session asks for its own. */
const effort: { -readonly [K in keyof Effort]: Effort[K] } & {
  cluster: ClusterRuntime | null;
  nowMs: number;
} = {
  mayGate: false,
  watermarkAgeMs: 0,
  moveAgeMs: 0,
  mayAwaitPosition: false,
  mayAwaitReplica: false,
  isWorthGating(node: RoutingNode, ageMs: number): boolean {
    return this.cluster!.gateOdds.isWorth(node.name, ageMs, node.lagMs ?? 0, this.nowMs);
  },
  cluster: null,
  nowMs: 0,
};

/** The same. */
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
  effort,
};

export class SessionSight {
  readonly #cluster: ClusterRuntime;
  readonly #watermark: Watermark;
  /** The session reads outside transactions, so its watermark is worth asking for. */
  #splits = false;
  /** The last unit's reads went where everything seen before is. */
  #isChecked = true;
  /** When a place was first looked for the unit; 0: not yet. */
  #arrivedMs = 0;
  /** What the unit's reads wait for, if they do. */
  #awaitedMs = 0;
  #waitMs = 0;

  constructor(cluster: ClusterRuntime) {
    this.#cluster = cluster;
    this.#watermark = new Watermark(cluster.positions);
  }

  /** Another unit. */
  arrived(): void {
    this.#arrivedMs = 0;
  }

  /** After a gate that has failed. */
  get mayAwaitReplica(): boolean {
    return this.#waitMs > 0 && monotonicMs() < this.deadlineMs('replica');
  }

  /** A position asked for after this time is what the unit waits for. */
  get awaitedMs(): number {
    return this.#awaitedMs;
  }

  /** Until then a read may wait. */
  deadlineMs(what: 'position' | 'replica'): number {
    return (
      this.#arrivedMs + (what === 'replica' ? this.#waitMs : Math.max(this.#waitMs, MAX_POSITION_WAIT_MS))
    );
  }

  /**
   * For the decision about one unit; the same object for all sessions at each call. `mayGate`: it may be run twice;
   * `mayWait`: nobody waits too long already.
   */
  viewFor(policy: UnitPolicy, excluded: readonly string[], mayGate: boolean, mayWait: boolean): SessionView {
    const { samples, snapshot } = this.#cluster;
    const now = monotonicMs();
    if (this.#arrivedMs === 0) this.#arrivedMs = now;
    this.#watermark.settle(samples, snapshot.epoch, now);
    view.consistency = policy.consistency;
    // Neither asks for what the session has seen.
    this.#isChecked = policy.consistency !== 'eventual' && policy.consistency !== 'bounded';
    view.maxLagMs = policy.maxLagMs;
    view.splitReads = policy.splitReads;
    view.target = policy.target;
    view.fallback = policy.fallback;
    view.excluded = excluded;
    view.lastReplica = null;
    view.moveFloor = null;
    switch (policy.consistency) {
      case 'strong':
        this.#seeFrom(this.#arrivedMs);
        break;
      case 'bounded':
        this.#seeFrom(this.#arrivedMs - policy.maxLagMs);
        break;
      default:
        this.#seeOwn();
    }
    const { waitMs } = policy;
    const { gate } = this.#cluster.settings;
    this.#waitMs = waitMs;
    effort.cluster = this.#cluster;
    effort.nowMs = now;
    effort.mayGate = mayGate && gate;
    effort.watermarkAgeMs = now - effort.watermarkAgeMs;
    effort.moveAgeMs = now - this.#watermark.replicaUsedAtMs;
    // A position is of no use by itself: no probe is newer.
    const helps = effort.mayGate || waitMs > 0;
    effort.mayAwaitPosition = mayWait && helps && now < this.deadlineMs('position');
    effort.mayAwaitReplica = mayWait && waitMs > 0 && now < this.deadlineMs('replica');
    return view;
  }

  /** Everything that the primary had at that time, whoever wrote it. */
  #seeFrom(sinceMs: number): void {
    view.watermark = this.#cluster.samples.firstSampleAfter(sinceMs);
    view.watermarkPending = view.watermark === null;
    this.#awaitedMs = sinceMs;
    effort.watermarkAgeMs = sinceMs;
  }

  /** What the session has written and seen. */
  #seeOwn(): void {
    view.watermark = this.#watermark.known;
    view.watermarkPending = this.#watermark.pending;
    view.lastReplica = this.#watermark.lastReplica(this.#cluster.generationOf);
    if (view.lastReplica !== null) view.moveFloor = this.#watermark.floorForMove(this.#cluster.samples);
    this.#awaitedMs = this.#watermark.owedSinceMs;
    effort.watermarkAgeMs = this.#watermark.sinceMs;
  }

  /** The same for an operator: the session goes on as if nobody had looked. */
  peekFor(policy: UnitPolicy): SessionView {
    const isChecked = this.#isChecked;
    const arrivedMs = this.#arrivedMs;
    // What a gate would find is not known before it is asked.
    const seen = { ...this.viewFor(policy, NO_NODES, false, false), effort: null };
    this.#isChecked = isChecked;
    this.#arrivedMs = arrivedMs;
    return seen;
  }

  /** A unit has been answered. `replica`: where; null: on the primary. */
  used(unit: Unit, outcome: Answered, replica: string | null, wasInTransaction: boolean): void {
    const inTransaction = outcome.transaction !== 'idle';
    if (!inTransaction && isReplicaRead(unit.statement)) this.#splits = true;
    const { route } = unit.statement;
    // In a transaction it may be what commits: SET autocommit=1.
    if (route === 'proxy' || (route === 'session' && !wasInTransaction)) return;
    if (replica !== null) {
      this.ranOnReplica(replica);
      return;
    }
    const shown = shownByPrimary(unit, outcome, wasInTransaction);
    if (shown === 'own-write') this.#watermark.wrote(outcome.position!, monotonicMs());
    else if (shown === 'anything') this.ranOnPrimary(inTransaction);
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
