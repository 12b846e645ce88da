// The packets between the handshake and its end, AuthSwitchRequest and AuthMoreData; what is in them is the plugins' business.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_auth_switch_request.html

import { PacketReader, PacketWriter } from './bytes.js';
import { SCRAMBLE_BYTES } from './greeting.js';

export const AUTH_SWITCH_BYTE = 0xfe;
export const AUTH_MORE_BYTE = 0x01;

export interface AuthSwitchRequest {
  readonly plugin: string;
  /** The new challenge without its closing zero. */
  readonly scramble: Buffer;
}

export function buildAuthSwitchRequest(request: AuthSwitchRequest, sequence: number): Buffer {
  return new PacketWriter(64)
    .u8(AUTH_SWITCH_BYTE)
    .nulText(request.plugin)
    .bytes(request.scramble)
    .u8(0)
    .packet(sequence);
}

export function parseAuthSwitchRequest(payload: Buffer): AuthSwitchRequest {
  const reader = new PacketReader(payload, 1);
  // A lone 0xFE asks for the plugin of before MySQL 4.1.
  if (reader.left === 0) return { plugin: 'mysql_old_password', scramble: Buffer.alloc(0) };
  const plugin = reader.nulBytes().toString('latin1');
  const data = reader.rest();
  return { plugin, scramble: data.length === SCRAMBLE_BYTES + 1 ? data.subarray(0, SCRAMBLE_BYTES) : data };
}

export function buildAuthMoreData(data: Uint8Array, sequence: number): Buffer {
  return new PacketWriter(data.length + 1).u8(AUTH_MORE_BYTE).bytes(data).packet(sequence);
}

/** The client's answer to either: the bytes as they are. */
export function buildAuthResponse(data: Uint8Array, sequence: number): Buffer {
  return new PacketWriter(data.length).bytes(data).packet(sequence);
}
