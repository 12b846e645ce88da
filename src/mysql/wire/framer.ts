// Finds packets in a stream of chunks: takes them whole up to a limit, or passes them on slice by slice; it knows no packet's meaning.
// Packets: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html

import { unpooled } from '../../lib/chunk-copies.js';
import { ProxyError } from '../../lib/errors.js';

export const HEADER_BYTES = 4;
/** A packet of this length is continued by the next one. */
export const MAX_PACKET_BYTES = 0xffffff;

/** `ready`: a packet waits for pass, drop or take. `more`: bytes are missing. `stop`: see `failure`. */
export type FramerVerb = 'ready' | 'more' | 'stop';

type Phase = 'header' | 'decide' | 'pass' | 'drop' | 'take' | 'taken' | 'failed';

const EMPTY = Buffer.alloc(0);
const NO_PARTS: Buffer[] = [];

/**
 * One direction of one connection. After `push`, call `next` until it says `more`; for each `ready` decide
 * by `length`, `sequence` and `firstByte`, and call `pass`, `drop` or `take`. Passed bytes stay in the chunk that they
 * came in: `takeRun` hands out all that have been passed since it was last called, as one slice; call it on `more`, and
 * before anything else is sent in that direction. What continues a packet shares its fate without being asked for.
 */
export class PacketFramer {
  /** Payload length as the packet's first header says it. */
  length = 0;
  sequence = 0;
  /** -1 when the payload is empty. */
  firstByte = -1;
  failure: ProxyError | null = null;
  /** The most that `take` assembles, headers included; a larger packet stops the framer when its header is seen. */
  limitBytes: number;

  #phase: Phase = 'header';
  #chunk: Buffer = EMPTY;
  /** First byte of the chunk that has not been consumed; the packet's header while `decide`. */
  #at = 0;
  /** Bytes of the current physical packet still to consume, header included. */
  #left = 0;
  #continues = false;
  #lastSequence = 0;
  #runStart = 0;
  #runEnd = 0;
  /** Slices of a packet that is being taken and spans chunks. */
  #parts: Buffer[] = NO_PARTS;
  #partBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  push(chunk: Buffer): void {
    const kept = this.#chunk.length - this.#at;
    // At most a header in the usual case: only a client that sends ahead of its answers leaves more here.
    this.#chunk = kept === 0 ? chunk : Buffer.concat([this.#chunk.subarray(this.#at), chunk]);
    this.#at = 0;
    this.#runStart = 0;
    this.#runEnd = 0;
  }

  /** Bytes that have arrived and have not been consumed. */
  get waitingBytes(): number {
    return this.#chunk.length - this.#at + this.#partBytes;
  }

  /** A chunk that has been consumed, and whose passed bytes have been taken, must not be kept alive by us. */
  letGo(): void {
    if (this.#at < this.#chunk.length || this.#runEnd > this.#runStart) return;
    this.#chunk = EMPTY;
    this.#at = 0;
    this.#runStart = 0;
    this.#runEnd = 0;
  }

  /** No packet has been begun: a good place to end. */
  get isBetweenPackets(): boolean {
    return this.#phase === 'header' && this.waitingBytes === 0 && !this.#continues;
  }

  next(): FramerVerb {
    for (;;) {
      switch (this.#phase) {
        case 'header':
          return this.#readHeader() ? 'ready' : 'more';
        case 'decide':
        case 'taken':
          return 'ready';
        case 'pass':
        case 'drop':
        case 'take': {
          this.#consume();
          if (this.#left > 0) return 'more';
          if (this.#continues) {
            if (!this.#readContinuation()) return this.failure === null ? 'more' : 'stop';
          } else if (this.#phase === 'take') {
            this.#phase = 'taken';
            return 'ready';
          } else this.#phase = 'header';
          break;
        }
        case 'failed':
          return 'stop';
      }
    }
  }

  /** The packet goes on as it is, slice by slice. */
  pass(): void {
    this.#decide('pass');
    if (this.#runEnd === this.#runStart) this.#runStart = this.#at;
    else if (this.#runEnd !== this.#at)
      throw new Error('framer: passed bytes must be taken before a packet is left out');
    this.#runEnd = this.#at;
    this.#consume();
  }

  /**
   * Directly behind `pass`: whole packets that cannot be the end of a result set, nor a row that begins with a value of 16 MiB or
   * more, go on with it. Answers how many; `sequence` is that of the last one.
   */
  passRows(): number {
    const chunk = this.#chunk;
    if (this.#phase !== 'header' || this.#runEnd !== this.#at) return 0;
    let rows = 0;
    let at = this.#at;
    while (chunk.length - at > HEADER_BYTES && chunk[at + HEADER_BYTES]! < 0xfe) {
      const length = chunk[at]! | (chunk[at + 1]! << 8) | (chunk[at + 2]! << 16);
      const end = at + HEADER_BYTES + length;
      if (length === 0 || length === MAX_PACKET_BYTES || end > chunk.length) break;
      this.sequence = chunk[at + 3]!;
      at = end;
      rows++;
    }
    this.#at = at;
    this.#runEnd = at;
    return rows;
  }

  drop(): void {
    this.#decide('drop');
    this.#consume();
  }

  /** The packet, headers included, or null until all of it is here: then `next` will say `ready` again. */
  take(): Buffer | null {
    if (this.#phase === 'taken') {
      const frame = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#partBytes);
      this.#parts = NO_PARTS;
      this.#partBytes = 0;
      this.#phase = 'header';
      return frame;
    }
    if (this.#phase === 'decide' && !this.#continues && this.#left <= this.limitBytes) {
      const end = this.#at + this.#left;
      if (end <= this.#chunk.length) {
        const frame = this.#chunk.subarray(this.#at, end);
        this.#at = end;
        this.#left = 0;
        this.#phase = 'header';
        return frame;
      }
    }
    this.#decide('take');
    this.#checkLimit();
    return null;
  }

  /** The waiting packet without taking it, if it lies whole in the chunk; else null, and it has to be taken. */
  peek(): Buffer | null {
    if (this.#phase !== 'decide' || this.#continues) return null;
    const end = this.#at + this.#left;
    return end <= this.#chunk.length ? this.#chunk.subarray(this.#at, end) : null;
  }

  /** Where the waiting packet's payload begins in `chunk`, if it lies whole in there; -1: it does not, and has to be taken. */
  get wholeAt(): number {
    if (this.#phase !== 'decide' || this.#continues || this.#at + this.#left > this.#chunk.length) return -1;
    return this.#at + HEADER_BYTES;
  }

  /** What was pushed last, behind what had been left. */
  get chunk(): Buffer {
    return this.#chunk;
  }

  /** All bytes passed since the last call, or null. */
  takeRun(): Buffer | null {
    if (this.#runEnd === this.#runStart) return null;
    const run = this.#chunk.subarray(this.#runStart, this.#runEnd);
    this.#runStart = this.#runEnd;
    return run;
  }

  #decide(phase: 'pass' | 'drop' | 'take'): void {
    if (this.#phase !== 'decide') throw new Error(`framer: cannot ${phase} while ${this.#phase}`);
    this.#phase = phase;
  }

  #readHeader(): boolean {
    const available = this.#chunk.length - this.#at;
    if (available < HEADER_BYTES) return false;
    const length = this.#chunk.readUIntLE(this.#at, 3);
    if (length > 0 && available === HEADER_BYTES) return false;
    this.length = length;
    this.sequence = this.#chunk[this.#at + 3]!;
    this.firstByte = length > 0 ? this.#chunk[this.#at + HEADER_BYTES]! : -1;
    this.#left = HEADER_BYTES + length;
    this.#continues = length === MAX_PACKET_BYTES;
    this.#lastSequence = this.sequence;
    this.#phase = 'decide';
    return true;
  }

  /** The header of what continues a packet: its first byte means nothing. */
  #readContinuation(): boolean {
    if (this.#chunk.length - this.#at < HEADER_BYTES) return false;
    const length = this.#chunk.readUIntLE(this.#at, 3);
    const sequence = this.#chunk[this.#at + 3]!;
    const expected = (this.#lastSequence + 1) & 0xff;
    if (sequence !== expected) {
      this.#fail(
        new ProxyError('protocol-violation', {
          detail: `packet ${sequence} follows packet ${this.#lastSequence}`,
        }),
      );
      return false;
    }
    this.#lastSequence = sequence;
    this.#left = HEADER_BYTES + length;
    this.#continues = length === MAX_PACKET_BYTES;
    if (this.#phase === 'take') return this.#checkLimit();
    return true;
  }

  #checkLimit(): boolean {
    const bytes = this.#partBytes + this.#left;
    if (bytes <= this.limitBytes) return true;
    this.#fail(new ProxyError('message-too-large', { bytes, limit: this.limitBytes }));
    return false;
  }

  #fail(error: ProxyError): void {
    this.failure = error;
    this.#phase = 'failed';
    this.#parts = NO_PARTS;
    this.#partBytes = 0;
  }

  #consume(): void {
    const available = Math.min(this.#left, this.#chunk.length - this.#at);
    const end = this.#at + available;
    if (this.#phase === 'pass') {
      if (this.#runEnd === this.#runStart) this.#runStart = this.#at;
      this.#runEnd = end;
    } else if (this.#phase === 'take' && available > 0) {
      if (this.#parts === NO_PARTS) this.#parts = [];
      const part = this.#chunk.subarray(this.#at, end);
      // It may be long until the rest comes.
      this.#parts.push(available === this.#left ? part : unpooled(part));
      this.#partBytes += available;
    }
    this.#at = end;
    this.#left -= available;
    if (this.#left === 0 && !this.#continues && (this.#phase === 'pass' || this.#phase === 'drop'))
      this.#phase = 'header';
  }
}

/** A frame's payload; not copied unless it came in several packets. */
export function payloadOf(frame: Buffer): Buffer {
  if (frame.length < HEADER_BYTES + MAX_PACKET_BYTES) return frame.subarray(HEADER_BYTES);
  const parts: Buffer[] = [];
  for (let at = 0; at < frame.length; ) {
    const length = frame.readUIntLE(at, 3);
    parts.push(frame.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
    at += HEADER_BYTES + length;
  }
  return Buffer.concat(parts);
}

/** The sequence id that the answer to a frame starts with. */
export function sequenceAfter(frame: Buffer): number {
  let last = 0;
  for (let at = 0; at + HEADER_BYTES <= frame.length; at += HEADER_BYTES + frame.readUIntLE(at, 3))
    last = frame[at + 3]!;
  return (last + 1) & 0xff;
}
