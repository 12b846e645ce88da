// Starts the servers that Scheelite stands beside: Redis, and the proxies that benchmarks compare it with.
// They are configured to be fast and comparable (no TLS, no checks that clients wait for), not to be complete.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { freePort } from '../../src/cli/demo/port.js';
import { giveTo, type RunAs, unprivileged } from '../../src/cli/demo/run-as.js';
import { ServerProcess } from '../../src/cli/demo/server-process.js';
import { availablePeer, type Peer } from './available.js';
import type { TestCluster, TestNode } from './cluster.js';
import { newFolder, testRoot } from './root.js';

const host = '127.0.0.1';

export interface RunningPeer {
  readonly host: string;
  readonly port: number;
  readonly pid: number | undefined;
  /** With all its processes, as if its machine died or froze. */
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  /** After a kill: the same port and files. */
  start(): Promise<void>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
  logTail(): string;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

interface PeerOptions {
  readonly peer: Peer;
  readonly port: number;
  readonly as?: RunAs;
  /** Files by name, written to the peer's folder before the start. */
  readonly files?: Readonly<Record<string, string>>;
  readonly command: (program: string, folder: string) => readonly string[];
  readonly stopSignal: NodeJS.Signals;
  readonly farewell?: NodeJS.Signals;
  readonly ready?: (log: string) => boolean | Promise<boolean>;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function startPeer(
  options: PeerOptions,
  folder = newFolder(options.peer.slice(0, 4)),
): Promise<RunningPeer> {
  const there = availablePeer(options.peer);
  if (!there.available) throw new Error(there.reason);
  const { port, as = {}, ready } = options;
  mkdirSync(folder);
  for (const [name, text] of Object.entries(options.files ?? {})) writeFileSync(join(folder, name), text);
  giveTo(as, folder);
  const server = new ServerProcess({
    name: options.peer,
    command: () => options.command(there.program, folder),
    as,
    cwd: folder,
    logFile: `${folder}.log`,
    root: testRoot(),
    stopSignal: options.stopSignal,
    farewell: options.farewell ?? 'SIGKILL',
    ready: (_pid, log) => (ready === undefined ? accepts(port) : ready(log())),
  });
  const remove = () => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    rmSync(`${folder}.log`, { force: true });
  };
  try {
    await server.start();
  } catch (error) {
    remove();
    throw error;
  }
  return {
    host,
    port,
    get pid() {
      return server.pid;
    },
    async kill(signal) {
      if (signal === 'SIGSTOP') server.freeze();
      else if (signal === 'SIGCONT') server.thaw();
      else await server.kill();
    },
    start: () => server.start(),
    async stop() {
      await server.stop();
      remove();
    },
    logTail: () => server.logTail(),
  };
}

/** Keeps nothing on disk: after a kill and a start it is empty. `more`: further settings, as on the command line. */
export async function startRedis(more: readonly string[] = [], port?: number): Promise<RunningPeer> {
  const chosen = port ?? (await freePort());
  return startPeer({
    peer: 'redis',
    port: chosen,
    command: (program, folder) => [
      ...[program, '--port', String(chosen), '--bind', host, '--dir', folder],
      ...['--save', '', '--appendonly', 'no', '--daemonize', 'no', ...more],
    ],
    stopSignal: 'SIGTERM',
    ready: (log) => log.includes('Ready to accept connections'),
  });
}

/** One that watches the master on that port, and finds soon that it is down. `more`: further lines of its configuration. */
export async function startSentinel(
  name: string,
  master: number,
  quorum: number,
  more: (port: number) => readonly string[] = (port) => [`port ${port}`],
): Promise<RunningPeer> {
  const port = await freePort();
  return startPeer({
    peer: 'redis',
    port,
    files: {
      'sentinel.conf': `bind ${host}
daemonize no
${more(port).join('\n')}
sentinel monitor ${name} ${host} ${master} ${quorum}
sentinel down-after-milliseconds ${name} 1000
sentinel failover-timeout ${name} 5000
`,
    },
    command: (program, folder) => [program, join(folder, 'sentinel.conf'), '--sentinel'],
    stopSignal: 'SIGTERM',
    ready: (log) => log.includes('Sentinel ID is'),
  });
}

export interface PgbouncerOptions {
  /** Default 20 server connections. */
  readonly poolSize?: number;
  readonly mode?: 'session' | 'transaction' | 'statement';
  /** 1.18 is Debian 12's and the default; 1.26 knows prepared statements in transaction mode. */
  readonly version?: '1.18' | '1.26';
  /** At least, and 5,000 at least. */
  readonly maxClients?: number;
}

/** In front of one node, for all users of the cluster, with SCRAM on both sides. */
export async function startPgbouncer(
  cluster: TestCluster,
  node: TestNode,
  options: PgbouncerOptions = {},
): Promise<RunningPeer> {
  const port = await freePort();
  const recent = options.version === '1.26';
  const logins = [...Object.values(cluster.users), cluster.superuser];
  return startPeer({
    peer: recent ? 'pgbouncer-1.26' : 'pgbouncer',
    port,
    as: unprivileged(),
    files: {
      'users.txt': `${logins.map((login) => `"${login.user}" "${login.password}"`).join('\n')}\n`,
      'pgbouncer.ini': `[databases]
* = host=${node.host} port=${node.port}
[pgbouncer]
listen_addr = ${host}
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users.txt
pool_mode = ${options.mode ?? 'transaction'}
default_pool_size = ${options.poolSize ?? 20}
max_client_conn = ${Math.max(5_000, options.maxClients ?? 0)}
ignore_startup_parameters = extra_float_digits,options
log_connections = 0
log_disconnections = 0
stats_period = 3600
${recent ? 'max_prepared_statements = 200' : ''}
`,
    },
    command: (program) => [program, 'pgbouncer.ini'],
    // pgbouncer(1): since 1.23 TERM waits for clients and QUIT does not; before, TERM was the immediate one.
    stopSignal: recent ? 'SIGQUIT' : 'SIGTERM',
    ready: (log) => log.includes('process up'),
  });
}

/** Plain TCP, least connections first, over the nodes given. */
export async function startHaproxy(...nodes: readonly [Address, ...Address[]]): Promise<RunningPeer> {
  const port = await freePort();
  const servers = nodes.map((node, index) => `  server node${index + 1} ${node.host}:${node.port}`);
  return startPeer({
    peer: 'haproxy',
    port,
    files: {
      'haproxy.cfg': `global
  maxconn 5000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen database
  bind ${host}:${port}
  balance leastconn
${servers.join('\n')}
`,
    },
    command: (program) => [program, '-db', '-q', '-f', 'haproxy.cfg'],
    stopSignal: 'SIGTERM',
  });
}

/** `port` goes to the primary; `readPort` to the replicas in turn. */
export interface RunningRouter extends RunningPeer {
  readonly readPort: number;
}

/** MySQL Router with static destinations; it splits reads from writes by port only. */
export async function startMysqlRouter(cluster: TestCluster): Promise<RunningRouter> {
  const port = await freePort();
  const readPort = await freePort();
  const folder = newFolder('rout');
  const there = availablePeer('mysqlrouter');
  const base = there.available ? dirname(dirname(there.program)) : '';
  const list = (nodes: readonly TestNode[]) => nodes.map((node) => `${node.host}:${node.port}`).join(',');
  const routing = `protocol = classic
bind_address = ${host}
max_connections = 5000
client_ssl_mode = DISABLED
server_ssl_mode = DISABLED
connect_timeout = 30`;
  const options: PeerOptions = {
    peer: 'mysqlrouter',
    port,
    files: {
      'router.conf': `[DEFAULT]
plugin_folder = ${base}/usr/lib/mysqlrouter/plugin
runtime_folder = ${folder}
data_folder = ${folder}
config_folder = ${folder}
logging_folder =
max_total_connections = 10000
[logger]
level = WARNING
[io]
[routing:write]
${routing}
bind_port = ${port}
routing_strategy = first-available
destinations = ${list([cluster.primary])}
[routing:read]
${routing}
bind_port = ${readPort}
routing_strategy = round-robin
destinations = ${list(cluster.replicas.length > 0 ? cluster.replicas : [cluster.primary])}
`,
    },
    command: (program) => [program, '-c', join(folder, 'router.conf')],
    stopSignal: 'SIGTERM',
    ready: async () => (await accepts(port)) && accepts(readPort),
  };
  const peer = await startPeer(options, folder);
  return Object.defineProperty(peer, 'readPort', { value: readPort, enumerable: true }) as RunningRouter;
}

/** Pgpool-II over the whole cluster, reads balanced, SCRAM on both sides; `clients` is its limit of connections. */
export async function startPgpool(cluster: TestCluster, clients = 100): Promise<RunningPeer> {
  const port = await freePort();
  const pcpPort = await freePort();
  const { superuser, users, nodes } = cluster;
  const backends = nodes.map(
    (node, index) => `backend_hostname${index} = '${node.host}'
backend_port${index} = ${node.port}
backend_weight${index} = 1
backend_flag${index} = '${node === cluster.primary ? 'ALWAYS_PRIMARY|' : ''}DISALLOW_TO_FAILOVER'
backend_application_name${index} = '${node.name}'`,
  );
  const logins = [...Object.values(users), superuser].filter((login) => login.password !== '');
  return startPeer({
    peer: 'pgpool',
    port,
    as: unprivileged(),
    files: {
      pool_passwd: `${logins.map((login) => `${login.user}:TEXT${login.password}`).join('\n')}\n`,
      'pool_hba.conf': 'host all all 0.0.0.0/0 scram-sha-256\n',
      'pcp.conf': '',
      'pgpool.conf': `backend_clustering_mode = 'streaming_replication'
listen_addresses = '${host}'
port = ${port}
unix_socket_directories = '.'
pcp_listen_addresses = '${host}'
pcp_port = ${pcpPort}
pcp_socket_dir = '.'
pid_file_name = 'pgpool.pid'
logdir = '.'
work_dir = '.'
${backends.join('\n')}
enable_pool_hba = on
pool_passwd = 'pool_passwd'
num_init_children = ${clients}
max_pool = 1
load_balance_mode = on
sr_check_period = 5
sr_check_user = '${superuser.user}'
sr_check_password = '${superuser.password}'
health_check_period = 0
log_client_messages = off
`,
    },
    command: (program) => [program, '-n', '-f', 'pgpool.conf', '-a', 'pool_hba.conf', '-F', 'pcp.conf'],
    // pgpool, "stop": INT is fast, QUIT immediate; both free its shared memory, which SIGKILL leaves.
    stopSignal: 'SIGINT',
    farewell: 'SIGQUIT',
  });
}
