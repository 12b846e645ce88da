// What Node's drivers for PostgreSQL do beyond the common suite: postgres.js with its pipelines and streams, pg with its events.

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TestContext } from 'node:test';
import pg from 'pg';
import postgres from 'postgres';
import { until } from '../servers/poll.js';
import { running } from './postgres-activity.js';
import type { Front, Stage } from './stage.js';

export async function driverTests(t: TestContext, stage: Stage): Promise<void> {
  const front = await stage.front(t);
  await t.test('postgres.js', (t) => postgresJs(t, stage, front));
  await t.test('pg', (t) => nodePostgres(t, stage, front));
}

async function postgresJs(t: TestContext, stage: Stage, front: Front): Promise<void> {
  const { user: username, password, database } = stage.cluster.user;
  const notices: string[] = [];
  const sql = postgres({
    ...{ host: front.proxy.host, port: front.proxy.port, username, password, database, max: 4 },
    onnotice: (notice) => notices.push(String(notice.message)),
  });
  t.after(() => sql.end({ timeout: 5 }));

  await t.test('many queries at a time over few connections', async () => {
    const ids = Array.from({ length: 200 }, (_, i) => i);
    const rows = await Promise.all(ids.map((id) => sql`SELECT ${id}::int AS id, ${String(id)} AS text`));
    assert.deepEqual(
      rows.map(([row]) => row),
      ids.map((id) => ({ id, text: String(id) })),
    );
  });

  await t.test('types: arrays, dates, JSON, bytes', async () => {
    const [row] = await sql`
      SELECT ${[1, 2, 3]}::int[] AS list, ${new Date(0)}::timestamptz AS at, ${sql.json({ a: [1] })}::jsonb AS json,
             ${Buffer.from([0, 1, 255])}::bytea AS bytes, ${null}::int AS nothing`;
    assert.deepEqual(row?.list, [1, 2, 3]);
    assert.equal(row?.at.getTime(), 0);
    assert.deepEqual(row?.json, { a: [1] });
    assert.deepEqual([...row!.bytes], [0, 1, 255]);
    assert.equal(row?.nothing, null);
  });

  await t.test('transactions and savepoints, one rolled back', async () => {
    await sql.begin(async (tx) => {
      await tx`INSERT INTO notes VALUES (901, 'kept')`;
      await tx.savepoint((inner) => inner`INSERT INTO notes VALUES (901, 'twice')`).catch(() => {});
    });
    await assert.rejects(
      sql.begin(async (tx) => {
        await tx`INSERT INTO notes VALUES (902, 'gone')`;
        throw new Error('of the application');
      }),
      /of the application/,
    );
    assert.deepEqual([...(await sql`SELECT id FROM notes WHERE id IN (901, 902) FOR SHARE`)], [{ id: 901 }]);
  });

  await t.test('an error in one of many does not touch the others', async () => {
    const results = await Promise.allSettled([
      sql`SELECT 1 AS n`,
      sql`SELECT * FROM missing_table`,
      sql`SELECT 2 AS n`,
      sql`SELECT 1 / ${0}::int`,
      sql`SELECT 3 AS n`,
    ]);
    assert.deepEqual(
      results.map((result) => (result.status === 'fulfilled' ? result.value[0]?.n : result.reason.code)),
      [1, '42P01', 2, '22012', 3],
    );
  });

  await t.test('a cursor, and describe', async () => {
    const batches: number[] = [];
    await sql`SELECT generate_series(1, 25) AS n`.cursor(10, (rows) => {
      batches.push(rows.length);
    });
    assert.deepEqual(batches, [10, 10, 5]);
    const { types } = await sql`SELECT ${1}::int AS a, ${'x'}::text AS b`.describe();
    assert.deepEqual(types, [23, 25]);
  });

  await t.test('COPY in and out as streams', async () => {
    await sql`CREATE TABLE streamed (id int, name text)`;
    const lines = Array.from({ length: 5000 }, (_, i) => `${i}\tname ${i}\n`);
    await pipeline(Readable.from(lines), await sql`COPY streamed FROM STDIN`.writable());
    // The driver may read with another connection than it wrote with, which is another session.
    await stage.cluster.waitCaughtUp();
    const chunks: Buffer[] = [];
    for await (const chunk of await sql`COPY (SELECT * FROM streamed ORDER BY id) TO STDOUT`.readable())
      chunks.push(chunk as Buffer);
    assert.equal(Buffer.concat(chunks).toString(), lines.join(''));
  });

  await t.test('LISTEN, notices, several statements, simple protocol', async () => {
    const heard: string[] = [];
    const { unlisten } = await sql.listen('channel', (payload) => heard.push(payload));
    await sql.notify('channel', 'first');
    await until('the notification', () => heard.includes('first'));
    await unlisten();
    await sql`DO ${sql.unsafe("$$ BEGIN RAISE NOTICE 'heard'; END $$")}`;
    assert.ok(notices.includes('heard'));
    const results = await sql.unsafe('SELECT 1 AS a; SELECT 2 AS b').simple();
    assert.deepEqual([[...results[0]!], [...results[1]!]], [[{ a: 1 }], [{ b: 2 }]]);
  });

  await t.test('a query that is cancelled', async (t) => {
    // On its own: after streams and errors postgres.js loses such a query with direct connections too.
    const own = postgres({
      ...{ host: front.proxy.host, port: front.proxy.port, username, password, database, max: 1 },
    });
    t.after(() => own.end({ timeout: 5 }));
    await own`SELECT 1`;
    const query = own`SELECT pg_sleep(600)`.execute();
    const answer = query.then(
      () => 'no error',
      (error: { code: string }) => error.code,
    );
    await until('it to run', async () => (await running(stage, 'pg_sleep(600)')) === 1);
    query.cancel();
    assert.equal(await answer, '57014');
  });
}

async function nodePostgres(t: TestContext, stage: Stage, front: Front): Promise<void> {
  const { user, password, database } = stage.cluster.user;
  const address = { host: front.proxy.host, port: front.proxy.port, user, password, database };

  await t.test('a pool of clients, queries queued on each', async (t) => {
    const pool = new pg.Pool({ ...address, max: 8 });
    t.after(() => pool.end());
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => pool.query('SELECT $1::int AS i', [i])),
    );
    assert.deepEqual(
      answers.map(({ rows }) => rows[0].i),
      Array.from({ length: 300 }, (_, i) => i),
    );
  });

  await t.test('notices, notifications, several results, rows as arrays, binary', async (t) => {
    const client = new pg.Client(address);
    await client.connect();
    t.after(() => client.end());
    const notices: string[] = [];
    const notifications: (string | undefined)[] = [];
    const own: boolean[] = [];
    client.on('notice', (notice) => notices.push(notice.message ?? ''));
    client.on('notification', ({ payload, processId }) => {
      notifications.push(payload);
      own.push(processId === (client as unknown as { processID: number }).processID);
    });
    await client.query("DO $$ BEGIN RAISE WARNING 'look'; END $$");
    assert.deepEqual(notices, ['look']);
    await client.query('LISTEN channel');
    const other = new pg.Client(address);
    await other.connect();
    t.after(() => other.end());
    await other.query("SELECT pg_notify('channel', 'while idle')");
    // No unit runs: it comes by itself.
    await until('the notification', () => notifications.includes('while idle'));
    await client.query("NOTIFY channel, 'by itself'");
    await until('its own', () => notifications.includes('by itself'));
    assert.deepEqual(own, [false, true]);
    await client.query('UNLISTEN *');
    const results = (await client.query('SELECT 1 AS a; SELECT 2 AS b')) as unknown as pg.QueryResult[];
    assert.deepEqual(
      results.map(({ rows }) => rows),
      [[{ a: 1 }], [{ b: 2 }]],
    );
    const arrays = await client.query({ text: 'SELECT 1, 2', rowMode: 'array' });
    assert.deepEqual(arrays.rows, [[1, 2]]);
  });
}
