// Finds PostgreSQL messages in a stream of chunks, and checks each length before it is used.
// It must not know what a message means, which side sent it, or where the bytes go.
//
// Message format: https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS
//
//   framer.push(chunk);
//   while (framer.next() === 'ready') handle(framer.type, framer.buffer, framer.start, framer.end);
//
// A message that lies in one chunk is answered in place. One that is spread over chunks is assembled in a buffer of
// its own that grows with the bytes received, never with the length announced. A buffer that has been answered is
// never written to again: slices of it may be kept.

import { unpooled } from '../../lib/chunk-copies.js';
import { ProxyError } from '../../lib/errors.js';
import { BACKEND } from './backend.js';
import { FRONTEND } from './frontend.js';

/** `ready`: the fields describe a message or segment. `more`: push another chunk. `stop`: `error` says why, for ever. */
export type FramerAnswer = 'ready' | 'more' | 'stop';

/** What the next bytes are: a packet without a type byte, or typed messages. */
type Phase = 'startup' | 'messages' | 'stopped';

/** By type byte: the most bytes that a whole message may have, type byte included; 0 for a type that may not come. */
export type FrameLimits = Float64Array;

/** MAX_STARTUP_PACKET_LENGTH of PostgreSQL, also applied to the other messages before a login is complete. */
export const LOGIN_LIMIT_BYTES = 10_000;
/** PQ_SMALL_MESSAGE_LIMIT of PostgreSQL, for messages that carry a name at most. */
export const SMALL_LIMIT_BYTES = 10_000;

const STARTUP_HEADER_BYTES = 4;
const HEADER_BYTES = 5;
const FIRST_ASSEMBLY_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);
const NONE: Buffer[] = [];

/** An application that has not logged in yet: only the answer to an authentication request. */
export function loginFrontendLimits(): FrameLimits {
  return LOGIN_LIMITS;
}

const LOGIN_LIMITS = new Float64Array(256);
LOGIN_LIMITS[FRONTEND.password] = LOGIN_LIMIT_BYTES;

/** An application that has logged in. `messageBytes` bounds what has to be assembled: Query, Parse, Bind, FunctionCall. */
export function frontendLimits(messageBytes: number): FrameLimits {
  // Two kilobytes: clients share them.
  if (lastFrontend.messageBytes !== messageBytes)
    lastFrontend = { messageBytes, limits: makeFrontendLimits(messageBytes) };
  return lastFrontend.limits;
}

let lastFrontend: { readonly messageBytes: number; readonly limits: FrameLimits } = {
  messageBytes: -1,
  limits: LOGIN_LIMITS,
};

function makeFrontendLimits(messageBytes: number): FrameLimits {
  const limits = new Float64Array(256);
  const { query, parse, bind, functionCall, copyData } = FRONTEND;
  for (const type of [query, parse, bind, functionCall, copyData]) limits[type] = messageBytes;
  const { close, describe, execute, flush, sync, terminate, copyDone, copyFail } = FRONTEND;
  for (const type of [close, describe, execute, flush, sync, terminate, copyDone, copyFail]) {
    limits[type] = Math.min(SMALL_LIMIT_BYTES, messageBytes);
  }
  return limits;
}

/** A node. `messageBytes` bounds what has to be assembled; what the framer streams has no bound but the wire's. */
export function backendLimits(messageBytes: number): FrameLimits {
  const limits = new Float64Array(256);
  for (const type of Object.values(BACKEND)) limits[type] = messageBytes;
  return limits;
}

export interface FramerOptions {
  readonly limits: FrameLimits;
  /** The first thing that comes is a startup packet (an application), not a typed message (a node). */
  readonly startup?: boolean;
  /**
   * DataRow and CopyData longer than this are answered in segments, as they arrive, instead of being assembled.
   * (An application's Describe has the type byte of DataRow, and its own limit far below any sensible value here.)
   */
  readonly streamAboveBytes?: number;
}

export class Framer {
  /** The type byte of the message; 0 for a startup packet. */
  type = 0;
  /** The bytes of the message, or of this segment, are `buffer[start, end)`; the first byte is the type byte. */
  buffer: Buffer = NOTHING;
  start = 0;
  end = 0;
  /** Both are true for a whole message. The first segment of a message has at least its 5 header bytes. */
  isFirst = true;
  isLast = true;
  /** Of the whole message, type byte included, also while only a segment of it is here. */
  messageBytes = 0;
  /** Why the framer stopped. */
  error: ProxyError | null = null;

  #phase: Phase;
  #limits: FrameLimits;
  /** Null: nothing is streamed. (Infinity would be 16 bytes in each framer.) */
  readonly #streamAboveBytes: number | null;

  #chunk: Buffer = NOTHING;
  #position = 0;
  /** Chunks that came while the one before had not been read to its end, or others waited: in their order. */
  #waiting: Buffer[] = NONE;

  /** A message that is spread over chunks; `#wanted` is its header's length until the header is complete. */
  #assembly: Buffer | null = null;
  #assembled = 0;
  #wanted = 0;

  /** Of the message being streamed: bytes that have not been answered yet. */
  #streamLeft = 0;

  constructor(options: FramerOptions) {
    this.#limits = options.limits;
    this.#phase = options.startup === true ? 'startup' : 'messages';
    this.#streamAboveBytes = options.streamAboveBytes ?? null;
  }

  /** Takes bytes from the socket; they are not copied, and must not be written to by the caller any more. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    // Also one that has been read to its end: others may wait behind it.
    if (this.#position < this.#chunk.length || this.#waiting.length > 0) {
      if (this.#waiting === NONE) this.#waiting = [];
      // However little of it there is, it may have to wait for long.
      this.#waiting.push(unpooled(chunk));
      return;
    }
    this.#chunk = chunk;
    this.#position = 0;
  }

  /** The startup packet was the last one without a type byte. */
  expectMessages(): void {
    if (this.#phase === 'startup') this.#phase = 'messages';
  }

  /** From the next message on; used when a login is complete. */
  setLimits(limits: FrameLimits): void {
    this.#limits = limits;
  }

  /** Bytes that came and have not been answered. Behind an SSLRequest there must be none (CVE-2021-23214). */
  get pendingBytes(): number {
    let bytes = this.#chunk.length - this.#position + this.#assembled;
    for (const chunk of this.#waiting) bytes += chunk.length;
    return bytes;
  }

  /** Whether the stream may end here: between two messages. */
  get isBetweenMessages(): boolean {
    return this.#streamLeft === 0 && this.pendingBytes === 0;
  }

  next(): FramerAnswer {
    if (this.#phase === 'stopped') return 'stop';
    if (this.#streamLeft > 0) return this.#nextSegment();
    if (this.#assembly !== null) return this.#assemble();

    if (!this.#fill()) return 'more';
    const chunk = this.#chunk;
    const start = this.#position;
    const available = chunk.length - start;
    const headerBytes = this.#phase === 'messages' ? HEADER_BYTES : STARTUP_HEADER_BYTES;
    // A type that may not come is found by its first byte: garbage must not make us wait for a header.
    if (headerBytes === HEADER_BYTES && this.#limits[chunk[start]!] === 0)
      return this.#unexpected(chunk[start]!);
    if (available < headerBytes) {
      this.#beginAssembly(HEADER_BYTES, headerBytes);
      return this.#assemble();
    }
    const total = this.#measure(chunk, start);
    if (total < 0) return 'stop';
    if (available >= total) {
      this.#position = start + total;
      return this.#answer(chunk, start, start + total, total);
    }
    if (this.#isStreamed(total)) return this.#beginStream(chunk, start, chunk.length, total);
    this.#beginAssembly(firstCapacity(total, available), total);
    return this.#assemble();
  }

  /**
   * Behind the whole message that was answered last: those of the same type that follow it in one piece of memory, and are
   * whole, belong to the answer too. Rows that are only passed on need no look at each. Answers how many these are.
   */
  joinSame(): number {
    const chunk = this.#chunk;
    if (this.buffer !== chunk || this.#streamLeft > 0 || this.#phase !== 'messages') return 0;
    const limit = this.#limits[this.type]!;
    const last = chunk.length - HEADER_BYTES;
    let at = this.end;
    let joined = 0;
    while (at <= last && chunk[at] === this.type) {
      const total = 1 + chunk.readInt32BE(at + 1);
      // Whatever is wrong with it, `next` says so.
      if (total < HEADER_BYTES || total > limit || total > chunk.length - at) break;
      at += total;
      joined++;
    }
    this.end = at;
    this.#position = at;
    return joined;
  }

  /** A chunk that has been read, and answered, must not be kept alive by us. */
  letGo(): void {
    this.buffer = NOTHING;
    if (this.#position < this.#chunk.length) return;
    this.#chunk = NOTHING;
    this.#position = 0;
  }

  /** Moves on to the next chunk when this one has been read; false when there is none. */
  #fill(): boolean {
    if (this.#position < this.#chunk.length) return true;
    const chunk = this.#waiting.shift();
    if (chunk === undefined) {
      this.letGo();
      return false;
    }
    this.#chunk = chunk;
    this.#position = 0;
    return true;
  }

  /** The bytes of the message whose header is at `start`, type byte included; -1 after stopping. */
  #measure(buffer: Buffer, start: number): number {
    const typed = this.#phase === 'messages';
    this.type = typed ? buffer[start]! : 0;
    const length = buffer.readInt32BE(typed ? start + 1 : start);
    // The length counts itself. A startup packet also has a version code (ProcessStartupPacket in PostgreSQL).
    if (length < (typed ? 4 : 8)) {
      this.#stop(new ProxyError('protocol-violation', { detail: `a message length of ${length} bytes` }));
      return -1;
    }
    const total = typed ? length + 1 : length;
    const limit = typed ? this.#limits[this.type]! : LOGIN_LIMIT_BYTES;
    if (total > limit && !(typed && this.#isStreamed(total))) {
      this.#stop(
        // Whoever sends something else than this protocol (HTTP, TLS) is told so, instead of a size made of its letters.
        typed
          ? new ProxyError('message-too-large', { bytes: total, limit })
          : new ProxyError('protocol-violation', { detail: `a startup packet of ${total} bytes` }),
      );
      return -1;
    }
    return total;
  }

  #isStreamed(total: number): boolean {
    if (this.#streamAboveBytes === null || total <= this.#streamAboveBytes) return false;
    return this.type === BACKEND.dataRow || this.type === BACKEND.copyData;
  }

  #beginAssembly(capacity: number, wanted: number): void {
    this.#assembly = Buffer.allocUnsafeSlow(capacity);
    this.#assembled = 0;
    this.#wanted = wanted;
  }

  #assemble(): FramerAnswer {
    const headerBytes = this.#phase === 'messages' ? HEADER_BYTES : STARTUP_HEADER_BYTES;
    while (this.#assembled < this.#wanted) {
      if (!this.#fill()) return 'more';
      this.#take();
      if (this.#assembled < this.#wanted || this.#wanted > headerBytes) continue;
      // The header is complete; a message of 5 bytes (Sync) is nothing else.
      const header = this.#assembly!;
      const total = this.#measure(header, 0);
      if (total < 0) return 'stop';
      if (total > headerBytes && this.#isStreamed(total)) {
        this.#assembly = null;
        this.#assembled = 0;
        return this.#beginStream(header, 0, headerBytes, total);
      }
      if (total === headerBytes) break;
      this.#wanted = total;
      this.#grow(firstCapacity(total, headerBytes + this.#chunk.length - this.#position));
    }
    const message = this.#assembly!;
    this.#assembly = null;
    this.#assembled = 0;
    return this.#answer(message, 0, this.#wanted, this.#wanted);
  }

  /** Copies what the chunk has of the message that is being assembled. */
  #take(): void {
    const bytes = Math.min(this.#wanted - this.#assembled, this.#chunk.length - this.#position);
    const needed = this.#assembled + bytes;
    // Doubling keeps the copying linear; a peer that announces 1 GiB and sends 1 kB costs 16 kB.
    if (needed > this.#assembly!.length)
      this.#grow(Math.min(this.#wanted, Math.max(needed, this.#assembly!.length * 2)));
    this.#chunk.copy(this.#assembly!, this.#assembled, this.#position, this.#position + bytes);
    this.#assembled = needed;
    this.#position += bytes;
  }

  #grow(capacity: number): void {
    const larger = Buffer.allocUnsafeSlow(capacity);
    this.#assembly!.copy(larger, 0, 0, this.#assembled);
    this.#assembly = larger;
  }

  #beginStream(buffer: Buffer, start: number, end: number, total: number): FramerAnswer {
    if (buffer === this.#chunk) this.#position = end;
    this.#streamLeft = total - (end - start);
    this.#answer(buffer, start, end, total);
    this.isLast = false;
    return 'ready';
  }

  #nextSegment(): FramerAnswer {
    if (!this.#fill()) return 'more';
    const start = this.#position;
    const end = Math.min(this.#chunk.length, start + this.#streamLeft);
    this.#position = end;
    this.#streamLeft -= end - start;
    this.buffer = this.#chunk;
    this.start = start;
    this.end = end;
    this.isFirst = false;
    this.isLast = this.#streamLeft === 0;
    return 'ready';
  }

  #answer(buffer: Buffer, start: number, end: number, total: number): FramerAnswer {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    this.isFirst = true;
    this.isLast = true;
    this.messageBytes = total;
    return 'ready';
  }

  #unexpected(type: number): FramerAnswer {
    const name = type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16)}`;
    return this.#stop(new ProxyError('protocol-violation', { detail: `unexpected message type ${name}` }));
  }

  #stop(error: ProxyError): 'stop' {
    this.#phase = 'stopped';
    this.error = error;
    this.#chunk = NOTHING;
    this.#position = 0;
    this.#waiting = NONE;
    this.#assembly = null;
    this.#assembled = 0;
    this.#streamLeft = 0;
    return 'stop';
  }
}

/** All of a small message at once; of a large one only what twice the bytes at hand justify. */
function firstCapacity(total: number, available: number): number {
  return Math.min(total, Math.max(FIRST_ASSEMBLY_BYTES, available * 2));
}
