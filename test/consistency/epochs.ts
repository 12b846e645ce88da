// The times between failovers: which of them an operation certainly ran in. It knows nothing of what operations did.

/** `low` the first epoch that an operation may have run in, `high` the last; it is certain of its epoch where both are the same. */
export class Epochs {
  readonly #from: readonly number[];
  readonly #to: readonly number[];

  constructor(failovers: readonly (readonly [from: number, to: number])[]) {
    const sorted = failovers.toSorted((a, b) => a[0] - b[0]);
    this.#from = sorted.map(([from]) => from);
    this.#to = sorted.map(([, to]) => to);
  }

  get count(): number {
    return this.#from.length + 1;
  }

  low(start: number): number {
    let epoch = 0;
    while (epoch < this.#to.length && this.#to[epoch]! <= start) epoch++;
    return epoch;
  }

  high(end: number): number {
    let epoch = 0;
    while (epoch < this.#from.length && this.#from[epoch]! < end) epoch++;
    return epoch;
  }

  /** From then on there was nothing but this epoch's primary. */
  begin(epoch: number): number {
    return epoch === 0 ? Number.NEGATIVE_INFINITY : this.#to[epoch - 1]!;
  }

  /** Until then there was nothing but the epoch's primary before this one. */
  endBefore(epoch: number): number {
    return epoch === 0 ? Number.NEGATIVE_INFINITY : this.#from[epoch - 1]!;
  }
}
