// How deep each key certainly was at each time, from what had been acknowledged or seen by then, and what of it survived each
// failover. The order of commits is one for all keys: who has state of a time has everything that was committed before it.

import { type Facts, NOTHING, OUTCOME, STEP } from './facts.js';

/** Depths that rise with time; what happened at `times[i]` proves `depths[i]`, by operation `ops[i]`. */
interface Proof {
  readonly times: number[];
  readonly depths: number[];
  readonly ops: number[];
}

const NONE: Proof = { times: [], depths: [], ops: [] };

export class Committed {
  readonly #facts: Facts;
  /** By epoch, by key. */
  readonly #proofs: (Proof | undefined)[][] = [];
  /** By epoch, by key: what certainly survived the failover at its beginning. */
  readonly #base: number[][] = [];

  constructor(facts: Facts) {
    this.#facts = facts;
    for (let epoch = 0; epoch < facts.epochs.count; epoch++) {
      this.#base.push(epoch === 0 ? [] : this.#survivors(epoch));
      this.#proofs.push(this.#prove(epoch));
    }
  }

  /** How deep the key is at least in any state of the epoch that has what was committed before `time`. */
  depthAt(key: number, time: number, epoch: number): number {
    if (epoch === 0 || time >= this.#facts.epochs.begin(epoch)) {
      const proof = this.#proofs[epoch]![key] ?? NONE;
      const at = firstNotBelow(proof.times, time) - 1;
      return at < 0 ? this.#baseOf(epoch, key) : proof.depths[at]!;
    }
    return Math.min(this.depthAt(key, time, epoch - 1), this.#baseOf(epoch, key));
  }

  /** What of a depth that was seen in one epoch must still be there in a later one. */
  carry(key: number, depth: number, from: number, to: number): number {
    let carried = depth;
    for (let epoch = from + 1; epoch <= to; epoch++) carried = Math.min(carried, this.#baseOf(epoch, key));
    return carried;
  }

  /** Who proved, before `time`, depths from above `above` on: the first ones, oldest first. */
  witnesses(key: number, above: number, time: number, epoch: number, most: number): number[] {
    if (epoch > 0 && time < this.#facts.epochs.begin(epoch))
      return this.witnesses(key, above, time, epoch - 1, most);
    const { times, depths, ops } = this.#proofs[epoch]![key] ?? NONE;
    const found: number[] = [];
    for (
      let at = firstAbove(depths, above);
      at < times.length && times[at]! < time && found.length < most;
      at++
    )
      found.push(ops[at]!);
    // It lies in what survived.
    if (found.length === 0 && epoch > 0)
      return this.witnesses(key, above, this.#facts.epochs.endBefore(epoch), epoch - 1, most);
    return found;
  }

  #baseOf(epoch: number, key: number): number {
    return this.#base[epoch]?.[key] ?? 0;
  }

  /** Each acknowledged write makes its key one deeper; a read shows how deep it is. */
  #prove(epoch: number): (Proof | undefined)[] {
    const facts = this.#facts;
    const proofs: (Proof | undefined)[] = [];
    const acknowledged: number[] = [];
    for (let op = 0; op < facts.count; op++) {
      if (facts.low[op] !== epoch || facts.high[op] !== epoch) continue;
      for (let step = facts.firstStep[op]!; step < facts.firstStep[op + 1]!; step++) {
        const key = facts.stepKey[step]!;
        let depth = facts.stepDepth[step]!;
        if (facts.stepKind[step] === STEP.write) {
          if (facts.outcome[op] !== OUTCOME.ok) continue;
          acknowledged[key] = (acknowledged[key] ?? 0) + 1;
          depth = Math.max(
            this.#baseOf(epoch, key) + acknowledged[key],
            facts.depth[facts.stepValue[step]!]!,
          );
        } else if (facts.stepKind[step] === STEP.ownRead || facts.stepValue[step] === NOTHING) continue;
        let proof = proofs[key];
        if (proof === undefined) {
          proof = { times: [], depths: [], ops: [] };
          proofs[key] = proof;
        }
        if (depth <= (proof.depths.at(-1) ?? this.#baseOf(epoch, key))) continue;
        proof.times.push(facts.end[op]!);
        proof.depths.push(depth);
        proof.ops.push(op);
      }
    }
    return proofs;
  }

  /**
   * What is seen after a failover, and had been committed before it, has survived; and with it everything that was committed
   * before, which is all that was acknowledged or seen before its write began.
   */
  #survivors(epoch: number): number[] {
    const facts = this.#facts;
    const before = facts.epochs.endBefore(epoch);
    const after = facts.epochs.begin(epoch);
    const base: number[] = [];
    let latest = Number.NEGATIVE_INFINITY;
    facts.writer.forEach((writer, value) => {
      if (writer < 0 || facts.lastSeenStart[value]! < after) return;
      const acknowledged = facts.outcome[writer] === OUTCOME.ok && facts.end[writer]! <= before;
      if (!acknowledged && facts.firstSeenEnd[value]! > before) return;
      const key = facts.keyOf[value]!;
      base[key] = Math.max(base[key] ?? 0, facts.depth[value]!);
      latest = Math.max(latest, facts.start[writer]!);
    });
    for (let key = 0; key < facts.keys.list.length; key++) {
      const depth = this.depthAt(key, latest, epoch - 1);
      if (depth > (base[key] ?? 0)) base[key] = depth;
    }
    return base;
  }
}

/** The first place whose number is not below `limit`. */
function firstNotBelow(rising: readonly number[], limit: number): number {
  let from = 0;
  let to = rising.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (rising[middle]! < limit) from = middle + 1;
    else to = middle;
  }
  return from;
}

function firstAbove(rising: readonly number[], limit: number): number {
  let at = firstNotBelow(rising, limit);
  while (at < rising.length && rising[at]! <= limit) at++;
  return at;
}
