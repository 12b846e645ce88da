// The proxy that a storm is about: the command line in a process of its own, with a listener that trusts, because a storm's
// clients log in all the time and prove nothing. It knows the status that the admin port tells, and the log.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ServerProcess } from '../../src/cli/demo/server-process.js';
import type { ConfigInput } from '../../src/config/schema.js';
import type { TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { newFolder, testRoot } from '../servers/root.js';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));
const host = '127.0.0.1';

interface Status {
  readonly primary: string | null;
  readonly nodes: readonly {
    readonly name: string;
    readonly takesReads: boolean;
    readonly takesWrites: boolean;
  }[];
}

/** What a test wants otherwise than a storm: taken as it is into the configuration, so that the proxy says what it refuses. */
export interface ProxyChanges {
  readonly cluster?: Readonly<Record<string, unknown>>;
  readonly top?: Readonly<Record<string, unknown>>;
}

export interface StormProxy {
  readonly host: string;
  readonly port: number;
  /** `host:port` of its admin server. */
  readonly admin: string;
  /** Undefined when it has died. */
  readonly pid: number | undefined;
  status(): Promise<Status>;
  /** Lines of its log of level error and worse. */
  complaints(): string[];
  logTail(): string;
  stop(): Promise<void>;
}

export async function startStormProxy(
  cluster: TestCluster,
  workers = 1,
  changes: ProxyChanges = {},
): Promise<StormProxy> {
  const folder = newFolder('storm');
  mkdirSync(folder, { mode: 0o700 });
  const file = join(folder, 'proxy.config.json');
  const { user, password } = cluster.user;
  const config: ConfigInput = {
    listeners: [{ name: 'storm', host, port: 0, auth: 'trust' }],
    clusters: [
      {
        name: 'main',
        protocol: cluster.kind === 'postgres' ? 'postgres' : 'mysql',
        nodes: cluster.nodes.map(({ name, host, port }) => ({ name, host, port })),
        monitor: { ...cluster.superuser, intervalMs: 100 },
        users: [{ name: user, password }],
        // A storm waits longer for a server connection than an application would: slowness is no violation.
        pool: { waitTimeoutMs: 55_000 },
        // One failover after another is what it is for.
        failover: { mode: 'automatic', blockMs: 0 },
        ...changes.cluster,
      },
    ],
    workers,
    admin: { host, port: 0 },
    ...changes.top,
  };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const logFile = join(folder, 'log');
  const server = new ServerProcess({
    name: 'scheelite',
    command: () => [process.execPath, MAIN, 'serve', '--config', file],
    as: {},
    cwd: folder,
    logFile,
    root: testRoot(),
    stopSignal: 'SIGTERM',
    farewell: 'SIGKILL',
    ready: (_pid, log) => log().includes('"msg":"ready"'),
  });
  await server.start();
  const logLines = () =>
    readFileSync(logFile, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{'));
  const ready = JSON.parse(logLines().find((line) => line.includes('"msg":"ready"'))!) as {
    readonly admin: string;
    readonly listeners: readonly { readonly port: number }[];
  };
  const status = async () => {
    const answer = await fetch(`http://${ready.admin}/api/v1/status`);
    return ((await answer.json()) as { clusters: readonly Status[] }).clusters[0]!;
  };
  try {
    await until('the proxy to know all nodes', async () => {
      const { primary, nodes } = await status();
      return primary !== null && nodes.every((node) => node.takesReads || node.takesWrites);
    });
  } catch (error) {
    await server.kill();
    throw error;
  }
  return {
    host,
    port: ready.listeners[0]!.port,
    admin: ready.admin,
    get pid() {
      return server.pid;
    },
    status,
    complaints: () => logLines().filter((line) => /"level":"?(error|fatal|50|60)\b/.test(line)),
    logTail: () => server.logTail(),
    async stop() {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
