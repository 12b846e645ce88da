// Messages that the proxy itself sends to an application: logins, its own errors, answers to what it does not forward.
// It must not know why they are sent.
//
// https://www.postgresql.org/docs/current/protocol-message-formats.html
// pg-protocol writes what an application sends only; these are the other direction.

import type { ProxyError } from '../../lib/errors.js';
import { BACKEND, type TransactionStatus } from './backend.js';
import { MessageWriter } from './bytes.js';

const TEXT_OID = 25;
const STATUS_BYTES: Readonly<Record<TransactionStatus, number>> = {
  idle: 0x49,
  transaction: 0x54,
  failed: 0x45,
};

const empty = (type: number): Buffer => new MessageWriter().begin(type).end().finish();
const authentication = (code: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  new MessageWriter().begin(BACKEND.authentication).int32(code).bytes(data).end().finish();
const ready = (status: TransactionStatus): Buffer =>
  new MessageWriter().begin(BACKEND.readyForQuery).int8(STATUS_BYTES[status]).end().finish();

export const AUTHENTICATION_OK: Buffer = authentication(0);
export const AUTHENTICATION_CLEARTEXT: Buffer = authentication(3);
export const PARSE_COMPLETE: Buffer = empty(BACKEND.parseComplete);
export const BIND_COMPLETE: Buffer = empty(BACKEND.bindComplete);
export const CLOSE_COMPLETE: Buffer = empty(BACKEND.closeComplete);
export const EMPTY_QUERY_RESPONSE: Buffer = empty(BACKEND.emptyQueryResponse);
export const NO_DATA: Buffer = empty(BACKEND.noData);
/** ParameterDescription of a statement without parameters. */
export const NO_PARAMETERS = Buffer.from([0x74, 0, 0, 0, 6, 0, 0]);
export const PORTAL_SUSPENDED: Buffer = empty(BACKEND.portalSuspended);
/** The answer to SSLRequest and GSSENCRequest by a listener without encryption: one byte, not a message. */
export const ENCRYPTION_REFUSED: Buffer = Buffer.from('N');

const READY: Readonly<Record<TransactionStatus, Buffer>> = {
  idle: ready('idle'),
  transaction: ready('transaction'),
  failed: ready('failed'),
};

export function readyForQuery(status: TransactionStatus): Buffer {
  return READY[status];
}

export function authenticationMd5(salt: Buffer): Buffer {
  return authentication(5, salt);
}

export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  const writer = new MessageWriter().begin(BACKEND.authentication).int32(10);
  for (const mechanism of mechanisms) writer.cstring(mechanism);
  return writer.int8(0).end().finish();
}

export function authenticationSaslContinue(data: string): Buffer {
  return authentication(11, Buffer.from(data));
}

export function authenticationSaslFinal(data: string): Buffer {
  return authentication(12, Buffer.from(data));
}

export function parameterStatus(name: string, value: string): Buffer {
  return new MessageWriter().begin(BACKEND.parameterStatus).cstring(name).cstring(value).end().finish();
}

export function backendKeyData(processId: number, secretKey: Buffer): Buffer {
  return new MessageWriter().begin(BACKEND.backendKeyData).int32(processId).bytes(secretKey).end().finish();
}

/** `minor` is the newest that we speak; `unknownOptions` are the client's `_pq_.` names that we do not know. */
export function negotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  // PostgreSQL sends the whole version (3 << 16 | minor) here, and libpq expects it.
  const writer = new MessageWriter().begin(BACKEND.negotiateProtocolVersion).int32((3 << 16) | minor);
  writer.int32(unknownOptions.length);
  for (const option of unknownOptions) writer.cstring(option);
  return writer.end().finish();
}

export function commandComplete(tag: string): Buffer {
  return new MessageWriter().begin(BACKEND.commandComplete).cstring(tag).end().finish();
}

/** Fields of ErrorResponse and NoticeResponse that the proxy fills. */
export interface OwnErrorFields {
  readonly severity: 'ERROR' | 'FATAL' | 'WARNING' | 'NOTICE';
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly routine?: string;
  readonly hint?: string;
}

export function errorResponse(fields: OwnErrorFields): Buffer {
  return fieldMessage(BACKEND.errorResponse, fields);
}

export function noticeResponse(fields: OwnErrorFields): Buffer {
  return fieldMessage(BACKEND.noticeResponse, fields);
}

/**
 * An error of the proxy's own. FATAL means that the connection ends with it, as in PostgreSQL: the error says whether
 * it does, unless the caller ends it anyway.
 */
export function proxyErrorResponse(
  error: ProxyError,
  severity: 'ERROR' | 'FATAL' = error.isFatal ? 'FATAL' : 'ERROR',
): Buffer {
  return errorResponse({
    severity,
    code: error.sqlState,
    message: error.message,
    // Those say what the server would, in its stead, and nothing more.
    ...(error.code === 'cancelled' || error.code === 'statement-timeout'
      ? {}
      : { detail: `scheelite: ${error.code}` }),
  });
}

function fieldMessage(type: number, fields: OwnErrorFields): Buffer {
  const writer = new MessageWriter().begin(type);
  const field = (letter: string, value: string | undefined): void => {
    // A message may quote what a peer sent: a zero byte in it must not end the field.
    if (value !== undefined) writer.int8(letter.charCodeAt(0)).cstring(value.replaceAll('\0', '\\0'));
  };
  field('S', fields.severity);
  field('V', fields.severity);
  field('C', fields.code);
  field('M', fields.message);
  field('D', fields.detail);
  field('R', fields.routine);
  field('H', fields.hint);
  return writer.int8(0).end().finish();
}

/** RowDescription of columns of type text. */
export function textRowDescription(columns: readonly string[]): Buffer {
  const writer = new MessageWriter().begin(BACKEND.rowDescription).int16(columns.length);
  for (const column of columns) {
    // Table, attribute number, type, type size, type modifier, format.
    writer.cstring(column).int32(0).int16(0).int32(TEXT_OID).int16(0xffff).int32(-1).int16(0);
  }
  return writer.end().finish();
}

export function textDataRow(values: readonly (string | null)[]): Buffer {
  const writer = new MessageWriter().begin(BACKEND.dataRow).int16(values.length);
  for (const value of values) {
    if (value === null) {
      writer.int32(-1);
      continue;
    }
    const bytes = Buffer.from(value);
    writer.int32(bytes.length).bytes(bytes);
  }
  return writer.end().finish();
}

/** A small result of our own, without ReadyForQuery: RowDescription, DataRows, CommandComplete. */
export function textResult(
  columns: readonly string[],
  rows: readonly (readonly (string | null)[])[],
  tag = `SELECT ${rows.length}`,
): Buffer {
  return Buffer.concat([textRowDescription(columns), ...rows.map(textDataRow), commandComplete(tag)]);
}
