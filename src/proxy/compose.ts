// The one place where the parts are wired together: from a configuration to a running proxy, or to one of its workers.
// It decides nothing by itself.

import { availableParallelism } from 'node:os';
import type { Protocol as ProtocolName } from '../config/schema.js';
import { mysqlProtocol } from '../mysql/protocol.js';
import { postgresProtocol } from '../postgres/protocol.js';
import type { Protocol } from '../protocol/protocol.js';
import { DataPath } from './data-path.js';
import { LocalMonitoring } from './monitoring.js';
import type { RunningProxy, StartOptions } from './running-proxy.js';
import { Supervisor } from './workers/supervisor.js';

export const PROTOCOLS: Readonly<Record<ProtocolName, Protocol>> = {
  postgres: postgresProtocol,
  mysql: mysqlProtocol,
};

/** Rejects when a listener cannot bind or a state file cannot be read; nothing is left open then. */
export async function startProxy(options: StartOptions): Promise<RunningProxy> {
  const { config, log } = options;
  const workers = config.workers === 'auto' ? availableParallelism() : config.workers;
  const proxy =
    workers > 1
      ? new Supervisor({ ...options, workers, protocols: PROTOCOLS })
      : new DataPath({
          config,
          log,
          protocols: PROTOCOLS,
          monitoring: (config, protocol, counters) =>
            new LocalMonitoring({ config, protocol, counters, log }),
          sharing: null,
        });
  try {
    await proxy.open();
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return proxy;
}
