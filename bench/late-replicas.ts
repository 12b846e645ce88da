// What each level of consistency is worth: 10 % writes over replicas that are late by so much, the share of the reads that
// replicas served, and the throughput; beside the primary alone, and sessions that stay on it for a while after a write.

import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { statementsOf, tables } from '../test/consistency/tables.js';
import { command } from '../test/e2e/mysql-wire.js';
import { say as messages } from '../test/e2e/postgres-wire.js';
import type { TestCluster, TestNode } from '../test/servers/cluster.js';
import { until } from '../test/servers/poll.js';
import { MysqlStormWire, packetOf } from '../test/storm/mysql-wire.js';
import { PostgresStormWire } from '../test/storm/postgres-wire.js';
import { type StormProxy, startStormProxy } from '../test/storm/proxy.js';
import { Random } from '../test/storm/random.js';
import { LateRelay } from './late-relay.js';
import type { Options } from './options.js';
import { POLICIES, type Policy } from './policies.js';
import { LATE_MODES, type LateMode } from './scenarios.js';
import { median, percentile } from './statistics.js';
import { aligned } from './table.js';

const WRITE_SHARE = 0.1;
/** For `bounded`. */
const BOUND_MS = 1_000;
/** For `wait`. */
const WAIT_MS = 100;
/** Of the configuration, beside the level. */
const MORE: Readonly<Record<string, object>> = { bounded: { maxLagMs: BOUND_MS }, wait: { waitMs: WAIT_MS } };
const NAMES: Readonly<Record<string, string>> = {
  primary: 'primary only',
  stick: 'stick for 3 s',
  wait: 'session, waits',
};
const STICK_MS = 3_000;
const WARM_UP_MS = 1_000;
/** A reply that does not come. */
const PATIENCE_MS = 120_000;

export interface LateRow {
  readonly mode: LateMode;
  readonly clients: number;
  readonly subject: 'scheelite';
  readonly policy: Policy;
  /** Medians over the rounds; null if any round failed. Of reads and writes together. */
  readonly qps: number | null;
  /** Of the reads. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  /** Of the reads, those that replicas served. */
  readonly replicaShare: number | null;
  /** `qps` by that of the primary alone. */
  readonly overPrimary: number | null;
  readonly failures: readonly string[];
}

interface Measured {
  readonly qps: number;
  readonly replicaShare: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

interface Cell {
  readonly clients: number;
  readonly mode: LateMode;
  readonly policy: Policy;
  readonly runs: Measured[];
  readonly failures: string[];
}

/** One client: asks, and gives the lines of the reply. */
interface Asker {
  ask(sql: string): Promise<readonly string[]>;
  die(): void;
}

async function connectTo(cluster: TestCluster, proxy: StormProxy): Promise<Asker> {
  const { user, database } = cluster.user;
  if (cluster.kind === 'postgres') {
    const wire = await PostgresStormWire.open(proxy, user, database);
    return {
      ask(sql) {
        wire.socket.write(messages.query(sql));
        return wire.reply(PATIENCE_MS);
      },
      die: () => wire.die(),
    };
  }
  const wire = await MysqlStormWire.open(proxy, user, database);
  return {
    ask(sql) {
      wire.awaits('text');
      wire.socket.write(packetOf(command.query(sql)));
      return wire.reply(PATIENCE_MS);
    },
    die: () => wire.die(),
  };
}

/** Counts between two moments. */
class Score {
  counting = false;
  over = false;
  operations = 0;
  readonly readsAt = new Map<string, number>();
  readonly readMs: number[] = [];
}

class LoadClient {
  readonly #asker: Asker;
  readonly #own: number;
  readonly #rows: number;
  readonly #random: Random;
  readonly #stickMs: number;
  readonly #thinkMs: number;
  readonly #statements: ReturnType<typeof statementsOf>;
  /** As if it had written just now: clients that have not written yet would be counted for seconds. */
  #lastWriteMs = performance.now();

  constructor(
    cluster: TestCluster,
    asker: Asker,
    own: number,
    rows: number,
    seed: number,
    stickMs: number,
    thinkMs: number,
  ) {
    this.#asker = asker;
    this.#own = own;
    this.#rows = rows;
    this.#random = new Random(seed);
    this.#stickMs = stickMs;
    this.#thinkMs = thinkMs;
    this.#statements = statementsOf(cluster.kind);
  }

  async live(score: Score): Promise<void> {
    while (!score.over) {
      if (this.#thinkMs > 0) await sleep(-Math.log(1 - this.#random.next()) * this.#thinkMs);
      const writes = this.#random.chance(WRITE_SHARE);
      const started = performance.now();
      const lines = await this.#asker.ask(writes ? this.#write() : this.#read(started));
      const wrong = lines.find((line) => /^E |^END$|^HANG$/.test(line));
      if (wrong !== undefined) throw new Error(`${writes ? 'a write' : 'a read'} was answered ${wrong}`);
      const ended = performance.now();
      if (writes) this.#lastWriteMs = ended;
      if (!score.counting) continue;
      score.operations++;
      if (writes) continue;
      const row = lines.find((line) => line.startsWith('D ')) ?? '';
      const port = row.slice(row.lastIndexOf('|') + 1);
      score.readsAt.set(port, (score.readsAt.get(port) ?? 0) + 1);
      score.readMs.push(ended - started);
    }
  }

  #write(): string {
    return filled(this.#statements.write, `'v'`, String(this.#own));
  }

  #read(now: number): string {
    const sql = filled(this.#statements.readRegister, String(this.#random.int(1, this.#rows)));
    return now - this.#lastWriteMs < this.#stickMs ? `/* scheelite: route=primary */ ${sql}` : sql;
  }
}

function filled(sql: string, ...values: readonly string[]): string {
  let n = 0;
  return sql.replaceAll('?', () => values[n++]!);
}

/** Makes the replicas late. */
interface Lateness {
  set(milliseconds: number): Promise<void>;
  stop(): Promise<void>;
}

async function latenessOf(cluster: TestCluster): Promise<Lateness> {
  if (cluster.kind === 'postgres') {
    return {
      async set(milliseconds) {
        await Promise.all(cluster.replicas.map((replica) => replica.delay(milliseconds)));
      },
      stop: async () => {},
    };
  }
  const relay = await LateRelay.start(cluster.primary);
  const statements = (port: number) =>
    cluster.kind === 'mysql'
      ? ['STOP REPLICA', `CHANGE REPLICATION SOURCE TO SOURCE_PORT = ${port}`, 'START REPLICA']
      : ['STOP SLAVE', `CHANGE MASTER TO MASTER_PORT = ${port}, MASTER_USE_GTID = slave_pos`, 'START SLAVE'];
  const follow = async (replica: TestNode) => {
    for (const statement of statements(relay.port)) await replica.admin(statement);
  };
  await Promise.all(cluster.replicas.map(follow));
  return {
    set: async (milliseconds) => relay.delay(milliseconds),
    stop: () => relay.stop(),
  };
}

function start(cluster: TestCluster, policy: Policy, workers: Options['workers']): Promise<StormProxy> {
  // `bounded` may not be built.
  const level: string = policy === 'stick' ? 'eventual' : policy === 'wait' ? 'session' : policy;
  return startStormProxy(cluster, workers === 'auto' ? availableParallelism() : workers, {
    cluster: {
      consistency: { level, ...MORE[policy] },
      routing: { readFunctions: ['node_port'] },
      // As the proxy has it by default.
      ...{ pool: {}, monitor: cluster.superuser, failover: {} },
    },
  });
}

async function measure(
  cluster: TestCluster,
  { clients, policy }: Cell,
  { seconds, thinkMs, workers }: Pick<Options, 'seconds' | 'thinkMs' | 'workers'>,
  round: number,
): Promise<Measured> {
  const proxy = await start(cluster, policy, workers);
  const askers: Asker[] = [];
  try {
    for (let i = 0; i < clients; i++) askers.push(await connectTo(cluster, proxy));
    const score = new Score();
    const stickMs = policy === 'stick' ? STICK_MS : 0;
    const lives = askers.map((asker, i) =>
      new LoadClient(cluster, asker, i + 1, clients, round * 100_003 + i, stickMs, thinkMs).live(score),
    );
    const failed = Promise.all(lives);
    const pause = (milliseconds: number) =>
      Promise.race([failed, new Promise((resolve) => setTimeout(resolve, milliseconds))]);
    await pause(WARM_UP_MS);
    score.counting = true;
    const started = performance.now();
    await pause(seconds * 1_000);
    score.counting = false;
    const took = (performance.now() - started) / 1_000;
    score.over = true;
    await failed;
    const reads = score.readMs.length;
    const onPrimary = score.readsAt.get(String(cluster.primary.port)) ?? 0;
    const sorted = Float64Array.from(score.readMs).sort();
    return {
      qps: score.operations / took,
      replicaShare: (reads - onPrimary) / reads,
      ...{ p50Ms: percentile(sorted, 0.5), p95Ms: percentile(sorted, 0.95), p99Ms: percentile(sorted, 0.99) },
    };
  } finally {
    for (const asker of askers) asker.die();
    await proxy.stop();
  }
}

export async function lateReplicas(
  options: Options,
  cluster: TestCluster,
  say: (line: string) => void,
): Promise<LateRow[]> {
  const { modes, clients, rounds, levels } = options;
  for (const sql of tables(cluster.kind, Math.max(...clients))) await cluster.primary.admin(sql);
  await cluster.waitCaughtUp();
  const lateness = await latenessOf(cluster);
  const late = LATE_MODES.filter((mode) => modes.includes(mode));
  const policies = POLICIES.filter((policy) => levels === null || levels.includes(policy));
  const cells = late.flatMap((mode) =>
    clients.flatMap((count) =>
      policies.map((policy): Cell => ({ clients: count, mode, policy, runs: [], failures: [] })),
    ),
  );
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const mode of late) {
        await lateness.set(Number.parseInt(mode, 10));
        for (const cell of cells.filter((each) => each.mode === mode)) {
          const title = `round ${round}: ${mode} behind, ${cell.clients} clients, ${cell.policy}`;
          try {
            // What the run before has written is not this one's lag.
            await until('the replicas to catch up', () => cluster.waitCaughtUp().then(() => true));
            const run = await measure(cluster, cell, options, round);
            cell.runs.push(run);
            say(
              `${title}: ${run.qps.toFixed(0)} queries/s, ${(run.replicaShare * 100).toFixed(1)} % from replicas`,
            );
          } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            cell.failures.push(`round ${round}: ${reason}`);
            say(`${title}: FAILED: ${reason}`);
          }
        }
      }
    }
  } finally {
    await lateness.set(0);
    await lateness.stop();
  }
  return cells.map((cell) => rowOf(cell, cells));
}

function rowOf(cell: Cell, cells: readonly Cell[]): LateRow {
  const { clients, mode, policy, runs, failures } = cell;
  const whole = (of: Cell) => of.failures.length === 0 && of.runs.length > 0;
  const middle = (pick: (run: Measured) => number) =>
    whole(cell) ? Number(median(runs.map(pick)).toPrecision(4)) : null;
  const primary = cells.find(
    (other) => other.policy === 'primary' && other.clients === clients && other.mode === mode,
  );
  const qps = middle((run) => run.qps);
  const alone = primary !== undefined && whole(primary) ? median(primary.runs.map((run) => run.qps)) : null;
  return {
    ...{ mode, clients, subject: 'scheelite', policy, qps, failures },
    p50Ms: middle((run) => run.p50Ms),
    p95Ms: middle((run) => run.p95Ms),
    p99Ms: middle((run) => run.p99Ms),
    replicaShare: middle((run) => run.replicaShare),
    overPrimary: qps === null || alone === null ? null : Number((qps / alone).toPrecision(3)),
  };
}

export function lateTable(rows: readonly LateRow[]): string[] {
  const text = (value: number | null, digits: number) => (value === null ? '-' : value.toFixed(digits));
  return aligned([
    ['behind', 'clients', 'policy', 'replica reads', 'queries/s', 'x primary', 'p50 ms', 'p95 ms', 'p99 ms'],
    ...rows.map((row) => [
      ...[row.mode, String(row.clients), NAMES[row.policy] ?? row.policy],
      row.replicaShare === null ? 'FAILED' : `${(row.replicaShare * 100).toFixed(1)} %`,
      ...[
        text(row.qps, 0),
        text(row.overPrimary, 2),
        text(row.p50Ms, 2),
        text(row.p95Ms, 2),
        text(row.p99Ms, 2),
      ],
    ]),
  ]);
}
