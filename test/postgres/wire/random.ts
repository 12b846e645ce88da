// Repeatable random bytes for fuzzing; a failing case is found again by its seed.

/** mulberry32: enough to vary inputs. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to below - 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }

  bytes(length: number): Buffer {
    const buffer = Buffer.allocUnsafe(length);
    for (let index = 0; index < length; index++) buffer[index] = this.below(256);
    return buffer;
  }

  /** A copy with a few bytes changed, cut out or put in. */
  mutate(buffer: Buffer): Buffer {
    let copy: Buffer = Buffer.from(buffer);
    for (let times = 1 + this.below(4); times > 0; times--) {
      const at = this.below(copy.length + 1);
      const kind = this.below(4);
      if (kind === 0 && at < copy.length) copy[at] = this.below(256);
      else if (kind === 1 && at < copy.length) copy[at] = [0, 1, 0x7f, 0x80, 0xff][this.below(5)]!;
      else if (kind === 2) copy = Buffer.concat([copy.subarray(0, at), copy.subarray(at + this.below(8))]);
      else copy = Buffer.concat([copy.subarray(0, at), this.bytes(this.below(8)), copy.subarray(at)]);
    }
    return copy;
  }
}
