// The server's first packet, handshake v10, built for applications and parsed from nodes; it decides nothing.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html

import { ProxyError } from '../../lib/errors.js';
import { PacketReader, PacketWriter } from './bytes.js';
import { CAPABILITY, type Capabilities } from './capabilities.js';

/** Bytes of the challenge that both plugins use; a zero follows them on the wire. */
export const SCRAMBLE_BYTES = 20;

export interface Greeting {
  /** As it stands in the packet, "5.5.5-" in front of MariaDB 10 included. */
  readonly serverVersion: string;
  readonly connectionId: number;
  readonly scramble: Buffer;
  readonly capabilities: Capabilities;
  /** Low byte of the server's default collation. */
  readonly collation: number;
  readonly status: number;
  readonly plugin: string;
}

export function buildGreeting(greeting: Greeting): Buffer {
  const { flags, mariadb } = greeting.capabilities;
  return new PacketWriter(96)
    .u8(10)
    .nulText(greeting.serverVersion)
    .u32(greeting.connectionId)
    .bytes(greeting.scramble.subarray(0, 8))
    .u8(0)
    .u16(flags & 0xffff)
    .u8(greeting.collation)
    .u16(greeting.status)
    .u16(flags >>> 16)
    .u8(SCRAMBLE_BYTES + 1)
    .zeros(6)
    .u32(mariadb)
    .bytes(greeting.scramble.subarray(8, SCRAMBLE_BYTES))
    .u8(0)
    .nulText(greeting.plugin)
    .packet(0);
}

/** `payload` must not be an ERR packet, which a server that is full sends instead. */
export function parseGreeting(payload: Buffer): Greeting {
  const reader = new PacketReader(payload);
  const version = reader.u8();
  if (version !== 10)
    throw new ProxyError('protocol-violation', { detail: `handshake version ${version} instead of 10` });
  const serverVersion = reader.nulText();
  const connectionId = reader.u32();
  const first = reader.bytes(8);
  reader.skip(1);
  let flags = reader.u16();
  if (reader.left === 0)
    throw new ProxyError('protocol-violation', { detail: 'the server is older than MySQL 5.5' });
  const collation = reader.u8();
  const status = reader.u16();
  flags = (flags | (reader.u16() << 16)) >>> 0;
  const dataBytes = reader.u8();
  reader.skip(6);
  const extended = reader.u32();
  // "at least 13 bytes": the server says 21 in all, of which the last is a zero that is not part of the challenge.
  const second = reader.bytes(Math.max(13, dataBytes - 8));
  let plugin = 'mysql_native_password';
  if ((flags & CAPABILITY.PLUGIN_AUTH) !== 0 && reader.left > 0) {
    // Some servers of the 5.5 series forget the zero at the end.
    plugin = reader.rest().toString('latin1').replace(/\0.*$/s, '');
  }
  return {
    serverVersion,
    connectionId,
    scramble: Buffer.concat([first, second]).subarray(0, SCRAMBLE_BYTES),
    capabilities: { flags, mariadb: (flags & CAPABILITY.LONG_PASSWORD) === 0 ? extended : 0 },
    collation,
    status,
    plugin,
  };
}

/**
 * What a greeting must say for a server that calls itself `version` in SELECT VERSION(): drivers take MariaDB 10 for
 * MySQL unless its greeting starts with "5.5.5-"; from MariaDB 11 on the prefix is gone.
 */
export function greetingVersion(version: string): string {
  return /^10\.\d+\.\d+.*mariadb/i.test(version) ? `5.5.5-${version}` : version;
}

/** What SELECT VERSION() says behind a greeting: without MariaDB's prefix. */
export function plainVersion(serverVersion: string): string {
  return serverVersion.startsWith('5.5.5-') ? serverVersion.slice(6) : serverVersion;
}

export function isMariadb(serverVersion: string): boolean {
  return /mariadb/i.test(serverVersion) || serverVersion.startsWith('5.5.5-');
}

/** As in executable comments: "10.11.16-MariaDB" is 101116, "9.7.1" is 90701. */
export function versionNumber(serverVersion: string): number {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(plainVersion(serverVersion));
  if (match === null) return 0;
  return Number(match[1]) * 10000 + Number(match[2]) * 100 + Number(match[3]);
}
