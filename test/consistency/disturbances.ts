// What is done to replicas, primary and Redis while sessions are watched: replicas are late, stop and go on, one is far behind;
// the primary is killed once, in the middle. It knows the servers, not the sessions.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../src/lib/errors.js';
import type { Relay } from '../cluster/relay.js';
import type { TestCluster, TestNode } from '../servers/cluster.js';
import type { RunningPeer } from '../servers/peers.js';
import { until } from '../servers/poll.js';
import type { StormProxy } from '../storm/proxy.js';
import type { Random } from '../storm/random.js';
import type { Recorder } from './recorder.js';

/** It stays within `maxLagMs`, so that only what a session is owed keeps reads from it. */
const FAR_BEHIND_MS = 5_000;

export interface DisturbanceOptions {
  readonly cluster: TestCluster;
  readonly proxies: readonly StormProxy[];
  readonly random: Random;
  readonly recorder: Recorder;
  readonly redis: RunningPeer | null;
  /** Between one of the proxies and Redis. */
  readonly relay: Relay | null;
  readonly isOver: () => boolean;
}

export class Disturbances {
  readonly done: Record<string, number> = {};
  readonly #options: DisturbanceOptions;
  #primary: TestNode;
  #calm = false;
  /** What is being done to replicas now. */
  readonly #busy = new Set<Promise<void>>();

  constructor(options: DisturbanceOptions) {
    this.#options = options;
    this.#primary = options.cluster.primary;
  }

  get primary(): TestNode {
    return this.#primary;
  }

  /** With three replicas the last one is far behind before the first session begins, however soon all is over. */
  async begin(): Promise<void> {
    const { replicas } = this.#options.cluster;
    if (replicas.length > 2) await replicas.at(-1)!.delay(FAR_BEHIND_MS);
  }

  /** Until it is over; then every replica is on its way again. */
  async rage(): Promise<void> {
    const { cluster, redis, relay } = this.#options;
    await Promise.all([
      ...cluster.nodes.map((node, i) => this.#disturb(node, i)),
      ...(redis === null ? [] : [this.#disturbRedis(redis)]),
      ...(relay === null ? [] : [this.#cutOff(relay)]),
    ]);
  }

  #count(what: string): void {
    this.done[what] = (this.done[what] ?? 0) + 1;
  }

  async #disturb(node: TestNode, index: number): Promise<void> {
    const { random, isOver, cluster } = this.#options;
    const far = index === cluster.nodes.length - 1 && cluster.replicas.length > 2;
    while (!isOver()) {
      if (this.#calm || node === this.#primary) {
        await sleep(50);
        continue;
      }
      const turn = (far ? this.#farBehind(node) : this.#late(node)).catch((error: unknown) => {
        this.#count(`not done: ${describeError(error).slice(0, 80)}`);
      });
      this.#busy.add(turn);
      await turn;
      this.#busy.delete(turn);
      await sleep(random.int(10, 300));
    }
  }

  async #while(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    while (performance.now() < end && !this.#calm && !this.#options.isOver()) await sleep(10);
  }

  async #late(node: TestNode): Promise<void> {
    const { random, cluster } = this.#options;
    if (random.chance(0.6)) {
      await node.pauseReplay();
      this.#count('replay paused');
      try {
        await this.#while(random.int(20, 700));
      } finally {
        await node.resumeReplay();
      }
      return;
    }
    // MySQL and MariaDB know whole seconds only.
    const delayMs = cluster.kind === 'postgres' ? random.pick([5, 20, 100, 400]) : 1_000;
    await node.delay(delayMs);
    this.#count('replay delayed');
    try {
      await this.#while(random.int(300, 3_000));
    } finally {
      await node.delay(0);
    }
  }

  async #farBehind(node: TestNode): Promise<void> {
    await node.delay(FAR_BEHIND_MS);
    this.#count('far behind');
    try {
      await this.#while(Number.POSITIVE_INFINITY);
    } finally {
      await node.delay(0);
    }
  }

  async #disturbRedis(redis: RunningPeer): Promise<void> {
    const { random, isOver } = this.#options;
    while (!isOver()) {
      await this.#while(random.int(500, 4_000));
      if (isOver() || this.#calm) {
        await sleep(50);
        continue;
      }
      if (random.chance(0.5)) {
        // It keeps nothing on disk: it comes back empty.
        await redis.kill('SIGKILL');
        await this.#while(random.int(0, 1_500));
        await redis.start();
        this.#count('Redis killed and emptied');
      } else {
        await redis.kill('SIGSTOP');
        await this.#while(random.int(100, 3_000));
        await redis.kill('SIGCONT');
        this.#count('Redis frozen');
      }
    }
  }

  /** One proxy cannot reach Redis, and the others can. */
  async #cutOff(relay: Relay): Promise<void> {
    const { random, isOver } = this.#options;
    while (!isOver()) {
      await this.#while(random.int(500, 6_000));
      if (isOver() || this.#calm) {
        await sleep(50);
        continue;
      }
      relay.silence();
      await this.#while(random.int(50, 5_000));
      relay.open();
      this.#count('Redis cut off from one proxy');
    }
  }

  /** Kills the primary, waits for another and brings the old one back as a replica. */
  async failOver(): Promise<void> {
    const { cluster, proxies, recorder } = this.#options;
    this.#calm = true;
    await Promise.all(this.#busy);
    const old = this.#primary;
    const from = recorder.now();
    await old.kill('SIGKILL');
    const primaries = () => Promise.all(proxies.map((proxy) => proxy.status()));
    await until('another primary', async () =>
      (await primaries()).every(({ primary }) => primary !== null && primary !== old.name),
    );
    const [status] = await primaries();
    this.#primary = cluster.nodes.find((node) => node.name === status!.primary)!;
    recorder.primary = this.#primary.name;
    recorder.failover(from);
    this.#count('failovers');
    await cluster.rebuild(old, this.#primary);
    await until('all nodes take part again', async () =>
      (await primaries()).every(({ nodes }) => nodes.every((node) => node.takesReads || node.takesWrites)),
    );
    this.#calm = false;
  }
}
