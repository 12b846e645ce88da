// One run: cluster, proxies and sessions, with replicas that are late; then its history is judged.
// It wires the parts; what sessions do, what is disturbed and what a violation is, is theirs to say.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../src/lib/errors.js';
import { Relay } from '../cluster/relay.js';
import { type Address, driverOf } from '../e2e/driver.js';
import type { Kind } from '../servers/available.js';
import { startCluster, type TestCluster, type TestNode } from '../servers/cluster.js';
import { type RunningPeer, startRedis } from '../servers/peers.js';
import { until } from '../servers/poll.js';
import { type StormProxy, startStormProxy } from '../storm/proxy.js';
import { Random } from '../storm/random.js';
import { check, type Verdict } from './checker.js';
import { Disturbances } from './disturbances.js';
import { type History, isFailover, type Level } from './history.js';
import { type Connections, OwnConnection, SharedConnections } from './pool.js';
import { proxyChanges, type Scope } from './proxy-settings.js';
import { Recorder } from './recorder.js';
import {
  ALL_LISTS,
  ALL_REGISTERS,
  ListSlots,
  listStep,
  registerStep,
  statementsOf,
  tables,
} from './tables.js';
import { Workload } from './workload.js';

export interface RunOptions {
  readonly kind: Kind;
  readonly operations: number;
  readonly sessions: number;
  readonly seed: number;
  /** Of the proxies. */
  readonly level: Level;
  /** What is demanded; default: what the proxies promise. */
  readonly demand?: Level;
  readonly scope: Scope;
  readonly proxies: number;
  readonly workers: number;
  readonly redis: boolean;
  readonly failover: boolean;
  /** Default 3, of which one stays far behind. */
  readonly replicas?: number;
  /** In place of the proxies: where connections go. */
  readonly addresses?: (cluster: TestCluster) => readonly Address[];
  /** Progress, a line now and then. */
  readonly say?: (line: string) => void;
}

export interface RunResult {
  readonly server: Kind;
  readonly version: string;
  readonly verdict: Verdict;
  readonly history: History;
  readonly failures: Readonly<Record<string, number>>;
  readonly disturbances: Readonly<Record<string, number>>;
  readonly readsOn: Readonly<Record<string, number>>;
  /** Of the reads that told where they ran. */
  readonly replicaShare: number;
  /** Values in lists that were acknowledged, and are gone with the old primary. */
  readonly lost: number;
  readonly seconds: number;
  /** What the proxies have logged as errors of their own. */
  readonly broken: readonly string[];
}

const REGISTERS = 150;
const SLOTS = 24;
/** Of sessions in turn. */
const WRITE_SHARES = [0.3, 0.05, 0.01, 0.01];
/** Of a pool, for each session. */
const CONNECTIONS_PER_SESSION = 0.5;
/** So much nobody stands still for. */
const STANDSTILL_MS = 120_000;

export async function run(options: RunOptions): Promise<RunResult> {
  const { kind, replicas = 3 } = options;
  const settings: Record<string, string | number> =
    kind === 'postgres' ? { max_connections: 300 } : { 'max-connections': 500 };
  const cluster = await startCluster(kind, { settings, replicas });
  const proxies: StormProxy[] = [];
  let redis: RunningPeer | null = null;
  let relay: Relay | null = null;
  try {
    for (const sql of tables(kind, REGISTERS)) await cluster.primary.admin(sql);
    await cluster.waitCaughtUp();
    if (options.redis) redis = await startRedis();
    if (options.addresses === undefined)
      for (let i = 0; i < options.proxies; i++) {
        // One of several reaches Redis by a way of its own, which can be cut.
        if (redis !== null && i === 1) relay = await relayTo(redis);
        const changes = proxyChanges(options, i, i === 1 && relay !== null ? relay.address : redis);
        proxies.push(await startStormProxy(cluster, options.workers, changes));
      }
    return await new Run(options, cluster, proxies, redis, relay).run();
  } finally {
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await relay?.close();
    await redis?.stop();
    await cluster.stop();
  }
}

async function relayTo(target: Address): Promise<Relay> {
  const relay = new Relay(target);
  await relay.listen();
  return relay;
}

class Run {
  readonly #options: RunOptions;
  readonly #cluster: TestCluster;
  readonly #proxies: readonly StormProxy[];
  readonly #redis: RunningPeer | null;
  readonly #relay: Relay | null;
  readonly #recorder = new Recorder();
  readonly #addresses: readonly Address[];
  #over = false;

  constructor(
    options: RunOptions,
    cluster: TestCluster,
    proxies: readonly StormProxy[],
    redis: RunningPeer | null,
    relay: Relay | null,
  ) {
    this.#options = options;
    this.#cluster = cluster;
    this.#proxies = proxies;
    this.#redis = redis;
    this.#relay = relay;
    this.#addresses = options.addresses?.(cluster) ?? proxies;
  }

  async run(): Promise<RunResult> {
    const { kind, seed, operations, failover, level, demand = level, say = () => {} } = this.#options;
    const recorder = this.#recorder;
    recorder.primary = this.#cluster.primary.name;
    const started = performance.now();
    const seconds = () => Math.round((performance.now() - started) / 1000);
    const progress = setInterval(() => say(`${seconds()} s: ${recorder.operations} operations`), 10_000);
    const disturbances = new Disturbances({
      ...{ cluster: this.#cluster, proxies: this.#proxies, recorder, redis: this.#redis, relay: this.#relay },
      random: new Random(seed),
      isOver: () => this.#over,
    });
    await disturbances.begin();
    const lives = this.#lives();
    const raging = disturbances.rage();
    try {
      await this.#until(operations / 2);
      if (failover) await disturbances.failOver();
      await this.#until(operations);
    } finally {
      this.#over = true;
      clearInterval(progress);
      await Promise.all([lives, raging]);
    }
    const took = seconds();
    await this.#readAll(disturbances.primary);
    const history: History = {
      head: { history: 1, level: demand, about: { server: kind, ...this.#options } },
      entries: recorder.entries,
    };
    say(`${took} s: ${recorder.operations} operations; now they are checked`);
    const { readsOn, failures } = recorder;
    return {
      ...{ server: kind, version: this.#cluster.version, history, failures, readsOn, seconds: took },
      verdict: check(history),
      disturbances: disturbances.done,
      replicaShare: recorder.replicaReads / Math.max(1, recorder.placedReads),
      lost: this.#lost(),
      broken: this.#proxies.flatMap((proxy) => [
        ...(proxy.pid === undefined ? [`a proxy has died: ${proxy.logTail()}`] : []),
        ...proxy.complaints().filter((line) => /assert|internal/i.test(line)),
      ]),
    };
  }

  async #until(operations: number): Promise<void> {
    const recorder = this.#recorder;
    let last = recorder.operations;
    let since = performance.now();
    while (recorder.operations < operations) {
      await sleep(20);
      if (recorder.operations !== last) {
        last = recorder.operations;
        since = performance.now();
      } else if (performance.now() - since > STANDSTILL_MS) {
        const logs = this.#proxies.map((proxy) => proxy.logTail()).join('\n');
        throw new Error(
          `nothing has been answered for ${STANDSTILL_MS} ms: ${JSON.stringify(recorder.failures)}\n${logs}`,
        );
      }
    }
  }

  async #lives(): Promise<void> {
    const { kind, sessions, scope, seed, operations } = this.#options;
    const recorder = this.#recorder;
    const driver = driverOf(kind);
    const isOver = () => this.#over;
    const connecting = {
      ...{ driver, account: this.#cluster.user, isOver },
      address: (random: Random) => random.pick(this.#addresses),
      failed: (error: unknown) => recorder.failed('login', String(driver.codeOf(error))),
    };
    const pool =
      scope === 'connection'
        ? null
        : new SharedConnections(
            { ...connecting, random: new Random(seed + 1) },
            Math.ceil(sessions * CONNECTIONS_PER_SESSION),
          );
    const slots = new ListSlots(SLOTS);
    const statements = statementsOf(kind);
    const nodes = new Map(this.#cluster.nodes.map(({ port, name }) => [String(port), name]));
    const owned: Connections[] = [];
    await Promise.all(
      Array.from({ length: sessions }, (_, i) => {
        const random = new Random(seed * 100_003 + i);
        const connections = pool ?? new OwnConnection({ ...connecting, random });
        if (pool === null) owned.push(connections);
        // Some keys are used by two at a time.
        const key = i >= sessions - (sessions >> 3) ? i - (sessions >> 3) : i;
        const workload = new Workload({
          ...{ driver, recorder, random, connections, statements, slots, isOver, registers: REGISTERS },
          name: scope === 'connection' ? ({ number }) => `c${number}` : () => `k${key}`,
          prefix: scope === 'connection' ? '' : `/* scheelite: session=k${key} */ `,
          // Most sessions read, and so have their reads on replicas even when these are late.
          writeShare: WRITE_SHARES[i % WRITE_SHARES.length]!,
          nodeAt: (port) => nodes.get(String(port)) ?? `port ${String(port)}`,
          mayGoOn: () => recorder.operations < operations,
        });
        return workload.live();
      }),
    );
    pool?.close();
    for (const each of owned) each.close();
  }

  /** At the end, straight from every node: what was acknowledged is there, and everywhere the same. */
  async #readAll(primary: TestNode): Promise<void> {
    const recorder = this.#recorder;
    await until('the replicas to catch up', async () => {
      await this.#cluster.waitCaughtUp(primary);
      return true;
    });
    for (const node of this.#cluster.nodes) {
      const start = recorder.now();
      const registers = await node.admin(ALL_REGISTERS);
      const lists = await node.admin(ALL_LISTS);
      const steps = [
        ...registers.map((row) => registerStep(Number(row.id), row)),
        ...lists.map((row) => listStep(Number(row.id), row)),
      ];
      recorder.entries.push({
        ...{ s: 'the end', at: [start, recorder.now()], do: steps, on: node.name, level: 'strong' },
      });
    }
  }

  #lost(): number {
    const { entries } = this.#recorder;
    const there = new Set<string>();
    const end = entries.at(-1);
    if (end === undefined || isFailover(end)) return 0;
    for (const step of end.do) if (step[0] === 'l') for (const value of step[2].split(',')) there.add(value);
    let lost = 0;
    for (const entry of entries) {
      if (isFailover(entry) || entry.o !== undefined) continue;
      for (const step of entry.do)
        if (step[0] === 'w' && step[1].startsWith('l') && !there.has(step[2])) lost++;
    }
    return lost;
  }
}

/** Why the run could not take place: what the proxy said of its configuration; null: it was something else. */
export function refusalOf(error: unknown): string | null {
  const text = describeError(error);
  if (!/ended while it started/.test(text)) return null;
  const line = text.split('\n').find((each) => /proxy\.config\.json:\d+:\d+: /.test(each));
  return line?.replace(/^.*proxy\.config\.json:\d+:\d+: /, '').trim() ?? null;
}
