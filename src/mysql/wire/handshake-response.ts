// The client's answer to the greeting, HandshakeResponse41, parsed from applications and built for nodes; it checks no password.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_response.html

import { ProxyError } from '../../lib/errors.js';
import { PacketReader, PacketWriter } from './bytes.js';
import { CAPABILITY, type Capabilities } from './capabilities.js';

export interface HandshakeResponse {
  readonly capabilities: Capabilities;
  readonly maxPacketBytes: number;
  /** Low byte of the collation that the session starts with. */
  readonly collation: number;
  readonly user: string;
  readonly authResponse: Buffer;
  /** Null when none was named. */
  readonly database: string | null;
  /** Null when the client named none. */
  readonly plugin: string | null;
  readonly attributes: ReadonlyMap<string, string>;
}

const C = CAPABILITY;
/** capabilities, max packet, collation, 23 reserved: an SSLRequest ends here. */
const FIXED_BYTES = 32;

export function parseHandshakeResponse(payload: Buffer): HandshakeResponse {
  const reader = new PacketReader(payload);
  const flags = reader.u32();
  if ((flags & C.PROTOCOL_41) === 0)
    throw new ProxyError('unsupported-protocol-version', { version: 'older than MySQL 4.1' });
  const maxPacketBytes = reader.u32();
  const collation = reader.u8();
  reader.skip(19);
  const extended = reader.u32();
  if ((flags & C.SSL) !== 0) throw new ProxyError('tls-not-supported');
  if (reader.offset === payload.length)
    throw new ProxyError('protocol-violation', {
      detail: `handshake response of ${FIXED_BYTES} bytes without TLS`,
    });
  const user = reader.nulText();
  const authResponse = readAuthResponse(reader, flags);
  // Clients that set a flag and then leave the field out at the very end of the packet exist; servers accept them.
  const database = (flags & C.CONNECT_WITH_DB) !== 0 && reader.left > 0 ? readLastText(reader) : '';
  const plugin = (flags & C.PLUGIN_AUTH) !== 0 && reader.left > 0 ? readLastText(reader) : '';
  const attributes =
    (flags & C.CONNECT_ATTRS) !== 0 && reader.left > 0 ? readAttributes(reader) : NO_ATTRIBUTES;
  return {
    capabilities: { flags, mariadb: (flags & C.LONG_PASSWORD) === 0 ? extended : 0 },
    maxPacketBytes,
    collation,
    user,
    authResponse,
    database: database === '' ? null : database,
    plugin: plugin === '' ? null : plugin,
    attributes,
  };
}

export const NO_ATTRIBUTES: ReadonlyMap<string, string> = new Map();

function readAuthResponse(reader: PacketReader, flags: number): Buffer {
  if ((flags & C.PLUGIN_AUTH_LENENC) !== 0) return reader.lenencBytes();
  if ((flags & C.SECURE_CONNECTION) !== 0) return reader.bytes(reader.u8());
  return reader.nulBytes();
}

/** A zero-terminated text that may lack its zero when nothing follows. */
function readLastText(reader: PacketReader): string {
  const zero = reader.buffer.indexOf(0, reader.offset);
  if (zero < 0 || zero >= reader.end) return reader.rest().toString('utf8');
  return reader.nulText();
}

export function readAttributes(reader: PacketReader): ReadonlyMap<string, string> {
  const length = reader.lenenc();
  const start = reader.skip(length);
  const inner = new PacketReader(reader.buffer, start, start + length);
  const attributes = new Map<string, string>();
  while (inner.left > 0) attributes.set(inner.lenencText(), inner.lenencText());
  return attributes;
}

export function buildHandshakeResponse(response: HandshakeResponse, sequence: number): Buffer {
  let { flags } = response.capabilities;
  const setFlag = (flag: number, wanted: boolean): void => {
    flags = wanted ? flags | flag : flags & ~flag;
  };
  setFlag(C.CONNECT_WITH_DB, response.database !== null);
  setFlag(C.PLUGIN_AUTH, response.plugin !== null);
  setFlag(C.CONNECT_ATTRS, response.attributes.size > 0 && (flags & C.CONNECT_ATTRS) !== 0);
  setFlag(C.SSL, false);
  const writer = new PacketWriter(256)
    .u32(flags)
    .u32(response.maxPacketBytes)
    .u8(response.collation)
    .zeros(19)
    .u32(response.capabilities.mariadb)
    .nulText(response.user);
  if ((flags & C.PLUGIN_AUTH_LENENC) !== 0) writer.lenencBytes(response.authResponse);
  else writer.u8(response.authResponse.length).bytes(response.authResponse);
  if (response.database !== null) writer.nulText(response.database);
  if (response.plugin !== null) writer.nulText(response.plugin);
  if ((flags & C.CONNECT_ATTRS) !== 0) {
    const inner = new PacketWriter(128);
    for (const [name, value] of response.attributes) inner.lenencText(name).lenencText(value);
    writer.lenencBytes(inner.payload());
  }
  return writer.packet(sequence);
}
