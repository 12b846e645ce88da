// Messages that a node sends: their type bytes and the fields that the proxy reads.
// It must not decode rows, nor know what a reply belongs to. Builders are in backend-messages.ts.
//
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { endOfString, int16At, int32At, MessageWriter, malformed } from './bytes.js';
import { CANCEL_KEY_MAX_BYTES, CANCEL_KEY_MIN_BYTES } from './startup.js';

export const BACKEND = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notificationResponse: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  errorResponse: 0x45, // E
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  emptyQueryResponse: 0x49, // I
  backendKeyData: 0x4b, // K
  noticeResponse: 0x4e, // N
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  functionCallResponse: 0x56, // V
  copyBothResponse: 0x57, // W
  readyForQuery: 0x5a, // Z
  copyDone: 0x63, // c
  copyData: 0x64, // d
  noData: 0x6e, // n
  portalSuspended: 0x73, // s
  parameterDescription: 0x74, // t
  negotiateProtocolVersion: 0x76, // v
} as const;

const HEADER_BYTES = 5;
/** In NotificationResponse. */
export const PROCESS_ID_AT = HEADER_BYTES;

export type TransactionStatus = 'idle' | 'transaction' | 'failed';

/** Behind type, length, number of columns and the length of the first. */
const FIRST_VALUE_AT = 11;

/** The text of a DataRow with one column, whole with its header (protocol-message-formats). */
export function onlyValue(buffer: Buffer, start: number, end: number): string {
  return buffer.toString('latin1', start + FIRST_VALUE_AT, end);
}

export function parseReadyForQuery(buffer: Buffer, start: number, end: number): TransactionStatus {
  if (end - start === HEADER_BYTES + 1) {
    const status = buffer[start + HEADER_BYTES];
    if (status === 0x49) return 'idle';
    if (status === 0x54) return 'transaction';
    if (status === 0x45) return 'failed';
  }
  throw malformed('ReadyForQuery with an unknown status');
}

/** `INSERT 0 1`, `SELECT 5`, `BEGIN` ... */
export function parseCommandComplete(buffer: Buffer, start: number, end: number): string {
  const tagStart = start + HEADER_BYTES;
  const tagEnd = endOfString(buffer, tagStart, end, 'CommandComplete');
  const bytes = tagEnd - tagStart;
  if (bytes === 0 || bytes > MAX_RECENT_BYTES) return buffer.toString('latin1', tagStart, tagEnd);
  // The same few come again and again, and making a text of one takes longer than comparing it.
  const place = (31 * buffer[tagStart]! + 7 * buffer[tagEnd - 1]! + bytes) % recentTags.length;
  const recent = recentTags[place]!;
  if (isText(recent, buffer, tagStart, bytes)) return recent;
  const tag = buffer.toString('latin1', tagStart, tagEnd);
  recentTags[place] = tag;
  return tag;
}

const MAX_RECENT_BYTES = 16;
const recentTags: string[] = new Array<string>(64).fill('');

function isText(text: string, buffer: Buffer, start: number, bytes: number): boolean {
  if (text.length !== bytes) return false;
  for (let i = 0; i < bytes; i++) if (text.charCodeAt(i) !== buffer[start + i]) return false;
  return true;
}

export interface ParameterStatusFields {
  readonly name: string;
  readonly value: string;
}

export function parseParameterStatus(buffer: Buffer, start: number, end: number): ParameterStatusFields {
  const nameEnd = endOfString(buffer, start + HEADER_BYTES, end, 'ParameterStatus');
  const valueEnd = endOfString(buffer, nameEnd + 1, end, 'ParameterStatus');
  return {
    name: buffer.toString('utf8', start + HEADER_BYTES, nameEnd),
    value: buffer.toString('utf8', nameEnd + 1, valueEnd),
  };
}

export interface BackendKey {
  readonly processId: number;
  /** 4 bytes before protocol 3.2, up to 256 since. */
  readonly secretKey: Buffer;
}

export function parseBackendKeyData(buffer: Buffer, start: number, end: number): BackendKey {
  const processId = int32At(buffer, start + HEADER_BYTES, end, 'BackendKeyData');
  const keyBytes = end - (start + HEADER_BYTES + 4);
  if (keyBytes < CANCEL_KEY_MIN_BYTES || keyBytes > CANCEL_KEY_MAX_BYTES) {
    throw malformed(`a cancel key of ${keyBytes} bytes`);
  }
  // A copy: it outlives the chunk that it came in.
  return { processId, secretKey: Buffer.from(buffer.subarray(start + HEADER_BYTES + 4, end)) };
}

/** Field codes: https://www.postgresql.org/docs/current/protocol-error-fields.html */
export interface ServerErrorFields {
  /** Not localized where the server gives that (field V, since 9.6): ERROR, FATAL, PANIC; WARNING, NOTICE ... */
  readonly severity: string;
  readonly code: string;
  readonly message: string;
  readonly detail: string | null;
  readonly hint: string | null;
  /** All fields by their letter. */
  readonly all: ReadonlyMap<string, string>;
}

/** ErrorResponse and NoticeResponse have one shape. */
export function parseErrorResponse(buffer: Buffer, start: number, end: number): ServerErrorFields {
  const all = new Map<string, string>();
  let offset = start + HEADER_BYTES;
  for (;;) {
    if (offset >= end) throw malformed('ErrorResponse does not end');
    const field = buffer[offset]!;
    if (field === 0) break;
    const valueEnd = endOfString(buffer, offset + 1, end, 'ErrorResponse');
    all.set(String.fromCharCode(field), buffer.toString('utf8', offset + 1, valueEnd));
    offset = valueEnd + 1;
  }
  return {
    severity: all.get('V') ?? all.get('S') ?? 'ERROR',
    code: all.get('C') ?? 'XX000',
    message: all.get('M') ?? '',
    detail: all.get('D') ?? null,
    hint: all.get('H') ?? null,
    all,
  };
}

/** Fields that are for people: message, detail, hint, context. */
const PROSE: readonly number[] = [0x4d, 0x44, 0x48, 0x57];

/** The same ErrorResponse with a name replaced in its prose; every other field stays byte by byte. */
export function renameInError(buffer: Buffer, start: number, end: number, from: string, to: string): Buffer {
  const writer = new MessageWriter().begin(buffer[start]!);
  let offset = start + HEADER_BYTES;
  while (offset < end && buffer[offset] !== 0) {
    const valueEnd = endOfString(buffer, offset + 1, end, 'ErrorResponse');
    const value = buffer.toString('latin1', offset + 1, valueEnd);
    const isProse = PROSE.includes(buffer[offset]!);
    writer.int8(buffer[offset]!).cstring(isProse ? value.replaceAll(from, to) : value, 'latin1');
    offset = valueEnd + 1;
  }
  return writer.int8(0).end().finish();
}

/** The same ErrorResponse for a text that begins `by` characters later (field P; counted from 1). */
export function moveErrorPosition(buffer: Buffer, start: number, end: number, by: number): Buffer {
  const writer = new MessageWriter().begin(buffer[start]!);
  let offset = start + HEADER_BYTES;
  while (offset < end && buffer[offset] !== 0) {
    const valueEnd = endOfString(buffer, offset + 1, end, 'ErrorResponse');
    const value = buffer.toString('latin1', offset + 1, valueEnd);
    const moved = Number(value) + by;
    const isPosition = buffer[offset] === 0x50 && moved > 0;
    writer.int8(buffer[offset]!).cstring(isPosition ? String(moved) : value, 'latin1');
    offset = valueEnd + 1;
  }
  return writer.int8(0).end().finish();
}

/** Only the SQLSTATE, for decisions about whether a unit runs again; no map, no other string. */
export function errorCodeOf(buffer: Buffer, start: number, end: number): string {
  let offset = start + HEADER_BYTES;
  while (offset < end && buffer[offset] !== 0) {
    const valueEnd = endOfString(buffer, offset + 1, end, 'ErrorResponse');
    if (buffer[offset] === 0x43) return buffer.toString('latin1', offset + 1, valueEnd);
    offset = valueEnd + 1;
  }
  throw malformed('ErrorResponse without a code');
}

export interface CopyResponseFields {
  readonly binary: boolean;
  readonly columns: number;
}

/** CopyInResponse, CopyOutResponse, CopyBothResponse. */
export function parseCopyResponse(buffer: Buffer, start: number, end: number): CopyResponseFields {
  const columns = int16At(buffer, start + HEADER_BYTES + 1, end, 'CopyResponse');
  if (start + HEADER_BYTES + 3 + columns * 2 !== end) throw malformed('CopyResponse of the wrong length');
  return { binary: buffer[start + HEADER_BYTES] === 1, columns };
}

export interface NotificationFields {
  readonly processId: number;
  readonly channel: string;
  readonly payload: string;
}

export function parseNotification(buffer: Buffer, start: number, end: number): NotificationFields {
  const processId = int32At(buffer, start + HEADER_BYTES, end, 'NotificationResponse');
  const channelStart = start + HEADER_BYTES + 4;
  const channelEnd = endOfString(buffer, channelStart, end, 'NotificationResponse');
  const payloadEnd = endOfString(buffer, channelEnd + 1, end, 'NotificationResponse');
  return {
    processId,
    channel: buffer.toString('utf8', channelStart, channelEnd),
    payload: buffer.toString('utf8', channelEnd + 1, payloadEnd),
  };
}

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: Buffer }
  | { readonly kind: 'sasl-final'; readonly data: Buffer }
  /** Kerberos, GSSAPI, SSPI ...: known by name, not answered by the proxy. */
  | { readonly kind: 'unsupported'; readonly method: string };

const UNSUPPORTED_METHODS: Readonly<Record<number, string>> = {
  2: 'Kerberos 5',
  4: 'crypt',
  6: 'SCM credentials',
  7: 'GSSAPI',
  8: 'GSSAPI',
  9: 'SSPI',
};

export function parseAuthentication(buffer: Buffer, start: number, end: number): AuthenticationRequest {
  const code = int32At(buffer, start + HEADER_BYTES, end, 'Authentication');
  const dataStart = start + HEADER_BYTES + 4;
  switch (code) {
    case 0:
      return { kind: 'ok' };
    case 3:
      return { kind: 'cleartext' };
    case 5:
      if (end - dataStart !== 4) throw malformed('AuthenticationMD5Password of the wrong length');
      return { kind: 'md5', salt: Buffer.from(buffer.subarray(dataStart, end)) };
    case 10:
      return { kind: 'sasl', mechanisms: stringList(buffer, dataStart, end) };
    case 11:
      return { kind: 'sasl-continue', data: buffer.subarray(dataStart, end) };
    case 12:
      return { kind: 'sasl-final', data: buffer.subarray(dataStart, end) };
    default:
      return { kind: 'unsupported', method: UNSUPPORTED_METHODS[code] ?? `method ${code}` };
  }
}

export interface NegotiatedVersion {
  readonly minor: number;
  readonly unknownOptions: readonly string[];
}

export function parseNegotiateProtocolVersion(buffer: Buffer, start: number, end: number): NegotiatedVersion {
  // PostgreSQL documents "newest minor version" and sends the whole version number.
  const minor = int32At(buffer, start + HEADER_BYTES, end, 'NegotiateProtocolVersion') & 0xffff;
  const count = int32At(buffer, start + HEADER_BYTES + 4, end, 'NegotiateProtocolVersion');
  const unknownOptions: string[] = [];
  let offset = start + HEADER_BYTES + 8;
  for (let index = 0; index < count; index++) {
    const nameEnd = endOfString(buffer, offset, end, 'NegotiateProtocolVersion');
    unknownOptions.push(buffer.toString('utf8', offset, nameEnd));
    offset = nameEnd + 1;
  }
  return { minor, unknownOptions };
}

/** Strings up to an empty one. */
function stringList(buffer: Buffer, start: number, end: number): string[] {
  const list: string[] = [];
  let offset = start;
  for (;;) {
    const stringEnd = endOfString(buffer, offset, end, 'list of mechanisms');
    if (stringEnd === offset) return list;
    list.push(buffer.toString('latin1', offset, stringEnd));
    offset = stringEnd + 1;
  }
}
