// What the tests of sharing stand on: a cluster, a proxy that shares one server connection, and a lock that holds its head.
// Whoever is queued behind a held head is there provably: the units that were shared are counted.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ConfigInput } from '../../src/config/schema.js';
import { PostgresWire, say, startupMessage } from '../e2e/postgres-wire.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import type { ProxyUnderTest } from '../proxy/proxy-under-test.js';
import { type Row, startCluster, type TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { RawClient } from './twin.js';

type Changes = Partial<ConfigInput['clusters'][number]>;

const SCHEMA = [
  'CREATE TABLE t (id int PRIMARY KEY, v text)',
  "INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 100) i",
  'CREATE TABLE locked (id int PRIMARY KEY, v text)',
  "INSERT INTO locked SELECT i, 'locked' || i FROM generate_series(1, 100) i",
  'CREATE TABLE written (id int PRIMARY KEY, v int)',
  'INSERT INTO written SELECT i, 0 FROM generate_series(1, 100) i',
  'CREATE FUNCTION backend_id() RETURNS int STABLE LANGUAGE sql AS $$SELECT pg_backend_pid()$$',
];

/** A read of one's own row, and one that a lock may hold. */
export const own = (id: number): string => `SELECT v FROM t WHERE id = ${id}`;
export const held = (id: number): string => `SELECT v FROM locked WHERE id = ${id}`;
const LEARN_RUNS = 200;

export function row(value: string, column = 'v'): string[] {
  return [`RowDescription ${column}`, `DataRow ${value}`, 'CommandComplete SELECT 1', 'ReadyForQuery I'];
}

export async function sharingCluster(t: TestContext): Promise<TestCluster> {
  const cluster = await startCluster('postgres', { replicas: 0 });
  t.after(() => cluster.stop());
  const owner = await RawClient.open(t, cluster.primary, cluster.user.database);
  await (await asSuperuser(t, cluster)).do('GRANT ALL ON SCHEMA public TO app_trust');
  for (const sql of SCHEMA) await owner.do(sql);
  return cluster;
}

export class SharingScene {
  readonly proxy: ProxyUnderTest;
  readonly #cluster: TestCluster;
  readonly #t: TestContext;
  readonly #owner: RawClient;

  private constructor(t: TestContext, cluster: TestCluster, proxy: ProxyUnderTest, owner: RawClient) {
    this.#t = t;
    this.#cluster = cluster;
    this.proxy = proxy;
    this.#owner = owner;
  }

  /** One shared connection; two server connections in all, if nothing else is said. */
  static async open(t: TestContext, cluster: TestCluster, changes: Changes = {}): Promise<SharingScene> {
    const owner = await RawClient.open(t, cluster.primary, cluster.user.database);
    const proxy = await front(t, cluster, {
      routing: { splitReads: false, readFunctions: ['backend_id'] },
      pool: { maxServerConnections: 2 },
      sharing: { ...ONE_SHARED, maxHeadMs: 1_500 },
      ...changes,
    });
    return new SharingScene(t, cluster, proxy, owner);
  }

  client(startup: Readonly<Record<string, string>> = {}): Promise<PostgresWire> {
    return PostgresWire.open(this.#t, this.proxy, { ...this.#user, ...startup });
  }

  /** It has said who it is, and waits for the answer. */
  async arrival(): Promise<PostgresWire> {
    const wire = await PostgresWire.dial(this.#t, this.proxy);
    wire.send(startupMessage(this.#user));
    return wire;
  }

  get #user() {
    return { user: 'app_trust', database: this.#cluster.user.database };
  }

  async clients(count: number): Promise<PostgresWire[]> {
    const wires: PostgresWire[] = [];
    for (let i = 0; i < count; i++) wires.push(await this.client());
    return wires;
  }

  get #node() {
    return this.proxy.proxy.counters().clusters.get('main')!.nodes.get(this.#cluster.primary.name)!;
  }

  /** Units that have been shared so far. */
  get shared(): number {
    return this.#node.sharedUnits;
  }

  /** Units that have been answered under one Sync with others. */
  get grouped(): number {
    return this.#node.groupedUnits;
  }

  /** Units that wait for a server connection. */
  get waiting(): number {
    return this.#node.poolWaiting;
  }

  /** Units that have been taken away from behind a head. */
  get moved(): number {
    return this.#node.retries['slow-head'];
  }

  /** Reads that have been run again, by why. */
  get retries() {
    return this.#node.retries;
  }

  /** The proxy runs each until it knows that it is short. */
  async learn(wire: PostgresWire, ...units: readonly (string | Buffer)[]): Promise<void> {
    for (const unit of units) {
      const before = this.shared;
      for (let i = 0; this.shared === before; i++) {
        assert.ok(i < LEARN_RUNS, `never shared: ${unit.toString('latin1')}`);
        await wire.talk(typeof unit === 'string' ? say.query(unit) : unit);
      }
    }
  }

  /** Sends and waits until all are on a shared connection. */
  async share(...units: readonly (readonly [PostgresWire, Buffer])[]): Promise<void> {
    const before = this.shared;
    for (const [wire, unit] of units) wire.send(unit);
    await until('all units are shared', () => this.shared >= before + units.length);
  }

  async lock(): Promise<void> {
    await this.#owner.do('BEGIN');
    await this.#owner.do('LOCK TABLE locked IN ACCESS EXCLUSIVE MODE');
  }

  /** In the transaction that holds the other one. */
  async alsoLock(table: string): Promise<void> {
    await this.#owner.do(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
  }

  async unlock(): Promise<void> {
    await this.#owner.do('COMMIT');
  }

  /** Backends of the application with this text in what they run now. */
  async active(text: string): Promise<Row[]> {
    return await this.#cluster.primary.admin(`
      SELECT pid, wait_event_type, wait_event, query FROM pg_stat_activity
      WHERE usename = 'app_trust' AND state = 'active' AND query LIKE '%${text}%' AND query NOT LIKE 'LOCK%'`);
  }

  admin(sql: string): Promise<Row[]> {
    return this.#cluster.primary.admin(sql);
  }

  /** A client's read stands at the head of the shared connection, and does not end before `unlock`. */
  async holdHead(): Promise<PostgresWire> {
    const wire = await this.client();
    await this.lock();
    await this.share([wire, say.query(held(1))]);
    await until('it waits for the lock', async () => (await this.active('locked')).length === 1);
    return wire;
  }
}
