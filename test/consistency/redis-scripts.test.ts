// The scripts on a real Redis whose history ends: what holds under one replication id counts for nothing under the next, whatever
// data the server has.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { HELLO, LEASE, READ, redisKeys, SEPARATOR, WRITE } from '../../src/consistency/redis-scripts.js';
import { availablePeer, skipWithout } from '../servers/available.js';
import { startRedis } from '../servers/peers.js';
import { until } from '../servers/poll.js';

const { life, members, base, key } = redisKeys('test', 'main');
const POSITION = ['p', '1'].join(SEPARATOR);
const LONG_MS = 600_000;

class Scripts {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async #run(script: string, keys: readonly string[], ...values: readonly string[]): Promise<string[]> {
    return (await this.#redis.eval(script, keys.length, ...keys, ...values)) as string[];
  }

  async hello(): Promise<{ identity: string; now: number }> {
    const [what, identity, now] = await this.#run(HELLO, [life], 'a life');
    assert.equal(what, 'ok');
    return { identity: identity!, now: Number(now) };
  }

  lease(identity: string, ends: number, start = POSITION): Promise<string[]> {
    return this.#run(LEASE, [life, members, base], identity, 'one', 'instance', String(ends), start);
  }

  read(identity: string): Promise<string[]> {
    return this.#run(READ, [life, members, base, key('k')], identity, 'two');
  }

  write(identity: string): Promise<string[]> {
    return this.#run(
      WRITE,
      [life, members, key('k')],
      ...[identity, 'one', 'instance', '60000', '1', POSITION],
    );
  }
}

async function redisOf(t: TestContext): Promise<{ readonly redis: Redis; readonly port: number }> {
  const peer = await startRedis(['--repl-diskless-sync-delay', '0']);
  t.after(() => peer.stop());
  const redis = new Redis({ port: peer.port });
  t.after(() => redis.disconnect());
  return { redis, port: peer.port };
}

const skip = skipWithout(availablePeer('redis'));

test('a copy that was promoted is another one, though it has the same data', { skip }, async (t) => {
  const { redis: old, port } = await redisOf(t);
  const { redis: copy } = await redisOf(t);
  // A server changes its replication id also when it gets its first replica.
  await copy.replicaof('127.0.0.1', port);
  await until('it to follow', async () => /master_link_status:up/.test(await copy.info('replication')));
  const before = new Scripts(old);
  const { identity, now } = await before.hello();
  assert.equal((await before.lease(identity, now + LONG_MS))[0], 'new');
  assert.deepEqual(await before.write(identity), ['ok']);
  assert.equal((await before.read(identity))[0], 'ok');

  await until('the copy', async () => (await copy.exists(key('k'))) === 1);
  const after = new Scripts(copy);
  // As a replica it takes nothing and tells nothing, under whatever identity.
  assert.equal((await after.read(identity))[0], 'foreign');
  await copy.replicaof('NO', 'ONE');
  assert.equal(await copy.get(life), 'a life');

  const promoted = await after.hello();
  assert.notEqual(promoted.identity, identity);
  assert.equal((await after.lease(identity, promoted.now + LONG_MS, ''))[0], 'foreign');
  assert.equal((await after.read(identity))[0], 'foreign');
  assert.equal((await after.write(identity))[0], 'foreign');
  // The copied lease is one of the former history.
  assert.deepEqual(await after.read(promoted.identity), ['missing', 'one']);
  assert.equal((await after.lease(promoted.identity, promoted.now + LONG_MS))[0], 'ok');
  assert.equal((await after.read(promoted.identity))[0], 'ok');
  // Where the old one goes on, it goes on for those that see it.
  assert.equal((await before.read(identity))[0], 'ok');
});

test('what was emptied is another one, and what comes late is refused', { skip }, async (t) => {
  const { redis } = await redisOf(t);
  const scripts = new Scripts(redis);
  const { identity, now } = await scripts.hello();
  assert.equal((await scripts.lease(identity, now - 1))[0], 'late');
  assert.equal((await scripts.lease(identity, now + LONG_MS))[0], 'new');
  await redis.flushall();
  for (const answer of [await scripts.lease(identity, now + LONG_MS), await scripts.read(identity)])
    assert.equal(answer[0], 'foreign');
  assert.equal((await scripts.write(identity))[0], 'foreign');
});
