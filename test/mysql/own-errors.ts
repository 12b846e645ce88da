// Errors of the proxy's own, wherever a unit is at that time: its client is told, and waits for nothing; others are answered; no
// server connection is lost to the pool. With real servers, and errors that the test plants in the running proxy.
// Run by own-errors-mysql.test.ts and own-errors-mariadb.test.ts.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import mysql from 'mysql2/promise';
import type { ConfigInput } from '../../src/config/schema.js';
import { ClientSession } from '../../src/mysql/client-session.js';
import { MysqlServerConnection } from '../../src/mysql/server-connection.js';
import { ClusterRuntime } from '../../src/proxy/cluster-runtime.js';
import { SessionPolicy } from '../../src/proxy/session-policy.js';
import { command, handshakeResponse, MysqlWire } from '../e2e/mysql-wire.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { PLANTED, type Planted, plantError, plantedInLog } from '../proxy/planted-error.js';
import { type ProxyUnderTest, startProxyFor } from '../proxy/proxy-under-test.js';
import { startCluster, type TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';

const TOLD = `ERR 1105 HY000 internal error in the proxy: ${PLANTED}`;
const LISTENER = { name: 'test', host: '127.0.0.1', port: 0, auth: 'trust' } as const;
const LEARN_RUNS = 50;

const own = (id: number): Buffer => command.query(`SELECT v FROM t WHERE id = ${id}`);
const held = (id: number): Buffer => command.query(`SELECT v FROM locked WHERE id = ${id}`);
const write = (id: number): Buffer => command.query(`UPDATE written SET v = v + 1 WHERE id = ${id}`);
const row = (value: string): string[] => ['columns v', `row ${value}`, 'EOF'];
const WRITTEN = 'OK affected=1 id=0';

type Changes = Partial<ConfigInput['clusters'][number]>;

class Scene {
  readonly proxy: ProxyUnderTest;
  readonly #t: TestContext;
  readonly #cluster: TestCluster;
  readonly #owner: mysql.Connection;

  private constructor(t: TestContext, cluster: TestCluster, proxy: ProxyUnderTest, owner: mysql.Connection) {
    this.#t = t;
    this.#cluster = cluster;
    this.proxy = proxy;
    this.#owner = owner;
  }

  static async open(t: TestContext, cluster: TestCluster, changes: Changes): Promise<Scene> {
    const { host, port } = cluster.primary;
    const { user, password, database } = cluster.user;
    const owner = await mysql.createConnection({ host, port, ...cluster.superuser, database });
    t.after(() => owner.destroy());
    const users = [{ name: user, password }];
    const proxy = await startProxyFor(cluster, { users, ...changes }, { listeners: [LISTENER] });
    t.after(() => proxy.stop());
    return new Scene(t, cluster, proxy, owner);
  }

  async clients(count: number): Promise<MysqlWire[]> {
    const { user, database } = this.#cluster.user;
    const wires: MysqlWire[] = [];
    for (let i = 0; i < count; i++) wires.push(await MysqlWire.open(this.#t, this.proxy, user, database));
    return wires;
  }

  /** It has said who it is, and waits for the answer. */
  async arrival(): Promise<MysqlWire> {
    const wire = await MysqlWire.dial(this.#t, this.proxy);
    await wire.packet();
    const { user, database } = this.#cluster.user;
    wire.write(handshakeResponse(user, database), 1);
    return wire;
  }

  get node() {
    return this.proxy.proxy.counters().clusters.get('main')!.nodes.get(this.#cluster.primary.name)!;
  }

  /** The proxy runs each by itself until it knows that it is short. */
  async learn(wire: MysqlWire, ...units: readonly Buffer[]): Promise<void> {
    for (const unit of units) {
      const before = this.node.sharedUnits;
      for (let i = 0; this.node.sharedUnits === before; i++) {
        assert.ok(i < LEARN_RUNS, `never shared: ${unit.toString('latin1')}`);
        await wire.talk(unit);
      }
    }
  }

  /** A client's read stands at the head of the shared connection until `unlock`, and others' behind it. */
  async queue(head: MysqlWire, behind: readonly MysqlWire[]): Promise<void> {
    const before = this.node.sharedUnits;
    await this.#owner.query('LOCK TABLES locked WRITE');
    head.write(held(1));
    await until('the head is shared', () => this.node.sharedUnits === before + 1);
    for (const [i, wire] of behind.entries()) wire.write(own(10 + i));
    await until('all are shared', () => this.node.sharedUnits === before + 1 + behind.length);
  }

  async unlock(): Promise<void> {
    await this.#owner.query('UNLOCK TABLES');
  }

  async isTold(wire: MysqlWire, planted: Planted): Promise<void> {
    assert.equal(await wire.reply(), TOLD);
    assert.equal(await wire.reply(), 'the connection ended');
    assert.ok(planted.isOver);
  }

  async othersGoOn(): Promise<void> {
    for (const [i, wire] of (await this.clients(3)).entries())
      assert.deepEqual(await wire.talk(own(i + 1)), row(`v${i + 1}`));
    const stacks = plantedInLog(this.proxy.lines);
    assert.equal(stacks.length, 1);
    assert.match(stacks[0]!, /\n +at /);
    assert.equal(this.proxy.proxy.counters().clusters.get('main')!.errors['internal-error'], 1);
  }
}

async function prepare({ primary, user }: TestCluster): Promise<void> {
  const values = Array.from({ length: 100 }, (_, i) => `(${i}, 'v${i}')`).join(', ');
  for (const table of ['t', 'locked']) {
    await primary.admin(`CREATE TABLE ${user.database}.${table} (id INT PRIMARY KEY, v VARCHAR(20))`);
    await primary.admin(`INSERT INTO ${user.database}.${table} VALUES ${values}`);
  }
  await primary.admin(`CREATE TABLE ${user.database}.written (id INT PRIMARY KEY, v INT)`);
  await primary.admin(`INSERT INTO ${user.database}.written VALUES (1, 0), (2, 0), (3, 0)`);
}

/** One server connection, so that whoever loses it is noticed. */
const ALONE: Changes = { pool: { maxServerConnections: 1 }, sharing: { enabled: false } };
const shared = (maxHeadMs: number): Changes => ({
  pool: { maxServerConnections: 2 },
  sharing: { ...ONE_SHARED, maxHeadMs },
});

export function ownErrorTests(kind: 'mysql' | 'mariadb'): void {
  test(`${kind}: an error of our own`, async (t) => {
    const cluster = await startCluster(kind, { replicas: 0 });
    t.after(() => cluster.stop());
    await prepare(cluster);

    await t.test('when a unit has been answered ends its client', async (t) => {
      const scene = await Scene.open(t, cluster, ALONE);
      const [wire] = await scene.clients(1);
      const planted = plantError(t, ClientSession, 'learn');
      assert.deepEqual(await wire!.talk(write(1)), [WRITTEN]);
      await scene.isTold(wire!, planted);
      await scene.othersGoOn();
    });

    await t.test('when a unit comes to be written ends its client', async (t) => {
      const scene = await Scene.open(t, cluster, ALONE);
      const [wire] = await scene.clients(1);
      const planted = plantError(t, MysqlServerConnection, 'run');
      wire!.write(write(1));
      await scene.isTold(wire!, planted);
      await scene.othersGoOn();
    });

    await t.test('behind a statement of our own ends the client for whom that was', async (t) => {
      const scene = await Scene.open(t, cluster, ALONE);
      const [wire, other] = await scene.clients(2);
      assert.match((await wire!.talk(command.query('SET SESSION max_join_size = 4711'))).join(), /^OK /);
      assert.deepEqual(await other!.talk(write(2)), [WRITTEN]);
      const planted = plantError(t, MysqlServerConnection, 'run');
      wire!.write(write(1));
      await scene.isTold(wire!, planted);
      assert.deepEqual(await other!.talk(write(2)), [WRITTEN]);
      await scene.othersGoOn();
    });

    await t.test('when a server connection comes free ends who has waited for it', async (t) => {
      const scene = await Scene.open(t, cluster, ALONE);
      const [holder, waiter] = await scene.clients(2);
      await holder!.talk(command.query('BEGIN'));
      await holder!.talk(write(1));
      waiter!.write(write(2));
      await until('it waits', () => scene.node.poolWaiting === 1);
      const planted = plantError(t, MysqlServerConnection, 'run', (_run, frames) =>
        Buffer.concat(frames as Buffer[]).includes('UPDATE'),
      );
      assert.match((await holder!.talk(command.query('COMMIT'))).join(), /^OK /);
      await scene.isTold(waiter!, planted);
      assert.deepEqual(await holder!.talk(write(1)), [WRITTEN]);
      await scene.othersGoOn();
    });

    await t.test('at a login ends who logs in', async (t) => {
      const scene = await Scene.open(t, cluster, ALONE);
      const planted = plantError(t, SessionPolicy, 'loggedIn');
      await scene.isTold(await scene.arrival(), planted);
      await scene.othersGoOn();
    });

    await t.test('at a change of user ends its client', async (t) => {
      const scene = await Scene.open(t, cluster, ALONE);
      const [wire] = await scene.clients(1);
      const planted = plantError(t, SessionPolicy, 'loggedIn');
      wire!.write(command.changeUser(cluster.user.user, cluster.user.database));
      await scene.isTold(wire!, planted);
      await scene.othersGoOn();
    });

    await t.test('at the head of a shared connection leaves those behind it their answers', async (t) => {
      const scene = await Scene.open(t, cluster, shared(10_000));
      const [teacher, head, ...behind] = await scene.clients(6);
      await scene.learn(teacher!, own(1), held(1));
      await scene.queue(head!, behind);
      const planted = plantError(t, ClientSession, 'learn');
      await scene.unlock();
      assert.deepEqual(await head!.replies(), row('v1'));
      await scene.isTold(head!, planted);
      for (const [i, wire] of behind.entries()) assert.deepEqual(await wire.replies(), row(`v${10 + i}`));
      await scene.othersGoOn();
    });

    await t.test(
      'of a unit that is taken away from behind a slow head leaves the others theirs',
      async (t) => {
        const scene = await Scene.open(t, cluster, shared(1_000));
        const [teacher, head, moved, ...behind] = await scene.clients(6);
        await scene.learn(teacher!, own(1), held(1));
        await scene.queue(head!, [moved!, ...behind]);
        const planted = plantError(t, ClusterRuntime, 'decide');
        await scene.isTold(moved!, planted);
        for (const [i, wire] of behind.entries()) assert.deepEqual(await wire.replies(), row(`v${11 + i}`));
        await scene.unlock();
        assert.deepEqual(await head!.replies(), row('v1'));
        await scene.othersGoOn();
      },
    );
  });
}
