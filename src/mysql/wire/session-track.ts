// The session state changes inside an OK packet, block by block, parsed and built; it decides nothing about them.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html (Session State Information)

import { PacketReader, PacketWriter } from './bytes.js';

const KIND = {
  SYSTEM_VARIABLES: 0,
  SCHEMA: 1,
  STATE_CHANGE: 2,
  GTIDS: 3,
  TRANSACTION_CHARACTERISTICS: 4,
  TRANSACTION_STATE: 5,
} as const;

export type SessionChange =
  /** MariaDB's `last_gtid` comes as one of these. */
  | { readonly kind: 'variable'; readonly name: string; readonly value: string }
  | { readonly kind: 'schema'; readonly name: string }
  | { readonly kind: 'state-change'; readonly changed: string }
  /** `encoding` 0: text as in gtid_executed. */
  | { readonly kind: 'gtids'; readonly encoding: number; readonly gtids: string }
  /** SQL that starts the next transaction alike: "SET TRANSACTION ISOLATION LEVEL ...; START TRANSACTION ...;". */
  | { readonly kind: 'transaction-characteristics'; readonly sql: string }
  /** Eight letters: explicit or implicit, read and written kinds of tables, statements, result set sent, locks. */
  | { readonly kind: 'transaction-state'; readonly state: string }
  | { readonly kind: 'unknown'; readonly type: number; readonly data: Buffer };

/** `blocks`: the bytes behind their total length. */
export function parseSessionChanges(blocks: Buffer): SessionChange[] {
  const reader = new PacketReader(blocks);
  const changes: SessionChange[] = [];
  while (reader.left > 0) {
    const type = reader.u8();
    const length = reader.lenenc();
    const start = reader.skip(length);
    const inner = new PacketReader(blocks, start, start + length);
    switch (type) {
      case KIND.SYSTEM_VARIABLES:
        while (inner.left > 0)
          changes.push({ kind: 'variable', name: inner.lenencText(), value: inner.lenencText() });
        break;
      case KIND.SCHEMA:
        changes.push({ kind: 'schema', name: inner.lenencText() });
        break;
      case KIND.STATE_CHANGE:
        // The text alone, against what the length of the other kinds would suggest: 02 01 31.
        changes.push({ kind: 'state-change', changed: inner.rest().toString('latin1') });
        break;
      case KIND.GTIDS:
        changes.push({ kind: 'gtids', encoding: inner.u8(), gtids: inner.lenencText() });
        break;
      case KIND.TRANSACTION_CHARACTERISTICS:
        changes.push({ kind: 'transaction-characteristics', sql: inner.lenencText() });
        break;
      case KIND.TRANSACTION_STATE:
        changes.push({ kind: 'transaction-state', state: inner.lenencText() });
        break;
      default:
        changes.push({ kind: 'unknown', type, data: blocks.subarray(start, start + length) });
    }
  }
  return changes;
}

export function buildSessionChanges(changes: readonly SessionChange[]): Buffer {
  const writer = new PacketWriter(128);
  for (const change of changes) {
    const inner = new PacketWriter(64);
    writer.u8(writeChange(inner, change)).lenencBytes(inner.payload());
  }
  return writer.payload();
}

function writeChange(inner: PacketWriter, change: SessionChange): number {
  switch (change.kind) {
    case 'variable':
      inner.lenencText(change.name).lenencText(change.value);
      return KIND.SYSTEM_VARIABLES;
    case 'schema':
      inner.lenencText(change.name);
      return KIND.SCHEMA;
    case 'state-change':
      inner.text(change.changed);
      return KIND.STATE_CHANGE;
    case 'gtids':
      inner.u8(change.encoding).lenencText(change.gtids);
      return KIND.GTIDS;
    case 'transaction-characteristics':
      inner.lenencText(change.sql);
      return KIND.TRANSACTION_CHARACTERISTICS;
    case 'transaction-state':
      inner.lenencText(change.state);
      return KIND.TRANSACTION_STATE;
    case 'unknown':
      inner.bytes(change.data);
      return change.type;
  }
}
