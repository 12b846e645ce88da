// What heads a result set or a prepared statement: counts and the metadata flag; columns and rows are never decoded here.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html

import { PacketReader, PacketWriter } from './bytes.js';
import { CAPABILITY, type Capabilities, hasCapability, MARIADB_CAPABILITY } from './capabilities.js';
import { OK_BYTE } from './ok.js';

export interface ResultSetHead {
  readonly columns: number;
  /** Whether column definitions follow. */
  readonly metadata: boolean;
}

export function parseResultSetHead(payload: Buffer, capabilities: Capabilities): ResultSetHead {
  const reader = new PacketReader(payload);
  // MySQL puts the flag in front of the count, MariaDB behind it.
  if (hasCapability(capabilities, CAPABILITY.OPTIONAL_RESULTSET_METADATA)) {
    const metadata = reader.u8() !== 0;
    return { columns: reader.lenenc(), metadata };
  }
  const columns = reader.lenenc();
  const cached = (capabilities.mariadb & MARIADB_CAPABILITY.CACHE_METADATA) !== 0;
  return { columns, metadata: cached ? reader.u8() !== 0 : true };
}

export interface PrepareOk {
  readonly statementId: number;
  readonly columns: number;
  readonly parameters: number;
  readonly warnings: number;
  /** Whether definitions follow; always, unless OPTIONAL_RESULTSET_METADATA was agreed upon. */
  readonly metadata: boolean;
}

/** No COM_STMT_PREPARE_OK is shorter. */
export const PREPARE_OK_BYTES = 12;

export function parsePrepareOk(payload: Buffer, capabilities: Capabilities): PrepareOk {
  const reader = new PacketReader(payload, 1);
  const statementId = reader.u32();
  const columns = reader.u16();
  const parameters = reader.u16();
  reader.skip(1);
  const warnings = reader.left >= 2 ? reader.u16() : 0;
  const optional = hasCapability(capabilities, CAPABILITY.OPTIONAL_RESULTSET_METADATA);
  const metadata = optional && reader.left > 0 ? reader.u8() !== 0 : true;
  return { statementId, columns, parameters, warnings, metadata };
}

export function buildPrepareOk(prepared: PrepareOk, capabilities: Capabilities, sequence: number): Buffer {
  const writer = new PacketWriter(16)
    .u8(OK_BYTE)
    .u32(prepared.statementId)
    .u16(prepared.columns)
    .u16(prepared.parameters)
    .u8(0)
    .u16(prepared.warnings);
  if (hasCapability(capabilities, CAPABILITY.OPTIONAL_RESULTSET_METADATA))
    writer.u8(prepared.metadata ? 1 : 0);
  return writer.packet(sequence);
}

/** MYSQL_TYPE_VAR_STRING and MYSQL_TYPE_LONGLONG: what the proxy's own answers are made of. */
/** Integers have 64 bits; `count`: ROW_COUNT() and FOUND_ROWS(). */
export type OwnColumnType = 'text' | 'integer' | 'count';

export interface OwnColumn {
  readonly name: string;
  readonly type: OwnColumnType;
}

const UTF8MB4_GENERAL_CI = 45;
const BINARY = 63;
const VAR_STRING = 253;
const LONGLONG = 8;
/** NOT_NULL 1, UNSIGNED 32, BINARY 128. */
const FLAGS: Readonly<Record<OwnColumnType, number>> = {
  text: 0,
  integer: 161,
  count: 129,
};

/** Column Definition 41 of a column that comes from no table. */
export function buildColumnDefinition(
  column: OwnColumn,
  capabilities: Capabilities,
  sequence: number,
): Buffer {
  const isText = column.type === 'text';
  const writer = new PacketWriter(96)
    .lenencText('def')
    .lenencText('')
    .lenencText('')
    .lenencText('')
    .lenencText(column.name)
    .lenencText('');
  // MariaDB: type name and format, none here.
  if ((capabilities.mariadb & MARIADB_CAPABILITY.EXTENDED_METADATA) !== 0) writer.lenencText('');
  return writer
    .lenenc(12)
    .u16(isText ? UTF8MB4_GENERAL_CI : BINARY)
    .u32(isText ? 1024 : 21)
    .u8(isText ? VAR_STRING : LONGLONG)
    .u16(FLAGS[column.type])
    .u8(isText ? 39 : 0)
    .u16(0)
    .packet(sequence);
}
