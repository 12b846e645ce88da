// Prepared statements packet by packet: what the client of our own (harness.ts) sends, and what it reads of an answer.

import { PacketReader, PacketWriter } from '../../src/mysql/wire/bytes.js';
import { buildCommand, COM } from '../../src/mysql/wire/command.js';
import { payloadOf } from '../../src/mysql/wire/framer.js';
import { parseErr } from '../../src/mysql/wire/ok.js';
import { parsePrepareOk } from '../../src/mysql/wire/result-set.js';
import type { RawClient } from './harness.js';

export const BLOB = 252;
export const STRING = 253;

/** COM_STMT_EXECUTE without parameters. */
export function execute(statementId: number, flags = 0): Buffer {
  return new PacketWriter().u8(COM.STMT_EXECUTE).u32(statementId).u8(flags).u32(1).packet(0);
}

/** One parameter, which is a number; or its type is not sent again. */
export function executeLong(statementId: number, value: number, withType: boolean): Buffer {
  const writer = new PacketWriter().u8(COM.STMT_EXECUTE).u32(statementId).u8(0).u32(1).u8(0);
  if (withType) writer.u8(1).u16(3);
  else writer.u8(0);
  return writer.u32(value).packet(0);
}

/** One parameter; null: its value has been sent before. */
export function executeText(statementId: number, value: string | null): Buffer {
  const writer = new PacketWriter().u8(COM.STMT_EXECUTE).u32(statementId).u8(0).u32(1).u8(0).u8(1);
  if (value === null) return writer.u16(BLOB).packet(0);
  return writer.u16(STRING).lenenc(Buffer.byteLength(value)).bytes(Buffer.from(value)).packet(0);
}

/** Has no answer. */
export function longData(statementId: number, data: string): Buffer {
  const head = new PacketWriter().u8(COM.STMT_SEND_LONG_DATA).u32(statementId).u16(0);
  return head.bytes(Buffer.from(data)).packet(0);
}

export function prepareFrame(sql: string): Buffer {
  return buildCommand(COM.STMT_PREPARE, Buffer.from(sql));
}

/** `eofs`: of a client that has not asked for none. */
export async function prepare(raw: RawClient, sql: string, eofs = false): Promise<number> {
  raw.send(prepareFrame(sql));
  return prepared(raw, eofs);
}

/** The answer to a preparation: the statement's id. */
export async function prepared(raw: RawClient, eofs = false): Promise<number> {
  const first = payloadOf(await raw.packet());
  if (first[0] === 0xff) throw new Error(parseErr(first).message);
  const { statementId, parameters, columns } = parsePrepareOk(first, raw.capabilities);
  const more = parameters + columns + (eofs ? Number(parameters > 0) + Number(columns > 0) : 0);
  for (let i = 0; i < more; i++) await raw.packet();
  return statementId;
}

/** Of the only row: the only value; "ERR 1243" in place of it. */
export async function valueAnswered(raw: RawClient): Promise<string> {
  const { results, packets } = await raw.results();
  if (typeof results[0] === 'string') return results[0];
  // Behind the count and the definition; header and bitmap come first.
  return new PacketReader(payloadOf(packets[2]!), 2).lenencText();
}
