// A monitor on a real cluster of the harness: starts it, waits for pictures, writes and reads straight on the nodes.

import type { ClusterConfig, ClusterNodeConfig, FailoverSettings } from '../../src/cluster/config.js';
import type { Log } from '../../src/cluster/log.js';
import { ClusterMonitor } from '../../src/cluster/monitor.js';
import { type ClusterSnapshot, findNode, type NodeSnapshot } from '../../src/cluster/snapshot.js';
import { systemClock } from '../../src/lib/clock.js';
import { MysqlNodeControl } from '../../src/mysql/node-control.js';
import { mysqlPositions } from '../../src/mysql/position.js';
import { PostgresNodeControl } from '../../src/postgres/node-control.js';
import { postgresPositions } from '../../src/postgres/position.js';
import type { NodeAddress, NodeControl } from '../../src/protocol/node-control.js';
import type { Kind } from '../servers/available.js';
import type { TestCluster, TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';

export function controlFor(cluster: TestCluster, address: NodeAddress): NodeControl {
  const options = {
    ...cluster.superuser,
    database: cluster.kind === 'postgres' ? 'postgres' : 'mysql',
    applicationName: 'scheelite-test',
  };
  return cluster.kind === 'postgres'
    ? new PostgresNodeControl(address, options)
    : new MysqlNodeControl(address, options);
}

export const positionsOf = (kind: Kind) => (kind === 'postgres' ? postgresPositions : mysqlPositions);

export interface WatchOptions {
  readonly monitor?: Partial<ClusterConfig['monitor']>;
  readonly failover?: Partial<FailoverSettings>;
  readonly stateFile?: string;
  readonly auditFile?: string;
  /** Where the monitor reaches a node, when that is not the node's own address. */
  readonly through?: ReadonlyMap<TestNode, NodeAddress>;
  readonly nodes?: Readonly<Record<string, Partial<ClusterNodeConfig>>>;
}

export interface Watched {
  readonly monitor: ClusterMonitor;
  readonly snapshots: readonly ClusterSnapshot[];
  readonly log: readonly string[];
  node(of: TestNode): NodeSnapshot;
  /** Waits for a picture; what there is instead is in the message. */
  sees(what: string, condition: (snapshot: ClusterSnapshot) => boolean, deadlineMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export function configFor(cluster: TestCluster, options: WatchOptions = {}): ClusterConfig {
  return {
    name: 'test',
    nodes: cluster.nodes.map((node) => {
      const { host, port } = options.through?.get(node) ?? node;
      return {
        name: node.name,
        host,
        port,
        weight: 1,
        tags: {},
        mode: 'online',
        ...options.nodes?.[node.name],
      };
    }),
    monitor: {
      ...cluster.superuser,
      database: 'postgres',
      intervalMs: 100,
      timeoutMs: 1_000,
      ...options.monitor,
    },
    failover: {
      mode: 'automatic',
      probes: 3,
      blockMs: 600_000,
      maxUnappliedMs: 60_000,
      stepTimeoutMs: 10_000,
      promoteTimeoutMs: 30_000,
      ...options.failover,
    },
    stateFile: options.stateFile ?? null,
    auditFile: options.auditFile ?? null,
  };
}

export async function watch(cluster: TestCluster, options: WatchOptions = {}): Promise<Watched> {
  const lines: string[] = [];
  const snapshots: ClusterSnapshot[] = [];
  const write = (level: string) => (fields: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  };
  const log: Log = { info: write('info'), warn: write('warn'), error: write('error') };
  const monitor = new ClusterMonitor({
    config: configFor(cluster, options),
    control: (node) => controlFor(cluster, node),
    positions: positionsOf(cluster.kind),
    clock: systemClock,
    log,
  });
  monitor.onSnapshot((snapshot) => snapshots.push(snapshot));
  await monitor.start();
  return {
    monitor,
    snapshots,
    log: lines,
    node: (of) => findNode(monitor.snapshot, of.name)!,
    async sees(what, condition, deadlineMs = 60_000) {
      try {
        await until(what, () => condition(monitor.snapshot), deadlineMs);
      } catch (error) {
        const nodes = monitor.snapshot.nodes.map((node) => ({
          ...node,
          applied: node.applied?.text,
          received: node.received?.text,
        }));
        const picture = JSON.stringify({ ...monitor.snapshot, nodes }, null, 1);
        throw new Error(`${String(error)}\n${picture}\n${lines.slice(-60).join('\n')}`, { cause: error });
      }
    },
    stop: () => monitor.stop(),
  };
}

/** A numbered entry, straight on a node. */
export async function append(node: TestNode, id: number): Promise<void> {
  await node.admin(`INSERT INTO ledger (id) VALUES (${id})`);
}

export async function entries(node: TestNode): Promise<number[]> {
  const rows = await node.admin('SELECT id FROM ledger ORDER BY id');
  return rows.map((row) => Number(row.id));
}

export async function createLedger(cluster: TestCluster): Promise<void> {
  await cluster.primary.admin('CREATE TABLE ledger (id int PRIMARY KEY)');
  await cluster.waitCaughtUp();
}

/** The node receives nothing more, by its own server's means. */
export async function stopIncoming(cluster: TestCluster, node: TestNode): Promise<void> {
  if (cluster.kind === 'mysql') await node.admin('STOP REPLICA IO_THREAD');
  else if (cluster.kind === 'mariadb') await node.admin('STOP SLAVE IO_THREAD');
  else {
    await node.admin(`ALTER SYSTEM SET wal_retrieve_retry_interval = '1h'`);
    const rows = await node.admin(`SELECT current_setting('primary_conninfo') AS conninfo`);
    const broken = String(rows[0]?.conninfo).replace(/port=\S+/, 'port=1');
    await node.admin(`ALTER SYSTEM SET primary_conninfo = '${broken.replaceAll("'", "''")}'`);
    await node.admin('SELECT pg_reload_conf()');
    await until(`${node.name} receives nothing`, async () => {
      const rows = await node.admin('SELECT count(*)::int AS n FROM pg_stat_wal_receiver');
      return rows[0]?.n === 0;
    });
  }
}

/** Every replica has received what the primary has now. */
export async function receivedEverywhere(cluster: TestCluster, watched: Watched): Promise<void> {
  const control = controlFor(cluster, cluster.primary);
  const written = await control.position(5_000);
  await control.close();
  for (const replica of cluster.replicas)
    await watched.sees(`${replica.name} has received ${written.text}`, () =>
      positionsOf(cluster.kind).covers(watched.node(replica).received!, written),
    );
}

/** The applier waits for a lock until it is released; PostgreSQL: at the next change of the table's form. */
export async function holdApplier(cluster: TestCluster, node: TestNode): Promise<void> {
  if (cluster.kind !== 'postgres') await node.admin('LOCK TABLES ledger READ');
  else {
    await node.admin('BEGIN');
    await node.admin('SELECT FROM ledger');
  }
}

export async function releaseApplier(cluster: TestCluster, node: TestNode): Promise<void> {
  await node.admin(cluster.kind === 'postgres' ? 'COMMIT' : 'UNLOCK TABLES');
}

export async function delaySeconds(cluster: TestCluster, node: TestNode): Promise<number> {
  if (cluster.kind === 'postgres') {
    const rows = await node.admin(`SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'`);
    return Number(rows[0]?.setting) / 1_000;
  }
  const rows = await node.admin(cluster.kind === 'mysql' ? 'SHOW REPLICA STATUS' : 'SHOW SLAVE STATUS');
  return Number(rows[0]?.SQL_Delay);
}
