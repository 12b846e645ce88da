// The connection to Redis, whatever stands behind it: one server, a master that Sentinels name, or a Cluster.
// It knows no script; nothing is sent twice by itself, and nothing is queued while there is no connection.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { ConnectionOptions } from 'node:tls';
import type { Cluster, Redis } from 'ioredis';
import type { RedisConfig } from '../config/schema.js';

export interface RedisPort {
  eval(script: string, keys: readonly string[], values: readonly string[]): Promise<unknown>;
  /** The present connection answers no more. */
  reconnect(): void;
  close(): void;
}

const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 500;
const CONNECT_TIMEOUT_MS = 2000;

export function openRedis(config: RedisConfig, onError: (error: Error) => void): RedisPort {
  const client = create(config);
  client.on('error', onError);
  return {
    eval: (script, keys, values) => client.eval(script, keys.length, ...keys, ...values),
    reconnect: () => {
      client.disconnect(true);
    },
    close: () => client.disconnect(),
  };
}

function retryAfterMs(times: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(times, 8), MAX_RETRY_MS);
}

/** Loaded when it is needed: it takes some 10 MiB. */
const load = createRequire(import.meta.url);

function create(config: RedisConfig): Redis | Cluster {
  const { Cluster, Redis } = load('ioredis') as typeof import('ioredis');
  const options = {
    ...(config.username === null ? {} : { username: config.username }),
    ...(config.password === null ? {} : { password: config.password }),
    ...(config.tls === null ? {} : { tls: tlsOptions(config.tls) }),
    connectTimeout: CONNECT_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A demoted master answers READONLY: another one has to be found.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  };
  const nodes = config.nodes.map(({ host, port }) => ({ host, port }));
  if (config.mode === 'cluster') {
    return new Cluster(nodes, {
      redisOptions: options,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryAfterMs,
      scaleReads: 'master',
    });
  }
  const single = { ...options, db: config.database, retryStrategy: retryAfterMs };
  if (config.mode === 'sentinel') {
    const { name, username, password } = config.sentinel!;
    return new Redis({
      ...single,
      sentinels: nodes,
      name,
      role: 'master',
      sentinelRetryStrategy: retryAfterMs,
      ...(username === null ? {} : { sentinelUsername: username }),
      ...(password === null ? {} : { sentinelPassword: password }),
    });
  }
  return new Redis({ ...single, ...nodes[0]! });
}

function tlsOptions(tls: NonNullable<RedisConfig['tls']>): ConnectionOptions {
  return {
    ...(tls.ca === null ? {} : { ca: readFileSync(tls.ca) }),
    ...(tls.cert === null ? {} : { cert: readFileSync(tls.cert) }),
    ...(tls.key === null ? {} : { key: readFileSync(tls.key) }),
    ...(tls.serverName === null ? {} : { servername: tls.serverName }),
  };
}
