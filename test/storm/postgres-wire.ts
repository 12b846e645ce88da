// A storm's PostgreSQL client on a bare socket: every message of a reply becomes a line, ReadyForQuery ends it.
// It reads the bytes by itself; nothing of the proxy's own codec is in it.

import type { Address } from '../e2e/driver.js';
import { startupMessage } from '../e2e/postgres-wire.js';
import { Wire } from './wire.js';

export class PostgresStormWire extends Wire {
  readonly parameters = new Map<string, string>();
  processId = 0;
  secretKey = 0;

  /** The listener must be one that trusts. Throws what came instead of a greeting. */
  static async open(at: Address, user: string, database: string): Promise<PostgresStormWire> {
    const wire = new PostgresStormWire();
    await wire.dial(at);
    wire.socket.write(startupMessage({ user, database, application_name: '' }));
    const greeting = await wire.reply();
    if (greeting.join() !== 'R 0,K,Z I') {
      wire.die();
      throw new Error(`a login was answered ${greeting.join()}`);
    }
    return wire;
  }

  protected override take(bytes: Buffer): number {
    let at = 0;
    while (bytes.length - at >= 5) {
      const length = bytes.readUInt32BE(at + 1) + 1;
      if (bytes.length - at < length) break;
      this.#message(String.fromCharCode(bytes[at]!), bytes.subarray(at + 5, at + length));
      at += length;
    }
    return at;
  }

  #message(type: string, body: Buffer): void {
    switch (type) {
      case 'S': {
        const [name, value] = body.toString().split('\0');
        this.parameters.set(name!, value!);
        return;
      }
      case 'N':
        return;
      case 'K':
        this.processId = body.readInt32BE(0);
        this.secretKey = body.readInt32BE(4);
        break;
      case 'R':
        this.lines.push(`R ${body.readInt32BE(0)}`);
        return;
      case 'Z':
        this.lines.push(`Z ${body.toString('latin1')}`);
        this.replyEnds();
        return;
      case 'D':
        this.lines.push(`D ${rowText(body)}`);
        return;
      case 'T':
        this.lines.push(`T ${columnsText(body)}`);
        return;
      case 't': {
        const oids: number[] = [];
        for (let at = 2; at < body.length; at += 4) oids.push(body.readInt32BE(at));
        this.lines.push(`t ${oids.join()}`);
        return;
      }
      case 'C':
        this.lines.push(`C ${body.toString('utf8', 0, body.length - 1)}`);
        return;
      case 'E': {
        const fields = new Map(
          body
            .toString()
            .split('\0')
            .map((field) => [field[0], field.slice(1)]),
        );
        this.lines.push(`E ${fields.get('C')} ${fields.get('M')}`);
        // Of a fatal one nothing follows but the end.
        return;
      }
      case 'd':
        this.lines.push(`d ${body.toString().trimEnd()}`);
        return;
      default:
        break;
    }
    this.lines.push(type);
  }
}

/** Text and binary alike: one character a byte. */
function rowText(body: Buffer): string {
  const count = body.readUInt16BE(0);
  let text = '';
  let at = 2;
  for (let i = 0; i < count; i++) {
    const length = body.readInt32BE(at);
    at += 4;
    if (i > 0) text += '|';
    if (length < 0) text += 'NULL';
    else {
      text += body.toString('latin1', at, at + length);
      at += length;
    }
  }
  return text;
}

/** `name:type:format` of each. */
function columnsText(body: Buffer): string {
  const count = body.readUInt16BE(0);
  const names: string[] = [];
  let at = 2;
  for (let i = 0; i < count; i++) {
    const end = body.indexOf(0, at);
    names.push(`${body.toString('utf8', at, end)}:${body.readInt32BE(end + 7)}:${body[end + 18]}`);
    at = end + 19;
  }
  return names.join();
}
