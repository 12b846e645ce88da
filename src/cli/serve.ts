// scheelite serve: the process around a running proxy: configuration, log, admin server, signals.
// It knows the data path only as RunningProxy.

import { type AdminServer, startAdminServer } from '../admin/server.js';
import type { AdminSource } from '../admin/source.js';
import { loadConfigApart } from '../config/load-apart.js';
import { type Loaded, problemLines } from '../config/loaded.js';
import { problemText } from '../config/problems.js';
import type { Config } from '../config/schema.js';
import { Reloader } from '../config/watch.js';
import { hostPort } from '../lib/address.js';
import { describeError } from '../lib/errors.js';
import { stayLean } from '../lib/lean-process.js';
import type { RunningProxy } from '../proxy/running-proxy.js';
import { type Log, type OpenLog, openLog } from '../telemetry/log.js';
import { createMetrics } from '../telemetry/metrics.js';
import { statementsReport } from '../telemetry/statement-report.js';
import { surviveErrors } from '../telemetry/uncaught.js';
import { type Command, EXIT, UsageError } from './command.js';
import { packageVersion } from './version.js';

const WATCH_INTERVAL_MS = 1_000;
/** What a shell reports of a process that a signal has ended: 128 and its number. */
const EXIT_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143 } as const;

export const serve: Command = {
  name: 'serve',
  details:
    'Runs the proxy until SIGTERM or SIGINT, which lets clients finish (limits.drainMs); a second one ends it at once.\n' +
    'SIGHUP, or a change of the file, takes over a changed configuration. The log goes to standard output.\n' +
    'Exit codes: 0 stopped in order, 1 could not start, 2 wrong command line, 3 invalid configuration,\n' +
    '130 or 143 ended by a second signal.',
  flags: { config: { type: 'string', value: 'file', help: 'Configuration file. Required.' } },

  async run(flags, output) {
    const file = flags.text('config');
    if (file === null) throw new UsageError('--config is required');
    stayLean();
    const loaded = await loadConfigApart(file);
    if (loaded.config === null) {
      for (const line of problemLines(loaded, file)) output.err(line);
      return EXIT.config;
    }
    return runServer({ ...loaded, config: loaded.config });
  },
};

async function runServer(loaded: Loaded & { config: Config }): Promise<number> {
  const opened = openLog(loaded.config.log);
  const { log } = opened;
  for (const warning of loaded.warnings) log.warn({ path: warning.path }, problemText(warning));
  surviveErrors(log);
  const stop = stopSignal(opened);
  // For all its life: without a handler SIGHUP ends the process, also one that starts or drains.
  let onHangUp = () => {};
  process.on('SIGHUP', () => onHangUp());

  let proxy: RunningProxy;
  try {
    // Loaded now: the data path brings PostgreSQL's grammar, which help and a wrong configuration do not need.
    const { startProxy } = await import('../proxy/compose.js');
    proxy = await startProxy({
      config: loaded.config,
      configPath: loaded.path,
      log,
      writeLog: opened.writeLines,
    });
  } catch (error) {
    log.fatal(`cannot start: ${describeError(error)}`);
    await opened.flush();
    return EXIT.failed;
  }
  const reloader = createReloader(loaded, proxy, opened);
  let admin: AdminServer | null = null;
  try {
    admin = await startAdmin(loaded.config, proxy, reloader, log);
  } catch (error) {
    const { host, port } = loaded.config.admin;
    log.fatal(`cannot start the admin server on ${hostPort(host, port)}: ${describeError(error)}`);
    await proxy.close();
    await opened.flush();
    return EXIT.failed;
  }
  onHangUp = () => void reloader.reload('signal');
  reloader.watch(WATCH_INTERVAL_MS);
  log.info(
    {
      version: packageVersion(),
      pid: process.pid,
      listeners: proxy.listeners,
      admin: admin === null ? null : hostPort(admin.host, admin.port),
    },
    'ready',
  );

  const signal = await stop;
  log.info({ signal, drainMs: reloader.config.limits.drainMs }, 'draining');
  onHangUp = () => {};
  reloader.stop();
  await proxy.drain();
  await proxy.close();
  await admin?.close();
  log.info('stopped');
  await opened.flush();
  return EXIT.ok;
}

function createReloader(
  loaded: Loaded & { config: Config },
  proxy: RunningProxy,
  { log, setLevel }: OpenLog,
): Reloader {
  return new Reloader({
    path: loaded.path,
    loaded,
    apply: async (next) => {
      const result = proxy.reload(next);
      if (result.ok) setLevel(next.log.level);
      await proxy.refresh();
      return result;
    },
    onReload: ({ trigger, outcome, lines, warnings }) => {
      for (const warning of warnings) log.warn(warning);
      if (outcome === 'refused')
        log.error({ trigger, problems: lines }, 'configuration refused; nothing was changed');
      else log.info({ trigger, changes: lines }, `configuration ${outcome}`);
    },
  });
}

async function startAdmin(
  config: Config,
  proxy: RunningProxy,
  reloader: Reloader,
  log: Log,
): Promise<AdminServer | null> {
  if (!config.admin.enabled) return null;
  const version = packageVersion();
  const startedAtMs = Date.now();
  let statementsSinceMs = startedAtMs;
  const metrics = createMetrics(() => ({
    counters: proxy.counters(),
    statements: { top: reloader.config.telemetry.topStatements, clusters: proxy.statements() },
    facts: { version, revision: reloader.revision, reloads: reloader.counts },
  }));
  const source: AdminSource = {
    status: async () => ({
      ...(await refreshed(proxy)).admin.status(),
      version,
      pid: process.pid,
      startedAt: new Date(startedAtMs).toISOString(),
      uptimeSeconds: Math.floor(process.uptime()),
      config: { path: reloader.path, revision: reloader.revision, lastReload: reloader.lastReload },
    }),
    ready: () => proxy.admin.ready(),
    metrics: async () => {
      await proxy.refresh();
      return metrics.text();
    },
    statements: async (query) =>
      statementsReport((await refreshed(proxy)).statements(), statementsSinceMs, query),
    resetStatements: async () => {
      (await refreshed(proxy)).resetStatements();
      statementsSinceMs = Date.now();
    },
    explain: (request) => proxy.explain(request),
    sessions: (request) => proxy.sessions(request),
    reload: () => reloader.reload('api'),
  };
  return startAdminServer({
    host: config.admin.host,
    port: config.admin.port,
    token: () => reloader.config.admin.token,
    source,
    onError: (error) => log.error({ err: error }, 'the admin server failed to answer'),
  });
}

async function refreshed(proxy: RunningProxy): Promise<RunningProxy> {
  await proxy.refresh();
  return proxy;
}

/** Resolves with the first signal to stop; the second ends the process at once. */
function stopSignal(opened: OpenLog): Promise<'SIGINT' | 'SIGTERM'> {
  return new Promise((resolve) => {
    let stopping = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (!stopping) {
          stopping = true;
          resolve(signal);
          return;
        }
        opened.log.warn({ signal }, 'second signal: ended at once');
        void opened.flush().then(() => process.exit(EXIT_BY_SIGNAL[signal]));
      });
    }
  });
}
