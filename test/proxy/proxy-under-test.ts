// Starts the real proxy in front of a test cluster, in this process, on a free port; the tests' one way to have one.
// With SCHEELITE_TEST_WORKERS=n it is the supervisor that is in this process, and the clients are served by n workers.

import { configFrom } from '../../src/config/resolve.js';
import type { Config, ConfigInput } from '../../src/config/schema.js';
import { startProxy } from '../../src/proxy/compose.js';
import type { RunningProxy } from '../../src/proxy/running-proxy.js';
import { openLog } from '../../src/telemetry/log.js';
import type { TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';

export interface ProxyUnderTest {
  readonly proxy: RunningProxy;
  readonly host: string;
  readonly port: number;
  readonly config: Config;
  /** The log so far, one JSON object a line. */
  readonly lines: string[];
  stop(): Promise<void>;
}

type ClusterInput = ConfigInput['clusters'][number];

/** What `workers` is where a test does not say. */
export const TEST_WORKERS = Number(process.env.SCHEELITE_TEST_WORKERS ?? 1);

let fronts = 0;

/**
 * node:cluster gives one socket to all workers of this process that listen on the same host and port, and port 0 is one port: each
 * proxy has a loopback address of its own.
 */
function apart(config: Config): Config {
  if (config.workers === 1) return config;
  const host = `127.0.${1 + (fronts >> 7)}.${1 + (fronts++ & 127)}`;
  const listeners = config.listeners.map((listener) => ({ ...listener, host }));
  return { ...config, listeners, log: { ...config.log, level: 'debug' } };
}

export function configFor(
  cluster: TestCluster,
  changes: Partial<ClusterInput> = {},
  top: Partial<ConfigInput> = {},
): Config {
  const input: ConfigInput = {
    listeners: [{ name: 'test', host: '127.0.0.1', port: 0 }],
    clusters: [
      {
        name: 'main',
        protocol: cluster.kind === 'postgres' ? 'postgres' : 'mysql',
        nodes: cluster.nodes.map(({ name, host, port }) => ({ name, host, port })),
        // A node that stands still for a second gives its reads away; on a busy machine that is no news.
        monitor: { ...cluster.superuser, intervalMs: 100, timeoutMs: 10_000 },
        ...changes,
      },
    ],
    admin: { enabled: false },
    workers: TEST_WORKERS,
    ...top,
  };
  return configFrom(input);
}

/** Resolves once there is a primary, and every node has been asked. */
export async function startProxyFor(
  cluster: TestCluster,
  changes: Partial<ClusterInput> = {},
  top: Partial<ConfigInput> = {},
): Promise<ProxyUnderTest> {
  const config = apart(configFor(cluster, changes, top));
  const lines: string[] = [];
  const { log } = openLog({ level: 'debug', format: 'json' }, (text) => lines.push(text));
  const proxy = await startProxy({
    ...{ config, configPath: null, log },
    writeLog: (text) => lines.push(...text.trimEnd().split('\n')),
  });
  await until('the proxy to know all nodes', () => {
    const [status] = proxy.admin.status().clusters;
    return status!.primary !== null && status!.nodes.every((node) => node.takesReads || node.takesWrites);
  });
  const { host, port } = proxy.listeners[0]!;
  return { proxy, host, port, config, lines, stop: () => proxy.close() };
}
