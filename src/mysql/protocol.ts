// MySQL and MariaDB as a protocol: its parts under the names that the proxy knows.

import type { Protocol } from '../protocol/protocol.js';
import { MysqlNodeControl } from './node-control.js';
import { mysqlPositions } from './position.js';
import { MysqlRuntime } from './runtime.js';

export const mysqlProtocol: Protocol = {
  name: 'mysql',
  positions: mysqlPositions,
  createControl: (address, options) => new MysqlNodeControl(address, options),
  createRuntime: (options) => new MysqlRuntime(options),
};
