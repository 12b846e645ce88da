// COM_STMT_EXECUTE and MariaDB's COM_STMT_BULK_EXECUTE, taken apart as far as their parameter types, and rebuilt for another server.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
// https://mariadb.com/docs/server/reference/clientserver-protocol/3-binary-protocol-prepared-statements/com_stmt_bulk_execute

import { PacketReader, PacketWriter } from './bytes.js';
import { CAPABILITY, type Capabilities, hasCapability } from './capabilities.js';
import { COM } from './command.js';

/** MariaDB: the statement that was prepared last on this connection. */
export const LAST_PREPARED_ID = 0xffffffff;

export const CURSOR = { READ_ONLY: 1, FOR_UPDATE: 2, SCROLLABLE: 4 } as const;
/** In the flags byte: a parameter count follows although there may be no parameter (QUERY_ATTRIBUTES). */
const PARAMETER_COUNT_AVAILABLE = 8;

export interface Execute {
  readonly statementId: number;
  /** Cursor type and PARAMETER_COUNT_AVAILABLE. */
  readonly flags: number;
  /** Statement parameters and query attributes together. */
  readonly parameters: number;
  readonly nullBitmap: Buffer;
  /** Types, and names where there are query attributes, when the client sent them with this command; else null. */
  readonly types: Buffer | null;
  readonly values: Buffer;
}

const NOTHING = Buffer.alloc(0);

/** `statementParameters`: as the statement's preparation told. `capabilities`: of the connection that it came on. */
export function parseExecute(
  payload: Buffer,
  statementParameters: number,
  capabilities: Capabilities,
): Execute {
  const reader = new PacketReader(payload, 1);
  const statementId = reader.u32();
  const flags = reader.u8();
  // iteration_count, always 1.
  reader.skip(4);
  const withNames = hasCapability(capabilities, CAPABILITY.QUERY_ATTRIBUTES);
  const counted = withNames && (flags & PARAMETER_COUNT_AVAILABLE) !== 0;
  let parameters = statementParameters;
  if (parameters > 0 || counted) {
    if (withNames) parameters = reader.lenenc();
  }
  if (parameters === 0)
    return { statementId, flags, parameters, nullBitmap: NOTHING, types: null, values: NOTHING };
  const nullBitmap = reader.bytes((parameters + 7) >> 3);
  let types: Buffer | null = null;
  if (reader.u8() === 1) {
    const start = reader.offset;
    for (let i = 0; i < parameters; i++) {
      reader.skip(2);
      if (withNames) reader.skip(reader.lenenc());
    }
    types = payload.subarray(start, reader.offset);
  }
  return { statementId, flags, parameters, nullBitmap, types, values: reader.rest() };
}

/** `types`: what to bind anew, or null when the server knows them from the last execution there. */
export function buildExecute(
  execute: Execute,
  statementId: number,
  types: Buffer | null,
  capabilities: Capabilities,
): Buffer {
  const size = 24 + execute.nullBitmap.length + (types?.length ?? 0) + execute.values.length;
  const writer = new PacketWriter(size).u8(COM.STMT_EXECUTE).u32(statementId).u8(execute.flags).u32(1);
  const withNames = hasCapability(capabilities, CAPABILITY.QUERY_ATTRIBUTES);
  const counted = withNames && (execute.flags & PARAMETER_COUNT_AVAILABLE) !== 0;
  if (withNames && (execute.parameters > 0 || counted)) writer.lenenc(execute.parameters);
  if (execute.parameters > 0) {
    writer.bytes(execute.nullBitmap).u8(types === null ? 0 : 1);
    if (types !== null) writer.bytes(types);
    writer.bytes(execute.values);
  }
  return writer.packet(0);
}

/** In the flags of a bulk execution: parameter types follow. */
const BULK_SEND_TYPES = 128;

export interface BulkExecute {
  readonly statementId: number;
  /** Without the bit that says whether types follow. */
  readonly flags: number;
  readonly types: Buffer | null;
  /** Rows of indicators and values. */
  readonly rows: Buffer;
}

export function parseBulkExecute(payload: Buffer, statementParameters: number): BulkExecute {
  const reader = new PacketReader(payload, 1);
  const statementId = reader.u32();
  const flags = reader.u16();
  const types = (flags & BULK_SEND_TYPES) !== 0 ? reader.bytes(2 * statementParameters) : null;
  return { statementId, flags: flags & ~BULK_SEND_TYPES, types, rows: reader.rest() };
}

export function buildBulkExecute(bulk: BulkExecute, statementId: number, types: Buffer | null): Buffer {
  const writer = new PacketWriter(8 + (types?.length ?? 0) + bulk.rows.length)
    .u8(COM.STMT_BULK_EXECUTE)
    .u32(statementId)
    .u16(types === null ? bulk.flags : bulk.flags | BULK_SEND_TYPES);
  if (types !== null) writer.bytes(types);
  return writer.bytes(bulk.rows).packet(0);
}
