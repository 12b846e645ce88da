// What stands in a pipeline of messages beside statements that run: names, portals, DEALLOCATE, Close and COPY at their place,
// what is prepared and never run, errors in between. Each is answered as the server itself answers it; then histories at random.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serialize } from 'pg-protocol';
import { say } from '../e2e/postgres-wire.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { play, shorten } from './pipelines/play.js';
import { openStand } from './pipelines/scene.js';
import { msg, RawClient, Twin } from './twin.js';

const SEED = 11;
const { query, sync, execute, describePortal } = msg;
const batch = (...messages: Buffer[]): Buffer => Buffer.concat([...messages, sync]);
const q = (...texts: string[]): Buffer[] => texts.map((text) => query(text));
const closePortal = serialize.close({ type: 'P', name: '' });
const COUNT = 'SELECT count(*), sum(v) FROM w';

/** Each unit by itself, one after the other. */
const HISTORIES: readonly (readonly [string, readonly Buffer[]])[] = [
  [
    'an unnamed statement ends with the Parse of another that fails',
    [
      batch(say.parse('', 'INSERT INTO w VALUES (1, 1)'), say.bind(''), execute),
      batch(say.parse('', 'SELEC')),
      batch(say.bind(''), execute),
      ...q(COUNT),
    ],
  ],
  [
    'errors name a statement as the client does',
    [
      batch(say.parse('mine', 'SELECT $1::int')),
      batch(say.bind('mine'), execute),
      batch(say.parse('mine', 'SELECT 1')),
      batch(say.parse('mine', 'SELEC 1')),
    ],
  ],
  [
    'DISCARD ALL, and an error behind it: what is set is gone all the same',
    [
      ...q("SET work_mem = '125kB'"),
      batch(say.parse('', 'DISCARD ALL'), say.bind(''), execute, say.bind('nobody'), execute),
      ...q('SHOW work_mem', "SET work_mem = '126kB'", 'SHOW work_mem'),
    ],
  ],
  [
    'SET that is only prepared',
    [
      batch(say.parse('s', "SET work_mem = '123kB'")),
      ...q('SHOW work_mem'),
      batch(say.bind('s')),
      ...q('SHOW work_mem'),
      batch(say.bind('s'), execute),
      ...q('SHOW work_mem'),
    ],
  ],
  [
    'COMMIT that is prepared before it runs',
    [
      ...q('BEGIN', "SET work_mem = '124kB'"),
      batch(say.parse('', 'COMMIT'), say.describeStatement('')),
      batch(say.bind(''), execute),
      ...q('SHOW work_mem', 'BEGIN', 'ROLLBACK', 'SHOW work_mem'),
    ],
  ],
  [
    'DISCARD ALL and DEALLOCATE ALL that are prepared before they run',
    [
      batch(say.parse('kept', 'SELECT 1')),
      batch(say.parse('all', 'DEALLOCATE ALL'), say.describeStatement('all')),
      batch(say.bind('kept'), execute),
      batch(say.bind('all'), execute),
      batch(say.bind('kept'), execute),
      batch(say.parse('', 'DISCARD ALL'), say.describeStatement('')),
      batch(say.bind(''), execute),
    ],
  ],
  [
    'a portal that runs in the unit after it was bound',
    [
      ...q('BEGIN', 'SELECT 1'),
      batch(say.parse('', "SET work_mem = '125kB'"), say.bind('', [], 'p')),
      batch(say.execute(0, 'p')),
      ...q('COMMIT', 'SHOW work_mem'),
    ],
  ],
  [
    'DEALLOCATE ALL in the middle of a batch',
    [
      batch(say.parse('a', 'SELECT 1')),
      batch(
        say.parse('', 'DEALLOCATE ALL'),
        say.bind(''),
        execute,
        say.parse('b', 'SELECT 2'),
        say.bind('b'),
        execute,
      ),
      batch(say.bind('b'), execute),
      batch(say.bind('a'), execute),
      batch(say.parse('a', 'SELECT 1')),
    ],
  ],
  [
    'DEALLOCATE ALL, and an error behind it',
    [
      batch(say.parse('a', 'SELECT 1'), say.parse('i', 'INSERT INTO w VALUES (2, 1)')),
      batch(say.parse('', 'DEALLOCATE ALL'), say.bind(''), execute, say.parse('', 'SELEC')),
      batch(say.bind('i'), execute),
      batch(say.parse('i', 'INSERT INTO w VALUES (2, 1)'), say.bind('i'), execute),
      ...q('DEALLOCATE ALL; SELECT 1 / 0'),
      batch(say.bind('i'), execute),
      ...q(COUNT),
    ],
  ],
  [
    'DEALLOCATE of one in a batch',
    [
      batch(say.parse('a', 'SELECT 1')),
      batch(say.parse('', 'DEALLOCATE a'), say.bind(''), describePortal, execute, say.parse('a', 'SELECT 2')),
      batch(say.bind('a'), execute),
      batch(say.parse('', 'DEALLOCATE b'), say.bind(''), execute),
    ],
  ],
  [
    'Close without Sync before a Query',
    [
      batch(say.parse('a', 'SELECT 1')),
      Buffer.concat([say.close('a'), closePortal, query('SELECT 1')]),
      ...q('BEGIN', 'SELECT 1'),
      batch(say.parse('', 'SELECT 1'), say.bind('', [], 'p')),
      Buffer.concat([serialize.close({ type: 'P', name: 'p' }), query('SELECT 2')]),
      batch(say.execute(0, 'p')),
      ...q('ROLLBACK'),
      batch(say.parse('a', 'SELECT 3')),
      Buffer.concat([closePortal, query('BEGIN')]),
      Buffer.concat([closePortal, query('DEALLOCATE a')]),
      ...q('COMMIT'),
    ],
  ],
  [
    'the data of a COPY in one batch with it',
    [
      batch(
        say.parse('', 'COPY w FROM STDIN'),
        say.bind(''),
        execute,
        say.copyData('50\t1\n'),
        say.copyData('51\t1\n'),
        say.copyDone(),
      ),
      batch(say.parse('', 'COPY w FROM STDIN'), say.bind(''), execute, say.copyFail('enough')),
      batch(
        say.parse('', 'COPY w TO STDOUT'),
        say.bind(''),
        execute,
        say.copyData('52\t1\n'),
        say.copyDone(),
      ),
      batch(
        say.parse('', 'COPY w FROM STDIN'),
        say.bind(''),
        execute,
        say.flush(),
        say.copyData('53\t1\n'),
        say.copyDone(),
      ),
      ...q(COUNT),
    ],
  ],
  [
    'a first unit that ends the transaction and fails',
    q('BEGIN', 'COMMIT; SELECT 1 / 0', 'SELECT 1', 'INSERT INTO w VALUES (60, 1)', COUNT),
  ],
  [
    'a COMMIT that is only prepared, in a READ ONLY transaction',
    [
      ...q('BEGIN READ ONLY', 'SELECT 1'),
      batch(say.parse('c', 'COMMIT'), say.parse('', 'INSERT INTO w VALUES (61, 1)')),
      ...q('SELECT 2', 'COMMIT'),
    ],
  ],
  [
    'a Parse in a failed transaction',
    [
      batch(say.parse('a', 'SELECT 1')),
      batch(say.close('a')),
      ...q('BEGIN', 'SELECT 1 / 0'),
      batch(say.parse('a', 'SELECT 1')),
      batch(say.parse('r', 'ROLLBACK')),
      batch(say.bind('r'), execute),
      batch(say.parse('a', 'SELECT 1'), say.bind('a'), execute),
    ],
  ],
  [
    'a name whose statement could not be parsed is free',
    [
      ...q('CREATE TABLE came (a int)'),
      batch(say.parse('c', 'SELECT count(a) FROM came')),
      batch(say.close('c')),
      ...q('DROP TABLE came'),
      batch(say.parse('c', 'SELECT count(a) FROM came'), say.describeStatement('c')),
      ...q('CREATE TABLE came (a text)'),
      batch(say.parse('c', 'SELECT count(a) FROM came'), say.describeStatement('c'), say.bind('c'), execute),
      ...q('DROP TABLE came'),
    ],
  ],
  [
    'what is parsed after a change of the schema has the types of that moment',
    [
      ...q('CREATE TABLE came (a int)'),
      batch(say.parse('c', 'SELECT count(*) FROM came WHERE a = $1'), say.describeStatement('c')),
      batch(say.close('c')),
      ...q('ALTER TABLE came ALTER a TYPE text'),
      batch(
        say.parse('c', 'SELECT count(*) FROM came WHERE a = $1'),
        say.describeStatement('c'),
        say.bind('c', ['x']),
        execute,
      ),
      ...q('DROP TABLE came'),
    ],
  ],
  [
    'what was described keeps its types where it has to be parsed again',
    [
      ...q('CREATE TABLE came (a int)'),
      batch(say.parse('c', 'SELECT count(*) FROM came WHERE a = $1'), say.describeStatement('c')),
      ...q('ALTER TABLE came ALTER a TYPE bigint'),
      ...q('BEGIN'),
      batch(say.bind('c', ['1']), execute, say.describeStatement('c')),
      ...q('COMMIT'),
      batch(say.bind('c', ['1']), execute, say.describeStatement('c')),
      ...q('DROP TABLE came'),
    ],
  ],
  [
    'a transaction that a server never knew of, and what follows its ROLLBACK in one text',
    q('BEGIN', 'SELEC', 'ROLLBACK AND CHAIN', 'ROLLBACK'),
  ],
  [
    'settings, and a text that ends their transaction and begins another',
    q('BEGIN', "SET work_mem = '126kB'", 'COMMIT; BEGIN', 'ROLLBACK', 'SHOW work_mem'),
  ],
  [
    'settings, and a text that commits and fails',
    q('BEGIN', "SET work_mem = '127kB'", 'COMMIT; SELECT 1; SELECT 1 / 0', 'SHOW work_mem'),
  ],
];

test('PostgreSQL: pipelines', { skip: skipWithout(available('postgres')) }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const owner = await RawClient.open(t, cluster.primary, database);
  await (await asSuperuser(t, cluster)).do('GRANT ALL ON SCHEMA public TO app_trust');
  await (await asSuperuser(t, cluster)).do(`GRANT CREATE ON DATABASE ${database} TO app_trust`);
  await Twin.createApart(owner);
  const proxy = await front(t, cluster, {
    pool: { maxServerConnections: 2 },
    routing: { splitReads: false },
  });

  for (const [name, units] of HISTORIES)
    await t.test(name, async (t) => {
      const two = await Twin.openApart(t, cluster, proxy);
      for (const unit of units) await two.both(unit);
      two.proxied.wire.socket.destroy();
      // What was left on the server connection is not the next client's.
      const next = await RawClient.open(t, proxy, database);
      for (let i = 0; i < 4; i++) assert.equal(await next.value('SHOW work_mem'), '4MB');
    });
});

test('PostgreSQL: what a failed statement has got its session all the same', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 0 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const proxy = await front(t, cluster, { pool: { maxServerConnections: 1 } });

  await t.test('a lock of the session ends with its client', async (t) => {
    const client = await RawClient.open(t, proxy, database);
    const lines = await client.talk(query('SELECT pg_advisory_lock(77), 1 / (random() * 0)::int'));
    assert.ok(
      lines.some((line) => /^E .*22012/.test(line)),
      String(lines),
    );
    client.wire.socket.destroy();
    const locks = async (): Promise<unknown> =>
      (await cluster.primary.admin(`SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory'`))[0]!
        .n;
    await until('the lock to be gone', async () => (await locks()) === 0);
  });

  await t.test("a statement that was prepared by its text is not the next client's", async (t) => {
    const client = await RawClient.open(t, proxy, database);
    await client.talk(batch(say.parse('', 'PREPARE mine AS SELECT 1'), say.bind(''), execute, execute));
    client.wire.socket.destroy();
    const next = await RawClient.open(t, proxy, database);
    await next.do('PREPARE mine AS SELECT 2');
    assert.equal(await next.value('EXECUTE mine'), '2');
  });
});

test('PostgreSQL: pipelines at random', { skip: skipWithout(available('postgres')) }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const stand = await openStand(cluster);
  t.after(() => stand.proxy.stop());
  // Others: pipelines/main.ts.
  const seed = SEED;
  const played = await play(stand, { seed, clients: 8, bursts: 25, seconds: 8, maxDifferences: 1 });
  t.diagnostic(
    `seed ${seed}: ${played.histories} histories, ${played.messages} messages${played.died ? ', and the server crashed' : ''}`,
  );
  const [first] = played.differences;
  if (first !== undefined) assert.fail(`seed ${seed}\n${(await shorten(stand, first)).text}`);
});
