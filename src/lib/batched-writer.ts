// Writing to sockets: everything written to one within one turn of the event loop leaves as one write, whoever wrote it.
// It knows no protocol.

import type { Socket } from 'node:net';
import { writeNow } from './direct-write.js';

/** Beyond this nothing is gathered any more. */
const MAX_GATHERED_BYTES = 65_536;
/** Beyond this nothing is copied together: what has to be collected as garbage afterwards costs more than a list. */
const MAX_COPIED_BYTES = 8_192;

const LINGER_MS = 5000;

let due: BatchedWriter[] = [];
let turn = 0;

/** Changes when what has been gathered leaves. */
export function currentTurn(): number {
  return turn;
}

/** The sockets that became readable in one poll have all been read by now: what they wrote goes out together. */
function flushAll(): void {
  const writers = due;
  turn++;
  due = [];
  for (const writer of writers) {
    try {
      writer.flush();
    } catch (cause) {
      // The others wait for nothing else than this turn.
      writer.broke(cause);
    }
  }
}

export class BatchedWriter {
  readonly #socket: Socket;
  /** It has thrown: some of what was to leave is missing. */
  readonly broke: (cause: unknown) => void;
  readonly #ending: (() => Buffer | null) | null;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isDue = false;

  /** `ending`: asked before each write to the socket for what has to stand behind what has been gathered. */
  constructor(socket: Socket, broke: (cause: unknown) => void, ending: (() => Buffer | null) | null = null) {
    this.#socket = socket;
    this.broke = broke;
    this.#ending = ending;
  }

  /** False: more should wait for the socket's `drain`. */
  write(bytes: Buffer): boolean {
    this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= MAX_GATHERED_BYTES) return this.flush();
    if (!this.#isDue) {
      this.#isDue = true;
      if (due.length === 0) setImmediate(flushAll);
      due.push(this);
    }
    return !this.#socket.writableNeedDrain;
  }

  flush(): boolean {
    this.#isDue = false;
    const chunks = this.#chunks;
    const end = this.#ending?.() ?? null;
    if (end !== null) chunks.push(end);
    if (chunks.length === 0 || !this.#socket.writable) return true;
    this.#chunks = [];
    this.#bytes = 0;
    return writeTogether(this.#socket, chunks);
  }
}

/** One write for all: a copy where that is cheaper than handing the kernel a list. */
export function writeTogether(socket: Socket, chunks: readonly Buffer[]): boolean {
  if (chunks.length === 1) return writeNow(socket, chunks[0]!);
  let bytes = 0;
  for (const chunk of chunks) bytes += chunk.length;
  if (bytes <= MAX_COPIED_BYTES) {
    const all = Buffer.allocUnsafe(bytes);
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return writeNow(socket, all);
  }
  socket.cork();
  let keepsUp = true;
  for (const chunk of chunks) keepsUp = socket.write(chunk);
  socket.uncork();
  return keepsUp;
}

/** What has been written still goes out, and `farewell` behind it; somebody who never reads what he was told last is not waited for. */
export function hangUp(socket: Socket, farewell?: Buffer): void {
  if (farewell !== undefined && socket.writable) socket.end(farewell);
  else socket.end();
  socket.destroySoon();
  socket.setTimeout(LINGER_MS, () => socket.destroy());
}
