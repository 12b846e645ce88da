// Owns the demo's proxy with its admin server, as `scheelite serve` has them, in this process; its log goes to a file.
// It does not know the tour.

import { createWriteStream } from 'node:fs';
import { type AdminServer, startAdminServer } from '../../admin/server.js';
import type { AdminSource, ClusterStatus, NodeStatus } from '../../admin/source.js';
import { configFrom } from '../../config/resolve.js';
import type { ConfigInput } from '../../config/schema.js';
import type { RunningProxy } from '../../proxy/running-proxy.js';
import { openLog } from '../../telemetry/log.js';
import { createMetrics } from '../../telemetry/metrics.js';
import { statementsReport } from '../../telemetry/statement-report.js';
import { packageVersion } from '../version.js';
import type { DemoCluster } from './cluster.js';

const HOST = '127.0.0.1';
const CLUSTER = 'demo';
const LOG_TAIL_LINES = 20;
/** Where a user expects them; another port when somebody else is there. */
const USUAL_PORT = 6432;
const USUAL_ADMIN_PORT = 9464;

export interface DemoProxy {
  readonly host: string;
  readonly port: number;
  /** `http://...` */
  readonly admin: string;
  readonly logFile: string;
  /** Its last lines, for when the file goes. */
  logTail(): string;
  status(): ClusterStatus;
  nodeStatus(name: string): NodeStatus;
  /** Reads that were sent to the node, by the proxy's own count. */
  readsSentTo(name: string): number;
  close(): Promise<void>;
}

function configInput(cluster: DemoCluster, port: number): ConfigInput {
  return {
    listeners: [{ name: 'demo', host: HOST, port }],
    clusters: [
      {
        name: CLUSTER,
        protocol: 'postgres',
        nodes: cluster.nodes.map(({ name, host, port: nodePort }) => ({ name, host, port: nodePort })),
        // What is killed here refuses connections; what is silent for a while shares a busy machine.
        monitor: { user: 'postgres', password: cluster.password, timeoutMs: 10_000 },
        // Whoever plays with the demo afterwards may kill a second primary.
        failover: { mode: 'automatic', blockMs: 0 },
        // The tour pauses a replica, and on a slow machine it may take its time with it.
        consistency: { maxLagMs: 120_000 },
      },
    ],
    admin: { port: USUAL_ADMIN_PORT },
  };
}

/** Also when another demo takes the port between a look and the listening. */
async function onUsualPort<T>(usual: number, listen: (port: number) => Promise<T>): Promise<T> {
  try {
    return await listen(usual);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return listen(0);
  }
}

export async function startDemoProxy(cluster: DemoCluster, logFile: string): Promise<DemoProxy> {
  const file = createWriteStream(logFile, { flags: 'a' });
  // Its folder goes before the last line may have come.
  file.on('error', () => {});
  const tail: string[] = [];
  const { log } = openLog({ level: 'info', format: 'json' }, (text) => {
    file.write(text);
    tail.push(text.trimEnd());
    if (tail.length > LOG_TAIL_LINES) tail.shift();
  });
  // Loaded now: the data path brings PostgreSQL's grammar, which a failing start does not need.
  const { startProxy } = await import('../../proxy/compose.js');
  const proxy = await onUsualPort(USUAL_PORT, (port) =>
    startProxy({ config: configFrom(configInput(cluster, port)), configPath: null, log }),
  );
  let admin: AdminServer;
  try {
    admin = await onUsualPort(USUAL_ADMIN_PORT, (port) =>
      startAdminServer({
        ...{ host: HOST, port, token: () => null, source: adminSource(proxy) },
        onError: (error) => log.error({ err: error }, 'the admin server failed to answer'),
      }),
    );
  } catch (error) {
    await proxy.close();
    throw error;
  }
  const status = () => proxy.admin.status().clusters[0]!;
  const { port } = proxy.listeners[0]!;
  return {
    ...{ host: HOST, port, admin: `http://${HOST}:${admin.port}`, logFile, status },
    logTail: () => tail.join('\n'),
    nodeStatus: (name) => status().nodes.find((node) => node.name === name)!,
    readsSentTo: (name) => proxy.counters().clusters.get(CLUSTER)?.nodes.get(name)?.units.replica ?? 0,
    async close() {
      await Promise.all([proxy.close(), admin.close()]);
      file.end();
    },
  };
}

const TOP_STATEMENTS = 10;

function adminSource(proxy: RunningProxy): AdminSource {
  const version = packageVersion();
  const startedAtMs = Date.now();
  let statementsSinceMs = startedAtMs;
  const reloads = { applied: 0, unchanged: 0, refused: 0 };
  const metrics = createMetrics(() => ({
    counters: proxy.counters(),
    statements: { top: TOP_STATEMENTS, clusters: proxy.statements() },
    facts: { version, revision: 1, reloads },
  }));
  return {
    status: () => ({
      ...proxy.admin.status(),
      version,
      pid: process.pid,
      startedAt: new Date(startedAtMs).toISOString(),
      uptimeSeconds: Math.floor((Date.now() - startedAtMs) / 1000),
      config: { path: null, revision: 1, lastReload: null },
    }),
    ready: () => proxy.admin.ready(),
    metrics: () => metrics.text(),
    statements: (query) => statementsReport(proxy.statements(), statementsSinceMs, query),
    resetStatements: () => {
      proxy.resetStatements();
      statementsSinceMs = Date.now();
    },
    explain: (request) => proxy.explain(request),
    sessions: (request) => proxy.sessions(request),
    reload: async () => ({
      at: new Date().toISOString(),
      trigger: 'api',
      outcome: 'refused',
      lines: ['the demo has no configuration file'],
      warnings: [],
    }),
  };
}
