// A MySQL client on a bare socket that keeps every packet of a reply as it came, header included. It reads by itself: nothing of
// the proxy's own codec is in it, and it knows no statement.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FLAGS } from '../../e2e/mysql-wire.js';

export const FLAG = {
  ...FLAGS,
  FOUND_ROWS: 2,
  PS_MULTI_RESULTS: 1 << 18,
  SESSION_TRACK: 1 << 23,
  DEPRECATE_EOF: 1 << 24,
} as const;

const ALWAYS =
  FLAG.LONG_FLAG |
  FLAG.CONNECT_WITH_DB |
  FLAG.PROTOCOL_41 |
  FLAG.TRANSACTIONS |
  FLAG.SECURE_CONNECTION |
  FLAG.MULTI_RESULTS |
  FLAG.PS_MULTI_RESULTS |
  FLAG.PLUGIN_AUTH;

const UTF8MB4 = 45;
const PLUGIN = 'mysql_native_password';
const MORE_RESULTS = 8;
const CURSOR_EXISTS = 64;
const DEADLINE_MS = 15_000;

/** How a reply ends: see the command phase of the protocol. `login`: COM_CHANGE_USER. `none`: there is none. */
export type ReplyForm = 'results' | 'prepare' | 'rows' | 'definitions' | 'one' | 'login' | 'none';

export class Ended extends Error {
  override readonly name = 'Ended';
}

export class Talker {
  /** The content of a file that the server asks for. */
  file = '';
  readonly #socket: Socket;
  readonly #flags: number;
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: (() => void) | null = null;
  #reply: Buffer[] = [];

  private constructor(socket: Socket, flags: number) {
    this.#socket = socket;
    this.#flags = flags;
    const ends = (): void => {
      this.#ended = true;
      this.#wake?.();
    };
    socket.on('error', ends).on('close', ends);
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
      this.#wake?.();
    });
  }

  /** Without a password. */
  static async open(
    { host, port }: { readonly host: string; readonly port: number },
    user: string,
    database: string,
    flags: number,
  ): Promise<Talker> {
    const socket = connect({ host, port, noDelay: true });
    await once(socket, 'connect');
    const talker = new Talker(socket, (flags | ALWAYS) >>> 0);
    const greeting = await talker.#packet();
    const head = Buffer.alloc(32);
    // MariaDB takes a client for one of its own by the first bit.
    const mysql = greeting.toString('latin1', 5, 30).includes('MariaDB') ? 0 : FLAG.LONG_PASSWORD;
    head.writeUInt32LE((talker.#flags | mysql) >>> 0, 0);
    head.writeUInt32LE(64 * 1024 * 1024, 4);
    head[8] = UTF8MB4;
    const names = Buffer.from(`${user}\0\0${database}\0${PLUGIN}\0`);
    talker.#write(Buffer.concat([head, names]), greeting[3]! + 1);
    await talker.#loggedIn();
    return talker;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** All packets of the reply. Throws `Ended`. */
  async talk(payload: Buffer, form: ReplyForm): Promise<Buffer[]> {
    this.#reply = [];
    this.#write(payload, 0);
    if (form === 'prepare') await this.#prepared();
    else if (form === 'definitions' || form === 'rows') await this.#until();
    else if (form === 'login') await this.#loggedIn();
    else if (form === 'one') await this.#packet();
    else if (form === 'results') await this.#results();
    return this.#reply;
  }

  /** What came of the reply before the connection ended. */
  get part(): readonly Buffer[] {
    return this.#reply;
  }

  #write(payload: Buffer, sequence: number): void {
    const header = Buffer.alloc(4);
    header.writeUIntLE(payload.length, 0, 3);
    header[3] = sequence & 0xff;
    this.#socket.write(Buffer.concat([header, payload]));
  }

  async #packet(): Promise<Buffer> {
    for (;;) {
      const length = this.#bytes.length < 4 ? Number.POSITIVE_INFINITY : this.#bytes.readUIntLE(0, 3) + 4;
      if (this.#bytes.length >= length) {
        const frame = Buffer.from(this.#bytes.subarray(0, length));
        this.#bytes = this.#bytes.subarray(length);
        this.#reply.push(frame);
        return frame;
      }
      if (this.#ended) throw new Ended('the connection ended');
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('no packet came')), DEADLINE_MS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  get #deprecatesEof(): boolean {
    return (this.#flags & FLAG.DEPRECATE_EOF) !== 0;
  }

  async #loggedIn(): Promise<void> {
    for (;;) {
      const frame = await this.#packet();
      if (frame[4] === 0x00) {
        // How the proof is asked for is not compared.
        this.#reply = [frame];
        return;
      }
      if (frame[4] === 0xff) return;
      // Another plugin, whose proof of no password is nothing; or MariaDB's and MySQL's "go on".
      if (frame[4] === 0xfe) this.#write(Buffer.alloc(0), frame[3]! + 1);
    }
  }

  async #results(): Promise<void> {
    for (;;) {
      const frame = await this.#packet();
      const first = frame[4];
      if (first === 0xff) return;
      if (first === 0xfb) {
        this.#write(Buffer.from(this.file), frame[3]! + 1);
        if (this.file !== '') this.#write(Buffer.alloc(0), frame[3]! + 2);
        continue;
      }
      if (first === 0x00 || first === 0xfe) {
        if ((statusOf(frame) & MORE_RESULTS) === 0) return;
        continue;
      }
      for (let left = lengthEncoded(frame, 4).value; left > 0; left--) await this.#packet();
      if (!this.#deprecatesEof && (statusOf(await this.#packet()) & CURSOR_EXISTS) !== 0) return;
      const status = await this.#until();
      if (status < 0 || (status & MORE_RESULTS) === 0) return;
    }
  }

  /** Up to the packet behind rows or definitions; its status, -1: an error. */
  async #until(): Promise<number> {
    for (;;) {
      const frame = await this.#packet();
      if (frame[4] === 0xff) return -1;
      if (frame[4] === 0xfe && (frame.length < 13 || this.#deprecatesEof)) return statusOf(frame);
    }
  }

  async #prepared(): Promise<void> {
    const head = await this.#packet();
    if (head[4] === 0xff) return;
    const columns = head.readUInt16LE(9);
    const parameters = head.readUInt16LE(11);
    for (const count of [parameters, columns])
      if (count > 0) for (let i = this.#deprecatesEof ? 1 : 0; i <= count; i++) await this.#packet();
  }
}

/** Of an OK (also one that begins as EOF does) or EOF packet; where the two bytes of it are: `statusAt`. */
export function statusAt(frame: Buffer): number {
  if (frame[4] === 0xfe && frame.length === 9) return 7;
  return lengthEncoded(frame, lengthEncoded(frame, 5).end).end;
}

function statusOf(frame: Buffer): number {
  return frame.readUInt16LE(statusAt(frame));
}

export function lengthEncoded(bytes: Buffer, at: number): { value: number; end: number } {
  const first = bytes[at] ?? 0xfb;
  if (first < 0xfb) return { value: first, end: at + 1 };
  const size = first === 0xfc ? 2 : first === 0xfd ? 3 : 6;
  if (at + 1 + size > bytes.length) return { value: Number.NaN, end: Number.NaN };
  return { value: bytes.readUIntLE(at + 1, size), end: at + 1 + (first === 0xfe ? 8 : size) };
}
