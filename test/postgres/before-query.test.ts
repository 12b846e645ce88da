// Extended messages that no Sync follows but a Query, as pgjdbc's `autosave` sends them: in a transaction block they are answered as
// the server answers them, errors and what is skipped behind them included.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serialize } from 'pg-protocol';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient, Twin } from './twin.js';

const { parse, bind, execute, describePortal, sync, query } = msg;
const flush = serialize.flush();
const ext = (sql: string, ...values: unknown[]): Buffer =>
  Buffer.concat([parse(sql), bind(...values), describePortal, execute]);

const INSERT = ext('INSERT INTO w VALUES ($1, 1)', 7);
const ANOTHER = ext('INSERT INTO w VALUES ($1, 1)', 8);
const FAILS = ext('SELECT 1 / $1::int', 0);
const SAVEPOINT = query('SAVEPOINT a');
const COUNT = query('SELECT count(*), sum(id) FROM w');

/** What is said, and how many times the server is ready in it. */
const STORIES: readonly (readonly [string, number, readonly Buffer[]])[] = [
  ['autosave', 2, [ext('BEGIN'), SAVEPOINT, INSERT, sync]],
  [
    'autosave, statement by statement',
    4,
    [ext('BEGIN'), SAVEPOINT, INSERT, SAVEPOINT, ANOTHER, SAVEPOINT, sync],
  ],
  ['in a transaction', 3, [query('BEGIN'), INSERT, COUNT, sync]],
  ['in one that has begun', 5, [query('BEGIN'), COUNT, INSERT, COUNT, ext('SELECT 1'), sync, COUNT]],
  ['a READ ONLY one', 3, [query('START TRANSACTION READ ONLY'), ext('SELECT 1'), COUNT, sync]],
  ['an error, and what is skipped', 2, [query('BEGIN'), FAILS, COUNT, INSERT, sync]],
  ['an error behind BEGIN', 1, [ext('BEGIN'), FAILS, SAVEPOINT, INSERT, sync]],
  ['an error of Parse', 2, [query('BEGIN'), parse('SELEC'), COUNT, sync]],
  ['an error of the query', 3, [query('BEGIN'), INSERT, query('SELEC'), sync]],
  ['in a failed transaction', 3, [query('BEGIN'), query('SELEC'), INSERT, COUNT, sync]],
  ['behind Flush', 4, [query('BEGIN'), INSERT, flush, COUNT, ext('SELECT 2'), flush, COUNT, sync]],
  ['an error behind Flush', 2, [query('BEGIN'), INSERT, flush, FAILS, COUNT, sync]],
  ['only bound', 3, [query('BEGIN'), parse('SELECT 1'), bind(), COUNT, sync]],
  ['a setting', 3, [query('BEGIN'), ext("SET work_mem = '99kB'"), query('SHOW work_mem'), sync]],
  ['savepoints', 3, [query('BEGIN'), ext('SAVEPOINT b'), query('ROLLBACK TO b'), sync]],
];

test('PostgreSQL: a Query in the middle of a batch', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  await (await asSuperuser(t, cluster)).do(`GRANT CREATE ON DATABASE ${cluster.user.database} TO app_trust`);
  const owner = await RawClient.open(t, cluster.primary, cluster.user.database);
  await Twin.createApart(owner);
  for (const side of ['proxied', 'bare']) await owner.do(`INSERT INTO ${side}.w VALUES (1, 1)`);
  await cluster.waitCaughtUp();
  const proxy = await front(t, cluster);

  for (const [name, readies, story] of STORIES)
    for (const end of ['COMMIT', 'ROLLBACK'])
      await t.test(`${name}, ${end}`, async (t) => {
        // What the story before has taken away is gone on the replica too.
        await cluster.waitCaughtUp();
        const two = await Twin.openApart(t, cluster, proxy);
        await two.both(COUNT);
        const told = await two.bothUntil(readies, ...story);
        assert.ok(told.length > 3, told.join('\n'));
        await two.do(end);
        await two.both(COUNT);
        await two.do('SHOW work_mem');
        await two.do('DELETE FROM w WHERE id > 1');
      });

  await t.test('the same for settings of the proxy', async (t) => {
    const two = await Twin.openApart(t, cluster, proxy);
    const own = ext("SET scheelite.consistency = 'eventual'");
    await two.proxied.do('BEGIN');
    await two.proxied.talkUntil(2, own, query('SHOW scheelite.consistency'), sync);
    await two.proxied.do('COMMIT');
    assert.equal(await two.proxied.value('SHOW scheelite.consistency'), 'eventual');
  });

  await t.test('outside a transaction both would be one: refused', async (t) => {
    const two = await Twin.openApart(t, cluster, proxy);
    const { wire } = two.proxied;
    wire.send(INSERT, query('SELECT 1 / 0'), sync);
    const lines = await wire.closed();
    assert.match(lines.join('\n'), /08P01.*Query or FunctionCall between an extended message and its Sync/);
    assert.equal(await owner.value('SELECT count(*) FROM proxied.w'), '1');
  });
});
