// PostgreSQL as a protocol: its parts under the names that the proxy knows.

import type { Protocol } from '../protocol/protocol.js';
import { PostgresNodeControl } from './node-control.js';
import { postgresPositions } from './position.js';
import { PostgresRuntime } from './runtime.js';

export const postgresProtocol: Protocol = {
  name: 'postgres',
  positions: postgresPositions,
  createControl: (address, options) => new PostgresNodeControl(address, options),
  createRuntime: (options) => new PostgresRuntime(options),
};
