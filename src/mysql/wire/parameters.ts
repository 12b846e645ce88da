// How long binary parameter values are, by type; values themselves are never decoded.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html (Binary Protocol Value)

import { ProxyError } from '../../lib/errors.js';
import { PacketReader } from './bytes.js';

/** enum_field_types, as far as a parameter may have one. */
export const TYPE = {
  DECIMAL: 0,
  TINY: 1,
  SHORT: 2,
  LONG: 3,
  FLOAT: 4,
  DOUBLE: 5,
  NULL: 6,
  TIMESTAMP: 7,
  LONGLONG: 8,
  INT24: 9,
  DATE: 10,
  TIME: 11,
  DATETIME: 12,
  YEAR: 13,
} as const;

function skipValue(reader: PacketReader, type: number): void {
  switch (type) {
    case TYPE.NULL:
      return;
    case TYPE.TINY:
      reader.skip(1);
      return;
    case TYPE.SHORT:
    case TYPE.YEAR:
      reader.skip(2);
      return;
    case TYPE.LONG:
    case TYPE.INT24:
    case TYPE.FLOAT:
      reader.skip(4);
      return;
    case TYPE.LONGLONG:
    case TYPE.DOUBLE:
      reader.skip(8);
      return;
    case TYPE.DATE:
    case TYPE.DATETIME:
    case TYPE.TIMESTAMP:
    case TYPE.TIME:
      reader.skip(reader.u8());
      return;
    default:
      // Decimals, strings, blobs, bits, enums, sets, JSON, geometry: length-encoded.
      if (type > TYPE.YEAR && type < 16)
        throw new ProxyError('protocol-violation', { detail: `parameter of type ${type}` });
      reader.skip(reader.lenenc());
  }
}

/** Bytes that the values take from `at` on. `bitmapAt`: a set bit is a NULL, which takes none. */
export function parameterValuesLength(
  payload: Buffer,
  at: number,
  types: readonly number[],
  bitmapAt: number,
): number {
  const reader = new PacketReader(payload, at);
  for (let i = 0; i < types.length; i++) {
    if ((payload[bitmapAt + (i >> 3)]! & (1 << (i & 7))) !== 0) continue;
    skipValue(reader, types[i]!);
  }
  return reader.offset - at;
}
