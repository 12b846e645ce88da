// The one place where the parts are wired together: from a configuration to a running proxy, or to one of its workers.
// It decides nothing by itself.

import type { Protocol as ProtocolName } from '../config/schema.js';
import { compileWasmLean } from '../lib/lean-wasm.js';
import { processors } from '../lib/processors.js';
import { DataPath, type Protocols } from './data-path.js';
import { LocalMonitoring } from './monitoring.js';
import type { RunningProxy, StartOptions } from './running-proxy.js';
import { redisWatermarks } from './shared-watermarks.js';
import { Supervisor } from './workers/supervisor.js';

/** Loaded when needed: what no cluster speaks would cost memory for nothing, PostgreSQL's grammar 15 MiB of it. */
export async function loadProtocols(names: ReadonlySet<string>): Promise<Protocols> {
  const protocols: { -readonly [Name in ProtocolName]?: Protocols[Name] } = {};
  if (names.has('postgres')) {
    // Its grammar is WebAssembly.
    compileWasmLean();
    protocols.postgres = (await import('../postgres/protocol.js')).postgresProtocol;
  }
  if (names.has('mysql')) protocols.mysql = (await import('../mysql/protocol.js')).mysqlProtocol;
  return protocols;
}

/** Rejects when a listener cannot bind or a state file cannot be read; nothing is left open then. */
export async function startProxy(options: StartOptions): Promise<RunningProxy> {
  const { config, log } = options;
  const workers = config.workers === 'auto' ? processors() : config.workers;
  const protocols = await loadProtocols(new Set(config.clusters.map((cluster) => cluster.protocol)));
  const proxy =
    workers > 1
      ? new Supervisor({ ...options, workers, protocols })
      : new DataPath({
          config,
          log,
          protocols,
          monitoring: (config, protocol, counters) =>
            new LocalMonitoring({ config, protocol, counters, log }),
          watermarks: (parts) => redisWatermarks({ ...parts, worker: null }),
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
