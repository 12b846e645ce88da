// OK, EOF and ERR packets, built and parsed, with and without session tracking; it keeps no state between packets.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_response_packets.html

import type { ProxyError } from '../../lib/errors.js';
import { PacketReader, PacketWriter } from './bytes.js';
import { CAPABILITY, type Capabilities, hasCapability } from './capabilities.js';
import { payloadOf } from './framer.js';

export const OK_BYTE = 0x00;
/** An EOF packet, or an OK packet in the place of one; in front of a row it is the length of a very long value. */
export const EOF_BYTE = 0xfe;
export const ERR_BYTE = 0xff;
export const LOCAL_INFILE_BYTE = 0xfb;

export const STATUS = {
  IN_TRANS: 1,
  AUTOCOMMIT: 2,
  MORE_RESULTS: 8,
  NO_GOOD_INDEX_USED: 16,
  NO_INDEX_USED: 32,
  CURSOR_EXISTS: 64,
  LAST_ROW_SENT: 128,
  DB_DROPPED: 256,
  NO_BACKSLASH_ESCAPES: 512,
  METADATA_CHANGED: 1024,
  QUERY_WAS_SLOW: 2048,
  /** Out parameters of a CALL; MariaDB and MySQL alike. */
  PS_OUT_PARAMS: 4096,
  IN_TRANS_READONLY: 8192,
  SESSION_STATE_CHANGED: 16384,
  /** MariaDB: the session's sql_mode has ANSI_QUOTES. */
  ANSI_QUOTES: 32768,
} as const;

export interface OkPacket {
  /** 0x00, or 0xFE where it ends a result set (DEPRECATE_EOF). */
  readonly header: number;
  /** Affected rows and last insert id, still length-encoded: they may be any 64 bits. */
  readonly counts: Buffer;
  readonly status: number;
  readonly warnings: number;
  readonly info: Buffer;
  /** Session state changes as they came; null without the status flag. */
  readonly changes: Buffer | null;
}

const NOTHING = Buffer.alloc(0);
const NO_COUNTS = Buffer.from([0, 0]);

/** `capabilities`: of the connection that the packet came on. */
export function parseOk(payload: Buffer, capabilities: Capabilities): OkPacket {
  const reader = new PacketReader(payload);
  const header = reader.u8();
  const start = reader.offset;
  reader.skipLenenc();
  reader.skipLenenc();
  const counts = payload.subarray(start, reader.offset);
  const status = reader.u16();
  const warnings = reader.u16();
  let info: Buffer = NOTHING;
  let changes: Buffer | null = null;
  // Its length stands before it without session tracking too: both servers write it so, whatever the documents say.
  if (reader.left > 0) info = reader.lenencBytes();
  const tracks = hasCapability(capabilities, CAPABILITY.SESSION_TRACK);
  if (tracks && (status & STATUS.SESSION_STATE_CHANGED) !== 0 && reader.left > 0)
    changes = reader.lenencBytes();
  return { header, counts, status, warnings, info, changes };
}

export function buildOk(ok: OkPacket, capabilities: Capabilities, sequence: number): Buffer {
  const tracks = hasCapability(capabilities, CAPABILITY.SESSION_TRACK);
  const changes = tracks && ok.changes !== null && ok.changes.length > 0 ? ok.changes : null;
  const status =
    changes === null ? ok.status & ~STATUS.SESSION_STATE_CHANGED : ok.status | STATUS.SESSION_STATE_CHANGED;
  const writer = new PacketWriter(32).u8(ok.header).bytes(ok.counts).u16(status).u16(ok.warnings);
  if (ok.info.length > 0 || changes !== null) writer.lenencBytes(ok.info);
  if (changes !== null) writer.lenencBytes(changes);
  return writer.packet(sequence);
}

/** An OK of the proxy's own. */
export function buildPlainOk(status: number, capabilities: Capabilities, sequence: number): Buffer {
  return buildOk(
    { header: OK_BYTE, counts: NO_COUNTS, status, warnings: 0, info: NOTHING, changes: null },
    capabilities,
    sequence,
  );
}

/** The status flags of an OK packet, header byte included, without taking the rest apart. */
export function okStatus(payload: Buffer): number {
  const reader = new PacketReader(payload, 1);
  reader.skipLenenc();
  reader.skipLenenc();
  return reader.u16();
}

/** A packet that starts with 0xFE is an EOF packet, or an OK in its place, only when it is this short. */
export function endsResultSet(firstByte: number, payloadBytes: number, deprecateEof: boolean): boolean {
  return firstByte === EOF_BYTE && payloadBytes < (deprecateEof ? 0xffffff : 9);
}

export interface EofPacket {
  readonly warnings: number;
  readonly status: number;
}

export function parseEof(payload: Buffer): EofPacket {
  const reader = new PacketReader(payload, 1);
  return { warnings: reader.u16(), status: reader.u16() };
}

export function buildEof(eof: EofPacket, sequence: number): Buffer {
  return new PacketWriter(8).u8(EOF_BYTE).u16(eof.warnings).u16(eof.status).packet(sequence);
}

/** An EOF packet, header included, with other flags. */
export function withStatus(frame: Buffer, status: number): Buffer {
  return buildEof({ ...parseEof(payloadOf(frame)), status }, frame[3]!);
}

export interface ErrPacket {
  readonly errno: number;
  readonly sqlState: string;
  readonly message: string;
}

export function parseErr(payload: Buffer): ErrPacket {
  const reader = new PacketReader(payload, 1);
  const errno = reader.u16();
  // Before the handshake there is no SQLSTATE.
  const hasState = reader.left >= 6 && payload[reader.offset] === 0x23;
  const sqlState = hasState ? reader.bytes(6).toString('latin1', 1) : 'HY000';
  return { errno, sqlState, message: reader.rest().toString('utf8') };
}

/** Clients keep an error's text in a buffer of this size (MYSQL_ERRMSG_SIZE). */
const MESSAGE_LIMIT_BYTES = 511;

export function buildErr(error: ErrPacket, sequence: number): Buffer {
  let message = Buffer.from(error.message, 'utf8');
  if (message.length > MESSAGE_LIMIT_BYTES) {
    let end = MESSAGE_LIMIT_BYTES;
    while (end > 0 && (message[end]! & 0xc0) === 0x80) end--;
    message = message.subarray(0, end);
  }
  return new PacketWriter(message.length + 16)
    .u8(ERR_BYTE)
    .u16(error.errno)
    .u8(0x23)
    .bytes(Buffer.from(error.sqlState.padEnd(5, '0').slice(0, 5), 'latin1'))
    .bytes(message)
    .packet(sequence);
}

/** MySQL's own SQLSTATE where it differs from the one that the table of errors has for PostgreSQL. */
const SQL_STATE_BY_ERRNO: Readonly<Record<number, string>> = {
  1040: '08004',
  1045: '28000',
  1049: '3D000',
  1053: '08S01',
  1105: 'HY000',
  1153: '08S01',
  1159: '08S01',
  1213: '40001',
  1227: '42000',
  1235: '42000',
  1243: 'HY000',
  1251: '08004',
  1290: 'HY000',
  1295: 'HY000',
  1461: '42000',
  1835: 'HY000',
  2003: 'HY000',
  2013: 'HY000',
  2027: 'HY000',
  3159: 'HY000',
};

export function errFromProxyError(error: ProxyError): ErrPacket {
  const { errno, details, message } = error;
  const sqlState = String(details.sqlState ?? SQL_STATE_BY_ERRNO[errno] ?? error.sqlState);
  return { errno, sqlState, message };
}

export function buildProxyError(error: ProxyError, sequence: number): Buffer {
  return buildErr(errFromProxyError(error), sequence);
}

/** A login that failed, in the servers' words: scripts and connection pools look for them. `address`: the client's. */
export function buildLoginError(error: ProxyError, sequence: number, address: string | undefined): Buffer {
  if (error.code !== 'authentication-failed') return buildProxyError(error, sequence);
  const { user, password } = error.details;
  const host = (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
  const message = `Access denied for user '${user}'@'${host}' (using password: ${password})`;
  return buildErr({ ...errFromProxyError(error), message }, sequence);
}

/** In place of a greeting: nothing has been agreed upon, so that there is no SQLSTATE. */
export function buildEarlyError(error: ProxyError): Buffer {
  return new PacketWriter(256).u8(ERR_BYTE).u16(error.errno).text(error.message).packet(0);
}
