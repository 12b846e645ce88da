// A PostgreSQL client on a bare socket: a test says which messages it sends and reads what comes back as lines of text.
// The bytes are pg-protocol's, not the proxy's own codec.

import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { parse, serialize } from 'pg-protocol';
import type * as m from 'pg-protocol/dist/messages.js';
import { until } from '../servers/poll.js';
import type { Address } from './driver.js';

const DEADLINE_MS = 60_000;

/** The messages of an application, with the names of the protocol. */
export const say = {
  query: (sql: string) => serialize.query(sql),
  parse: (name: string, text: string) => serialize.parse({ name, text }),
  bind: (statement: string, values: readonly unknown[] = [], portal = '') =>
    serialize.bind({ portal, statement, values: values.map(String) }),
  describeStatement: (name: string) => serialize.describe({ type: 'S', name }),
  describePortal: (name = '') => serialize.describe({ type: 'P', name }),
  execute: (rows = 0, portal = '') => serialize.execute({ portal, rows }),
  close: (name: string) => serialize.close({ type: 'S', name }),
  flush: () => serialize.flush(),
  sync: () => serialize.sync(),
  copyData: (text: string) => serialize.copyData(Buffer.from(text)),
  copyDone: () => serialize.copyDone(),
  copyFail: (why: string) => serialize.copyFail(why),
  terminate: () => serialize.end(),
  /** Everything of one parameterless statement without a name, up to Sync. */
  run: (sql: string, values: readonly unknown[] = []) =>
    Buffer.concat([
      serialize.parse({ text: sql }),
      serialize.bind({ values: values.map(String) }),
      serialize.describe({ type: 'P' }),
      serialize.execute(),
      serialize.sync(),
    ]),
};

export class PostgresWire {
  readonly socket = new Socket();
  /** As the server has told them so far. */
  readonly parameters = new Map<string, string>();
  processId = 0;
  secretKey = 0;
  readonly #lines: string[] = [];
  #wake: (() => void) | null = null;
  #ended = false;

  /** No login yet. */
  static async dial(t: TestContext, at: Address): Promise<PostgresWire> {
    const wire = new PostgresWire();
    t.after(() => wire.socket.destroy());
    const { socket } = wire;
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(at.port, at.host, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    const ended = () => {
      wire.#ended = true;
      wire.#wake?.();
    };
    socket.on('error', ended);
    socket.on('close', ended);
    void parse(socket, (message) => wire.#onMessage(message)).catch(() => {});
    return wire;
  }

  /** The listener must be one that trusts, or `password` is sent in cleartext. */
  static async open(
    t: TestContext,
    at: Address,
    startup: Readonly<Record<string, string>>,
    password?: string,
  ): Promise<PostgresWire> {
    const wire = await PostgresWire.dial(t, at);
    wire.send(startupMessage(startup));
    if (password !== undefined) {
      assert.equal(await wire.line(), 'AuthenticationCleartextPassword');
      wire.send(serialize.password(password));
    }
    const greeting = await wire.ready();
    assert.deepEqual(
      greeting.filter((line) => !line.startsWith('ParameterStatus')),
      ['AuthenticationOk', 'BackendKeyData', 'ReadyForQuery I'],
    );
    return wire;
  }

  send(...messages: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(messages));
  }

  /** Sends, and reads up to ReadyForQuery. */
  talk(...messages: readonly Buffer[]): Promise<string[]> {
    this.send(...messages);
    return this.ready();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The next message; 'the connection ended' when that came. */
  async line(): Promise<string> {
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      if (this.#ended) return 'the connection ended';
      if (performance.now() > deadline) assert.fail('no message came');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
  }

  /** Up to and with the next line that begins so. */
  async through(beginning: string): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.line();
      lines.push(line);
      if (line.startsWith(beginning) || line === 'the connection ended') return lines;
    }
  }

  /** Without ParameterStatus it is a transcript; `parameters` has what they said. */
  async ready(): Promise<string[]> {
    return (await this.through('ReadyForQuery')).filter((line) => !line.startsWith('ParameterStatus'));
  }

  /** Resolves with all that came before the other side closed. */
  async closed(): Promise<string[]> {
    await until('the connection to be closed', () => this.#ended);
    return this.#lines.splice(0);
  }

  #onMessage(message: { readonly name: string }): void {
    this.#lines.push(this.#describe(message as Described));
    this.#wake?.();
  }

  #describe(message: Described): string {
    switch (message.name) {
      case 'error':
        return `ErrorResponse ${message.severity} ${message.code} ${message.message}`;
      case 'notice':
        return `NoticeResponse ${message.severity} ${message.message}`;
      case 'parameterStatus':
        this.parameters.set(message.parameterName, message.parameterValue);
        return `ParameterStatus ${message.parameterName}=${message.parameterValue}`;
      case 'backendKeyData':
        this.processId = message.processID;
        this.secretKey = message.secretKey;
        return 'BackendKeyData';
      case 'readyForQuery':
        return `ReadyForQuery ${message.status}`;
      case 'commandComplete':
        return `CommandComplete ${message.text}`;
      case 'rowDescription':
        return `RowDescription ${message.fields.map((field) => field.name).join(', ')}`;
      case 'dataRow':
        return `DataRow ${message.fields.map((field) => shorten(String(field))).join(', ')}`;
      case 'copyData':
        return `CopyData ${message.chunk.toString().trimEnd()}`;
      case 'notification':
        return `NotificationResponse ${message.channel} ${message.payload}`;
      default:
        return NAMES[message.name] ?? message.name;
    }
  }
}

type Named<T, Name extends string> = Omit<T, 'name'> & { readonly name: Name };
type Described =
  | Named<m.NoticeMessage, 'notice'>
  | Named<m.DatabaseError, 'error'>
  | Named<m.ParameterStatusMessage, 'parameterStatus'>
  | Named<m.BackendKeyDataMessage, 'backendKeyData'>
  | Named<m.ReadyForQueryMessage, 'readyForQuery'>
  | Named<m.CommandCompleteMessage, 'commandComplete'>
  | Named<m.RowDescriptionMessage, 'rowDescription'>
  | Named<m.DataRowMessage, 'dataRow'>
  | Named<m.CopyDataMessage, 'copyData'>
  | Named<m.NotificationResponseMessage, 'notification'>
  | { readonly name: keyof typeof NAMES };

const NAMES = {
  parseComplete: 'ParseComplete',
  bindComplete: 'BindComplete',
  closeComplete: 'CloseComplete',
  noData: 'NoData',
  portalSuspended: 'PortalSuspended',
  emptyQuery: 'EmptyQueryResponse',
  copyDone: 'CopyDone',
  parameterDescription: 'ParameterDescription',
  copyInResponse: 'CopyInResponse',
  copyOutResponse: 'CopyOutResponse',
  authenticationOk: 'AuthenticationOk',
  authenticationMD5Password: 'AuthenticationMD5Password',
  authenticationCleartextPassword: 'AuthenticationCleartextPassword',
  authenticationSASL: 'AuthenticationSASL',
} as const;

/** Protocol 3.0, and nothing that the test has not said. */
export function startupMessage(parameters: Readonly<Record<string, string>>): Buffer {
  const body = Buffer.from(`${Object.entries(parameters).flat().join('\0')}\0\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE(0x0003_0000, 4);
  return Buffer.concat([head, body]);
}

function shorten(text: string): string {
  return text.length > 200 ? `${text.slice(0, 20)}... (${text.length})` : text;
}

/** CancelRequest on a connection of its own; resolves when the proxy has closed it. */
export async function cancelRequest(
  at: Address,
  key: { readonly processId: number; readonly secretKey: number },
): Promise<void> {
  const socket = new Socket();
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.resume();
    socket.connect(at.port, at.host, () => socket.write(serialize.cancel(key.processId, key.secretKey)));
  });
}
