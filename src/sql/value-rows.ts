// Finds rows of a VALUES list that read like the row before them, so that a shape does not grow with their number.
// It knows the layout of a shape ("values (?, f()), (?, f())", with or without the first space) and no dialect.

const MAX_DEPTH = 64;
/** Literals of all kinds are alike here: control bytes up to this one are their places. */
const MAX_PLACEHOLDER = 4;
const values = Buffer.from('values');
const IN = Buffer.from('in');

/** Whether a shape ends with this word, before `length`; a space behind it does not matter. */
function endsWith(shape: Uint8Array, length: number, word: Uint8Array): boolean {
  const end = shape[length - 1] === 0x20 ? length - 1 : length;
  const start = end - word.length;
  if (start < 0) return false;
  for (let i = word.length - 1; i >= 0; i--) if (shape[start + i] !== word[i]) return false;
  const before = shape[start - 1];
  return start === 0 || before === 0x20 || before === 0x28 || before === 0x29 || before === 0x3b;
}

export class ValueRows {
  /** By depth of brackets: where the last row begins in the shape, and the one before it; -1: it is no row. */
  readonly #at = new Int32Array(MAX_DEPTH);
  readonly #before = new Int32Array(MAX_DEPTH);
  /** By depth: 1 in a row, or in the list of an IN. */
  readonly #isList = new Uint8Array(MAX_DEPTH);

  /** A bracket is about to be written at `length`; `depth` counts it. */
  open(shape: Uint8Array, length: number, depth: number, isRound: boolean): void {
    if (depth <= 0 || depth >= MAX_DEPTH) return;
    let at = -1;
    let before = -1;
    let isList = false;
    if (isRound) {
      const isNext = shape[length - 2] === 0x2c && shape[length - 3] === 0x29;
      // What the shape has before its first byte is of an older text.
      if (isNext && length > 3) {
        before = this.#at[depth]!;
        if (before >= 0) at = length;
      } else if (endsWith(shape, length, values)) at = length;
      isList = at >= 0 || endsWith(shape, length, IN);
    }
    this.#isList[depth] = isList ? 1 : 0;
    this.#at[depth] = at;
    this.#before[depth] = before;
  }

  /**
   * The round bracket is about to be closed at `length`. Where the row is like the one before it: the length to which the shape
   * is cut, so that the closing bracket then stands where that row's stood; else -1.
   */
  close(shape: Uint8Array, length: number, depth: number): number {
    if (depth <= 0 || depth >= MAX_DEPTH) return -1;
    const before = this.#before[depth]!;
    if (before < 0) return -1;
    const at = this.#at[depth]!;
    // The row before ends with its bracket, in front of a comma and a space.
    const inside = at - 3 - before;
    if (length - at !== inside) return -1;
    for (let i = 0; i < inside; i++) {
      const a = shape[before + i]!;
      const b = shape[at + i]!;
      if (a !== b && (a > MAX_PLACEHOLDER || b > MAX_PLACEHOLDER)) return -1;
    }
    this.#at[depth] = before;
    return at - 3;
  }

  /** The innermost open bracket is a row, or the list of an IN: not the arguments of a function. */
  isList(depth: number): boolean {
    return depth > 0 && depth < MAX_DEPTH && this.#isList[depth] === 1;
  }

  /** The row that is about to be closed was taken out by other means. */
  merged(depth: number): void {
    if (depth > 0 && depth < MAX_DEPTH) this.#at[depth] = this.#before[depth]!;
  }
}
