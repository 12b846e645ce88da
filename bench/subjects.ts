// Starts what is measured: the way to the primary without a proxy, Scheelite, and its peers.
// It knows how each is started for a comparison, not what is asked of it.

import { availablePeer, type Peer } from '../test/servers/available.js';
import type { TestCluster } from '../test/servers/cluster.js';
import {
  type RunningPeer,
  startHaproxy,
  startMysqlRouter,
  startPgbouncer,
  startPgpool,
} from '../test/servers/peers.js';
import { startRelay } from './node-relay.js';
import type { CpuProfile } from './profile.js';
import type { SubjectName } from './scenarios.js';
import { nodeAsServed, startScheelite } from './scheelite.js';

export interface Subject {
  readonly name: SubjectName;
  readonly host: string;
  readonly port: number;
  /** Of the proxy; none for direct connections. */
  readonly pids: readonly number[];
  /** Errors of its own log that the load tool may not have seen. */
  complaints(): string[];
  stop(): Promise<CpuProfile[]>;
}

export interface SubjectOptions {
  /** At a time; some peers need to know. */
  readonly maxClients: number;
  /** Of Scheelite. */
  readonly workers: number | 'auto';
  readonly profile: boolean;
}

const PROGRAMS: Partial<Record<SubjectName, Peer>> = {
  pgbouncer: 'pgbouncer-1.26',
  haproxy: 'haproxy',
  pgpool: 'pgpool',
  mysqlrouter: 'mysqlrouter',
};

/** Why the subject cannot be had on this machine; null if it can. */
export function missing(name: SubjectName): string | null {
  const program = PROGRAMS[name];
  if (program === undefined) return null;
  const there = availablePeer(program);
  return there.available ? null : there.reason;
}

/** Of these a server has a process or thread for each, and room for twice as many: the last run's may still be ending. */
const MOST_DIRECT_CLIENTS = 2_000;
/** It keeps a process and a connection of every server for each, all the while: more would slow the others' runs. */
const MOST_PGPOOL_CLIENTS = 256;

function isScheelite(name: SubjectName): boolean {
  return name === 'scheelite' || name === 'scheelite-eventual' || name === 'scheelite-auto';
}

/** Whether each client of the subject is a connection of a server as well. */
export function connectsEachClient(name: SubjectName): boolean {
  return !isScheelite(name) && name !== 'pgbouncer';
}

/** Why the subject is left out with so many clients; null if it is not. */
export function tooManyClients(name: SubjectName, clients: number): string | null {
  if (!connectsEachClient(name)) return null;
  const most = name === 'pgpool' ? MOST_PGPOOL_CLIENTS : MOST_DIRECT_CLIENTS;
  return clients <= most ? null : `it needs a server connection for each client; up to ${most} are measured`;
}

function peer(name: SubjectName, running: Pick<RunningPeer, 'host' | 'port' | 'pid' | 'stop'>): Subject {
  const { host, port, pid } = running;
  return {
    ...{ name, host, port },
    pids: pid === undefined ? [] : [pid],
    complaints: () => [],
    async stop() {
      await running.stop();
      return [];
    },
  };
}

export async function startSubject(
  name: SubjectName,
  cluster: TestCluster,
  options: SubjectOptions,
): Promise<Subject> {
  const { primary } = cluster;
  switch (name) {
    case 'direct': {
      const { host, port } = primary;
      return { ...{ name, host, port }, pids: [], complaints: () => [], stop: async () => [] };
    }
    case 'scheelite':
    case 'scheelite-eventual':
    case 'scheelite-auto': {
      const running = await startScheelite(cluster, {
        profile: options.profile && name === 'scheelite',
        level: name === 'scheelite-eventual' ? 'eventual' : 'session',
        workers: name === 'scheelite-auto' ? 'auto' : options.workers,
      });
      const { host, port, pid } = running;
      return {
        ...{ name, host, port },
        pids: pid === undefined ? [] : [pid],
        complaints: () => running.complaints(),
        stop: () => running.stop(),
      };
    }
    case 'pgbouncer':
      return peer(
        name,
        await startPgbouncer(cluster, primary, {
          ...{ version: '1.26', mode: 'transaction', poolSize: 20 },
          maxClients: options.maxClients + 1_000,
        }),
      );
    case 'haproxy':
      return peer(name, await startHaproxy(primary));
    case 'pgpool':
      return peer(name, await startPgpool(cluster, options.maxClients + 10));
    case 'mysqlrouter':
      return peer(name, await startMysqlRouter(cluster));
    case 'node-relay':
      return peer(name, await startRelay(primary, ...nodeAsServed()));
  }
}
