// Starts PostgreSQL clusters for tests: 15 from Debian, 18 from npm. Knows roles, pg_hba and replication settings.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { embeddedPostgres, type PostgresBinaries } from '../../src/cli/demo/embedded-postgres.js';
import { freePort } from '../../src/cli/demo/port.js';
import {
  cloneRunning,
  initDatabase,
  makeStandby,
  postgresServer,
  quote,
  type Upstream,
} from '../../src/cli/demo/postgres-server.js';
import { giveTo, type RunAs, unprivileged } from '../../src/cli/demo/run-as.js';
import type { ServerProcess } from '../../src/cli/demo/server-process.js';
import { AdminSocket } from './admin-socket.js';
import { available, clients, versionOf } from './available.js';
import { copyFolder, template, writableCache } from './cache.js';
import type { Login, Row, StartOptions, TestCluster, TestNode } from './cluster.js';
import { untilFrozen } from './frozen.js';
import { removeDead } from './ipc.js';
import { until } from './poll.js';
import { newFolder, testRoot } from './root.js';

const host = '127.0.0.1';
const database = 'app';
const superuser: Login = { user: 'postgres', password: 'postgres-secret' };
const replicator: Login = { user: 'replicator', password: 'replicator-secret' };
const users = {
  app: { user: 'app', password: 'app-secret' },
  app_md5: { user: 'app_md5', password: 'md5-secret' },
  app_plain: { user: 'app_plain', password: 'plain-secret' },
  app_trust: { user: 'app_trust', password: '' },
} as const satisfies Record<string, Login>;

const settings = {
  max_connections: 200,
  shared_buffers: '32MB',
  password_encryption: 'scram-sha-256',
  // These servers outlive neither the machine nor the test; a killed process loses nothing by it.
  fsync: 'off',
  full_page_writes: 'off',
  wal_level: 'replica',
  hot_standby: 'on',
  hot_standby_feedback: 'on',
  max_wal_senders: 10,
  wal_keep_size: '256MB',
  max_wal_size: '512MB',
  // So that an old primary could be rewound.
  wal_log_hints: 'on',
  max_prepared_transactions: 10,
  recovery_target_timeline: 'latest',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '200ms',
  // In files of the data directory, which go with it, and not in /dev/shm, where a killed server leaves a megabyte for good.
  dynamic_shared_memory_type: 'mmap',
  log_line_prefix: '%m [%p] %q%u@%d ',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

const hba = [
  '# type database user address method',
  `host replication ${replicator.user} 0.0.0.0/0 scram-sha-256`,
  'host all app_md5 0.0.0.0/0 md5',
  'host all app_plain 0.0.0.0/0 password',
  'host all app_trust 0.0.0.0/0 trust',
  'host all all 0.0.0.0/0 scram-sha-256',
];

const roles = [
  `CREATE ROLE ${replicator.user} LOGIN REPLICATION PASSWORD ${quote(replicator.password)}`,
  `CREATE ROLE app LOGIN PASSWORD ${quote(users.app.password)}`,
  `CREATE ROLE app_plain LOGIN PASSWORD ${quote(users.app_plain.password)}`,
  'CREATE ROLE app_trust LOGIN',
  // The md5 method takes a SCRAM verifier too and then does SCRAM; the stored kind decides what goes over the wire.
  "SET password_encryption = 'md5'",
  `CREATE ROLE app_md5 LOGIN PASSWORD ${quote(users.app_md5.password)}`,
  `CREATE DATABASE ${database} OWNER app`,
];
const inDatabase = ['GRANT CREATE ON SCHEMA public TO PUBLIC'];

class PostgresNode implements TestNode {
  readonly name: string;
  readonly host = host;
  readonly port: number;
  readonly dataDir: string;
  readonly #server: ServerProcess;
  #client: Promise<{ client: pg.Client; socket: AdminSocket }> | undefined;

  constructor(name: string, port: number, dataDir: string, binaries: PostgresBinaries, as: RunAs) {
    this.name = name;
    this.port = port;
    this.dataDir = dataDir;
    this.#server = postgresServer({ name, binaries, as, root: testRoot(), dataDir, host, port });
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  async admin(sql: string): Promise<Row[]> {
    this.#client ??= this.#connect();
    const { client, socket } = await this.#client;
    // Several statements in one string give a list of results, which pg's types do not tell.
    const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await socket.during(() =>
      client.query<Row>(sql),
    );
    const last = Array.isArray(result) ? (result as pg.QueryResult<Row>[]).at(-1) : result;
    return last?.rows ?? [];
  }

  #connect(): Promise<{ client: pg.Client; socket: AdminSocket }> {
    const socket = new AdminSocket();
    const client = new pg.Client({
      ...{ host, port: this.port, database, ...superuser },
      application_name: 'harness',
      connectionTimeoutMillis: 30_000,
      query_timeout: 60_000,
      stream: () => socket,
    });
    const opening = socket.during(() => client.connect()).then(() => ({ client, socket }));
    // One that broke is replaced at the next question.
    const drop = () => {
      if (this.#client === opening) this.#client = undefined;
    };
    client.on('error', drop);
    client.on('end', drop);
    opening.catch(drop);
    return opening;
  }

  async #disconnect(): Promise<void> {
    const opening = this.#client;
    this.#client = undefined;
    await opening?.then(({ client, socket }) => socket.during(() => client.end())).catch(() => undefined);
  }

  async kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): Promise<void> {
    if (signal === 'SIGSTOP') {
      this.#server.freeze();
      await untilFrozen(this.pid);
    } else if (signal === 'SIGCONT') this.#server.thaw();
    else if (signal === 'SIGTERM') this.#server.signal(signal);
    else {
      await this.#server.kill();
      await this.#disconnect();
    }
  }

  start(): Promise<void> {
    return this.#server.start();
  }

  async stop(): Promise<void> {
    await this.#server.stop();
    await this.#disconnect();
  }

  async pauseReplay(): Promise<void> {
    await this.admin('SELECT pg_wal_replay_pause()');
    // The request is acted on at the next record; until then a transaction may still appear.
    await until(`${this.name} pauses replay`, async () => {
      const rows = await this.admin('SELECT pg_get_wal_replay_pause_state() AS state');
      return rows[0]?.state === 'paused';
    });
  }

  async resumeReplay(): Promise<void> {
    await this.admin('SELECT pg_wal_replay_resume()');
  }

  async delay(milliseconds: number): Promise<void> {
    const wanted = Math.round(milliseconds);
    await this.admin(`ALTER SYSTEM SET recovery_min_apply_delay = '${wanted}ms'`);
    await this.admin('SELECT pg_reload_conf()');
    await until(`${this.name} takes the delay`, async () => {
      const rows = await this.admin(
        "SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'",
      );
      return Number(rows[0]?.setting) === wanted;
    });
  }

  logTail(lines?: number): string {
    return this.#server.logTail(lines);
  }
}

async function binariesOf(version: number, as: RunAs): Promise<PostgresBinaries> {
  const there = available('postgres', version);
  if (!there.available) throw new Error(there.reason);
  if (version === 18) return embeddedPostgres(join(writableCache(), 'npm'), as);
  const folder = dirname(there.program);
  return { initdb: join(folder, 'initdb'), postgres: there.program, version: versionOf(there.program) };
}

function upstreamOf(node: TestNode, applicationName: string): Upstream {
  return { host: node.host, port: node.port, ...replicator, applicationName };
}

/** An initialized data directory with all roles, of a server that was stopped in good order. */
function preparedData(binaries: PostgresBinaries, as: RunAs): Promise<string> {
  const ingredients = [binaries.version, binaries.postgres, settings, hba, roles, inDatabase, superuser, as];
  return template(`postgres-${binaries.version}`, ingredients, async (folder) => {
    await initDatabase({ binaries, as, dataDir: folder, superuser, settings, hba });
    const node = new PostgresNode('template', await freePort(), folder, binaries, as);
    await node.start();
    try {
      for (const [name, statements] of [
        ['postgres', roles],
        [database, inDatabase],
      ] as const) {
        const client = new pg.Client({ host, port: node.port, database: name, ...superuser });
        await client.connect();
        for (const statement of statements) await client.query(statement);
        await client.end();
      }
    } finally {
      await node.stop();
    }
    rmSync(`${folder}.log`, { force: true });
  });
}

export async function startPostgres(options: StartOptions): Promise<TestCluster> {
  const as = unprivileged();
  const binaries = await binariesOf(options.version ?? 18, as);
  const prepared = await preparedData(binaries, as);
  const folder = newFolder('pg');
  mkdirSync(folder);
  giveTo(as, folder);

  const nodes: PostgresNode[] = [];
  for (let index = 0; index <= (options.replicas ?? 2); index++) {
    const name = `node${index + 1}`;
    const dataDir = join(folder, name);
    await copyFolder(prepared, dataDir);
    if (options.settings !== undefined) {
      const lines = Object.entries(options.settings).map(
        ([key, value]) => `${key} = ${quote(String(value))}`,
      );
      const extra = join(dataDir, 'test.conf');
      writeFileSync(extra, `${lines.join('\n')}\n`);
      writeFileSync(join(dataDir, 'postgresql.conf'), "\ninclude 'test.conf'\n", { flag: 'a' });
      giveTo(as, extra);
    }
    nodes.push(new PostgresNode(name, await freePort(), dataDir, binaries, as));
  }
  const [primary, ...replicas] = nodes;
  if (primary === undefined) throw new Error('a cluster needs a node');
  // Copies of a server that was shut down: a replica starts from the checkpoint that they all have in common.
  for (const replica of replicas) makeStandby(replica.dataDir, as, upstreamOf(primary, replica.name));

  const stop = async () => {
    // The data goes with them, so there is nothing to shut down in good order.
    await Promise.all(nodes.map((node) => node.kill('SIGKILL')));
    for (const node of nodes) removeDead(node.dataDir);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  const streaming = (source: TestNode, names: readonly string[]) =>
    until(`${names.join(', ')} stream from ${source.name}`, async () => {
      const rows = await source.admin(
        "SELECT application_name AS name FROM pg_stat_replication WHERE state = 'streaming'",
      );
      return names.every((name) => rows.some((row) => row.name === name));
    });
  try {
    await Promise.all(nodes.map((node) => node.start()));
    await streaming(
      primary,
      replicas.map((replica) => replica.name),
    );
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    kind: 'postgres',
    version: binaries.version,
    nodes,
    primary,
    replicas,
    superuser,
    user: { ...users.app, database },
    users,
    binaries: clients(),
    async waitCaughtUp(from: TestNode = primary) {
      const [position] = await from.admin('SELECT pg_current_wal_lsn()::text AS lsn');
      await Promise.all(
        nodes.map((node) =>
          until(`${node.name} has what ${from.name} has`, async () => {
            if (node === from || node.pid === undefined) return true;
            const rows = await node.admin(
              `SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '${position?.lsn}' AS ok`,
            );
            return rows[0]?.ok === true;
          }),
        ),
      );
    },
    async rebuild(node, from) {
      const target = nodes.find((candidate) => candidate === node);
      const source = nodes.find((candidate) => candidate === from);
      if (target === undefined || source === undefined) throw new Error('not nodes of this cluster');
      await target.kill('SIGKILL');
      removeDead(target.dataDir);
      rmSync(target.dataDir, { recursive: true, force: true });
      await cloneRunning(
        { connection: { host, port: source.port, database, ...superuser }, dataDir: source.dataDir },
        { dataDir: target.dataDir, as },
      );
      makeStandby(target.dataDir, as, upstreamOf(source, target.name));
      await target.start();
      await streaming(source, [target.name]);
    },
    stop,
  };
}
