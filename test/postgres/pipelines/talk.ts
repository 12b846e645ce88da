// One client of a pipeline history on a bare socket: it sends bytes and keeps each message that comes back, without what differs
// between two databases (OIDs of tables). It knows no history.

import { Socket } from 'node:net';
import { startupMessage } from '../../e2e/postgres-wire.js';

const DEADLINE_MS = 60_000;

export class Talker {
  readonly #socket = new Socket();
  #bytes: Buffer = Buffer.alloc(0);
  #messages: string[] = [];
  #isEnded = false;
  #wake: (() => void) | null = null;
  /** As the other side has told them so far. */
  readonly parameters = new Map<string, string>();

  static async open(
    at: { readonly host: string; readonly port: number },
    startup: Readonly<Record<string, string>>,
  ): Promise<Talker> {
    const talker = new Talker();
    const socket = talker.#socket;
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(at.port, at.host, resolve);
    });
    const ended = (): void => {
      talker.#isEnded = true;
      talker.#wake?.();
    };
    socket.setNoDelay(true);
    socket.on('error', ended);
    socket.on('close', ended);
    socket.on('data', (chunk: Buffer) => talker.#onData(chunk));
    socket.write(startupMessage(startup));
    await talker.answers(() => 1);
    return talker;
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /**
   * What has come up to as many ReadyForQuery as `due` says, which is asked again with each message. Where they do not come,
   * a last line says so.
   */
  async answers(due: (messages: readonly string[]) => number): Promise<string[]> {
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      const ready = this.#messages.filter((message) => message.startsWith('Z ')).length;
      if (ready >= due(this.#messages)) return this.#messages.splice(0);
      if (this.#isEnded) return [...this.#messages.splice(0), 'the connection ended'];
      if (performance.now() > deadline) return [...this.#messages.splice(0), 'nothing more came'];
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

  close(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    let at = 0;
    while (this.#bytes.length >= at + 5) {
      const end = at + 1 + this.#bytes.readInt32BE(at + 1);
      if (end > this.#bytes.length) break;
      this.#onMessage(String.fromCharCode(this.#bytes[at]!), this.#bytes.subarray(at + 5, end));
      at = end;
    }
    this.#bytes = this.#bytes.subarray(at);
    this.#wake?.();
  }

  #onMessage(type: string, body: Buffer): void {
    if (type === 'S') {
      const [name, value] = body.toString('latin1').split('\0');
      this.parameters.set(name!, value!);
      return;
    }
    // A READ ONLY transaction may be left on its replica before a text that ends it and goes on.
    if (type === 'N' && body.includes('Mthere is no transaction in progress')) return;
    if (type === 'E' || type === 'N') this.#messages.push(`${type} ${withoutPlace(body)}`);
    else this.#messages.push(`${type} ${(type === 'T' ? withoutTables(body) : body).toString('latin1')}`);
  }
}

/** A RowDescription whose columns name no table. */
function withoutTables(body: Buffer): Buffer {
  const copy = Buffer.from(body);
  let at = 2;
  for (let left = copy.readInt16BE(0); left > 0; left--) {
    at = copy.indexOf(0, at) + 1;
    copy.writeInt32BE(0, at);
    at += 18;
  }
  return copy;
}

/** An error or a notice without the line of the server's sources. */
function withoutPlace(body: Buffer): string {
  const fields = body.toString('latin1').split('\0');
  // Of two errors of a Bind in a failed transaction the other one may come first: the proxy parses the statement before.
  if (fields.includes('C25P02') || fields.some((field) => field.startsWith('Mbind message supplies')))
    return 'Bind refused';
  return fields.filter((field) => !/^[FLR]/.test(field)).join('|');
}
