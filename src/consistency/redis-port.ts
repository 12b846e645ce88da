// The connection to Redis, whatever stands behind it: one server, a master that Sentinels name, or a Cluster.
// It knows no script; nothing is queued while there is no connection, and only a Cluster's client sends anything twice.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { ConnectionOptions } from 'node:tls';
import type { Cluster, Redis } from 'ioredis';
import type { RedisConfig } from '../config/schema.js';
import { monotonicMs } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';

export interface RedisPort {
  eval(script: string, keys: readonly string[], values: readonly string[]): Promise<unknown>;
  /** The present connection answers no more. */
  reconnect(): void;
  /** Called whenever there is a connection that can be used. */
  onReady(callback: () => void): void;
  close(): void;
}

const load = createRequire(import.meta.url);

/** Loaded when it is needed: it takes some 10 MiB. */
function ioredis(): typeof import('ioredis') {
  return load('ioredis') as typeof import('ioredis');
}

const FIRST_RETRY_MS = 25;
/** Others are in doubt as long as this one is away: a refused connection costs next to nothing. */
const MAX_RETRY_MS = 200;
/** Where packets are dropped, what was sent meanwhile comes seconds after they pass again: it is sent anew. */
const CONNECT_TIMEOUT_MS = 1000;
/** From a connection to its first use. */
const HANDSHAKE_TIMEOUT_MS = 1000;
/** Of all questions to nodes of a Cluster where its slots are, before the next one is asked. */
const SLOTS_TIMEOUT_MS = 500;

export function openRedis(config: RedisConfig, onError: (error: Error) => void): RedisPort {
  return new Connection(config, onError);
}

/**
 * One client after another: a Cluster's may stay "disconnecting" for ever (an answer that names another node, come behind the
 * disconnect, puts that node where it waits for the last one to go), so none is connected anew from outside.
 */
class Connection implements RedisPort {
  readonly #config: RedisConfig;
  readonly #onError: (error: Error) => void;
  readonly #readyCallbacks: (() => void)[] = [];
  readonly #stuckMs: number;
  #client: Redis | Cluster;
  /** When this client could be used last; its beginning before that. */
  #usableMs = 0;

  constructor(config: RedisConfig, onError: (error: Error) => void) {
    this.#config = config;
    this.#onError = onError;
    this.#stuckMs = (config.nodes.length + 1) * (CONNECT_TIMEOUT_MS + HANDSHAKE_TIMEOUT_MS);
    this.#client = this.#open();
  }

  eval(script: string, keys: readonly string[], values: readonly string[]): Promise<unknown> {
    const now = monotonicMs();
    if (this.#client.status === 'ready') this.#usableMs = now;
    else if (now - this.#usableMs > this.#stuckMs) this.#replace();
    return this.#client.eval(script, keys.length, ...keys, ...values);
  }

  reconnect(): void {
    // While it looks for a master another one would begin the search anew.
    if (this.#client.status === 'ready' || this.#client.status === 'connect') this.#replace();
  }

  onReady(callback: () => void): void {
    this.#readyCallbacks.push(callback);
  }

  close(): void {
    this.#client.disconnect();
  }

  #open(): Redis | Cluster {
    this.#usableMs = monotonicMs();
    const client = create(this.#config);
    if (client instanceof ioredis().Cluster) tellCauses(client, this.#config, this.#onError);
    else client.on('error', this.#onError);
    client.on('ready', () => {
      for (const callback of this.#readyCallbacks) callback();
    });
    watchHandshake(client, () => {
      if (this.#client === client) this.reconnect();
    });
    return client;
  }

  #replace(): void {
    const old = this.#client;
    this.#client = this.#open();
    old
      .removeAllListeners('ready')
      .removeAllListeners('error')
      .on('error', () => {});
    old.disconnect();
  }
}

/** A Cluster's client says that no node has answered, and keeps to itself why: the first one is asked again, for its error alone. */
function tellCauses(client: Cluster, config: RedisConfig, onError: (error: Error) => void): void {
  const options = nodeOptions(config);
  let isAsking = false;
  client.on('error', (error: Error) => {
    if (isAsking) return;
    isAsking = true;
    const { Redis } = ioredis();
    const node = new Redis({
      ...options,
      ...config.nodes[0]!,
      lazyConnect: true,
      retryStrategy: null,
    });
    let cause: unknown = null;
    node.on('error', (first: Error) => {
      cause ??= first;
    });
    const late = setTimeout(() => node.disconnect(), CONNECT_TIMEOUT_MS + HANDSHAKE_TIMEOUT_MS);
    const done = (last: unknown): void => {
      clearTimeout(late);
      node.disconnect();
      isAsking = false;
      const why = cause ?? last;
      onError(why === null ? error : new Error(`${error.message} ${describeError(why)}`));
    };
    node.connect().then(() => done(null), done);
  });
}

/** The client itself waits for the first answers as long as the connection stands. */
function watchHandshake(client: Redis | Cluster, reconnect: () => void): void {
  let timer: NodeJS.Timeout | null = null;
  const stop = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
  };
  client.on('connect', () => {
    stop();
    timer = setTimeout(reconnect, HANDSHAKE_TIMEOUT_MS);
  });
  for (const event of ['ready', 'close', 'end']) client.on(event, stop);
}

function retryAfterMs(times: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(times, 8), MAX_RETRY_MS);
}

function create(config: RedisConfig): Redis | Cluster {
  const { Cluster, Redis } = ioredis();
  const options = nodeOptions(config);
  const tls = options.tls ?? null;
  const nodes = config.nodes.map(({ host, port }) => ({ host, port }));
  if (config.mode === 'cluster') {
    return new Cluster(nodes, {
      redisOptions: options,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryAfterMs,
      slotsRefreshTimeout: SLOTS_TIMEOUT_MS,
      scaleReads: 'master',
    });
  }
  const single = { ...options, db: config.database, retryStrategy: retryAfterMs };
  if (config.mode === 'sentinel') {
    const { name, username, password, tls: hasTls } = config.sentinel!;
    return new Redis({
      ...single,
      sentinels: nodes,
      name,
      role: 'master',
      // Without it the master would be talked to in the clear.
      enableTLSForSentinelMode: tls !== null,
      ...(tls !== null && hasTls ? { sentinelTLS: tls } : {}),
      sentinelRetryStrategy: retryAfterMs,
      // A Sentinel that accepts and says nothing is passed over.
      sentinelCommandTimeout: SLOTS_TIMEOUT_MS,
      ...(username === null ? {} : { sentinelUsername: username }),
      ...(password === null ? {} : { sentinelPassword: password }),
    });
  }
  return new Redis({ ...single, ...nodes[0]! });
}

function nodeOptions(config: RedisConfig) {
  const tls = config.tls === null ? null : tlsOptions(config.tls);
  return {
    ...(config.username === null ? {} : { username: config.username }),
    ...(config.password === null ? {} : { password: config.password }),
    ...(tls === null ? {} : { tls }),
    connectTimeout: CONNECT_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A demoted master answers READONLY: another one has to be found.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  };
}

function tlsOptions(tls: NonNullable<RedisConfig['tls']>): ConnectionOptions {
  return {
    ...(tls.ca === null ? {} : { ca: readFileSync(tls.ca) }),
    ...(tls.cert === null ? {} : { cert: readFileSync(tls.cert) }),
    ...(tls.key === null ? {} : { key: readFileSync(tls.key) }),
    ...(tls.serverName === null ? {} : { servername: tls.serverName }),
  };
}
