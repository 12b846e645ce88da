// The connection to a real Redis behind TLS, alone, behind a Sentinel and as a Cluster; and what the log says where it is refused.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { freePort } from '../../src/cli/demo/port.js';
import { configFrom } from '../../src/config/resolve.js';
import type { ConfigInput } from '../../src/config/schema.js';
import { openRedis, type RedisPort } from '../../src/consistency/redis-port.js';
import { redisWatermarks } from '../../src/proxy/shared-watermarks.js';
import { clusterCounters, createCounters } from '../../src/telemetry/counters.js';
import { openLog } from '../../src/telemetry/log.js';
import { availablePeer, skipWithout } from '../servers/available.js';
import { startRedis, startSentinel } from '../servers/peers.js';
import { until } from '../servers/poll.js';
import { startRedisCluster, type TlsFiles, tlsFiles, tlsSettings } from '../servers/redis.js';

type RedisInput = NonNullable<ConfigInput['clusters'][number]['redis']>;

const skip = skipWithout(availablePeer('redis'));

function configOf(redis: RedisInput) {
  const clusters = [{ protocol: 'postgres' as const, nodes: [{ host: 'x' }], redis }];
  return configFrom({ listeners: [{}], clusters });
}

const KEY = '{a}key';

const set = (redis: RedisPort, key = KEY) =>
  redis.eval("return redis.call('SET', KEYS[1], ARGV[1])", [key], ['value']);

function opened(t: TestContext, input: RedisInput) {
  const errors: string[] = [];
  const redis = openRedis(configOf(input).clusters[0]!.redis!, ({ message }) => errors.push(message));
  t.after(() => redis.close());
  const answers = (key = KEY) =>
    until('an answer', async () => (await set(redis, key)) === 'OK', 30_000).catch((error: Error) =>
      assert.fail(`${error.message}: ${String(error.cause)}, ${errors.join()}`),
    );
  return { redis, answers };
}

/** It is spoken to; the server has no other port than that for TLS. */
const works = (t: TestContext, input: RedisInput): Promise<void> => opened(t, input).answers();

/** What the log says until it says this. */
async function complains(t: TestContext, input: RedisInput, what: RegExp): Promise<void> {
  const lines: string[] = [];
  const { log } = openLog({ level: 'info', format: 'json' }, (text) => lines.push(text));
  const config = configOf(input);
  const store = redisWatermarks({
    ...{ config, cluster: config.clusters[0]!, worker: null, log, ttlMs: () => 60_000 },
    counters: clusterCounters(createCounters(), 'main'),
    positionNow: (callback) => callback(null),
    primary: () => null,
  })!;
  t.after(() => store.stop());
  void store.start();
  await until(`the log to say ${what.source}`, () => lines.some((line) => what.test(line)), 30_000).catch(
    () => assert.fail(lines.join('')),
  );
  assert.equal(store.state.state, 'out');
}

async function overTls(t: TestContext, files: TlsFiles, more: readonly string[] = []): Promise<number> {
  const port = await freePort();
  const redis = await startRedis([...tlsSettings(files, port), ...more], port);
  t.after(() => redis.stop());
  return port;
}

test('TLS to one Redis, and what is refused', { skip }, async (t) => {
  const files = tlsFiles(t);
  const port = await overTls(t, files, ['--user', 'keys', 'on', '>secret', '~other:*', '+@all']);
  const node = { nodes: [{ port }] };
  const tls = { ca: files.ca };
  await works(t, { ...node, tls });
  await t.test('an authority that has not signed it', async (t) => {
    await complains(
      t,
      { ...node, tls: { ca: tlsFiles(t).ca } },
      /"error":"[^"]*certificate.*connection to Redis failed/,
    );
  });
  await t.test('a name that is not in the certificate', (t) =>
    complains(t, { ...node, tls: { ...tls, serverName: 'elsewhere' } }, /altnames.*elsewhere/),
  );
  await t.test('a wrong password', (t) =>
    complains(t, { ...node, tls, username: 'keys', password: 'guessed' }, /WRONGPASS/),
  );
  await t.test('a user without the rights', (t) =>
    complains(
      t,
      { ...node, tls, username: 'keys', password: 'secret' },
      /Redis cannot be used: .*(NOPERM|permission)/,
    ),
  );
});

test('TLS to a master that a Sentinel names, with TLS to the Sentinel or without', { skip }, async (t) => {
  const files = tlsFiles(t);
  const port = await overTls(t, files, ['--tls-replication', 'yes']);
  const over = ['tls-auth-clients no', 'tls-replication yes'].concat([
    `tls-cert-file ${files.cert}`,
    `tls-key-file ${files.key}`,
    `tls-ca-cert-file ${files.ca}`,
  ]);
  const hidden = await startSentinel('keys', port, 1, (own) => ['port 0', `tls-port ${own}`, ...over]);
  t.after(() => hidden.stop());
  const open = await startSentinel('keys', port, 1, (own) => [`port ${own}`, ...over]);
  t.after(() => open.stop());
  const tls = { ca: files.ca };
  for (const [sentinel, isHidden] of [
    [hidden, true],
    [open, false],
  ] as const)
    await works(t, {
      ...{ mode: 'sentinel', nodes: [{ port: sentinel.port }], tls },
      sentinel: { name: 'keys', tls: isHidden },
    });
});

test('TLS to a Cluster', { skip }, async (t) => {
  const files = tlsFiles(t);
  const bus = String(await freePort());
  const port = await overTls(t, files, [
    ...['--cluster-enabled', 'yes', '--cluster-port', bus, '--tls-cluster', 'yes'],
    // Alone, it has not heard from anybody what its address is.
    ...['--cluster-announce-ip', '127.0.0.1'],
  ]);
  const admin = new Redis({ host: '127.0.0.1', port, tls: { ca: readFileSync(files.ca) } });
  t.after(() => admin.disconnect());
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await works(t, { mode: 'cluster', nodes: [{ port }], tls: { ca: files.ca } });
  await t.test('an authority that has not signed it', (t) =>
    complains(
      t,
      { mode: 'cluster', nodes: [{ port }], tls: { ca: tlsFiles(t).ca } },
      /"error":"[^"]*certificate/,
    ),
  );
});

test('a Cluster whose answer "it has moved" comes behind the disconnect', { skip }, async (t) => {
  const cluster = await startRedisCluster(t, KEY);
  const nodes = cluster.peers.map(({ port }) => ({ port }));
  const { redis, answers } = opened(t, { mode: 'cluster', nodes });
  let ready = 0;
  redis.onReady(() => ready++);
  // To all of its nodes, so that there are connections to close.
  for (const key of [KEY, '{b}key', '{c}key', '{d}key']) await answers(key);
  await cluster.moveSlot();
  const before = ready;
  const late = set(redis).catch(() => {});
  redis.reconnect();
  await late;
  await answers();
  assert.ok(ready > before);
});
