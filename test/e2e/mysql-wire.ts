// A MySQL client on a bare socket: a test says which packets it sends and reads what comes back as lines of text.
// It writes and reads bytes by itself; nothing of the proxy's own codec is in it.

import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { Address } from './driver.js';

const DEADLINE_MS = 60_000;
const FULL = 0xff_ff_ff;

/** Capabilities, with the names of the protocol; those that this client has. */
export const FLAGS = {
  LONG_PASSWORD: 1,
  LONG_FLAG: 4,
  CONNECT_WITH_DB: 8,
  LOCAL_FILES: 128,
  PROTOCOL_41: 512,
  TRANSACTIONS: 8192,
  SECURE_CONNECTION: 32768,
  MULTI_STATEMENTS: 1 << 16,
  MULTI_RESULTS: 1 << 17,
  PLUGIN_AUTH: 1 << 19,
} as const;
const ALL_FLAGS = Object.values(FLAGS).reduce<number>((all, flag) => all | flag, 0);

const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;
const MORE_RESULTS = 8;

const NO_PROOF: Buffer = Buffer.alloc(0);

/** The commands, with the names of the protocol. */
export const command = {
  quit: () => Buffer.of(0x01),
  initDb: (name: string) => withText(0x02, name),
  query: (sql: string) => withText(0x03, sql),
  fieldList: (table: string) => withText(0x04, `${table}\0`),
  statistics: () => Buffer.of(0x09),
  ping: () => Buffer.of(0x0e),
  changeUser: (user: string, database: string, proof = NO_PROOF) =>
    Buffer.concat([
      Buffer.of(0x11),
      Buffer.from(`${user}\0`),
      Buffer.of(proof.length),
      proof,
      Buffer.from(`${database}\0`),
      Buffer.of(45, 0),
      Buffer.from('mysql_native_password\0'),
    ]),
  stmtPrepare: (sql: string) => withText(0x16, sql),
  /** Without parameters. */
  stmtExecute: (id: number) => {
    const bytes = Buffer.alloc(10);
    bytes[0] = 0x17;
    bytes.writeUInt32LE(id, 1);
    bytes.writeUInt32LE(1, 6);
    return bytes;
  },
  stmtReset: (id: number) => withId(0x1a, id),
  stmtClose: (id: number) => withId(0x19, id),
  setOption: (option: 0 | 1) => Buffer.of(0x1b, option, 0),
  resetConnection: () => Buffer.of(0x1f),
};

function withText(code: number, text: string): Buffer {
  return Buffer.concat([Buffer.of(code), Buffer.from(text)]);
}

function withId(code: number, id: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = code;
  bytes.writeUInt32LE(id, 1);
  return bytes;
}

export class MysqlWire {
  readonly socket = new Socket();
  readonly #chunks: Buffer[] = [];
  #pendingBytes = 0;
  #wake: (() => void) | null = null;
  #ended = false;
  #sequence = 0;

  /** Connected; the server speaks first. */
  static async dial(t: TestContext, at: Address): Promise<MysqlWire> {
    const wire = new MysqlWire();
    const { socket } = wire;
    t.after(() => socket.destroy());
    const ended = () => {
      wire.#ended = true;
      wire.#wake?.();
    };
    socket.on('error', ended);
    socket.on('close', ended);
    socket.on('data', (chunk) => {
      wire.#chunks.push(chunk);
      wire.#pendingBytes += chunk.length;
      wire.#wake?.();
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(at.port, at.host, resolve);
    });
    return wire;
  }

  /** Logs in without a password: the listener must trust, or the user have none. */
  static async open(t: TestContext, at: Address, user: string, database: string): Promise<MysqlWire> {
    const wire = await MysqlWire.dial(t, at);
    await wire.packet();
    wire.write(handshakeResponse(user, database), 1);
    assert.match(await wire.reply(), /^OK /);
    return wire;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** One payload, split where it must be. */
  write(payload: Buffer, sequence = 0): void {
    for (let at = 0; ; at += FULL, sequence++) {
      const part = payload.subarray(at, at + FULL);
      const header = Buffer.alloc(4);
      header.writeUIntLE(part.length, 0, 3);
      header[3] = sequence & 0xff;
      this.socket.write(Buffer.concat([header, part]));
      if (part.length < FULL) return;
    }
  }

  /** Sends a command and reads its whole reply. */
  async talk(bytes: Buffer): Promise<string[]> {
    this.write(bytes);
    return this.replies();
  }

  /** The next payload; null when the connection has ended. */
  async packet(): Promise<Buffer | null> {
    const parts: Buffer[] = [];
    for (;;) {
      const header = await this.#take(4);
      if (header === null) return null;
      const length = header.readUIntLE(0, 3);
      this.#sequence = header[3]!;
      const part = await this.#take(length);
      if (part === null) return null;
      parts.push(part);
      if (length < FULL) return Buffer.concat(parts);
    }
  }

  /** The sequence id of the last packet. */
  get sequence(): number {
    return this.#sequence;
  }

  /** A reply of one packet: OK, ERR, or something else by its first byte. */
  async reply(): Promise<string> {
    const payload = await this.packet();
    return payload === null ? 'the connection ended' : describe(payload);
  }

  /** The reply to COM_STMT_EXECUTE: its rows are binary, so they come as they are. */
  async execute(id: number): Promise<string[]> {
    this.write(command.stmtExecute(id));
    return this.replies((row) => row.toString('latin1'));
  }

  /** A reply with all its results. */
  async replies(rowText: (row: Buffer, columns: number) => string = textRow): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const payload = await this.packet();
      if (payload === null) return [...lines, 'the connection ended'];
      const first = payload[0];
      if (first === 0xff) return [...lines, describe(payload)];
      if (first === 0x00) {
        lines.push(describe(payload));
        if ((okStatus(payload) & MORE_RESULTS) === 0) return lines;
        continue;
      }
      if (first === 0xfb) return [...lines, `LOCAL INFILE ${payload.subarray(1).toString()}`];
      const columns = lengthEncoded(payload, 0).value;
      const names: string[] = [];
      for (let i = 0; i < columns; i++) names.push(columnName((await this.packet())!));
      lines.push(`columns ${names.join(', ')}`);
      await this.packet(); // EOF behind the columns
      for (;;) {
        const row = await this.packet();
        if (row === null) return [...lines, 'the connection ended'];
        if (row[0] === 0xff) return [...lines, describe(row)];
        if (row[0] === 0xfe && row.length < 9) {
          const status = row.readUInt16LE(3);
          lines.push(`EOF${statusText(status)}`);
          if ((status & MORE_RESULTS) === 0) return lines;
          break;
        }
        lines.push(`row ${rowText(row, columns)}`);
      }
    }
  }

  /** The reply to COM_STMT_PREPARE: its id. */
  async prepared(): Promise<number> {
    const head = (await this.packet())!;
    assert.equal(head[0], 0, describe(head));
    const columns = head.readUInt16LE(5);
    const parameters = head.readUInt16LE(7);
    for (const count of [parameters, columns])
      if (count > 0) for (let i = 0; i <= count; i++) await this.packet();
    return head.readUInt32LE(1);
  }

  async #take(length: number): Promise<Buffer | null> {
    const deadline = performance.now() + DEADLINE_MS;
    while (this.#pendingBytes < length) {
      if (this.#ended) return null;
      if (performance.now() > deadline) assert.fail('no packet came');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    let first = this.#chunks.shift() ?? Buffer.alloc(0);
    if (first.length < length) first = Buffer.concat([first, ...this.#chunks.splice(0)]);
    if (first.length > length) this.#chunks.unshift(first.subarray(length));
    this.#pendingBytes -= length;
    return first.subarray(0, length);
  }
}

export function handshakeResponse(
  user: string,
  database: string,
  plugin = 'mysql_native_password',
  proof = NO_PROOF,
): Buffer {
  const head = Buffer.alloc(32);
  head.writeUInt32LE(ALL_FLAGS, 0);
  head.writeUInt32LE(64 * 1024 * 1024, 4);
  head[8] = 45; // utf8mb4_general_ci
  return Buffer.concat([
    head,
    Buffer.from(`${user}\0`),
    Buffer.of(proof.length),
    proof,
    Buffer.from(`${database}\0${plugin}\0`),
  ]);
}

function describe(payload: Buffer): string {
  switch (payload[0]) {
    case 0x00: {
      const affected = lengthEncoded(payload, 1);
      const id = lengthEncoded(payload, affected.end);
      return `OK affected=${affected.value} id=${id.value}${statusText(okStatus(payload))}`;
    }
    case 0xff: {
      const number = payload.readUInt16LE(1);
      const hasState = payload[3] === 0x23;
      return hasState
        ? `ERR ${number} ${payload.subarray(4, 9)} ${payload.subarray(9)}`
        : `ERR ${number} ${payload.subarray(3)}`;
    }
    case 0xfe:
      return `auth switch to ${payload.subarray(1, payload.indexOf(0, 1))}`;
    default:
      return payload.toString('latin1');
  }
}

function okStatus(payload: Buffer): number {
  const id = lengthEncoded(payload, lengthEncoded(payload, 1).end);
  return payload.readUInt16LE(id.end);
}

function statusText(status: number): string {
  return (
    (status & IN_TRANSACTION ? ' in transaction' : '') +
    (status & AUTOCOMMIT ? '' : ' no autocommit') +
    (status & MORE_RESULTS ? ' more' : '')
  );
}

function lengthEncoded(bytes: Buffer, at: number): { value: number; end: number } {
  const first = bytes[at]!;
  if (first < 0xfb) return { value: first, end: at + 1 };
  const size = first === 0xfc ? 2 : first === 0xfd ? 3 : 6;
  return { value: bytes.readUIntLE(at + 1, size), end: at + 1 + (first === 0xfe ? 8 : size) };
}

function columnName(packet: Buffer): string {
  let at = 0;
  // Catalog, schema, table, original table; then the name.
  for (let i = 0; i < 4; i++) {
    const { value, end } = lengthEncoded(packet, at);
    at = end + value;
  }
  const { value, end } = lengthEncoded(packet, at);
  return packet.toString('utf8', end, end + value);
}

function textRow(row: Buffer, columns: number): string {
  const values: string[] = [];
  let at = 0;
  for (let i = 0; i < columns; i++) {
    if (row[at] === 0xfb) {
      values.push('NULL');
      at++;
      continue;
    }
    const { value, end } = lengthEncoded(row, at);
    values.push(value > 200 ? `${value} bytes` : row.toString('utf8', end, end + value));
    at = end + value;
  }
  return values.join(', ');
}
