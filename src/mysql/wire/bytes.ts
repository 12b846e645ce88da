// Bounds-checked reading and writing of the basic types of the MySQL protocol inside one packet; it knows no packet by name.
// Types: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_data_types.html

import { ProxyError } from '../../lib/errors.js';

export const malformed = (detail: string): ProxyError => new ProxyError('protocol-violation', { detail });

/** Reads from `offset` to `end` of a buffer; every read is checked, what does not fit is a ProxyError. */
export class PacketReader {
  readonly buffer: Buffer;
  readonly end: number;
  offset: number;

  constructor(buffer: Buffer, offset = 0, end = buffer.length) {
    this.buffer = buffer;
    this.offset = offset;
    this.end = end;
  }

  get left(): number {
    return this.end - this.offset;
  }

  /** Moves over `bytes` and answers where they start. */
  skip(bytes: number): number {
    const start = this.offset;
    if (bytes < 0 || bytes > this.end - start) throw malformed(`packet ends ${bytes} bytes too early`);
    this.offset = start + bytes;
    return start;
  }

  u8(): number {
    return this.buffer[this.skip(1)]!;
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.skip(2));
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.skip(4));
  }

  bytes(length: number): Buffer {
    const start = this.skip(length);
    return this.buffer.subarray(start, start + length);
  }

  rest(): Buffer {
    return this.bytes(this.left);
  }

  /** A length-encoded integer that counts or measures something: beyond 2^53 it cannot be meant. */
  lenenc(): number {
    const first = this.u8();
    if (first < 0xfb) return first;
    if (first === 0xfc) return this.u16();
    if (first === 0xfd) {
      const start = this.skip(3);
      return this.buffer.readUIntLE(start, 3);
    }
    if (first === 0xfe) {
      const value = this.buffer.readBigUInt64LE(this.skip(8));
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('length-encoded integer out of range');
      return Number(value);
    }
    throw malformed('not a length-encoded integer');
  }

  /** Moves over a length-encoded integer whose value (any 64 bits) does not matter. */
  skipLenenc(): void {
    const first = this.u8();
    if (first < 0xfb) return;
    if (first === 0xfc) this.skip(2);
    else if (first === 0xfd) this.skip(3);
    else if (first === 0xfe) this.skip(8);
    else throw malformed('not a length-encoded integer');
  }

  lenencBytes(): Buffer {
    return this.bytes(this.lenenc());
  }

  lenencText(): string {
    return this.lenencBytes().toString('utf8');
  }

  /** Up to the next zero byte, which is moved over. */
  nulBytes(): Buffer {
    const zero = this.buffer.indexOf(0, this.offset);
    if (zero < 0 || zero >= this.end) throw malformed('string without its terminating zero');
    const bytes = this.buffer.subarray(this.offset, zero);
    this.offset = zero + 1;
    return bytes;
  }

  nulText(): string {
    return this.nulBytes().toString('utf8');
  }
}

/** Writes one packet; the four bytes of its header are kept free until `packet()`. */
export class PacketWriter {
  #buffer: Buffer;
  #length = 4;

  constructor(estimateBytes = 124) {
    this.#buffer = Buffer.allocUnsafe(estimateBytes + 4);
  }

  #room(bytes: number): number {
    const start = this.#length;
    const needed = start + bytes;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, start);
      this.#buffer = larger;
    }
    this.#length = needed;
    return start;
  }

  u8(value: number): this {
    this.#buffer[this.#room(1)] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#buffer.writeUInt32LE(value >>> 0, at);
    return this;
  }

  zeros(count: number): this {
    const at = this.#room(count);
    this.#buffer.fill(0, at, at + count);
    return this;
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  text(text: string): this {
    return this.bytes(Buffer.from(text, 'utf8'));
  }

  nulText(text: string): this {
    return this.text(text).u8(0);
  }

  lenenc(value: number): this {
    if (value < 0xfb) return this.u8(value);
    if (value <= 0xffff) return this.u8(0xfc).u16(value);
    if (value <= 0xffffff) {
      const at = this.#room(4);
      this.#buffer[at] = 0xfd;
      this.#buffer.writeUIntLE(value, at + 1, 3);
      return this;
    }
    const at = this.#room(9);
    this.#buffer[at] = 0xfe;
    this.#buffer.writeBigUInt64LE(BigInt(value), at + 1);
    return this;
  }

  lenencBytes(bytes: Uint8Array): this {
    return this.lenenc(bytes.length).bytes(bytes);
  }

  lenencText(text: string): this {
    return this.lenencBytes(Buffer.from(text, 'utf8'));
  }

  get payloadBytes(): number {
    return this.#length - 4;
  }

  /** What was written, without a header. */
  payload(): Buffer {
    return this.#buffer.subarray(4, this.#length);
  }

  /** What was written as a packet; beyond 16 MiB - 2 as several. */
  packet(sequence: number): Buffer {
    if (this.payloadBytes >= 0xffffff) return encodePackets(this.payload(), sequence);
    this.#buffer.writeUIntLE(this.payloadBytes, 0, 3);
    this.#buffer[3] = sequence & 0xff;
    return this.#buffer.subarray(0, this.#length);
  }
}

/** A payload of any size as packets: one that fills a packet exactly is followed by an empty one. */
export function encodePackets(payload: Buffer, sequence: number): Buffer {
  const count = Math.floor(payload.length / 0xffffff) + 1;
  const out = Buffer.allocUnsafe(payload.length + 4 * count);
  let from = 0;
  let to = 0;
  for (let i = 0; i < count; i++) {
    const length = Math.min(0xffffff, payload.length - from);
    out.writeUIntLE(length, to, 3);
    out[to + 3] = (sequence + i) & 0xff;
    payload.copy(out, to + 4, from, from + length);
    from += length;
    to += 4 + length;
  }
  return out;
}
