// Which store, if any, a cluster's keyed watermarks are shared through, and under which name this process takes part.
// It moves no watermark.

import { hostname } from 'node:os';
import type { ClusterConfig, Config } from '../config/schema.js';
import { openRedis } from '../consistency/redis-port.js';
import { redisKeys } from '../consistency/redis-scripts.js';
import { RedisStore } from '../consistency/redis-store.js';
import type { SharedPosition, WatermarkStore } from '../consistency/watermark-store.js';
import { describeError } from '../lib/errors.js';
import type { ClusterCounters } from '../telemetry/counters.js';
import type { Log } from '../telemetry/log.js';

/** A store with its connection. */
export interface SharedWatermarks extends WatermarkStore {
  /** Resolves once clients may be served: what they are told reaches the others. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly state: { readonly state: string; readonly missing: readonly string[] };
}

export interface SharedWatermarksParts {
  readonly config: Config;
  readonly cluster: ClusterConfig;
  /** Null: this process is the only one of its proxy. */
  readonly worker: number | null;
  readonly counters: ClusterCounters;
  readonly log: Log;
  readonly ttlMs: () => number;
  readonly positionNow: (callback: (position: SharedPosition | null) => void) => void;
  readonly primary: () => string | null;
}

/** Null: nothing is configured. */
export function redisWatermarks(parts: SharedWatermarksParts): SharedWatermarks | null {
  const { redis } = parts.cluster;
  if (redis === null) return null;
  const log = parts.log.child({ part: 'redis' });
  let last = '';
  const onError = (cause: Error): void => {
    const error = describeError(cause);
    if (error !== last) log.warn({ error }, 'the connection to Redis failed');
    last = error;
  };
  return new RedisStore({
    redis: openRedis(redis, onError),
    keys: redisKeys(redis.prefix, parts.cluster.name),
    member: memberName(parts),
    leaseMs: redis.leaseMs,
    timeoutMs: redis.timeoutMs,
    ttlMs: parts.ttlMs,
    log,
    counters: parts.counters.store,
    positionNow: parts.positionNow,
    primary: parts.primary,
  });
}

/** The same after a restart, and nobody else's. */
function memberName({ config, cluster, worker }: SharedWatermarksParts): string {
  const listeners = config.listeners.filter((listener) => listener.cluster === cluster.name);
  const name = cluster.redis?.member ?? `${hostname()}:${listeners.map(({ port }) => port).join('+')}`;
  return worker === null ? name : `${name}/${worker}`;
}
