// What every end-to-end test stands on: a real cluster with tables that tell where a statement ran, and proxies before it.
// The functions node_port() and backend_id() are asked through the proxy like any read, so the answer is the server's own.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Config, ConfigInput } from '../../src/config/schema.js';
import type { ReloadResult } from '../../src/proxy/running-proxy.js';
import type { ClusterCounters, NodeCounters } from '../../src/telemetry/counters.js';
import { type ProxyUnderTest, startProxyFor, TEST_WORKERS } from '../proxy/proxy-under-test.js';
import type { Kind } from '../servers/available.js';
import { type StartOptions, startCluster, type TestCluster, type TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { type Account, type Client, type Driver, driverOf } from './driver.js';

/** For what each worker does by itself (balancing, queues, caches), where a test looks at the exact numbers. */
export const ONE_PROCESS = { workers: 1 } as const;

export type ClusterChanges = Partial<ConfigInput['clusters'][number]>;

/** Configured as reads, so that no test waits for the catalog. pause(seconds) makes a unit last. */
export const FUNCTIONS = ['node_port', 'backend_id', 'pause'];

const postgresFunctions = `
  CREATE FUNCTION node_port() RETURNS int STABLE LANGUAGE sql AS 'SELECT inet_server_port()';
  CREATE FUNCTION backend_id() RETURNS int STABLE LANGUAGE sql AS 'SELECT pg_backend_pid()';
  CREATE FUNCTION pause(seconds float8) RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(seconds)'`;
const mysqlFunctions = `
  CREATE FUNCTION node_port() RETURNS INT NOT DETERMINISTIC NO SQL RETURN @@port;
  CREATE FUNCTION backend_id() RETURNS BIGINT NOT DETERMINISTIC NO SQL RETURN CONNECTION_ID();
  CREATE FUNCTION pause(seconds DOUBLE) RETURNS INT NOT DETERMINISTIC NO SQL RETURN 1 + SLEEP(seconds)`;

const TABLES = [
  'CREATE TABLE items (id int PRIMARY KEY, name varchar(100) NOT NULL)',
  "INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three')",
  'CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL)',
  'CREATE TABLE ledger (client int NOT NULL, seq int NOT NULL, PRIMARY KEY (client, seq))',
  'CREATE TABLE notes (id int PRIMARY KEY, note varchar(100))',
];

export class Stage {
  readonly kind: Kind;
  readonly cluster: TestCluster;
  readonly driver: Driver;
  /** Of its proxies, where a test does not say. */
  readonly workers: number;

  private constructor(cluster: TestCluster, workers: number) {
    this.kind = cluster.kind;
    this.cluster = cluster;
    this.workers = workers;
    this.driver = driverOf(cluster.kind);
  }

  static async open(
    t: TestContext,
    kind: Kind,
    { workers = TEST_WORKERS, ...options }: StartOptions & { readonly workers?: number } = {},
  ): Promise<Stage> {
    const cluster = await startCluster(kind, options);
    t.after(() => cluster.stop());
    const stage = new Stage(cluster, workers);
    const { primary, user } = cluster;
    const owner = await stage.driver.connect(primary, user);
    for (const table of TABLES) await owner.query(table);
    await owner.close();
    await primary.admin(kind === 'postgres' ? postgresFunctions : mysqlFunctions);
    // MySQL's rights on a database cover its functions already.
    await cluster.waitCaughtUp();
    return stage;
  }

  /** A proxy before the cluster; stopped with the test. */
  async front(t: TestContext, changes: ClusterChanges = {}, top: Partial<ConfigInput> = {}): Promise<Front> {
    const { routing = {}, ...rest } = changes;
    const proxy = await startProxyFor(
      this.cluster,
      { ...rest, routing: { readFunctions: FUNCTIONS, ...routing } },
      { workers: this.workers, ...top },
    );
    t.after(() => proxy.stop());
    return new Front(this, proxy);
  }

  /** Straight to a node, beside the proxy. */
  async direct(t: TestContext, node: TestNode, account: Account = this.cluster.user): Promise<Client> {
    const client = await this.driver.connect(node, account);
    t.after(() => client.kill());
    return client;
  }

  nodeAt(port: unknown): string {
    const node = this.cluster.nodes.find((each) => each.port === Number(port));
    assert.ok(node !== undefined, `no node listens on ${String(port)}`);
    return node.name;
  }

  get replicaNames(): string[] {
    return this.cluster.replicas.map((node) => node.name);
  }
}

export class Front {
  readonly #stage: Stage;
  readonly proxy: ProxyUnderTest;

  constructor(stage: Stage, proxy: ProxyUnderTest) {
    this.#stage = stage;
    this.proxy = proxy;
  }

  async connect(t: TestContext, account: Account = this.#stage.cluster.user): Promise<Client> {
    const client = await this.#stage.driver.connect(this.proxy, account);
    t.after(() => client.kill());
    return this.proxy.config.workers === 1 ? client : telling(client, () => this.refresh());
  }

  async connectMany(t: TestContext, count: number): Promise<Client[]> {
    const clients: Client[] = [];
    // Not all at once: thousands of password hashes would make the machine look dead.
    for (let i = 0; i < count; i++) clients.push(await this.connect(t));
    return clients;
  }

  nodeAt(port: unknown): string {
    return this.#stage.nodeAt(port);
  }

  /** What clients that are not of `connect` have done is counted once the workers have been asked. */
  refresh(): Promise<void> {
    return this.proxy.proxy.refresh();
  }

  /** Resolves once the workers have taken it over. */
  async reload(config: Config): Promise<ReloadResult> {
    const result = this.proxy.proxy.reload(config);
    await this.refresh();
    return result;
  }

  counters(): ClusterCounters {
    return this.proxy.proxy.counters().clusters.get('main')!;
  }

  node(name: string): NodeCounters {
    return this.counters().nodes.get(name)!;
  }

  status() {
    return this.proxy.proxy.admin.status().clusters[0]!;
  }

  nodeStatus(name: string) {
    return this.status().nodes.find((node) => node.name === name)!;
  }

  /** Polls the proxy's own view. */
  async seesReplicas(names: readonly string[]): Promise<void> {
    await until(`reads may go to ${names.join(', ') || 'no replica'}`, () => {
      const takers = this.status().nodes.filter((node) => node.role === 'replica' && node.takesReads);
      return takers.length === names.length && takers.every((node) => names.includes(node.name));
    });
  }

  /** Where a read of this client runs now, as the server says. */
  async whereIs(client: Client): Promise<string> {
    const rows = await client.query('SELECT node_port() AS port');
    return this.#stage.nodeAt(rows[0]?.port);
  }

  /** `count` reads of sessions that have seen nothing yet: how many each node served. */
  async spread(t: TestContext, count: number): Promise<Record<string, number>> {
    const served: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const client = await this.connect(t);
      const name = await this.whereIs(client);
      served[name] = (served[name] ?? 0) + 1;
      await client.close();
    }
    return served;
  }
}

/** What workers count is known to this process when they have been asked: here at the end of each statement. */
function telling(client: Client, refresh: () => Promise<void>): Client {
  return {
    query: (sql, values) => client.query(sql, values).finally(refresh),
    execute: (sql, values) => client.execute(sql, values).finally(refresh),
    close: () => client.close().finally(refresh),
    kill: () => client.kill(),
    get broken() {
      return client.broken;
    },
  };
}

/** Rejects with an error of exactly that code, and tells what came instead. */
export async function rejects(driver: Driver, promise: Promise<unknown>, code: string): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    assert.equal(driver.codeOf(error), code, `another error: ${String(error)}`);
    return error as Error;
  }
  return assert.fail(`no error, but ${code} was expected`);
}
