// A storm's MySQL client on a bare socket: every packet of a reply becomes a line; what kind of reply comes is said with
// the command. It reads the bytes by itself; nothing of the proxy's own codec is in it.

import type { Address } from '../e2e/driver.js';
import { handshakeResponse } from '../e2e/mysql-wire.js';
import { Wire } from './wire.js';

/** How the rows of the reply are coded, or that it is COM_STMT_PREPARE's. */
export type ReplyForm = 'text' | 'binary' | 'prepare';

const MORE_RESULTS = 8;

interface Column {
  readonly name: string;
  readonly type: number;
}

export class MysqlStormWire extends Wire {
  /** Of the connection, as the proxy said it. */
  threadId = 0;
  readonly #forms: ReplyForm[] = [];
  #state: 'greeting' | 'login' | 'first' | 'columns' | 'columns-end' | 'rows' | 'definitions' = 'greeting';
  #columns: Column[] = [];
  #awaited = 0;
  #sequence = 0;

  /** The listener must be one that trusts. Throws what came instead of a greeting. */
  static async open(at: Address, user: string, database: string): Promise<MysqlStormWire> {
    const wire = new MysqlStormWire();
    await wire.dial(at);
    let answer = await wire.reply();
    if (answer[0] === 'greeting') {
      wire.socket.write(packetOf(handshakeResponse(user, database), 1));
      answer = await wire.reply();
    }
    if (answer.join() !== 'login') {
      wire.die();
      throw new Error(`a login was answered ${answer.join()}`);
    }
    return wire;
  }

  /** Said before, or in the same turn as, the command's bytes are written. */
  awaits(form: ReplyForm): void {
    this.#forms.push(form);
  }

  protected override take(bytes: Buffer): number {
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = bytes.readUIntLE(at, 3) + 4;
      if (bytes.length - at < length) break;
      const sequence = bytes[at + 3]!;
      if (sequence !== this.#sequence) this.lines.push(`sequence ${sequence} instead of ${this.#sequence}`);
      this.#sequence = (sequence + 1) & 0xff;
      this.#packet(bytes.subarray(at + 4, at + length));
      at += length;
    }
    return at;
  }

  #packet(payload: Buffer): void {
    const first = payload[0];
    if (first === 0xff && this.#state !== 'definitions') {
      const number = payload.readUInt16LE(1);
      this.lines.push(`E ${number} ${payload.toString('utf8', payload[3] === 0x23 ? 9 : 3)}`);
      this.#ends();
      return;
    }
    switch (this.#state) {
      case 'greeting': {
        const at = payload.indexOf(0, 1) + 1;
        this.threadId = payload.readUInt32LE(at);
        this.lines.push('greeting');
        this.#state = 'login';
        this.#sequence = 2;
        this.replyEnds();
        return;
      }
      case 'login':
        this.lines.push(first === 0 ? 'login' : `login: ${payload.toString('latin1')}`);
        this.#ends();
        return;
      case 'first':
        this.#first(payload);
        return;
      case 'columns':
        this.#columns.push(columnOf(payload));
        if (--this.#awaited === 0) this.#state = 'columns-end';
        return;
      case 'columns-end':
        this.lines.push(`T ${this.#columns.map((column) => column.name).join()}`);
        this.#state = 'rows';
        return;
      case 'rows':
        if (first === 0xfe && payload.length < 9) {
          const more = (payload.readUInt16LE(3) & MORE_RESULTS) !== 0;
          this.lines.push(more ? 'EOF more' : 'EOF');
          if (more) this.#state = 'first';
          else this.#ends();
        } else if (this.#forms[0] === 'binary') this.lines.push(`D ${binaryRow(payload, this.#columns)}`);
        else this.lines.push(`D ${textRow(payload, this.#columns.length)}`);
        return;
      case 'definitions':
        if (--this.#awaited === 0) this.#ends();
    }
  }

  #first(payload: Buffer): void {
    if (this.#forms.length === 0) this.lines.push('a reply that nothing asked for');
    if (payload[0] !== 0) {
      this.#columns = [];
      this.#awaited = lengthEncoded(payload, 0).value;
      this.#state = 'columns';
      return;
    }
    if (this.#forms[0] === 'prepare') {
      const columns = payload.readUInt16LE(5);
      const parameters = payload.readUInt16LE(7);
      this.lines.push(`P ${parameters} ${columns}`, `id ${payload.readUInt32LE(1)}`);
      // An EOF behind each list that is not empty.
      this.#awaited = (columns > 0 ? columns + 1 : 0) + (parameters > 0 ? parameters + 1 : 0);
      if (this.#awaited === 0) this.#ends();
      else this.#state = 'definitions';
      return;
    }
    const affected = lengthEncoded(payload, 1);
    const id = lengthEncoded(payload, affected.end);
    const more = (payload.readUInt16LE(id.end) & MORE_RESULTS) !== 0;
    this.lines.push(`O ${affected.value} ${id.value}${more ? ' more' : ''}`);
    if (!more) this.#ends();
  }

  #ends(): void {
    if (this.#state !== 'login') this.#forms.shift();
    this.#state = 'first';
    this.#sequence = 1;
    this.replyEnds();
  }
}

export function packetOf(payload: Buffer, sequence = 0): Buffer {
  const header = Buffer.alloc(4);
  header.writeUIntLE(payload.length, 0, 3);
  header[3] = sequence;
  return Buffer.concat([header, payload]);
}

function lengthEncoded(bytes: Buffer, at: number): { value: number; end: number } {
  const first = bytes[at]!;
  if (first < 0xfb) return { value: first, end: at + 1 };
  const size = first === 0xfc ? 2 : first === 0xfd ? 3 : 6;
  return { value: bytes.readUIntLE(at + 1, size), end: at + 1 + (first === 0xfe ? 8 : size) };
}

function columnOf(packet: Buffer): Column {
  let at = 0;
  let name = '';
  // Catalog, schema, table, original table, name, original name; then length, character set, length, type.
  for (let i = 0; i < 6; i++) {
    const { value, end } = lengthEncoded(packet, at);
    if (i === 4) name = packet.toString('utf8', end, end + value);
    at = end + value;
  }
  return { name, type: packet[at + 7]! };
}

function textRow(row: Buffer, columns: number): string {
  let text = '';
  let at = 0;
  for (let i = 0; i < columns; i++) {
    if (i > 0) text += '|';
    if (row[at] === 0xfb) {
      text += 'NULL';
      at++;
      continue;
    }
    const { value, end } = lengthEncoded(row, at);
    text += row.toString('utf8', end, end + value);
    at = end + value;
  }
  return text;
}

function binaryRow(row: Buffer, columns: readonly Column[]): string {
  const values: string[] = [];
  let at = 1 + ((columns.length + 9) >> 3);
  columns.forEach(({ type }, i) => {
    if (((row[1 + ((i + 2) >> 3)]! >> ((i + 2) & 7)) & 1) === 1) values.push('NULL');
    else if (type === 1) values.push(String(row.readInt8(at++)));
    else if (type === 2) {
      values.push(String(row.readInt16LE(at)));
      at += 2;
    } else if (type === 3) {
      values.push(String(row.readInt32LE(at)));
      at += 4;
    } else if (type === 8) {
      values.push(String(row.readBigInt64LE(at)));
      at += 8;
    } else if (type === 5) {
      values.push(String(row.readDoubleLE(at)));
      at += 8;
    } else {
      const { value, end } = lengthEncoded(row, at);
      values.push(row.toString('utf8', end, end + value));
      at = end + value;
    }
  });
  return values.join('|');
}
