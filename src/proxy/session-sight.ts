// What one session has seen, and where: it feeds the watermarks and gives the decision its view of the session.
// It knows no server connection and no client; how other processes hear of a key is the store's business.

import type { KeyedWatermark } from '../consistency/keyed-watermarks.js';
import { type ConsistencyScope, keyNamed, keyOfLogin, type ScopedLogin } from '../consistency/scope.js';
import { Watermark } from '../consistency/watermark.js';
import type { FloorAnswer } from '../consistency/watermark-store.js';
import { monotonicMs } from '../lib/clock.js';
import type { Position } from '../protocol/position.js';
import type { Answered, Unit } from '../protocol/unit.js';
import { isReplicaRead, type RoutingNode, type SessionView } from '../routing/decide.js';
import type { Effort } from '../routing/gating.js';
import type { UnitPolicy } from '../routing/policy.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import { recordUse } from './record-use.js';
import { isSeen, shownByPrimary } from './session-rules.js';

const NO_NODES: readonly string[] = [];
const NO_KEYS: readonly KeyedWatermark[] = [];
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
  returnMs: 0,
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

export interface PeekedView {
  readonly view: SessionView;
  /** Whose writes the unit would see; null: those of its connection. */
  readonly key: string | null;
}

/** Told when what it waits for has thrown. */
type Waiting = Parameters<ClusterRuntime['turnOf']>[0];
type AwaitsFloor = Waiting & { floorKnown(unit: Unit): void };
type Store = NonNullable<ClusterRuntime['store']>;

export class SessionSight {
  readonly #cluster: ClusterRuntime;
  /** Of what is under no key. */
  readonly #own: Watermark;
  /** The session reads outside transactions, so its watermark is worth asking for. */
  #splits = false;
  /** The last unit's reads went where everything seen before is. */
  #isChecked = true;
  /** When a place was first looked for the unit; 0: not yet. */
  #arrivedMs = 0;
  /** What the unit's reads wait for, if they do. */
  #awaitedMs = 0;
  #waitMs = 0;
  /** Its last read outside a transaction ran on the primary. */
  #readsOnPrimary = false;

  /** Of all units that name none themselves; null: the connection is a session of its own. */
  #loginKey: string | null = null;
  /** Of the running unit; null: none. */
  #key: KeyedWatermark | null = null;
  /** Keys of the running unit, and of those before it in its transaction. */
  #keys: readonly KeyedWatermark[] = NO_KEYS;
  /** Units of the running transaction, or the running unit, are under no key. */
  #usesOwn = true;
  /** Uses of the key that had been noted when the unit was given its place. */
  #usesAtDecision = 0;
  /** What the store said for the running unit; null: it has not been asked. */
  #floor: FloorAnswer | null = null;
  /** One more for each unit. */
  #turn = 0;
  /** The promotions counted when the unit began. */
  #epoch = 0;

  constructor(cluster: ClusterRuntime) {
    this.#cluster = cluster;
    this.#own = new Watermark(cluster.positions);
  }

  /** `scope`: the listener's; null: as the cluster. */
  loggedIn(scope: ConsistencyScope | null, login: ScopedLogin): void {
    this.#loginKey = keyOfLogin(scope ?? this.#cluster.config.consistency.scope, login);
  }

  // --- one unit ---------------------------------------------------------------------------------------------

  /** A unit begins; `inTransaction`: one that is open, to which it belongs. */
  begins({ sessionKey }: UnitPolicy, inTransaction: boolean): void {
    this.#arrivedMs = 0;
    this.#turn++;
    this.#epoch = this.#cluster.snapshot.epoch;
    this.#floor = null;
    if (!inTransaction) this.#letGo();
    const name = keyNamed(sessionKey) ?? this.#loginKey;
    if (name === null) {
      this.#key = this.#keyOfTransaction(inTransaction);
      if (this.#key === null) this.#usesOwn = true;
      return;
    }
    this.#key = this.#cluster.keyed.obtain(name, monotonicMs());
    if (this.#keys.includes(this.#key)) return;
    if (!inTransaction) this.#usesOwn = false;
    this.#key.holders++;
    this.#keys = [...this.#keys, this.#key];
  }

  /** In a transaction whose key was named at its beginning the rest is under it too. */
  #keyOfTransaction(inTransaction: boolean): KeyedWatermark | null {
    return inTransaction ? (this.#keys[0] ?? null) : null;
  }

  /** The client is gone. `server`: where a unit ran, of which it may have seen a part; others of its key go on. */
  close(server: { readonly node: string } | null, onReplica: boolean): void {
    if (server !== null && this.#keys.length > 0) {
      if (onReplica) this.ranOnReplica(server.node);
      else this.ranOnPrimary(false);
    }
    this.#letGo();
  }

  #letGo(): void {
    for (const each of this.#keys) each.holders--;
    this.#keys = NO_KEYS;
  }

  /** Whose writes the running unit must see. */
  get #watermark(): Watermark {
    return this.#key?.watermark ?? this.#own;
  }

  /**
   * True: it calls `who.floorKnown` with `unit` once it is known what other processes have let the unit's key see. `read`: what is
   * to be placed for it.
   */
  awaitsFloor(read: Unit, policy: UnitPolicy, who: AwaitsFloor, unit: Unit): boolean {
    const { store } = this.#cluster;
    const key = this.#key;
    if (store === null || key === null || this.#floor !== null || !isReplicaRead(read.statement))
      return false;
    // The other levels need nothing that others have seen, or go to the primary.
    if (policy.consistency !== 'session') return false;
    if (policy.target === null ? !policy.splitReads : policy.target.kind === 'primary') return false;
    return this.#asksFloor(store, key, who, unit);
  }

  #asksFloor(store: Store, key: KeyedWatermark, who: AwaitsFloor, unit: Unit): boolean {
    const turn = this.#turn;
    let isLate = false;
    const came = (answer: FloorAnswer): void => {
      if (this.#turn !== turn) return;
      this.#floor = answer;
      this.#take(key.watermark, answer);
      // Else the answer of this function tells.
      if (isLate) who.floorKnown(unit);
    };
    store.read(key.key, (answer) => this.#cluster.turnOf(who, () => came(answer)));
    isLate = true;
    return this.#floor === null;
  }

  #take(watermark: Watermark, answer: FloorAnswer): void {
    const now = monotonicMs();
    watermark.settle(this.#cluster.samples, this.#cluster.snapshot.epoch, now);
    if (answer.kind === 'unknown') watermark.owe(now);
    if (answer.kind !== 'floor') return;
    for (const { primary, text } of answer.positions) {
      // What another primary had may be lost; what this one has now is all that can still be seen of it.
      if (primary !== this.#cluster.snapshot.primary) watermark.owe(now);
      else watermark.atLeast(this.#cluster.parsePosition(text), now);
    }
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
    const watermark = this.#watermark;
    // What a strong read is checked against is as old as its arrival, wherever it is placed at last.
    if (this.#arrivedMs === 0 || policy.consistency !== 'strong') this.#usesAtDecision = this.#key?.uses ?? 0;
    if (this.#arrivedMs === 0) this.#arrivedMs = now;
    watermark.settle(samples, snapshot.epoch, now);
    view.consistency = this.#floor?.kind === 'doubt' ? 'primary' : policy.consistency;
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
        this.#seeWatermark(watermark);
    }
    const { gate, returnMs } = this.#cluster.settings;
    const returns = policy.waitMs === 0 && this.#readsOnPrimary && view.consistency === 'session';
    const waitMs = returns ? returnMs : policy.waitMs;
    this.#waitMs = waitMs;
    effort.cluster = this.#cluster;
    effort.nowMs = now;
    effort.mayGate = mayGate && gate;
    effort.watermarkAgeMs = now - effort.watermarkAgeMs;
    effort.moveAgeMs = now - watermark.replicaUsedAtMs;
    // A position is of no use by itself: no probe is newer.
    const helps = effort.mayGate || waitMs > 0;
    effort.mayAwaitPosition = mayWait && helps && now < this.deadlineMs('position');
    const leftMs = mayWait ? this.deadlineMs('replica') - now : 0;
    effort.mayAwaitReplica = !returns && leftMs > 0;
    effort.returnMs = returns ? leftMs : 0;
    return view;
  }

  /** Everything that the primary had at that time, whoever wrote it. */
  #seeFrom(sinceMs: number): void {
    view.watermark = this.#cluster.samples.firstSampleAfter(sinceMs);
    view.watermarkPending = view.watermark === null;
    this.#awaitedMs = sinceMs;
    effort.watermarkAgeMs = sinceMs;
  }

  /** What the session, or all sessions under its key, have written and seen. */
  #seeWatermark(watermark: Watermark): void {
    view.watermark = watermark.known;
    view.watermarkPending = watermark.pending;
    view.lastReplica = watermark.lastReplica(this.#cluster.generationOf);
    if (view.lastReplica !== null) view.moveFloor = watermark.floorForMove(this.#cluster.samples);
    this.#awaitedMs = watermark.owedSinceMs;
    effort.watermarkAgeMs = watermark.sinceMs;
  }

  /** The same of a unit that has not begun, for an operator: the session goes on as if nobody had looked. */
  peekFor(policy: UnitPolicy, inTransaction: boolean): PeekedView {
    const key = this.#key;
    const floor = this.#floor;
    const isChecked = this.#isChecked;
    const arrivedMs = this.#arrivedMs;
    const awaitedMs = this.#awaitedMs;
    const waitMs = this.#waitMs;
    const usesAtDecision = this.#usesAtDecision;
    const name = keyNamed(policy.sessionKey) ?? this.#loginKey;
    this.#key =
      name === null ? this.#keyOfTransaction(inTransaction) : this.#cluster.keyed.peek(name, monotonicMs());
    this.#floor = null;
    // What a gate would find, and what a store says, is not known before it is asked.
    const view = { ...this.viewFor(policy, NO_NODES, false, false), effort: null };
    const seen = { view, key: this.#key?.key ?? null };
    this.#key = key;
    this.#floor = floor;
    this.#isChecked = isChecked;
    this.#arrivedMs = arrivedMs;
    this.#awaitedMs = awaitedMs;
    this.#waitMs = waitMs;
    this.#usesAtDecision = usesAtDecision;
    return seen;
  }

  /** A unit has been answered. `replica`: where; null: on the primary. */
  used(unit: Unit, outcome: Answered, replica: string | null, wasInTransaction: boolean): void {
    const inTransaction = outcome.transaction !== 'idle';
    if (!inTransaction && isReplicaRead(unit.statement)) {
      this.#splits = true;
      this.#readsOnPrimary = replica === null;
    }
    if (!isSeen(unit, wasInTransaction)) return;
    if (replica !== null) {
      this.ranOnReplica(replica);
      return;
    }
    const shown = shownByPrimary(unit, outcome, wasInTransaction);
    // A position of a primary that has been replaced may name what was lost.
    const isOfThisEpoch = this.#epoch === this.#cluster.snapshot.epoch;
    if (shown === 'own-write' && isOfThisEpoch) this.#wrote(outcome.position!);
    else if (shown !== 'nothing') this.ranOnPrimary(inTransaction);
  }

  #wrote(position: Position): void {
    const now = monotonicMs();
    if (this.#usesOwn) this.#own.wrote(position, now);
    for (const each of this.#keys) {
      each.watermark.wrote(position, now);
      each.uses++;
    }
  }

  ranOnReplica(node: string): void {
    const now = monotonicMs();
    const generation = this.#cluster.generationOf(node);
    if (this.#usesOwn) this.#own.ranOnReplica(node, generation, now, this.#isChecked);
    for (const each of this.#keys) {
      // Another connection may have used the key meanwhile: what that saw has not been asked of this node.
      const isChecked = this.#isChecked && each === this.#key && each.uses === this.#usesAtDecision;
      each.watermark.ranOnReplica(node, generation, now, isChecked);
      each.uses++;
    }
  }

  /** `inTransaction`: the next units go to the same place anyway, so nothing is asked yet. */
  ranOnPrimary(inTransaction: boolean): void {
    const now = monotonicMs();
    if (this.#usesOwn) this.#own.ranOnPrimary(now);
    for (const each of this.#keys) {
      each.watermark.ranOnPrimary(now);
      each.uses++;
    }
    // Of a key, other connections may read meanwhile.
    const asks = this.#keys.length > 0 || (this.#splits && !inTransaction);
    if (asks) this.#cluster.requestPosition(now);
  }

  // --- what others must know before the client does ---------------------------------------------------------

  /** The unit's reply is kept back until `settle` has called back. */
  get holdsReply(): boolean {
    return this.#cluster.store !== null && this.#keys.length > 0;
  }

  /** It calls `then` once every process that could be asked for the unit's keys knows what the unit has shown. */
  settle(who: Waiting, then: () => void): void {
    const { store } = this.#cluster;
    if (store === null || this.#keys.length === 0) then();
    else recordUse(this.#cluster, store, this.#keys, () => this.#cluster.turnOf(who, then));
  }
}
