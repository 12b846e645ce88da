// `scheelite serve` with several workers in front of a stage's cluster, and clients that know which worker they are on.
// A cancel key's process id, or a connection id, tells the worker: its remainder by their number.

import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { StatusReport, WorkerStatus } from '../../src/admin/source.js';
import { type Server, startServer } from '../cli/run.js';
import { type Folder, temporaryFolder } from '../config/folder.js';
import type { Row, TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { type ClusterChanges, FUNCTIONS, type Stage } from './stage.js';

export const WORKERS = 2;
const TOKEN = 'a token of the test';

export interface Placed {
  /** Index of its worker. */
  readonly worker: number;
  readonly id: number;
  /** PostgreSQL: of its cancel key. */
  readonly secretKey: number;
  query(sql: string): Promise<Row[]>;
  readonly broken: () => boolean;
  close(): Promise<void>;
}

export class WorkersFront {
  readonly server: Server;
  readonly #stage: Stage;
  readonly #folder: Folder;
  readonly #config: (changes: ClusterChanges) => unknown;

  private constructor(stage: Stage, server: Server, folder: Folder, config: (c: ClusterChanges) => unknown) {
    this.#stage = stage;
    this.server = server;
    this.#folder = folder;
    this.#config = config;
  }

  static async open(
    t: TestContext,
    stage: Stage,
    changes: ClusterChanges = {},
    listener: Record<string, unknown> = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<WorkersFront> {
    const { cluster, kind } = stage;
    const folder = temporaryFolder(t);
    folder.write('token', `${TOKEN}\n`);
    const config = (more: ClusterChanges) => ({
      workers: WORKERS,
      listeners: [{ name: 'app', host: '127.0.0.1', port: 0, ...listener }],
      clusters: [
        {
          protocol: kind === 'postgres' ? 'postgres' : 'mysql',
          nodes: cluster.nodes.map(({ name, host, port }) => ({ name, host, port })),
          monitor: { ...cluster.superuser, intervalMs: 100, timeoutMs: 10_000 },
          routing: { readFunctions: FUNCTIONS },
          ...changes,
          ...more,
        },
      ],
      admin: { port: 0, token: { file: 'token' } },
      limits: { drainMs: 60_000 },
    });
    const server = await startServer(t, folder.write('proxy.json', config({})), { env });
    const front = new WorkersFront(stage, server, folder, config);
    await until('all nodes are known', async () => {
      const [status] = (await front.status()).clusters;
      return status!.primary !== null && status!.nodes.every((node) => node.takesReads || node.takesWrites);
    });
    return front;
  }

  async connect(t: TestContext): Promise<Placed> {
    const { user, password, database } = this.#stage.cluster.user;
    const address = { host: '127.0.0.1', port: this.server.listeners[0]!.port, user, password, database };
    let isBroken = false;
    const broken = () => isBroken;
    const end = () => {
      isBroken = true;
    };
    if (this.#stage.kind === 'postgres') {
      const client = new pg.Client(address);
      client.on('error', end);
      client.on('end', end);
      await client.connect();
      const close = () => client.end().catch(() => {});
      t.after(close);
      const { processID: id, secretKey } = client as unknown as { processID: number; secretKey: number };
      const query = async (sql: string) => (await client.query<Row>(sql)).rows;
      return { worker: id % WORKERS, id, secretKey, query, broken, close };
    }
    // The first login of a worker makes a key, which takes long on a busy machine.
    const connection = await mysql.createConnection({ ...address, connectTimeout: 60_000 });
    connection.on('error', end);
    connection.on('end', end);
    t.after(() => connection.destroy());
    const id = connection.threadId;
    const query = async (sql: string) => {
      try {
        return (await connection.query(sql))[0] as Row[];
      } catch (error) {
        // Its statement is told, and then nobody else.
        if ((error as { fatal?: boolean }).fatal === true) end();
        throw error;
      }
    };
    return { worker: id % WORKERS, id, secretKey: 0, query, broken, close: () => connection.end() };
  }

  async connectMany(t: TestContext, count: number): Promise<Placed[]> {
    const clients: Placed[] = [];
    for (let i = 0; i < count; i++) clients.push(await this.connect(t));
    return clients;
  }

  async status(): Promise<StatusReport> {
    return (await (await fetch(`${this.server.admin}/api/v1/status`)).json()) as StatusReport;
  }

  async workers(): Promise<readonly WorkerStatus[]> {
    return (await this.status()).workers ?? [];
  }

  async allRun(): Promise<void> {
    await until('all workers run', async () =>
      (await this.workers()).every(({ state }) => state === 'running'),
    );
  }

  /** The sum of a metric's series whose labels have `having` in them. */
  async metric(name: string, having = ''): Promise<number> {
    const text = await (await fetch(`${this.server.admin}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith(`scheelite_${name}{`));
    return lines
      .filter((line) => line.includes(having))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  async reload(changes: ClusterChanges): Promise<string> {
    this.#folder.write('proxy.json', this.#config(changes));
    const answer = await fetch(`${this.server.admin}/api/v1/reload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    return ((await answer.json()) as { outcome: string }).outcome;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Of the application, as the node knows them. */
async function ofApplication(stage: Stage, node: TestNode): Promise<readonly unknown[]> {
  const sql =
    stage.kind === 'postgres'
      ? "SELECT pid AS id FROM pg_stat_activity WHERE usename = 'app'"
      : "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = 'app'";
  return (await node.admin(sql)).map(({ id }) => id);
}

/**
 * One that the proxy has closed is known to its node for a moment longer: those beyond `limit` are counted where they are the
 * same a second later.
 */
export async function serverConnections(
  stage: Stage,
  node: TestNode,
  limit = Number.POSITIVE_INFINITY,
): Promise<number> {
  const found = await ofApplication(stage, node);
  if (found.length <= limit) return found.length;
  await sleep(1_000);
  const still = await ofApplication(stage, node);
  return found.filter((id) => still.includes(id)).length;
}

/** Of the proxy's own, to watch the node. */
export async function controlConnections({ kind, cluster }: Stage, node: TestNode): Promise<number> {
  const { user } = cluster.superuser;
  const sql =
    kind === 'postgres'
      ? `SELECT count(*) AS n FROM pg_stat_activity WHERE usename = '${user}' AND application_name = 'scheelite'`
      : `SELECT count(*) AS n FROM information_schema.PROCESSLIST WHERE USER = '${user}' AND ID <> CONNECTION_ID()`;
  return Number((await node.admin(sql))[0]?.n);
}
