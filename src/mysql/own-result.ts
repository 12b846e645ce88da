// Results that the proxy makes by itself: one row of one column, in the text and in the binary protocol.
// It knows no client beyond what it speaks.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html

import type { ClientSession } from './client-session.js';
import { PacketWriter } from './wire/bytes.js';
import { CAPABILITY, hasCapability } from './wire/capabilities.js';
import { buildEof, buildOk, EOF_BYTE } from './wire/ok.js';
import { buildColumnDefinition, buildPrepareOk, type OwnColumn } from './wire/result-set.js';

type Speaks = Pick<ClientSession, 'capabilities' | 'status'>;

const NULL_VALUE = 0xfb;
const NOTHING = Buffer.alloc(0);

/** `binary`: the answer to an execution; only for columns of type text. `sequence`: of the first packet. */
export function oneValue(
  { capabilities, status }: Speaks,
  column: OwnColumn,
  value: string | null,
  sequence: number,
  binary = false,
): Buffer {
  const withEof = !hasCapability(capabilities, CAPABILITY.DEPRECATE_EOF);
  const head = new PacketWriter(4);
  if (hasCapability(capabilities, CAPABILITY.OPTIONAL_RESULTSET_METADATA)) head.u8(1);
  const packets = [
    head.lenenc(1).packet(sequence++),
    buildColumnDefinition(column, capabilities, sequence++),
  ];
  if (withEof) packets.push(buildEof({ warnings: 0, status }, sequence++));
  const row = new PacketWriter(16);
  // A binary row: header, and a bitmap of NULLs that begins with two unused bits.
  if (binary) row.u8(0).u8(value === null ? 4 : 0);
  if (value !== null) row.lenencText(value);
  else if (!binary) row.u8(NULL_VALUE);
  packets.push(row.packet(sequence++));
  const end = {
    header: EOF_BYTE,
    counts: Buffer.from([0, 0]),
    status,
    warnings: 0,
    info: NOTHING,
    changes: null,
  };
  packets.push(withEof ? buildEof({ warnings: 0, status }, sequence) : buildOk(end, capabilities, sequence));
  return Buffer.concat(packets);
}

/** The answer to a preparation. `column`: null: no result set. */
export function preparedOwn(
  { capabilities, status }: Speaks,
  statementId: number,
  parameters: number,
  column: OwnColumn | null,
  sequence: number,
): Buffer {
  const withEof = !hasCapability(capabilities, CAPABILITY.DEPRECATE_EOF);
  const columns = column === null ? 0 : 1;
  const packets = [
    buildPrepareOk(
      { statementId, columns, parameters, warnings: 0, metadata: true },
      capabilities,
      sequence++,
    ),
  ];
  const definitions = (each: OwnColumn): void => {
    packets.push(buildColumnDefinition(each, capabilities, sequence++));
    if (withEof) packets.push(buildEof({ warnings: 0, status }, sequence++));
  };
  if (parameters > 0) definitions({ name: '?', type: 'text' });
  if (column !== null) definitions(column);
  return Buffer.concat(packets);
}
