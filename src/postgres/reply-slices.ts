// What has been read for one client and not been handed over: messages that follow each other in one chunk are one slice.
// It knows no message and no socket.

/** Never written to. */
const NONE: Buffer[] = [];

export class ReplySlices {
  #slices: Buffer[] = NONE;
  #buffer: Buffer | null = null;
  #start = 0;
  #end = 0;

  add(buffer: Buffer, start: number, end: number): void {
    if (this.#buffer === buffer && this.#end === start) {
      this.#end = end;
      return;
    }
    this.#endSlice();
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  get isEmpty(): boolean {
    return this.#buffer === null && this.#slices.length === 0;
  }

  /** Bytes that stand by themselves. */
  push(bytes: Buffer): void {
    this.#endSlice();
    this.#append(bytes);
  }

  /** Nothing is left, and the list is whoever's takes it. */
  take(): Buffer[] {
    this.#endSlice();
    const slices = this.#slices;
    this.#slices = NONE;
    return slices;
  }

  /** What has been taken before, in front of what comes. */
  restore(slices: Buffer[]): void {
    this.#slices = slices;
  }

  discard(): void {
    this.#buffer = null;
    this.#slices = NONE;
  }

  #endSlice(): void {
    const buffer = this.#buffer;
    if (buffer === null) return;
    const isWhole = this.#start === 0 && this.#end === buffer.length;
    this.#append(isWhole ? buffer : buffer.subarray(this.#start, this.#end));
    this.#buffer = null;
  }

  /** One or two are the rule, and a list that grows takes room for seventeen. */
  #append(bytes: Buffer): void {
    const slices = this.#slices;
    if (slices.length === 0) this.#slices = [bytes];
    else if (slices.length === 1) this.#slices = [slices[0]!, bytes];
    else slices.push(bytes);
  }
}
