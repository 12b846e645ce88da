// What a client is written: what is the proxy's own is gathered until the stack is empty, and replies are kept back where they must
// not be seen yet.
// It knows no protocol and not why a reply is kept back.

import type { Socket } from 'node:net';
import { hangUp, writeTogether } from './batched-writer.js';
import { isAllSent } from './direct-write.js';

/** What a reply begins with goes out although the rest is kept back when there is more than this. */
const MAX_HELD_BYTES = 262_144;

export class ReplyWriter {
  readonly #socket: Socket;
  readonly #limitBytes: number;
  /** Null: nothing is kept back. What came together, in order. */
  #held: (readonly Buffer[])[] | null = null;
  #heldBytes = 0;
  /** Of the proxy's own; null: nothing has been gathered. */
  #own: Buffer[] | null = null;

  constructor(socket: Socket, limitBytes: number) {
    this.#socket = socket;
    this.#limitBytes = limitBytes;
  }

  /** From now on what is written waits for `release`. The end of a reply always does; of a long one the beginning does not. */
  hold(): void {
    this.#held ??= [];
  }

  /** The client is asked for something: what has been kept back goes out, what follows does not. */
  pass(): void {
    if (this.#held === null || this.#held.length === 0) return;
    this.release();
    this.hold();
  }

  release(): void {
    const held = this.#held;
    if (held === null) return;
    this.#held = null;
    this.#heldBytes = 0;
    if (held.length > 0) this.writeAll(held.flat());
  }

  /** What is kept back is never sent: the connection ends. */
  drop(): void {
    this.#held = null;
    this.#heldBytes = 0;
  }

  /** Something of the proxy's own. False: more should wait for the socket's `drain`. */
  write(bytes: Buffer): boolean {
    if (this.#held !== null) return this.#keep([bytes]);
    if (!this.#socket.writable) return true;
    if (this.#own === null) {
      this.#own = [];
      process.nextTick(flush, this);
    }
    this.#own.push(bytes);
    return this.keepsUp;
  }

  writeAll(slices: readonly Buffer[]): boolean {
    if (this.#held !== null) return this.#keep(slices);
    if (!this.#socket.writable) return true;
    const own = this.#own;
    this.#own = null;
    writeTogether(this.#socket, own === null ? slices : [...own, ...slices]);
    return this.keepsUp;
  }

  /** What has been gathered goes out. */
  flush(): void {
    const own = this.#own;
    this.#own = null;
    if (own !== null && this.#socket.writable) writeTogether(this.#socket, own);
  }

  /** What has been written still goes out, but for what is kept back. */
  hangUp(): void {
    this.flush();
    hangUp(this.#socket);
  }

  #keep(slices: readonly Buffer[]): boolean {
    const held = this.#held!;
    held.push(slices.slice());
    for (const { length } of slices) this.#heldBytes += length;
    // The last two pieces have the end of the reply, even where it was cut by the network.
    while (this.#heldBytes > MAX_HELD_BYTES && held.length > 2) {
      const first = held.shift()!;
      for (const { length } of first) this.#heldBytes -= length;
      this.flush();
      if (this.#socket.writable) writeTogether(this.#socket, first);
    }
    return this.keepsUp;
  }

  /** Everything is with the kernel: nothing refers to the bytes that were written any more. */
  get isWritten(): boolean {
    return this.#held === null && this.#own === null && isAllSent(this.#socket);
  }

  /** False: the client does not read what it is answered. */
  get keepsUp(): boolean {
    return this.#socket.writableLength < this.#limitBytes;
  }
}

/** For `process.nextTick`, which takes no method. */
function flush(writer: ReplyWriter): void {
  writer.flush();
}
