// One storm over one kind of server: cluster, proxy, clients and chaos together, and what came of it.
// It wires the parts; what is asked and what is broken is theirs.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../src/lib/errors.js';
import type { Kind } from '../servers/available.js';
import { startCluster, type TestCluster } from '../servers/cluster.js';
import { Chaos } from './chaos.js';
import { type Speech, StormClient } from './client.js';
import { mysqlSpeech } from './mysql-operations.js';
import { mysqlTables } from './mysql-units.js';
import { postgresSpeech } from './postgres-operations.js';
import { postgresTables } from './postgres-units.js';
import { startStormProxy } from './proxy.js';
import { Random } from './random.js';
import { Tally } from './tally.js';
import { Weather } from './unit.js';
import type { Wire } from './wire.js';

export interface StormOptions {
  readonly kind: Kind;
  readonly seconds: number;
  readonly clients: number;
  readonly seed: number;
  /** Processes of the proxy; default: one. */
  readonly workers?: number;
  /** The primary is killed too, again and again. */
  readonly failover: boolean;
  /** Goes on beyond its seconds until this is true, but not for ever. */
  readonly enough?: (tally: Tally) => boolean;
  /** Progress, a line now and then. */
  readonly say?: (line: string) => void;
}

export interface StormResult {
  readonly server: Kind;
  readonly version: string;
  readonly seed: number;
  readonly clients: number;
  readonly seconds: number;
  readonly tally: Tally;
  /** Reads that the proxy has run again, by why. */
  readonly retries: Readonly<Record<string, number>>;
}

/** Nothing but a hang takes so much longer than it should. */
const ENOUGH_WITHIN_MS = 240_000;

export async function storm(options: StormOptions): Promise<StormResult> {
  const { kind, clients, say = () => {} } = options;
  const settings =
    kind === 'postgres'
      ? { max_connections: 200 }
      : { 'max-connections': 400, 'innodb-lock-wait-timeout': 50 };
  const cluster = await startCluster(kind, { settings });
  try {
    await prepare(cluster, clients);
    const proxy = await startStormProxy(cluster, options.workers ?? 1);
    try {
      const tally = new Tally();
      const weather = new Weather();
      const { user, database } = cluster.user;
      const started = performance.now();
      const progress = setInterval(() => {
        say(
          `${kind}: ${Math.round((performance.now() - started) / 1000)} s, ${tally.total} answers, ${tally.violationCount} violations`,
        );
      }, 10_000);
      const chaos = new Chaos({
        cluster,
        proxy,
        random: new Random(options.seed),
        tally,
        weather,
        failover: options.failover,
      });
      const lives =
        kind === 'postgres'
          ? live(postgresSpeech(proxy, user, database), options, tally, weather)
          : live(mysqlSpeech(proxy, user, database), options, tally, weather);
      const raging = chaos.rage();
      const end = started + options.seconds * 1000;
      const goesOn = () => {
        const now = performance.now();
        return now < end || (now < end + ENOUGH_WITHIN_MS && options.enough?.(tally) === false);
      };
      // A storm that has found this much need not go on.
      while (goesOn() && tally.violationCount < 20 && proxy.pid !== undefined) await sleep(100);
      weather.over = true;
      clearInterval(progress);
      await Promise.all([lives, raging]);
      const seconds = Math.round((performance.now() - started) / 1000);
      const retries = await retriesOf(proxy.admin);
      const note = (what: string, got: string) =>
        tally.violation({ client: 0, kind: 'proxy', what, asked: '', got, story: [] });
      if (proxy.pid === undefined) note('the proxy has died', proxy.logTail());
      for (const line of proxy.complaints().filter((each) => /assert|internal/i.test(each)))
        note('an invariant of the proxy broke', line);
      return { server: kind, version: cluster.version, seed: options.seed, clients, seconds, tally, retries };
    } finally {
      await proxy.stop();
    }
  } finally {
    await cluster.stop();
  }
}

/** Of all nodes; none of a proxy that has died. */
async function retriesOf(admin: string): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  const metrics = await fetch(`http://${admin}/metrics`)
    .then((response) => response.text())
    .catch(() => '');
  for (const [, reason, count] of metrics.matchAll(/retries_total\{[^}]*reason="([^"]+)"[^}]*\} (\d+)/g))
    sums[reason!] = (sums[reason!] ?? 0) + Number(count);
  return sums;
}

async function prepare(cluster: TestCluster, clients: number): Promise<void> {
  const { primary, kind, user } = cluster;
  if (kind === 'postgres') await primary.admin(postgresTables(clients));
  else for (const sql of mysqlTables(clients, `'${user.user}'@'%'`)) await primary.admin(sql);
  await cluster.waitCaughtUp();
}

async function live<W extends Wire, S>(
  speech: Speech<W, S>,
  { clients, seed }: StormOptions,
  tally: Tally,
  weather: Weather,
): Promise<void> {
  const lives: Promise<void>[] = [];
  for (let number = 1; number <= clients; number++) {
    const client = new StormClient(number, speech, new Random(seed * 100_003 + number), tally, weather);
    lives.push(
      client.live().catch((error: unknown) => {
        tally.violation({
          client: number,
          kind: 'storm',
          what: 'a client ended',
          asked: '',
          got: describeError(error),
          story: [],
        });
      }),
    );
    // Not all logins in one turn.
    if (number % 20 === 0) await sleep(5);
  }
  await Promise.all(lives);
}
