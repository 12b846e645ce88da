// The packets that open a connection and have no type byte: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest.
// It must not know how a login goes on after them.
//
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { endOfString, int32At, MessageWriter, malformed } from './bytes.js';

export const PROTOCOL_MAJOR = 3;
/** PostgreSQL 18 speaks 3.2: cancel keys of up to 256 bytes. There is no 3.1 on the wire. */
export const PROTOCOL_MINOR_LATEST = 2;

const CANCEL_REQUEST_CODE = 80877102;
const SSL_REQUEST_CODE = 80877103;
const GSSENC_REQUEST_CODE = 80877104;
/** Before 3.2 a key is exactly 4 bytes; from 3.2 on 4 to 256. */
export const CANCEL_KEY_MIN_BYTES = 4;
export const CANCEL_KEY_MAX_BYTES = 256;

export interface StartupMessage {
  readonly kind: 'startup';
  readonly major: number;
  readonly minor: number;
  readonly user: string;
  /** The user's name when none is given, as PostgreSQL does. */
  readonly database: string;
  /** `true`, `false` or `database`: the last asks for logical, the first for physical replication. */
  readonly replication: string;
  /** Command-line options (`-c name=value`), unparsed. */
  readonly options: string;
  /** Everything else: run-time parameters, in the client's order and spelling. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Names that begin with `_pq_.`: protocol extensions, which are answered by NegotiateProtocolVersion. */
  readonly extensions: readonly string[];
}

export type StartupPacket =
  | StartupMessage
  | { readonly kind: 'ssl-request' }
  | { readonly kind: 'gssenc-request' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: Buffer };

/** Reads the packet in `buffer[start, end)` that the framer has answered in its startup phase. */
export function parseStartupPacket(buffer: Buffer, start: number, end: number): StartupPacket {
  const code = int32At(buffer, start + 4, end, 'startup packet');
  if (code === SSL_REQUEST_CODE) return exactly(8, { kind: 'ssl-request' });
  if (code === GSSENC_REQUEST_CODE) return exactly(8, { kind: 'gssenc-request' });
  if (code === CANCEL_REQUEST_CODE) {
    const processId = int32At(buffer, start + 8, end, 'CancelRequest');
    const keyBytes = end - (start + 12);
    if (keyBytes < CANCEL_KEY_MIN_BYTES || keyBytes > CANCEL_KEY_MAX_BYTES) {
      throw malformed(`a cancel key of ${keyBytes} bytes`);
    }
    return { kind: 'cancel', processId, secretKey: Buffer.from(buffer.subarray(start + 12, end)) };
  }
  return parseStartupMessage(buffer, start, end, code);

  function exactly(bytes: number, packet: StartupPacket): StartupPacket {
    if (end - start !== bytes) throw malformed('an encryption request of the wrong length');
    return packet;
  }
}

function parseStartupMessage(buffer: Buffer, start: number, end: number, code: number): StartupMessage {
  const major = code >>> 16;
  const minor = code & 0xffff;
  const parameters = new Map<string, string>();
  const extensions: string[] = [];
  // Another major version may have another layout: the caller refuses it by its number.
  if (major !== PROTOCOL_MAJOR) {
    return {
      kind: 'startup',
      major,
      minor,
      user: '',
      database: '',
      replication: '',
      options: '',
      parameters,
      extensions,
    };
  }
  let offset = start + 8;
  for (;;) {
    const nameEnd = endOfString(buffer, offset, end, 'startup packet');
    if (nameEnd === offset) break;
    const valueEnd = endOfString(buffer, nameEnd + 1, end, 'startup packet');
    const name = buffer.toString('utf8', offset, nameEnd);
    if (name.startsWith('_pq_.')) extensions.push(name);
    else parameters.set(name, buffer.toString('utf8', nameEnd + 1, valueEnd));
    offset = valueEnd + 1;
  }
  if (offset !== end - 1) throw malformed('a startup packet with bytes behind its end');
  const take = (name: string): string => {
    const value = parameters.get(name) ?? '';
    parameters.delete(name);
    return value;
  };
  const user = take('user');
  if (user === '') throw malformed('no user name in the startup packet');
  return {
    kind: 'startup',
    major,
    minor,
    user,
    database: take('database') || user,
    replication: take('replication'),
    options: take('options'),
    parameters,
    extensions,
  };
}

/**
 * A StartupMessage. Not pg-protocol's: that one appends its own client_encoding, which would replace the client's, and
 * knows version 3.0 only.
 */
export function buildStartupMessage(parameters: Iterable<readonly [string, string]>, minor = 0): Buffer {
  const writer = new MessageWriter().begin(0).int32((PROTOCOL_MAJOR << 16) | minor);
  for (const [name, value] of parameters) writer.cstring(name).cstring(value);
  return writer.int8(0).end().finish();
}

/** A CancelRequest. Not pg-protocol's: a key of PostgreSQL 18 may have more than 4 bytes. */
export function buildCancelRequest(processId: number, secretKey: Buffer): Buffer {
  return new MessageWriter()
    .begin(0)
    .int32(CANCEL_REQUEST_CODE)
    .int32(processId)
    .bytes(secretKey)
    .end()
    .finish();
}

export function buildSslRequest(): Buffer {
  return new MessageWriter().begin(0).int32(SSL_REQUEST_CODE).end().finish();
}
