// Finds the protocol of a cluster by its name in the configuration, for commands that talk to nodes without a running proxy.

import type { Protocol as ProtocolName } from '../config/schema.js';
import type { Protocol } from '../protocol/protocol.js';

/** Loaded when needed: one protocol's driver is of no use to a cluster of the other. */
export async function protocolOf(name: ProtocolName): Promise<Protocol> {
  if (name === 'postgres') return (await import('../postgres/protocol.js')).postgresProtocol;
  return (await import('../mysql/protocol.js')).mysqlProtocol;
}
