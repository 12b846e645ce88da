// Reads and writes the fields that PostgreSQL messages are made of, with every bound checked.
// It must not know any message.

import { ProxyError } from '../../lib/errors.js';

/** Any message that does not have the shape the protocol gives it. */
export function malformed(detail: string): ProxyError {
  return new ProxyError('protocol-violation', { detail });
}

/** The offset of the zero byte that ends the string at `start`; a loop, because names are short. */
export function endOfString(buffer: Buffer, start: number, end: number, what: string): number {
  for (let offset = start; offset < end; offset++) if (buffer[offset] === 0) return offset;
  throw malformed(`${what} does not end`);
}

/** The same for statement texts, where the native search is faster. */
export function endOfLongString(buffer: Buffer, start: number, end: number, what: string): number {
  const offset = buffer.indexOf(0, start);
  if (offset < 0 || offset >= end) throw malformed(`${what} does not end`);
  return offset;
}

/**
 * A name as a string with one character for each byte, so that names of any client_encoding stay apart and can be
 * written back unchanged (`latin1` both ways).
 */
export function nameOf(buffer: Buffer, start: number, end: number): string {
  return start === end ? '' : buffer.toString('latin1', start, end);
}

export function int16At(buffer: Buffer, offset: number, end: number, what: string): number {
  if (offset + 2 > end) throw malformed(`${what} is cut short`);
  return buffer.readUInt16BE(offset);
}

export function int32At(buffer: Buffer, offset: number, end: number, what: string): number {
  if (offset + 4 > end) throw malformed(`${what} is cut short`);
  return buffer.readInt32BE(offset);
}

const FIRST_BYTES = 128;
const NOTHING = Buffer.alloc(0);

/** Writes one message or several into one Buffer. For messages that are not on the hot path. */
export class MessageWriter {
  #buffer: Buffer = NOTHING;
  #length = 0;
  #messageStart = -1;

  /** Opens a message; `type` 0 is a startup packet, which has no type byte. */
  begin(type: number): this {
    if (type !== 0) this.int8(type);
    this.#messageStart = this.#length;
    return this.int32(0);
  }

  /** Closes the message by writing its length, which counts itself but not the type byte. */
  end(): this {
    this.#buffer.writeInt32BE(this.#length - this.#messageStart, this.#messageStart);
    this.#messageStart = -1;
    return this;
  }

  int8(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  int16(value: number): this {
    this.#reserve(2);
    this.#length = this.#buffer.writeUInt16BE(value, this.#length);
    return this;
  }

  int32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeInt32BE(value, this.#length);
    return this;
  }

  bytes(value: Buffer): this {
    this.#reserve(value.length);
    value.copy(this.#buffer, this.#length);
    this.#length += value.length;
    return this;
  }

  /** A zero byte inside would end the string early and make the rest a field of its own: refused. */
  cstring(value: string, encoding: 'utf8' | 'latin1' = 'utf8'): this {
    if (value.includes('\0')) throw malformed('a string with a zero byte cannot be sent');
    const bytes = Buffer.byteLength(value, encoding);
    this.#reserve(bytes + 1);
    this.#buffer.write(value, this.#length, bytes, encoding);
    this.#length += bytes;
    this.#buffer[this.#length++] = 0;
    return this;
  }

  /** What has been written; the writer is empty afterwards and may be used again. */
  finish(): Buffer {
    const written = this.#buffer.subarray(0, this.#length);
    this.#buffer = NOTHING;
    this.#length = 0;
    return written;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2, FIRST_BYTES));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
