// What has been read for one client and not been handed over: messages that follow each other in one chunk are one slice.
// It knows no message and no socket.

export class ReplySlices {
  #slices: Buffer[] = [];
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
    this.#slices.push(bytes);
  }

  /** Nothing is left, and the list is whoever's takes it. */
  take(): Buffer[] {
    this.#endSlice();
    const slices = this.#slices;
    this.#slices = [];
    return slices;
  }

  /** What has been taken before, in front of what comes. */
  restore(slices: Buffer[]): void {
    this.#slices = slices;
  }

  discard(): void {
    this.#buffer = null;
    if (this.#slices.length > 0) this.#slices = [];
  }

  #endSlice(): void {
    if (this.#buffer === null) return;
    this.#slices.push(this.#buffer.subarray(this.#start, this.#end));
    this.#buffer = null;
  }
}
