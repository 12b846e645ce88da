// What one session has written and seen, as a position that its next reads must cover; it opens no socket and reads no clock.
// A session that has used the primary owes a position that was asked for after that use; until it comes, its reads stay there.

import type { Position, PositionFunctions } from '../protocol/position.js';

/** The primary's positions over time, as the position resolver keeps them. */
export interface PositionSamples {
  /**
   * The first position of the current primary that was asked for at or after `ms`; null when there is none yet.
   * It covers everything that had been acknowledged, or could be seen on any node, before `ms`.
   */
  firstSampleAfter(ms: number): Position | null;
}

/** No node has this name. */
const NO_LONGER_THE_SAME = '';

export class Watermark {
  readonly #positions: PositionFunctions;
  #known: Position | null = null;
  /** All of `#known` had been there by then. */
  #knownSinceMs = 0;
  #epoch = 0;
  /** The session used the primary until then, and what that showed it is not in `#known` yet; 0: nothing is owed. */
  #owedSinceMs = 0;

  // The session's last read, when that was on a replica: fields of ours, since each read changes them.
  /** Where it ran; null: not on a replica. */
  #replica: string | null = null;
  /** How often the node had been down before: after a crash it may come back behind what it has shown. */
  #replicaGeneration = 0;
  #replicaUsedAtMs = 0;

  constructor(positions: PositionFunctions) {
    this.#positions = positions;
  }

  /** The position that any node must cover; null: none is needed. Meaningless while `pending`. */
  get known(): Position | null {
    return this.#known;
  }

  /** Since when there has been, somewhere, what `known` names, or what is owed. */
  get sinceMs(): number {
    return Math.max(this.#knownSinceMs, this.#owedSinceMs);
  }

  /** When the last read on a replica ended; 0: the last read was not on one. */
  get replicaUsedAtMs(): number {
    return this.#replica === null ? 0 : this.#replicaUsedAtMs;
  }

  /** A position is owed that was asked for after this time; 0: none. */
  get owedSinceMs(): number {
    return this.#owedSinceMs;
  }

  /** The position is not known yet: reads go to the primary. */
  get pending(): boolean {
    return this.#owedSinceMs > 0;
  }

  /** Null: the last read was not on a replica. `generationOf`: how often a node has been down. */
  lastReplica(generationOf: (node: string) => number): string | null {
    if (this.#replica === null) return null;
    return generationOf(this.#replica) === this.#replicaGeneration ? this.#replica : NO_LONGER_THE_SAME;
  }

  /** A write of which nothing was seen but that it was done, and where in the history it stands. */
  wrote(position: Position, endedAtMs: number): void {
    this.#learn(position, endedAtMs);
  }

  /** A unit ended on the primary: the session has written, or seen what is there. */
  ranOnPrimary(endedAtMs: number): void {
    this.#owedSinceMs = endedAtMs;
    this.#replica = null;
  }

  /** All that the primary had acknowledged before `ms` must be seen, whoever wrote it. */
  owe(ms: number): void {
    this.#owedSinceMs = Math.max(this.#owedSinceMs, ms);
  }

  /** `position`, of the present epoch, must be seen too; it was told at `toldAtMs`. */
  atLeast(position: Position, toldAtMs: number): void {
    this.#learn(position, toldAtMs);
  }

  /**
   * A unit ended on a replica. `checked`: the replica had all that the session had seen; where nobody asked (an
   * eventual read), what was seen elsewhere before is owed.
   */
  ranOnReplica(node: string, generation: number, endedAtMs: number, checked: boolean): void {
    const isAsBefore = this.#replica === node && this.#replicaGeneration === generation;
    if (!checked && this.#replica !== null && !isAsBefore)
      this.#owedSinceMs = Math.max(this.#owedSinceMs, this.#replicaUsedAtMs);
    this.#replica = node;
    this.#replicaGeneration = generation;
    this.#replicaUsedAtMs = endedAtMs;
  }

  /** Takes up what has become known meanwhile. Call before a decision. */
  settle(samples: PositionSamples, epoch: number, nowMs: number): void {
    if (epoch !== this.#epoch) this.#enterEpoch(epoch, nowMs);
    if (this.#owedSinceMs === 0) return;
    const position = samples.firstSampleAfter(this.#owedSinceMs);
    if (position === null) return;
    this.#learn(position, this.#owedSinceMs);
    this.#owedSinceMs = 0;
  }

  #learn(position: Position, sinceMs: number): void {
    const known = this.#known;
    // Nothing has been written meanwhile: what the session must see is as old as it was.
    if (known !== null && this.#positions.covers(known, position)) return;
    this.#known = known === null ? position : this.#positions.union(known, position);
    this.#knownSinceMs = Math.max(this.#knownSinceMs, sinceMs);
  }

  /**
   * What a node other than the last replica must cover so that the session does not go back in time:
   * null: nothing more than `known`; `unknown`: only the last replica, or the primary, will do.
   */
  floorForMove(samples: PositionSamples): Position | 'unknown' | null {
    if (this.#replica === null) return null;
    return samples.firstSampleAfter(this.#replicaUsedAtMs) ?? 'unknown';
  }

  /**
   * After a promotion an old position is not awaited: it may name what was lost. What the new primary has now is
   * all that can still be seen, so the session owes a position of the new primary.
   */
  #enterEpoch(epoch: number, nowMs: number): void {
    const hasHistory = this.#known !== null || this.#owedSinceMs > 0 || this.#replica !== null;
    this.#epoch = epoch;
    this.#known = null;
    this.#replica = null;
    this.#owedSinceMs = hasHistory ? nowMs : 0;
  }
}
