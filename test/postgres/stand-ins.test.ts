// Simple queries that differ only in integers run as prepared statements, and nobody can tell: what comes back is, byte by byte,
// what the server answers without a proxy.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { Random } from '../storm/random.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { autoPrepareCounts, msg, RawClient, Twin } from './twin.js';

const SEED = Number(process.env.SCHEELITE_SEED ?? 4117);
const SHAPES = Number(process.env.SCHEELITE_SHAPES ?? 400);
const { query } = msg;

const COLUMNS: readonly (readonly [name: string, type: string, values: readonly string[]])[] = [
  ['id', 'int', ['1', '2', '3', '4', '5', '6']],
  ['i2', 'smallint', ['1', '2', '2', '3', 'NULL', '7']],
  ['i8', 'bigint', ['1', '3000000000', '2', '2', 'NULL', '0']],
  ['n', 'numeric(6,2)', ['1', '2.5', '2', '0', 'NULL', '9999.99']],
  ['f', 'float8', ['1', '2.5', "'NaN'", "'-0'", 'NULL', '2']],
  ['o', 'oid', ['1', '2', '3', '4', 'NULL', '4000000000']],
  ['t', 'text', ["'1'", "'a'", "'it''s'", "''", 'NULL', "'\u00e9'"]],
  ['b', 'bool', ['true', 'false', 'NULL', 'true', 'false', 'true']],
  ['d', 'date', ["'2000-01-01'", "'infinity'", 'NULL', "'2000-01-02'", "'1999-12-31'", "'2000-01-01'"]],
  ['m', 'money', ['1', '2', '3', 'NULL', '0', '1']],
  ['a', 'int[]', ["'{1,2}'", "'{}'", 'NULL', "'{3}'", "'{1}'", "'{2}'"]],
  ['p', 'positive', ['1', '2', '3', '4', 'NULL', '5']],
  ['e', 'mood', ["'sad'", "'glad'", 'NULL', "'sad'", "'sad'", "'glad'"]],
  ['c', '"char"', ["'1'", "'2'", 'NULL', "'3'", "'1'", "'1'"]],
];
const INTEGERS = ['0', '1', '2', '3', '4', '5', '7', '007', '999999999', '32767', '32768'];
const OTHERS = [
  '-1',
  '- 2',
  '1.0',
  '2.5',
  '1e1',
  '2147483647',
  '2147483648',
  '3000000000',
  '0x2',
  "'1'",
  'NULL',
];

/** A query with `?` where a number comes, so that it can be asked with several. */
function shape(random: Random): string {
  const names = COLUMNS.map(([name]) => name);
  // Most columns that are compared are numbers: the others give errors.
  const compared = () => random.pick(random.chance(0.8) ? ['id', 'i2', 'i8', 'n', 'f', 'o', 'p'] : names);
  const condition = (depth: number): string => {
    if (depth > 0 && random.chance(0.4)) {
      const both = `${condition(depth - 1)} ${random.pick(['AND', 'OR'])} ${condition(depth - 1)}`;
      return random.pick([both, `(${both})`, `NOT (${both})`]);
    }
    const operator = random.pick(['=', '=', '=', '<', '>', '<=', '>=', '<>', '!=', '=?']);
    const prefix = random.pick(['', '', 'x.', 'nowhere.x.']);
    if (random.chance(0.05)) return `${compared()} IS NULL`;
    if (random.chance(0.05)) return `${compared()} IN (?, ?)`;
    if (random.chance(0.05)) return `${compared()} + ? > ?`;
    if (random.chance(0.05)) return `missing = ?`;
    if (operator === '=?') return `${compared()}=?`;
    return `${random.chance(0.9) ? prefix.replace('nowhere.x.', '') : prefix}${compared()} ${operator} ?`;
  };
  const where = `WHERE ${condition(2)}`;
  const select = random.pick([
    `SELECT * FROM kinds x ${where} ORDER BY id`,
    `SELECT id, ${random.pick(names)}, ? FROM kinds x ${where} ORDER BY 1 LIMIT ?`,
    `SELECT id / (id - 3) FROM kinds x ${where} ORDER BY id`,
    `SELECT count(*), min(i8), sum(n) FROM kinds x ${where}`,
    `SELECT i2, count(*) FROM kinds x ${where} GROUP BY i2 ORDER BY 1`,
    `SELECT i2 + ?, count(*) FROM kinds x ${where} GROUP BY i2 + ? ORDER BY 1`,
    `SELECT FROM kinds x ${where}`,
    `SELECT x.id, y.t FROM kinds x JOIN kinds y ON y.id = x.i2 ${where} ORDER BY 1, 2`,
    `SELECT id, (SELECT count(*) FROM kinds z WHERE z.id < x.id) FROM kinds x ${where} ORDER BY id`,
    `TABLE kinds ORDER BY id LIMIT ?`,
    `SELECT id FROM kinds x ${where} UNION SELECT ? ORDER BY 1`,
    `SELECT * FROM seen x ${where} ORDER BY id`,
    `SELECT id FROM missing x ${where}`,
  ]);
  return random.pick([select, `${select};`, `/* ? */ ${select}`, `${select} -- ?`]);
}

function fillIn(text: string, random: Random): string {
  return text.replaceAll('?', () => random.pick(random.chance(0.9) ? INTEGERS : OTHERS));
}

test('PostgreSQL: simple queries run prepared', { skip: skipWithout(available('postgres')) }, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const owner = await RawClient.open(t, cluster.primary, database);
  await (await asSuperuser(t, cluster)).do(`GRANT CREATE ON DATABASE ${database} TO app_trust`);
  const columns = COLUMNS.map(([name, type]) => `${name} ${type}`).join(', ');
  const rows = [0, 1, 2, 3, 4, 5].map((i) => `(${COLUMNS.map(([, , values]) => values[i]).join(', ')})`);
  await owner.do(`CREATE DOMAIN positive AS int CHECK (value > 0); CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE kinds (${columns}); INSERT INTO kinds VALUES ${rows.join(', ')};
    CREATE INDEX ON kinds (id); CREATE INDEX ON kinds (i8) WHERE i2 = 2;
    CREATE VIEW seen AS SELECT * FROM kinds WHERE id < 5`);
  const autoPrepare = { threshold: 2 };
  const proxy = await front(t, cluster, { autoPrepare, pool: { maxServerConnections: 4 } });
  const prepared = (): number => autoPrepareCounts(proxy).hits + autoPrepareCounts(proxy).parses;

  await t.test(`at random, seed ${SEED}`, async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    const random = new Random(SEED);
    const before = prepared();
    let errors = 0;
    for (let i = 0; i < SHAPES; i++) {
      const text = shape(random);
      for (let n = 0; n < 6; n++) {
        const sql = fillIn(text, random);
        const expected = await two.bare.talk(query(sql));
        assert.deepEqual(await two.proxied.talk(query(sql)), expected, sql);
        if (expected[0]?.startsWith('E') === true) errors++;
      }
    }
    assert.ok(prepared() - before > SHAPES, `${prepared() - before} of ${SHAPES * 6} ran prepared`);
    assert.ok(errors > SHAPES / 10, `${errors} errors`);
  });

  await t.test('what is said where rows have come before an error', async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    for (const id of [0, 1, 2, 3, 2, 1])
      await two.both(query(`SELECT repeat('x', 9000), 1 / (id - 4) FROM kinds WHERE id > ${id}`));
  });

  await t.test('many clients at once: each has its own, also beside one that fails', async (t) => {
    const clients = await Promise.all(Array.from({ length: 24 }, () => RawClient.open(t, proxy, database)));
    const before = autoPrepareCounts(proxy).hits;
    for (let round = 0; round < 40; round++) {
      const asked = clients.map((_, i) => ({ id: 1 + ((i + round) % 6), fails: (i * 7 + round) % 11 === 0 }));
      const answers = await Promise.all(
        clients.map((client, i) => {
          const { id, fails } = asked[i]!;
          const column = fails ? 'id / (id - id)' : 'id';
          return client.talk(query(`SELECT ${column} AS own FROM kinds WHERE id = ${id}`));
        }),
      );
      for (const [i, answer] of answers.entries()) {
        const { id, fails } = asked[i]!;
        const told = answer.find((line) => line.startsWith(fails ? 'E' : 'D'))!;
        if (fails) assert.match(told, /C22012/);
        else assert.equal(told.slice(-1), String(id), `client ${i}, round ${round}`);
        assert.equal(answer.length, fails ? 2 + Number(answer[0]!.startsWith('T')) : 4);
      }
    }
    assert.ok(autoPrepareCounts(proxy).hits - before > 100);
  });

  await t.test('in a transaction and with the switch off it does not', async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    const ask = async (): Promise<void> => {
      for (const id of [1, 2, 3, 1, 2, 3]) await two.both(query(`SELECT id, i2 FROM kinds WHERE id = ${id}`));
    };
    await two.do('BEGIN');
    assert.equal(await two.hitsOf(ask), 0);
    await two.do('COMMIT');
    assert.ok((await two.hitsOf(ask)) > 0);
    const off = await front(t, cluster, { autoPrepare: { ...autoPrepare, simpleQueries: false } });
    const other = await Twin.open(t, cluster, off);
    for (const id of [1, 2, 3, 1, 2, 3]) await other.both(query(`SELECT id, i2 FROM kinds WHERE id = ${id}`));
    assert.deepEqual(other.counts, { hits: 0, parses: 0, takenOut: 0 });
  });

  await t.test('the role is that of the moment', async (t) => {
    await (await asSuperuser(t, cluster)).do(`CREATE ROLE first; CREATE ROLE second; CREATE ROLE third;
      GRANT first, second, third TO app_trust;
      CREATE TABLE guarded (id int, who text);
      INSERT INTO guarded SELECT i, w FROM generate_series(1, 6) i, unnest('{first,second,app_trust}'::text[]) w;
      ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
      CREATE POLICY own ON guarded USING (who = current_user);
      GRANT SELECT ON guarded TO first, second, app_trust`);
    await cluster.waitCaughtUp();
    const two = await Twin.open(t, cluster, proxy);
    const ask = async (): Promise<void> => {
      for (const id of [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6])
        await two.both(query(`SELECT * FROM guarded WHERE id = ${id}`));
    };
    for (const role of ['first', 'second', 'NONE', 'third', 'first', 'NONE']) {
      await two.do(`SET ROLE ${role}`);
      const hits = await two.hitsOf(ask);
      if (role !== 'third') assert.ok(hits > 0, `${hits} ran prepared as ${role}`);
    }
    // In another's turn, on the same server connections.
    const other = await Twin.open(t, cluster, proxy);
    await other.do('SET SESSION AUTHORIZATION DEFAULT; SET ROLE second');
    for (const id of [1, 2, 3]) {
      await two.both(query(`SELECT * FROM guarded WHERE id = ${id}`));
      await other.both(query(`SELECT * FROM guarded WHERE id = ${id}`));
    }
  });

  // Replicas parse each time for a while behind a change of the schema: from here on it is the primary that holds statements.
  await t.test('a schema that changes under it', async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    const ask = async (): Promise<void> => {
      for (const id of [1, 2, 3, 1, 2, 3]) await two.both(query(`SELECT * FROM changing WHERE id = ${id}`));
    };
    // By the client itself, who then sees it on every node; straight to the server it may be seen late.
    await two.proxied.do('CREATE TABLE changing (id int, v int); INSERT INTO changing VALUES (1, 1), (2, 2)');
    await ask();
    for (const change of [
      'ALTER TABLE changing ADD w text DEFAULT 5',
      'ALTER TABLE changing ALTER id TYPE bigint',
      'ALTER TABLE changing ALTER id TYPE text USING id::text',
      'ALTER TABLE changing ALTER id TYPE numeric USING id::numeric',
      'DROP TABLE changing',
      'CREATE VIEW changing AS SELECT id, t FROM kinds',
    ]) {
      await two.proxied.do(change);
      await ask();
    }
  });

  await t.test('search_path is that of the moment', async (t) => {
    const two = await Twin.open(t, cluster, proxy);
    await two.proxied.do('CREATE SCHEMA other; CREATE TABLE other.kinds AS SELECT 9 AS id, 8 AS other');
    for (const path of ['public', 'other', 'public, other', 'other', 'nowhere']) {
      await two.do(`SET search_path TO ${path}`);
      for (const id of [1, 9, 2, 9]) await two.both(query(`SELECT * FROM kinds WHERE id = ${id}`));
    }
  });
});
