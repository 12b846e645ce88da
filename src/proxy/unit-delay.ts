// What one unit has waited for, and for how long: a server connection, a primary, a position, a replica that has what it needs.
// It knows no server connection; the queues in which it stands are the cluster's.

import { monotonicMs } from '../lib/clock.js';
import type { ProxyError } from '../lib/errors.js';
import type { Answered, Unit } from '../protocol/unit.js';
import type { Decision } from '../routing/decide.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { Held } from './hold.js';
import type { Phase } from './session-phase.js';
import { heldTooLong, holdReason, type Waited } from './session-rules.js';
import type { SessionSight } from './session-sight.js';
import { bookAnswered, bookFailed, type Delays, delayed } from './unit-account.js';

export class UnitDelay {
  readonly #cluster: ClusterRuntime;
  #submittedMs = 0;
  /** Null: it has not been delayed. */
  #delays: Delays | null = null;
  /** 0: it is not held, or waits for its reads' sake only. */
  #heldSinceMs = 0;
  waited: Waited = null;

  constructor(cluster: ClusterRuntime) {
    this.#cluster = cluster;
  }

  begin(): void {
    this.#submittedMs = monotonicMs();
    this.#delays = null;
    this.#heldSinceMs = 0;
    this.waited = null;
  }

  /** The session changes its phase. */
  moves(from: Phase, to: Phase): void {
    if (to === 'waiting' || to === 'held' || this.#delays !== null)
      this.#delays = delayed(this.#delays, from, to);
  }

  get mayWait(): boolean {
    return this.waited !== 'in vain' && !this.#cluster.waits.isFull;
  }

  /** No node may take it. The session is in the phase `held` already. */
  hold(held: Held, decision: Decision | null): void {
    const { counters, holdMs, hold } = this.#cluster;
    const now = monotonicMs();
    if (this.#heldSinceMs === 0) {
      this.#heldSinceMs = now;
      counters.holds[holdReason(decision)]++;
    }
    if (now - this.#heldSinceMs >= holdMs) held.expired();
    else hold.add(held, this.#heldSinceMs + holdMs);
  }

  /** A read that may find a replica soon. The session is in the phase `held` already. */
  await(held: Held, what: 'position' | 'replica', sight: SessionSight): void {
    const { counters, waits } = this.#cluster;
    if (this.waited === null) counters.holds['watermark-pending']++;
    this.waited = what;
    this.#heldSinceMs = 0;
    const afterMs = what === 'position' ? sight.awaitedMs : null;
    waits.add(held, { afterMs, deadlineMs: sight.deadlineMs(what) });
    if (afterMs !== null) this.#cluster.awaitPosition(afterMs);
  }

  /** It is tried again. */
  resumed(): void {
    if (this.#heldSinceMs > 0) this.#cluster.counters.holdMs += monotonicMs() - this.#heldSinceMs;
  }

  /** Its time is over. Null: a read that waits no more, and is placed all the same. */
  expired(decision: Decision | null): ProxyError | null {
    if (this.#heldSinceMs === 0) {
      this.waited = 'in vain';
      return null;
    }
    this.resumed();
    const waitedMs = Math.round(monotonicMs() - this.#heldSinceMs);
    return heldTooLong(this.#cluster, waitedMs, holdReason(decision));
  }

  withdraw(held: Held): void {
    this.#cluster.hold.remove(held);
    this.#cluster.waits.remove(held);
  }

  answered(unit: Unit, node: string, onReplica: boolean, outcome: Answered): void {
    bookAnswered(
      this.#cluster,
      unit,
      { node, onReplica, submittedMs: this.#submittedMs },
      this.#delays,
      outcome,
    );
  }

  failed(unit: Unit, phase: Phase): void {
    bookFailed(this.#cluster, unit, this.#submittedMs, this.#delays, phase);
  }
}
