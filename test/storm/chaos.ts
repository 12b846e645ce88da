// What makes the storm: kills server connections, takes locks, changes tables, freezes and restarts replicas, kills the primary.
// At most one node is away at a time; it knows the servers, not what the clients ask. What it cannot do is a violation.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../src/lib/errors.js';
import type { TestCluster, TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import type { StormProxy } from './proxy.js';
import type { Random } from './random.js';
import type { Tally } from './tally.js';
import type { Weather } from './unit.js';

interface Dialect {
  readonly serverConnections: (user: string) => string;
  readonly end: (id: string) => string;
  /** Statements of one connection; the lock is held between the first and the second. */
  readonly lock: readonly [string, string];
  /** A row for each connection that waits for a lock on a table, and whose it is. */
  readonly waiting: string;
  readonly changes: readonly string[];
}

/** Whom MySQL and MariaDB name for what they apply. */
const APPLIER = 'system user';

const postgres: Dialect = {
  serverConnections: (user) => `SELECT pid::text AS id FROM pg_stat_activity WHERE usename = '${user}'`,
  end: (id) => `SELECT pg_terminate_backend(${id})`,
  lock: ['BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE', 'COMMIT'],
  waiting: "SELECT usename AS who FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
  changes: [
    'ALTER TABLE shifty ADD COLUMN IF NOT EXISTS extra int DEFAULT 5',
    'ANALYZE items',
    'ALTER TABLE shifty DROP COLUMN IF EXISTS extra',
    'ANALYZE shifty',
  ],
};

const mysql: Dialect = {
  serverConnections: (user) =>
    `SELECT CAST(id AS CHAR) AS id FROM information_schema.processlist WHERE user = '${user}'`,
  end: (id) => `KILL ${id}`,
  lock: ['LOCK TABLES items WRITE', 'UNLOCK TABLES'],
  waiting:
    "SELECT user AS who FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'",
  changes: [
    'ALTER TABLE shifty ADD COLUMN extra INT DEFAULT 5',
    'ANALYZE TABLE items',
    'ALTER TABLE shifty DROP COLUMN extra',
    'ANALYZE TABLE shifty',
  ],
};

export interface ChaosOptions {
  readonly cluster: TestCluster;
  readonly proxy: StormProxy;
  readonly random: Random;
  readonly tally: Tally;
  readonly weather: Weather;
  readonly failover: boolean;
}

export class Chaos {
  readonly #options: ChaosOptions;
  readonly #dialect: Dialect;
  #primary: TestNode;
  /** Ends when the cluster is whole again. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Killed, and not yet back. */
  #away: TestNode | null = null;
  #change = 0;
  #comment = 0;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#dialect = options.cluster.kind === 'postgres' ? postgres : mysql;
    this.#primary = options.cluster.primary;
  }

  /** Until the storm is over and everything that was broken is whole. */
  async rage(): Promise<void> {
    const { cluster, failover } = this.#options;
    const makers = [
      this.#again(150, 900, 'server connections ended', () => this.#endConnections()),
      this.#again(300, 2_500, 'locks held', () => this.#alone(() => this.#lock())),
      this.#again(200, 2_000, 'tables changed', () => this.#alone(() => this.#changeTable())),
      this.#again(1_000, 4_000, 'replicas frozen', () => this.#alone(() => this.#freeze())),
      this.#again(2_500, 8_000, 'replicas restarted', () => this.#alone(() => this.#restart())),
    ];
    // A lock of PostgreSQL's primary is replayed on its replicas; LOCK TABLES is not.
    if (cluster.kind !== 'postgres')
      makers.push(
        this.#again(500, 3_000, 'locks held on replicas', () => this.#alone(() => this.#lockReplica())),
      );
    if (failover)
      makers.push(this.#again(15_000, 30_000, 'primaries killed', () => this.#alone(() => this.#failOver())));
    await Promise.all(makers);
  }

  /** `make` tells whether there was anything to do. */
  async #again(fromMs: number, toMs: number, name: string, make: () => Promise<boolean>): Promise<void> {
    const { random, weather, tally } = this.#options;
    for (;;) {
      const end = performance.now() + random.int(fromMs, toMs);
      while (performance.now() < end) {
        if (weather.over) return;
        await sleep(Math.min(100, Math.max(1, end - performance.now())));
      }
      if (weather.over) return;
      try {
        if (await make()) tally.count('chaos', name);
      } catch (error) {
        const got = describeError(error);
        tally.count('chaos', `${name}: not done`);
        tally.violation({ client: 0, kind: 'chaos', what: `not done: ${name}`, asked: '', got, story: [] });
      }
    }
  }

  /** One at a time of what needs a whole cluster. */
  #alone(make: () => Promise<void>): Promise<boolean> {
    const turn = this.#turn.then(async () => {
      if (this.#options.weather.over) return false;
      await make();
      return true;
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  get #replicas(): TestNode[] {
    return this.#options.cluster.nodes.filter((node) => node !== this.#primary);
  }

  async #endConnections(): Promise<boolean> {
    const { cluster, random, weather } = this.#options;
    if (weather.failingOver) return false;
    const node = random.pick(cluster.nodes);
    let ended = 0;
    const ending = async () => {
      const rows = await node.admin(this.#dialect.serverConnections(cluster.user.user));
      for (let i = random.int(1, 4); i > 0 && rows.length > 0; i--) {
        const [row] = rows.splice(random.int(0, rows.length - 1), 1);
        const done = () => ended++;
        // It may be gone already.
        await node.admin(this.#dialect.end(String(row!.id))).then(done, () => {});
      }
    };
    try {
      // A node that is frozen answers when it is thawed; nobody waits for it here.
      await Promise.race([ending(), sleep(2_000)]);
    } catch (error) {
      // One that is being restarted has no connections to end.
      if (node !== this.#away) throw error;
    }
    return ended > 0;
  }

  async #lock(): Promise<void> {
    const { cluster, random } = this.#options;
    const [take, release] = this.#dialect.lock;
    await this.#primary.admin(take);
    try {
      await this.#hold(cluster.kind === 'postgres' ? random.pick(this.#replicas) : this.#primary);
    } finally {
      await this.#primary.admin(release);
    }
  }

  /** A reader keeps a table from being changed, and all reads behind wait with the replicated change. */
  async #lockReplica(): Promise<void> {
    const replica = this.#options.random.pick(this.#replicas);
    const comment = String(++this.#comment);
    await replica.admin('BEGIN; SELECT COUNT(*) FROM items');
    try {
      await this.#primary.admin(`ALTER TABLE items COMMENT = '${comment}'`);
      await until(`a change waits for a reader on ${replica.name}`, async () =>
        (await replica.admin(this.#dialect.waiting)).some(({ who }) => who === APPLIER),
      );
      await this.#hold(replica);
    } finally {
      await replica.admin('COMMIT');
    }
    await until(`${replica.name} applies what had to wait`, async () => {
      const [row] = await replica.admin(
        "SELECT table_comment AS text FROM information_schema.tables WHERE table_schema = 'app' AND table_name = 'items'",
      );
      return row?.text === comment;
    });
  }

  /** Keeps a lock for a while, and looks on a node whether it holds up any clients. */
  async #hold(node: TestNode): Promise<void> {
    const { cluster, random, tally } = this.#options;
    const end = performance.now() + random.int(50, 500);
    let met = false;
    do {
      await sleep(20);
      if (!met) met = (await node.admin(this.#dialect.waiting)).some(({ who }) => who === cluster.user.user);
    } while (performance.now() < end);
    if (met) tally.count('chaos', `locks that held clients up on ${this.#roleOf(node)}`);
  }

  #roleOf(node: TestNode): string {
    return node === this.#primary ? 'the primary' : 'a replica';
  }

  async #changeTable(): Promise<void> {
    const { changes } = this.#dialect;
    await this.#primary.admin(changes[this.#change++ % changes.length]!);
  }

  async #freeze(): Promise<void> {
    const { random } = this.#options;
    const node = random.pick(this.#replicas);
    await node.kill('SIGSTOP');
    try {
      await sleep(random.int(100, 800));
    } finally {
      await node.kill('SIGCONT');
    }
  }

  async #restart(): Promise<void> {
    const { random, proxy } = this.#options;
    const node = random.pick(this.#replicas);
    this.#away = node;
    await node.kill('SIGKILL');
    await sleep(random.int(0, 500));
    await node.start();
    const { cluster, tally } = this.#options;
    if (cluster.kind === 'mariadb' && !(await this.#applies(node))) {
      tally.count('chaos', 'MariaDB came back and does not apply any more: rebuilt');
      await cluster.rebuild(node, this.#primary);
    }
    await until(`${node.name} takes reads again`, async () => {
      const { nodes } = await proxy.status();
      return nodes.find(({ name }) => name === node.name)?.takesReads === true;
    });
    this.#away = null;
  }

  /** A MariaDB that is killed between a DDL statement and the record of its GTID is done with replication (error 1950). */
  async #applies(node: TestNode): Promise<boolean> {
    let running = '';
    await until(`${node.name} connects to its primary`, async () => {
      const [row] = await node.admin('SHOW SLAVE STATUS');
      running = String(row?.Slave_SQL_Running);
      return running === 'No' || row?.Slave_IO_Running === 'Yes';
    });
    return running === 'Yes';
  }

  async #failOver(): Promise<void> {
    const { cluster, proxy, weather } = this.#options;
    const old = this.#primary;
    weather.failingOver = true;
    this.#away = old;
    await old.kill('SIGKILL');
    await until('another primary', async () => {
      const { primary } = await proxy.status();
      return primary !== null && primary !== old.name;
    }).catch(async (error: unknown) => {
      // The servers and the log are gone when somebody reads this.
      throw new Error(`${describeError(error)}; ${JSON.stringify(await proxy.status())}`);
    });
    const { primary } = await proxy.status();
    this.#primary = cluster.nodes.find((node) => node.name === primary)!;
    await cluster.rebuild(old, this.#primary);
    await until('all nodes take part again', async () => {
      const { nodes } = await proxy.status();
      return nodes.every((node) => node.takesReads || node.takesWrites);
    });
    // Behind it: what is answered from here on has been asked of the new primary.
    weather.epoch++;
    weather.failingOver = false;
    this.#away = null;
  }
}
