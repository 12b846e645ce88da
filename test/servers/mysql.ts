// Starts MySQL and MariaDB clusters for tests. One file, because they differ in a dozen statements and options;
// those stand in mysql-flavors.ts.

import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import mysql from 'mysql2/promise';
import { freePort } from '../../src/cli/demo/port.js';
import { ServerProcess } from '../../src/cli/demo/server-process.js';
import { AdminSocket } from './admin-socket.js';
import { available, clients, versionOf } from './available.js';
import { copyFolder, template } from './cache.js';
import type { Login, Row, StartOptions, TestCluster, TestNode } from './cluster.js';
import { untilFrozen } from './frozen.js';
import { type Flavor, flavors } from './mysql-flavors.js';
import { until } from './poll.js';
import { newFolder, testRoot } from './root.js';

const host = '127.0.0.1';
const database = 'app';
const superuser: Login = { user: 'root', password: 'root-secret' };
const replicator: Login = { user: 'replicator', password: 'replicator-secret' };
const users = {
  app: { user: 'app', password: 'app-secret' },
  app_empty: { user: 'app_empty', password: '' },
} as const satisfies Record<string, Login>;

/** Small and fast, and still safe against a killed process: what is committed is in the system's page cache. */
const settings: Record<string, string | number> = {
  'bind-address': host,
  'skip-name-resolve': 'ON',
  'character-set-server': 'utf8mb4',
  'max-connections': 300,
  'log-bin': 'binlog',
  'sync-binlog': 0,
  'innodb-flush-log-at-trx-commit': 2,
  'innodb-doublewrite': 'OFF',
  'innodb-buffer-pool-size': '64M',
  // Data in memory (see root.ts) cannot be opened with O_DIRECT, nor does the kernel's AIO suit dozens of servers.
  'innodb-flush-method': 'fsync',
  'innodb-use-native-aio': 'OFF',
  'relay-log': 'relay',
  'max-allowed-packet': '64M',
  'default-time-zone': '+00:00',
};

interface ServerOptions {
  readonly flavor: Flavor;
  readonly program: string;
  readonly name: string;
  readonly port: number;
  readonly dataDir: string;
  /** Asked for at every start. */
  readonly extra: () => Readonly<Record<string, string | number>>;
}

function optionList(options: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(options).map(([name, value]) => `--${name}=${value}`);
}

/** Both refuse to be root by accident; the files are the caller's, so it is meant. */
function asRoot(): string[] {
  return process.getuid?.() === 0 ? ['--user=root'] : [];
}

function serverProcess(options: ServerOptions): ServerProcess {
  const { flavor, program, name, port, dataDir, extra } = options;
  // One of its own: a server that starts clears what it finds there.
  const tmpdir = `${dataDir}.tmp`;
  mkdirSync(tmpdir, { recursive: true });
  return new ServerProcess({
    name: `${flavor.title} ${name}`,
    command: () => [
      program,
      '--no-defaults',
      ...asRoot(),
      ...optionList({
        ...settings,
        ...flavor.settings(program),
        datadir: dataDir,
        port,
        socket: `${dataDir}.sock`,
        tmpdir,
        'pid-file': `${dataDir}.pid`,
        'report-host': host,
        'report-port': port,
        ...extra(),
      }),
    ],
    as: {},
    cwd: dirname(dataDir),
    logFile: `${dataDir}.log`,
    root: testRoot(),
    stopSignal: 'SIGTERM',
    farewell: 'SIGKILL',
    ready: (_pid, log) => /ready for connections[^\n]*\n?[^\n]*port: \d+/.test(log()),
  });
}

class MysqlNode implements TestNode {
  readonly name: string;
  readonly host = host;
  readonly port: number;
  readonly dataDir: string;
  readonly #flavor: Flavor;
  readonly #server: ServerProcess;
  #connection: Promise<{ connection: mysql.Connection; socket: AdminSocket }> | undefined;

  constructor(options: ServerOptions) {
    this.name = options.name;
    this.port = options.port;
    this.dataDir = options.dataDir;
    this.#flavor = options.flavor;
    this.#server = serverProcess(options);
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  async admin(sql: string): Promise<Row[]> {
    this.#connection ??= this.#connect();
    const { connection, socket } = await this.#connection;
    const [result] = await socket.during(() => connection.query({ sql, timeout: 60_000 }));
    if (!Array.isArray(result)) return [];
    // One statement gives a list of rows, several a list of results.
    const last: unknown = Array.isArray(result[0]) ? result.at(-1) : result;
    return Array.isArray(last) ? (last as Row[]) : [];
  }

  #connect(): Promise<{ connection: mysql.Connection; socket: AdminSocket }> {
    const socket = new AdminSocket();
    socket.connect(this.port, host);
    const opening = socket
      .during(() =>
        mysql.createConnection({
          ...{ database, ...superuser },
          connectTimeout: 30_000,
          multipleStatements: true,
          stream: socket,
        }),
      )
      .then((connection) => {
        connection.on('error', drop);
        connection.on('end', drop);
        return { connection, socket };
      });
    // One that broke is replaced at the next question.
    const drop = () => {
      if (this.#connection === opening) this.#connection = undefined;
    };
    opening.catch(drop);
    return opening;
  }

  #disconnect(): void {
    this.#connection?.then(({ connection }) => connection.destroy()).catch(() => undefined);
    this.#connection = undefined;
  }

  async kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): Promise<void> {
    if (signal === 'SIGSTOP') {
      this.#server.freeze();
      await untilFrozen(this.pid);
    } else if (signal === 'SIGCONT') this.#server.thaw();
    else if (signal === 'SIGTERM') this.#server.signal(signal);
    else {
      await this.#server.kill();
      this.#disconnect();
    }
  }

  start(): Promise<void> {
    return this.#server.start();
  }

  async stop(): Promise<void> {
    this.#disconnect();
    await this.#server.stop();
  }

  async pauseReplay(): Promise<void> {
    await this.admin(this.#flavor.stopApplier);
  }

  async resumeReplay(): Promise<void> {
    await this.admin(this.#flavor.startApplier);
  }

  async delay(milliseconds: number): Promise<void> {
    for (const statement of this.#flavor.delay(Math.ceil(milliseconds / 1000))) await this.admin(statement);
  }

  /** Both threads run. */
  async replicates(): Promise<boolean> {
    const [row] = await this.admin(this.#flavor.showReplication);
    return row !== undefined && this.#flavor.runs(row);
  }

  async follow(source: TestNode): Promise<void> {
    for (const statement of this.#flavor.follow(source, replicator)) await this.admin(statement);
    await until(`${this.name} replicates from ${source.name}`, () => this.replicates());
  }

  logTail(lines?: number): string {
    return this.#server.logTail(lines);
  }
}

/** An initialized data directory with all users and no history, of a server that was stopped in good order. */
function preparedData(flavor: Flavor, program: string): Promise<string> {
  const statements = flavor.prepare({ superuser, replicator, users, database });
  const ingredients = [versionOf(program), program, settings, flavor.settings(program), statements];
  return template(`${flavor.kind}-${versionOf(program)}`, ingredients, async (folder) => {
    await flavor.initialize(program, folder, asRoot());
    const server = serverProcess({
      flavor,
      program,
      name: 'template',
      port: await freePort(),
      dataDir: folder,
      extra: () => ({ 'server-id': 1 }),
    });
    await server.start();
    try {
      // Before the first statement there is root without a password, on the socket.
      const connection = await mysql.createConnection({ socketPath: `${folder}.sock`, user: 'root' });
      for (const statement of statements) await connection.query(statement);
      await connection.end();
    } finally {
      await server.stop();
    }
    // MySQL keeps the server's identity in here; without it each copy makes its own.
    rmSync(join(folder, 'auto.cnf'), { force: true });
    for (const end of ['.log', '.sock', '.sock.lock', '.pid']) rmSync(`${folder}${end}`, { force: true });
    rmSync(`${folder}.tmp`, { recursive: true, force: true });
  });
}

export async function startMysql(kind: 'mysql' | 'mariadb', options: StartOptions): Promise<TestCluster> {
  const there = available(kind);
  if (!there.available) throw new Error(there.reason);
  const flavor = flavors[kind];
  const prepared = await preparedData(flavor, there.program);
  const folder = newFolder(kind === 'mysql' ? 'my' : 'ma');
  mkdirSync(folder);

  const nodes: MysqlNode[] = [];
  /** Nodes that a configuration file would have made read-only. */
  const readOnly = new Set<string>();
  /** How often a node's data was thrown away. */
  const generations = new Map<string, number>();
  for (let index = 0; index <= (options.replicas ?? 2); index++) {
    const name = `node${index + 1}`;
    const dataDir = join(folder, name);
    await copyFolder(prepared, dataDir);
    if (index > 0) readOnly.add(name);
    const port = await freePort();
    const extra = () => ({
      // Unique on the machine, so that a node of another cluster is a stranger. A replica drops events of its own
      // id (replicate-same-server-id): made anew, it needs a new one to fetch what it wrote in its former life.
      'server-id': port + 65_536 * (generations.get(name) ?? 0),
      ...(readOnly.has(name) ? flavor.readOnly : {}),
      ...options.settings,
    });
    nodes.push(new MysqlNode({ flavor, program: there.program, name, port, dataDir, extra }));
  }
  const [primary, ...replicas] = nodes;
  if (primary === undefined) throw new Error('a cluster needs a node');
  const stop = async () => {
    // The data goes with them, so there is nothing to shut down in good order.
    await Promise.all(nodes.map((node) => node.kill('SIGKILL')));
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await Promise.all(nodes.map((node) => node.start()));
    await Promise.all(replicas.map((replica) => replica.follow(primary)));
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    kind,
    version: versionOf(there.program),
    nodes,
    primary,
    replicas,
    superuser,
    user: { ...users.app, database },
    users,
    binaries: clients(),
    async waitCaughtUp(from: TestNode = primary) {
      const [position] = await from.admin(flavor.position);
      await Promise.all(
        nodes.map((node) =>
          until(`${node.name} has what ${from.name} has`, async () => {
            if (node === from || node.pid === undefined) return true;
            const [replication] = await node.admin(flavor.showReplication);
            if (replication === undefined) return true; // it replicates from nobody
            const [row] = await node.admin(flavor.reached(String(position?.position ?? '')));
            return Number(row?.ok) === 1;
          }),
        ),
      );
    },
    async rebuild(node, from) {
      const target = nodes.find((candidate) => candidate === node);
      if (target === undefined) throw new Error('not a node of this cluster');
      await target.kill('SIGKILL');
      rmSync(target.dataDir, { recursive: true, force: true });
      // Every node keeps its whole history, so an empty copy can fetch all of it.
      await copyFolder(prepared, target.dataDir);
      readOnly.add(target.name);
      generations.set(target.name, (generations.get(target.name) ?? 0) + 1);
      await target.start();
      await target.follow(from);
    },
    stop,
  };
}
