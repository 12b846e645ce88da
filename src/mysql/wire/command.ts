// The commands of the command phase by number, and how the simple ones are built; it knows no answer.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html

import { PacketReader, PacketWriter } from './bytes.js';
import { CAPABILITY, type Capabilities, hasCapability } from './capabilities.js';
import { NO_ATTRIBUTES, readAttributes } from './handshake-response.js';
import { parameterValuesLength } from './parameters.js';

export const COM = {
  SLEEP: 0x00,
  QUIT: 0x01,
  INIT_DB: 0x02,
  QUERY: 0x03,
  FIELD_LIST: 0x04,
  CREATE_DB: 0x05,
  DROP_DB: 0x06,
  REFRESH: 0x07,
  SHUTDOWN: 0x08,
  STATISTICS: 0x09,
  PROCESS_INFO: 0x0a,
  CONNECT: 0x0b,
  PROCESS_KILL: 0x0c,
  DEBUG: 0x0d,
  PING: 0x0e,
  TIME: 0x0f,
  DELAYED_INSERT: 0x10,
  CHANGE_USER: 0x11,
  BINLOG_DUMP: 0x12,
  TABLE_DUMP: 0x13,
  CONNECT_OUT: 0x14,
  REGISTER_SLAVE: 0x15,
  STMT_PREPARE: 0x16,
  STMT_EXECUTE: 0x17,
  STMT_SEND_LONG_DATA: 0x18,
  STMT_CLOSE: 0x19,
  STMT_RESET: 0x1a,
  SET_OPTION: 0x1b,
  STMT_FETCH: 0x1c,
  DAEMON: 0x1d,
  BINLOG_DUMP_GTID: 0x1e,
  RESET_CONNECTION: 0x1f,
  CLONE: 0x20,
  /** MariaDB. */
  STMT_BULK_EXECUTE: 0xfa,
  /** MariaDB; reserved, never offered. */
  MULTI: 0xfe,
} as const;

const NAMES = new Map<number, string>(Object.entries(COM).map(([name, code]) => [code, `COM_${name}`]));

/** "COM_QUERY"; for messages and statistics. */
export function commandName(code: number): string {
  return NAMES.get(code) ?? `command 0x${code.toString(16).padStart(2, '0')}`;
}

export function buildCommand(code: number, body: Uint8Array = new Uint8Array(0)): Buffer {
  return new PacketWriter(body.length + 1).u8(code).bytes(body).packet(0);
}

/** `capabilities`: of the connection that it is sent on; with QUERY_ATTRIBUTES the text comes behind an empty set. */
export function buildQuery(sql: string | Uint8Array, capabilities: Capabilities): Buffer {
  const text = typeof sql === 'string' ? Buffer.from(sql, 'utf8') : sql;
  const writer = new PacketWriter(text.length + 3).u8(COM.QUERY);
  if (hasCapability(capabilities, CAPABILITY.QUERY_ATTRIBUTES)) writer.lenenc(0).lenenc(1);
  return writer.bytes(text).packet(0);
}

/** Where the text of a COM_QUERY starts: behind the query attributes, if the connection has them. */
export function queryTextOffset(payload: Buffer, capabilities: Capabilities): number {
  if (!hasCapability(capabilities, CAPABILITY.QUERY_ATTRIBUTES)) return 1;
  const reader = new PacketReader(payload, 1);
  const count = reader.lenenc();
  reader.lenenc();
  if (count === 0) return reader.offset;
  const bitmapAt = reader.skip((count + 7) >> 3);
  // new_params_bind_flag, which is always 1 here.
  reader.skip(1);
  const types: number[] = [];
  for (let i = 0; i < count; i++) {
    types.push(reader.u16() & 0xff);
    reader.skip(reader.lenenc());
  }
  const valuesAt = reader.offset;
  return valuesAt + parameterValuesLength(payload, valuesAt, types, bitmapAt);
}

export function buildInitDb(database: string): Buffer {
  return buildCommand(COM.INIT_DB, Buffer.from(database, 'utf8'));
}

export function buildStatementClose(statementId: number): Buffer {
  return new PacketWriter(8).u8(COM.STMT_CLOSE).u32(statementId).packet(0);
}

export function buildStatementReset(statementId: number): Buffer {
  return new PacketWriter(8).u8(COM.STMT_RESET).u32(statementId).packet(0);
}

/** The statement id of STMT_EXECUTE, SEND_LONG_DATA, CLOSE, RESET, FETCH and BULK_EXECUTE: always the first field. */
export function statementIdOf(payload: Buffer): number {
  return new PacketReader(payload, 1).u32();
}

export interface LongData {
  readonly statementId: number;
  readonly parameter: number;
  readonly data: Buffer;
}

export function parseLongData(payload: Buffer): LongData {
  const reader = new PacketReader(payload, 1);
  return { statementId: reader.u32(), parameter: reader.u16(), data: reader.rest() };
}

export interface ChangeUser {
  readonly user: string;
  readonly authResponse: Buffer;
  readonly database: string | null;
  /** Null: as it was. */
  readonly collation: number | null;
  readonly plugin: string | null;
  readonly attributes: ReadonlyMap<string, string>;
}

export function parseChangeUser(payload: Buffer, capabilities: Capabilities): ChangeUser {
  const reader = new PacketReader(payload, 1);
  const user = reader.nulText();
  const authResponse = hasCapability(capabilities, CAPABILITY.SECURE_CONNECTION)
    ? reader.bytes(reader.u8())
    : reader.nulBytes();
  const database = reader.nulText();
  let collation: number | null = null;
  let plugin: string | null = null;
  let attributes = NO_ATTRIBUTES;
  if (reader.left >= 2) {
    collation = reader.u16() & 0xff;
    if (hasCapability(capabilities, CAPABILITY.PLUGIN_AUTH) && reader.left > 0) {
      const zero = reader.buffer.indexOf(0, reader.offset);
      plugin = (zero < 0 || zero >= reader.end ? reader.rest() : reader.nulBytes()).toString('latin1');
    }
    if (hasCapability(capabilities, CAPABILITY.CONNECT_ATTRS) && reader.left > 0) {
      attributes = readAttributes(reader);
    }
  }
  return { user, authResponse, database: database === '' ? null : database, collation, plugin, attributes };
}

export function buildChangeUser(change: ChangeUser): Buffer {
  const writer = new PacketWriter(96)
    .u8(COM.CHANGE_USER)
    .nulText(change.user)
    .u8(change.authResponse.length)
    .bytes(change.authResponse)
    .nulText(change.database ?? '')
    .u16(change.collation ?? 45);
  if (change.plugin !== null) writer.nulText(change.plugin);
  return writer.packet(0);
}

/** The text of commands that are one word in the text protocol. */
export function bodyText(payload: Buffer): string {
  return payload.toString('utf8', 1).replace(/\0$/, '');
}
