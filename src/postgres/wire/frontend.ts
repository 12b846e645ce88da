// Messages that an application sends: their type bytes, the fields that the proxy reads, and how it writes its own.
// It must not know what a statement means. Offsets point into the buffer that the framer answered; nothing is copied.
//
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { serialize } from 'pg-protocol';
import { ProxyError } from '../../lib/errors.js';
import { endOfLongString, endOfString, int16At, int32At, MessageWriter, malformed, nameOf } from './bytes.js';

export const FRONTEND = {
  bind: 0x42, // B
  close: 0x43, // C
  describe: 0x44, // D
  execute: 0x45, // E
  functionCall: 0x46, // F
  flush: 0x48, // H
  parse: 0x50, // P
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
  copyDone: 0x63, // c
  copyData: 0x64, // d
  copyFail: 0x66, // f
  /** PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse: told apart by what was asked. */
  password: 0x70, // p
} as const;

/** Type byte and length. */
const HEADER_BYTES = 5;

/** What Describe and Close name. */
export type DescribeKind = 'statement' | 'portal';
const STATEMENT = 0x53; // S
const PORTAL = 0x50; // P

export interface QueryFields {
  /** The text without its final zero byte, in the client's encoding. */
  readonly textStart: number;
  readonly textEnd: number;
}

/** A zero byte inside the text is refused: behind it could stand what the classifier reads and the server does not. */
export function parseQuery(buffer: Buffer, start: number, end: number): QueryFields {
  const textStart = start + HEADER_BYTES;
  const textEnd = endOfLongString(buffer, textStart, end, 'Query');
  if (textEnd !== end - 1) throw malformed('Query with bytes behind its text');
  return { textStart, textEnd };
}

export interface ParseFields {
  readonly name: string;
  readonly textStart: number;
  readonly textEnd: number;
  /** Two bytes of count and four for each type follow here, to the end of the message. */
  readonly typesStart: number;
  readonly typeCount: number;
}

export function parseParse(buffer: Buffer, start: number, end: number): ParseFields {
  const nameStart = start + HEADER_BYTES;
  const nameEnd = endOfString(buffer, nameStart, end, 'statement name in Parse');
  const textStart = nameEnd + 1;
  const textEnd = endOfLongString(buffer, textStart, end, 'text in Parse');
  const typesStart = textEnd + 1;
  const typeCount = int16At(buffer, typesStart, end, 'Parse');
  if (typesStart + 2 + typeCount * 4 !== end) throw malformed('Parse of the wrong length');
  return { name: nameOf(buffer, nameStart, nameEnd), textStart, textEnd, typesStart, typeCount };
}

/** The type that Parse gives for parameter `index`, 0 for "not given". */
export function parameterType(buffer: Buffer, fields: ParseFields, index: number): number {
  return buffer.readUInt32BE(fields.typesStart + 2 + index * 4);
}

export interface BindFields {
  readonly portal: string;
  readonly statement: string;
  /** The statement's name without its zero byte. */
  readonly statementStart: number;
  readonly statementEnd: number;
}

/** Reads the two names; formats and values are the server's to check. */
export function parseBind(buffer: Buffer, start: number, end: number): BindFields {
  const portalStart = start + HEADER_BYTES;
  const portalEnd = endOfString(buffer, portalStart, end, 'portal name in Bind');
  const statementStart = portalEnd + 1;
  const statementEnd = endOfString(buffer, statementStart, end, 'statement name in Bind');
  return {
    portal: nameOf(buffer, portalStart, portalEnd),
    statement: nameOf(buffer, statementStart, statementEnd),
    statementStart,
    statementEnd,
  };
}

/** How many formats it asks its results in: 0 and 1 go for all columns. 0 where that cannot be read: the server will say. */
export function resultFormatCount(bind: Buffer, { statementEnd }: BindFields): number {
  let at = statementEnd + 1;
  if (at + 2 > bind.length) return 0;
  at += 2 + 2 * bind.readUInt16BE(at);
  if (at + 2 > bind.length) return 0;
  let values = bind.readUInt16BE(at);
  at += 2;
  for (; values > 0 && at + 4 <= bind.length; values--) at += 4 + Math.max(0, bind.readInt32BE(at));
  return at + 2 > bind.length ? 0 : bind.readUInt16BE(at);
}

export interface DescribeFields {
  readonly kind: DescribeKind;
  readonly name: string;
}

/** Describe and Close have one shape. */
export function parseDescribe(buffer: Buffer, start: number, end: number): DescribeFields {
  const kind = buffer[start + HEADER_BYTES];
  const nameStart = start + HEADER_BYTES + 1;
  if (nameStart >= end || (kind !== STATEMENT && kind !== PORTAL)) {
    throw malformed('Describe or Close of neither a statement nor a portal');
  }
  const nameEnd = endOfString(buffer, nameStart, end, 'name in Describe or Close');
  if (nameEnd !== end - 1) throw malformed('Describe or Close with bytes behind its name');
  return { kind: kind === STATEMENT ? 'statement' : 'portal', name: nameOf(buffer, nameStart, nameEnd) };
}
export const parseClose = parseDescribe;

export interface ExecuteFields {
  readonly portal: string;
  /** 0: all rows. Otherwise the server may answer PortalSuspended. */
  readonly maxRows: number;
}

export function parseExecute(buffer: Buffer, start: number, end: number): ExecuteFields {
  const portalStart = start + HEADER_BYTES;
  const portalEnd = endOfString(buffer, portalStart, end, 'portal name in Execute');
  const maxRows = int32At(buffer, portalEnd + 1, end, 'Execute');
  if (portalEnd + 5 !== end) throw malformed('Execute of the wrong length');
  // PostgreSQL takes a negative number as "all rows" too.
  return { portal: nameOf(buffer, portalStart, portalEnd), maxRows: Math.max(0, maxRows) };
}

/** The bytes of a 'p' message behind its header, for the login state machines. */
export function passwordBody(buffer: Buffer, start: number, end: number): Buffer {
  return buffer.subarray(start + HEADER_BYTES, end);
}

export interface SaslInitialFields {
  readonly mechanism: string;
  /** Null when the client sent none (length -1). */
  readonly response: Buffer | null;
}

export function parseSaslInitialResponse(buffer: Buffer, start: number, end: number): SaslInitialFields {
  const mechanismStart = start + HEADER_BYTES;
  const mechanismEnd = endOfString(buffer, mechanismStart, end, 'mechanism in SASLInitialResponse');
  const length = int32At(buffer, mechanismEnd + 1, end, 'SASLInitialResponse');
  const responseStart = mechanismEnd + 5;
  const mechanism = nameOf(buffer, mechanismStart, mechanismEnd);
  if (length === -1 && responseStart === end) return { mechanism, response: null };
  if (length < 0 || responseStart + length !== end)
    throw malformed('SASLInitialResponse of the wrong length');
  return { mechanism, response: buffer.subarray(responseStart, end) };
}

// Builders. Names are `latin1` strings, as `nameOf` reads them, which pg-protocol's writer (UTF-8 only) would change; it
// also prints a warning to the console for a name of more than 63 bytes. Where neither matters its messages are used.

export const SYNC: Buffer = serialize.sync();
export const FLUSH: Buffer = serialize.flush();
export const TERMINATE: Buffer = serialize.end();
export const COPY_DONE: Buffer = serialize.copyDone();
/** Execute of the unnamed portal, all rows. */
export const EXECUTE_UNNAMED: Buffer = serialize.execute({});

/** A simple query of our own; the text must have no zero byte. */
export function buildQuery(text: string): Buffer {
  return serialize.query(refuseZero(text));
}

export function buildCopyFail(reason: string): Buffer {
  return serialize.copyFail(refuseZero(reason));
}

export function buildParse(name: string, text: string | Buffer, types: readonly number[] = []): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  if (bytes.includes(0)) throw malformed('a statement with a zero byte cannot be sent');
  const writer = new MessageWriter().begin(FRONTEND.parse).cstring(name, 'latin1').bytes(bytes).int8(0);
  writer.int16(types.length);
  for (const type of types) writer.int32(type | 0);
  return writer.end().finish();
}

/** The Parse that ends at `end`, for a statement of another name: text and types are copied as they are. */
export function renameParse(buffer: Buffer, end: number, fields: ParseFields, name: string): Buffer {
  const nameBytes = name.length;
  const message = Buffer.allocUnsafe(HEADER_BYTES + nameBytes + 1 + (end - fields.textStart));
  message[0] = FRONTEND.parse;
  message.writeInt32BE(message.length - 1, 1);
  message.write(name, HEADER_BYTES, nameBytes, 'latin1');
  message[HEADER_BYTES + nameBytes] = 0;
  buffer.copy(message, HEADER_BYTES + nameBytes + 1, fields.textStart, end);
  return message;
}

/** The Bind in `buffer[start, end)` to a statement of another name. */
export function renameBind(
  buffer: Buffer,
  start: number,
  end: number,
  fields: BindFields,
  statement: string,
): Buffer {
  const kept = fields.statementStart - start;
  const nameBytes = statement.length;
  const message = Buffer.allocUnsafe(kept + nameBytes + (end - fields.statementEnd));
  copyBytes(buffer, start, fields.statementStart, message, 0);
  message.writeInt32BE(message.length - 1, 1);
  for (let i = 0; i < nameBytes; i++) message[kept + i] = statement.charCodeAt(i);
  copyBytes(buffer, fields.statementEnd, end, message, kept + nameBytes);
  return message;
}

/** Calling `copy` costs more than it saves for so few. */
const FEW_BYTES = 64;

function copyBytes(from: Buffer, start: number, end: number, to: Buffer, at: number): void {
  if (end - start > FEW_BYTES) from.copy(to, at, start, end);
  else for (let i = start; i < end; i++) to[at + i - start] = from[i]!;
}

/** A Bind of our own: parameters and results in text format. */
export function buildBind(
  portal: string,
  statement: string,
  values: readonly (string | Buffer | null)[] = [],
): Buffer {
  const writer = new MessageWriter()
    .begin(FRONTEND.bind)
    .cstring(portal, 'latin1')
    .cstring(statement, 'latin1');
  writer.int16(0).int16(values.length);
  for (const value of values) {
    if (value === null) {
      writer.int32(-1);
      continue;
    }
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    writer.int32(bytes.length).bytes(bytes);
  }
  return writer.int16(0).end().finish();
}

export function buildDescribe(kind: DescribeKind, name: string): Buffer {
  return buildNamed(FRONTEND.describe, kind, name);
}

export function buildClose(kind: DescribeKind, name: string): Buffer {
  return buildNamed(FRONTEND.close, kind, name);
}

function buildNamed(type: number, kind: DescribeKind, name: string): Buffer {
  return new MessageWriter()
    .begin(type)
    .int8(kind === 'statement' ? STATEMENT : PORTAL)
    .cstring(name, 'latin1')
    .end()
    .finish();
}

export function buildExecute(portal: string, maxRows = 0): Buffer {
  if (portal === '' && maxRows === 0) return EXECUTE_UNNAMED;
  return new MessageWriter().begin(FRONTEND.execute).cstring(portal, 'latin1').int32(maxRows).end().finish();
}

/** Cleartext, or "md5" and 32 hex digits. */
export function buildPassword(password: string): Buffer {
  return serialize.password(refuseZero(password));
}

export function buildSaslInitialResponse(mechanism: string, response: string): Buffer {
  return serialize.sendSASLInitialResponseMessage(mechanism, response);
}

export function buildSaslResponse(response: string): Buffer {
  return serialize.sendSCRAMClientFinalMessage(response);
}

/** pg-protocol writes C strings as they come: a zero byte would cut the message in two fields. */
function refuseZero(text: string): string {
  if (text.includes('\0')) throw malformed('a string with a zero byte cannot be sent');
  return text;
}

export function unexpectedMessage(type: number, when: string): ProxyError {
  return new ProxyError('protocol-violation', {
    detail: `unexpected message "${String.fromCharCode(type)}"${when}`,
  });
}

/** The portal that an Execute names. */
export function portalOf(execute: Buffer): string {
  return execute[5] === 0 ? '' : execute.toString('latin1', 5, execute.indexOf(0, 5));
}
