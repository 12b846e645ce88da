// Redis in company: a master and a replica that Sentinels watch, a Cluster, and certificates for TLS. Everything ends with its test.
// It knows no proxy; what is done to Redis leaves it well again.

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from '../../src/cli/demo/port.js';
import { type RunningPeer, startRedis, startSentinel } from './peers.js';
import { until } from './poll.js';
import { newFolder } from './root.js';

const host = '127.0.0.1';
/** A replica is there at once, not after the seconds in which others might ask for the same copy. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0'];

/** One command on a connection of its own. */
export async function ask(port: number, ...command: readonly [string, ...string[]]): Promise<unknown> {
  const redis = new Redis({ host, port, lazyConnect: true, retryStrategy: null, connectTimeout: 5_000 });
  redis.on('error', () => {});
  try {
    await redis.connect();
    const [name, ...values] = command;
    return await redis.call(name, ...values);
  } finally {
    redis.disconnect();
  }
}

async function says(peer: RunningPeer, section: string, what: RegExp): Promise<boolean> {
  return what.test(String(await ask(peer.port, 'INFO', section)));
}

async function follows(replica: RunningPeer, master: RunningPeer): Promise<boolean> {
  const info = String(await ask(replica.port, 'INFO', 'replication'));
  return info.includes(`master_port:${master.port}`) && info.includes('master_link_status:up');
}

// --- Sentinels ----------------------------------------------------------------------------------------------------

export class WatchedRedis {
  readonly sentinels: readonly RunningPeer[];
  readonly #name: string;
  #master: RunningPeer;
  #replica: RunningPeer;

  constructor(name: string, sentinels: readonly RunningPeer[], master: RunningPeer, replica: RunningPeer) {
    this.#name = name;
    this.sentinels = sentinels;
    this.#master = master;
    this.#replica = replica;
  }

  /** As an operator has it done, by the Sentinel given; the old master is a replica then. */
  async failOver(by: RunningPeer): Promise<void> {
    await until('the Sentinel to find the replica good', async () => {
      await ask(by.port, 'SENTINEL', 'FAILOVER', this.#name);
      return true;
    });
    await this.#promoted();
    // What the Sentinel does itself, ten seconds later.
    await ask(this.#replica.port, 'REPLICAOF', host, String(this.#master.port));
    await ask(this.#replica.port, 'CLIENT', 'KILL', 'TYPE', 'normal').catch(() => {});
    await until('the old master to follow', () => follows(this.#replica, this.#master));
  }

  /** They find out by themselves; it comes back as a replica. */
  async killMaster(): Promise<void> {
    const old = this.#master;
    await old.kill('SIGKILL');
    await this.#promoted();
    await old.start();
    await ask(old.port, 'REPLICAOF', host, String(this.#master.port));
    await until('it to follow', () => follows(old, this.#master));
  }

  async #promoted(): Promise<void> {
    await until('the replica to be the master', () => says(this.#replica, 'replication', /role:master/));
    [this.#master, this.#replica] = [this.#replica, this.#master];
  }
}

export async function startSentinels(t: TestContext, name: string): Promise<WatchedRedis> {
  const master = await startRedis(AT_ONCE);
  t.after(() => master.stop());
  const replica = await startRedis([...AT_ONCE, '--replicaof', host, String(master.port)]);
  t.after(() => replica.stop());
  const sentinels: RunningPeer[] = [];
  for (let i = 0; i < 3; i++) {
    const sentinel = await startSentinel(name, master.port, 2);
    t.after(() => sentinel.stop());
    sentinels.push(sentinel);
  }
  await until('them to know each other and the replica', async () => {
    for (const { port } of sentinels) {
      const others = (await ask(port, 'SENTINEL', 'SENTINELS', name)) as unknown[];
      const replicas = (await ask(port, 'SENTINEL', 'REPLICAS', name)) as unknown[];
      if (others.length !== 2 || replicas.length !== 1) return false;
    }
    return follows(replica, master);
  });
  return new WatchedRedis(name, sentinels, master, replica);
}

// --- Cluster ------------------------------------------------------------------------------------------------------

const SLOTS = 16_384;

/** Three masters, of which one has a replica: the one that has the slot that this is about. */
export class RedisCluster {
  readonly peers: readonly RunningPeer[];
  readonly #slot: string;
  readonly #others: readonly [RunningPeer, RunningPeer];
  #master: RunningPeer;
  #replica: RunningPeer;

  constructor(
    slot: string,
    master: RunningPeer,
    replica: RunningPeer,
    others: readonly [RunningPeer, RunningPeer],
  ) {
    this.#slot = slot;
    this.#master = master;
    this.#replica = replica;
    this.#others = others;
    this.peers = [master, replica, ...others];
  }

  async failOver(): Promise<void> {
    await until('the replica to be asked', async () => {
      await ask(this.#replica.port, 'CLUSTER', 'FAILOVER');
      return true;
    });
    await this.#promoted();
    await until('the old master to follow', () => follows(this.#replica, this.#master));
  }

  async killMaster(): Promise<void> {
    const old = this.#master;
    await old.kill('SIGKILL');
    await this.#promoted();
    await old.start();
    await until('it to follow', () => follows(old, this.#master));
    await this.#isWell();
  }

  async #promoted(): Promise<void> {
    await until('the replica to be the master', () => says(this.#replica, 'replication', /role:master/));
    [this.#master, this.#replica] = [this.#replica, this.#master];
    await this.#isWell();
  }

  async #isWell(): Promise<void> {
    await until('the Cluster to be well', async () => {
      for (const peer of [this.#master, ...this.#others])
        if (!/cluster_state:ok/.test(String(await ask(peer.port, 'CLUSTER', 'INFO')))) return false;
      return true;
    });
  }

  /** To another master, key by key, with a pause in the middle. */
  async moveSlot(): Promise<void> {
    const from = this.#master;
    const [to, third] = this.#others;
    const slot = this.#slot;
    const id = async (peer: RunningPeer) => String(await ask(peer.port, 'CLUSTER', 'MYID'));
    const [fromId, toId] = [await id(from), await id(to)];
    await ask(to.port, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
    await ask(from.port, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
    const keys = async () => (await ask(from.port, 'CLUSTER', 'GETKEYSINSLOT', slot, '1')) as string[];
    const move = (key: string) =>
      ask(from.port, 'MIGRATE', host, String(to.port), '', '0', '5000', 'KEYS', key);
    for (let moved = 0, [key] = await keys(); key !== undefined; [key] = await keys(), moved++) {
      await move(key);
      if (moved === 2) await sleep(300);
    }
    for (const peer of [to, from, third]) await ask(peer.port, 'CLUSTER', 'SETSLOT', slot, 'NODE', toId);
    await this.#isWell();
  }
}

/** `key`: of the slot that is moved and fails over. */
export async function startRedisCluster(t: TestContext, key: string): Promise<RedisCluster> {
  const start = async (): Promise<RunningPeer> => {
    const [port, bus] = [await freePort(), await freePort()];
    const peer = await startRedis(
      [
        ...[...AT_ONCE, '--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'],
        ...['--cluster-port', String(bus), '--cluster-node-timeout', '4000'],
        ...['--cluster-replica-validity-factor', '0', '--cluster-allow-replica-migration', 'no'],
      ],
      port,
    );
    t.after(() => peer.stop());
    buses.set(peer, bus);
    return peer;
  };
  const buses = new Map<RunningPeer, number>();
  const peers = [await start(), await start(), await start(), await start()];
  const [master, first, second, replica] = peers as [RunningPeer, RunningPeer, RunningPeer, RunningPeer];
  const slot = Number(await ask(master.port, 'CLUSTER', 'KEYSLOT', key));
  const lowest = Math.max(0, Math.min(slot - 2_000, SLOTS - 5_000));
  const ranges: readonly (readonly [RunningPeer, number, number])[] = [
    [master, lowest, lowest + 4_999],
    [first, 0, lowest - 1],
    [second, lowest + 5_000, SLOTS - 1],
  ];
  for (const [peer, from, to] of ranges)
    if (from <= to) await ask(peer.port, 'CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
  for (const [i, { port }] of peers.entries()) await ask(port, 'CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1));
  for (const peer of peers.slice(1))
    await ask(master.port, 'CLUSTER', 'MEET', host, String(peer.port), String(buses.get(peer)));
  const masterId = String(await ask(master.port, 'CLUSTER', 'MYID'));
  await until('the replica to know its master', async () => {
    await ask(replica.port, 'CLUSTER', 'REPLICATE', masterId);
    return true;
  });
  await until('the Cluster to be well', async () => {
    for (const { port } of peers) {
      const info = String(await ask(port, 'CLUSTER', 'INFO'));
      if (!info.includes('cluster_state:ok') || !info.includes('cluster_known_nodes:4')) return false;
    }
    return follows(replica, master);
  });
  return new RedisCluster(String(slot), master, replica, [first, second]);
}

// --- TLS ----------------------------------------------------------------------------------------------------------

export interface TlsFiles {
  /** Of the authority. */
  readonly ca: string;
  /** For 127.0.0.1. */
  readonly cert: string;
  readonly key: string;
}

/** An authority of its own, and a certificate of it. */
export function tlsFiles(t: TestContext): TlsFiles {
  const folder = newFolder('tls');
  mkdirSync(folder, { recursive: true });
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  writeFileSync(join(folder, 'names'), `subjectAltName=IP:${host}\n`);
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=authority');
  openssl('req', ...newKey, '-keyout', 'redis.key', '-out', 'redis.csr', '-subj', '/CN=redis');
  const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names'];
  openssl('x509', '-req', '-in', 'redis.csr', ...by, '-out', 'redis.crt');
  const [ca, cert, key] = ['ca.crt', 'redis.crt', 'redis.key'].map((name) => join(folder, name));
  return { ca: ca!, cert: cert!, key: key! };
}

/** In place of the port in the clear. */
export function tlsSettings({ ca, cert, key }: TlsFiles, port: number): string[] {
  return [
    ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
    ...['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', ca],
  ];
}
