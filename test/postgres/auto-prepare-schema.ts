// Auto-prepare and a schema that changes, through the proxy and past it.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { until } from '../servers/poll.js';
import type { Scene } from './auto-prepare-scene.js';
import { msg, run } from './twin.js';

/** The state before, the statement, a change, and the statement again. */
const CHANGES: readonly {
  readonly name: string;
  readonly before: string;
  readonly text: string;
  readonly values: readonly unknown[];
  readonly change: string;
  /** Other values behind the change. */
  readonly later?: readonly unknown[];
  /** Nothing tells of it but a new Parse: it is noticed at once only when it comes through the proxy. */
  readonly silent?: true;
}[] = [
  {
    name: 'a column more behind a star',
    before: 'CREATE TABLE c (id int, v text); INSERT INTO c VALUES (1, 1)',
    text: 'SELECT * FROM c WHERE id = $1',
    values: [1],
    change: 'ALTER TABLE c ADD COLUMN w int DEFAULT 5',
  },
  {
    name: 'a column of another type in the result',
    before: 'CREATE TABLE c (id int, v text); INSERT INTO c VALUES (1, 1)',
    text: 'INSERT INTO c VALUES ($1, 2) RETURNING v',
    values: [1],
    change: 'ALTER TABLE c ALTER COLUMN v TYPE int USING v::int',
  },
  {
    name: 'a parameter that was a number and is a text',
    before: "CREATE TABLE c (id int, v text); INSERT INTO c VALUES (1, 'x')",
    text: 'SELECT v FROM c WHERE id = $1',
    values: [1],
    change: 'ALTER TABLE c ALTER COLUMN id TYPE text',
    later: ['one'],
  },
  {
    name: 'a parameter of a larger type',
    before: "CREATE TABLE c (id int, v text); INSERT INTO c VALUES (1, 'x')",
    text: 'SELECT v FROM c WHERE id = $1',
    values: [1],
    change: 'ALTER TABLE c ALTER COLUMN id TYPE bigint',
    later: ['5000000000'],
  },
  {
    name: 'a parameter whose zone counts now',
    before: "CREATE TABLE c (at timestamp); INSERT INTO c VALUES ('2020-01-01 00:00')",
    text: 'SELECT count(*) FROM c WHERE at = $1',
    values: ['2020-01-01 00:00+07'],
    change: 'ALTER TABLE c ALTER COLUMN at TYPE timestamptz',
    silent: true,
  },
  {
    name: 'a table that is gone',
    before: 'CREATE TABLE c (id int, v text)',
    text: 'SELECT v, id FROM c WHERE id = $1',
    values: [1],
    change: 'DROP TABLE c',
  },
  {
    name: 'another table of the same name',
    before: 'CREATE TABLE c (id int, v text); INSERT INTO c VALUES (1, 1)',
    text: 'SELECT v FROM c WHERE id = $1',
    values: [1],
    change: 'DROP TABLE c; CREATE TABLE c (id text, v int); INSERT INTO c VALUES (1, 2)',
  },
  {
    name: 'another view of the same name',
    before: 'CREATE TABLE c (id int, v text); CREATE VIEW cv AS SELECT 1 AS a',
    text: 'SELECT a FROM cv WHERE a = $1',
    values: [1],
    change: "DROP VIEW cv; CREATE VIEW cv AS SELECT 'x'::text AS a",
    later: ['x'],
  },
];
const CLEAN = 'DROP VIEW IF EXISTS cv; DROP TABLE IF EXISTS c';

export async function schemaTests(t: TestContext, { owner, twin }: Scene): Promise<void> {
  for (const way of ['through the proxy', 'past the proxy'] as const) {
    await t.test(`the schema changes ${way}`, async (t) => {
      for (const { name, before, text, values, change, later = values, silent } of CHANGES) {
        if (silent && way === 'past the proxy') continue;
        await t.test(name, async (t) => {
          const two = await twin(t);
          await two.proxied.do(CLEAN);
          await two.proxied.do(before);
          // The catalog is read again in the middle of it, and what was prepared before is not used behind that.
          await until('it runs prepared', async () => {
            const hits = await two.hitsOf(() => two.times(9, run(text, ...values)));
            return hits >= 4;
          });
          await (way === 'through the proxy' ? two.proxied : owner).do(change);
          await two.times(3, run(text, ...later));
          await two.both(msg.parse(text), msg.describeStatement, msg.sync);
          await two.times(9, run(text, ...later));
        });
      }
    });
  }

  await t.test('the schema changes past the proxy where an error could not be healed', async (t) => {
    const two = await twin(t);
    await owner.do('CREATE TABLE past (id int, v int); INSERT INTO past VALUES (1, 1)');
    const part = (text: string) =>
      Buffer.concat([msg.parse(text), msg.bind(1), msg.describePortal, msg.execute]);
    const text = 'SELECT * FROM past WHERE id = $1';
    const first = 'SELECT v FROM t WHERE id = $1 AND 2 = 2';
    await two.times(9, run(first, 1));
    const change = async (i: number) => {
      await two.times(9, run(text, 1));
      await owner.do(`ALTER TABLE past ADD COLUMN w${i} int DEFAULT ${i}`);
    };
    await change(1);
    await two.do('BEGIN');
    await two.times(4, run(text, 1));
    await two.do('COMMIT');
    await change(2);
    await two.both(part(first), part(text), part(text), part(text), msg.sync);
    await change(3);
    await two.both(run('BEGIN'), run(text, 1), run('COMMIT'));
    await change(4);
    await two.both(part(text), part(first), msg.sync);
    await change(5);
    await two.both(msg.parse(text), msg.sync);
    await two.both(msg.bind(1), msg.describePortal, msg.execute, msg.sync);
  });

  await t.test('a function that fits better', async (t) => {
    const two = await twin(t);
    await owner.do(
      "CREATE FUNCTION fits(bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'big'::text $$",
    );
    await two.times(9, run('SELECT fits(1), $1::int', 1));
    await two.proxied.do(
      "CREATE FUNCTION fits(int) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'int'::text $$",
    );
    await two.times(9, run('SELECT fits(1), $1::int', 1));
  });

  await t.test('what changed past the proxy, and shows in no error, is noticed within moments', async (t) => {
    const two = await twin(t);
    await owner.do("CREATE TABLE later (at timestamp); INSERT INTO later VALUES ('2020-01-01 00:00')");
    const message = run('SELECT count(*) FROM later WHERE at = $1', '2020-01-01 00:00+07');
    await two.times(9, message);
    await owner.do('ALTER TABLE later ALTER COLUMN at TYPE timestamptz');
    const { takenOut } = two.counts;
    await until('a new Parse', async () => {
      // Not only the one in so many that runs unprepared.
      let same = true;
      const hits = await two.hitsOf(async () => {
        for (let i = 0; i < 4; i++) {
          const [a, b] = [await two.proxied.talk(message), await two.bare.talk(message)];
          same &&= JSON.stringify(a) === JSON.stringify(b);
        }
      });
      // Noise may take it out; then it is parsed each time.
      return same && (hits >= 2 || two.counts.takenOut > takenOut);
    });
  });

  await t.test('a schema change in a transaction, kept and undone', async (t) => {
    const two = await twin(t);
    await owner.do('CREATE TABLE tx (id int, v int); INSERT INTO tx VALUES (1, 1)');
    const message = run('SELECT * FROM tx WHERE id = $1', 1);
    await two.times(9, message);
    for (const end of ['ROLLBACK', 'COMMIT']) {
      await two.proxied.do('BEGIN');
      for (let i = 0; i < 5; i++) await two.proxied.talk(message);
      await two.proxied.do('ALTER TABLE tx ALTER COLUMN id TYPE text');
      const lines = await two.proxied.talk(run('SELECT * FROM tx WHERE id = $1', 'x'));
      assert.deepEqual(
        lines.map((line) => line[0]),
        ['1', '2', 'T', 'C', 'Z'],
      );
      await two.proxied.do(end);
      await two.times(9, message);
    }
  });
}
