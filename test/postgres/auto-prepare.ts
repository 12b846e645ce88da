// Auto-prepare on a real server: what a client is answered is, byte by byte, what the server answers it without a proxy.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg, { type Client } from 'pg';
import { MAX_AGE_MS } from '../../src/postgres/auto-prepare.js';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front, type Scene } from './auto-prepare-scene.js';
import { schemaTests } from './auto-prepare-schema.js';
import { autoPrepareCounts, msg, RawClient, run, Twin } from './twin.js';

const FRESH_MS = 0.9 * MAX_AGE_MS;

export function autoPrepareSuite(version: number): void {
  test(`auto-prepare, PostgreSQL ${version}`, {
    skip: skipWithout(available('postgres', version)),
  }, async (t) => {
    const cluster = await startCluster('postgres', { version, replicas: 1 });
    t.after(() => cluster.stop());
    const app = { ...cluster, database: cluster.user.database };
    const proxy = await front(t, cluster, { routing: { splitReads: false } });
    const owner = await RawClient.open(t, cluster.primary, app.database);
    const grantor = await asSuperuser(t, cluster);
    await grantor.do('GRANT ALL ON SCHEMA public TO app_trust');
    const twin = (t: TestContext) => Twin.open(t, cluster, proxy);
    await owner.do(
      'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, i FROM generate_series(1, 50) i',
    );

    await t.test('a text that recurs is prepared, and answered the same', async (t) => {
      const { both, counts } = await opened(twin(t));
      const [before, after] = await whileFresh(async (mark) => {
        const before = counts();
        for (let i = 1; i <= 20; i++) await both(run(`SELECT v FROM t WHERE id = $1${mark}`, i));
        return [before, counts()] as const;
      });
      // The fifth is parsed under a name.
      assert.equal(after.parses - before.parses, 1);
      assert.equal(after.hits - before.hits, 15);
      assert.equal(after.takenOut, 0);
    });

    await t.test('every kind of statement', async (t) => {
      const two = await twin(t);
      await owner.do('CREATE TABLE kinds (id serial, v int, w text)');
      for (const [text, ...values] of [
        ['SELECT count(*) FROM kinds WHERE id < $1', 0],
        ['INSERT INTO kinds (v, w) VALUES ($1, $2) RETURNING v, w', 1, 'x'],
        ['UPDATE kinds SET w = $1 WHERE id < $2 RETURNING *', 'y', 0],
        ['DELETE FROM kinds WHERE id < $1', 0],
        ['WITH a AS (SELECT $1::int AS n) SELECT n + 1 AS m FROM a', 41],
        ['WITH a AS (INSERT INTO kinds (v) VALUES ($1) RETURNING v) SELECT * FROM a', 3],
        ['VALUES ($1::text), ($2)', 'a', 'b'],
        ['TABLE t'],
        ['SELECT v FROM t WHERE id = $1 FOR UPDATE', 3],
        ['MERGE INTO kinds USING (SELECT $1::int AS n) s ON kinds.id = s.n WHEN MATCHED THEN DELETE', -1],
        ["SELECT $1 || 'x', $2::numeric, $3::bytea", 'ab', '1.50', '\\x00ff'],
        ['SELECT $1::int', null],
      ] as [string, ...unknown[]][]) {
        const hits = await whileFresh((mark) =>
          two.hitsOf(() => two.times(9, run(`${text}${mark}`, ...values))),
        );
        assert.equal(hits, 4, text);
      }
    });

    await t.test('statements that are not planned are left alone', async (t) => {
      const two = await twin(t);
      const hits = await two.hitsOf(async () => {
        for (const text of [
          'SHOW work_mem',
          'BEGIN',
          'COMMIT',
          'SET work_mem = 100',
          'EXPLAIN (COSTS off) SELECT 1',
          '',
        ])
          await two.times(7, run(text));
      });
      assert.equal(hits, 0);
    });

    await t.test('Parse, Describe, Bind and Execute in batches of their own', async (t) => {
      const two = await twin(t);
      const text = 'SELECT id, v FROM t WHERE id = $1 AND true';
      const hits = await two.hitsOf(async () => {
        for (let i = 1; i <= 12; i++) {
          await two.both(msg.parse(text), msg.sync);
          await two.both(msg.describeStatement, msg.sync);
          await two.both(msg.bind(i), msg.describePortal, msg.execute, msg.sync);
          await two.both(msg.bind(i + 1), msg.execute, msg.sync);
          await two.both(msg.parse(text), msg.describeStatement, msg.bind(i), msg.execute, msg.sync);
        }
      });
      assert.ok(hits > 0, 'later batches run prepared');
    });

    await t.test(
      'the unnamed statement ends with a simple query, and another client has its own',
      async (t) => {
        const two = await twin(t);
        const other = await twin(t);
        const text = 'SELECT v FROM t WHERE id = $1 OR id = 0';
        await two.times(8, run(text, 1));
        await other.both(msg.bind(1), msg.execute, msg.sync);
        await other.both(msg.describeStatement, msg.sync);
        await other.times(3, run(text, 2));
        await two.both(msg.bind(3), msg.execute, msg.sync);
        await two.both(msg.query('SELECT 1'));
        await two.both(msg.bind(3), msg.execute, msg.sync);
        await other.both(msg.bind(4), msg.execute, msg.sync);
      },
    );

    await t.test('errors, their fields and positions', async (t) => {
      const two = await twin(t);
      const text = 'SELECT 10 / id, v FROM t WHERE id = $1::int';
      await two.times(8, run(text, 1));
      for (const values of [[], [1, 2], ['x'], ['99999999999'], [null]]) await two.both(run(text, ...values));
      await two.times(3, run(text, 1));
      const zero = 'SELECT 1 / (id - $1) FROM t WHERE id = 7';
      await two.times(8, run(zero, 1));
      await two.times(3, run(zero, 7));
      for (const bad of [
        'SELECT nothing FROM t WHERE id = $1',
        'SELEC $1',
        'SELECT * FROM nowhere WHERE a = $1',
      ])
        await two.times(8, run(bad, 1));
      const unique = 'INSERT INTO t VALUES ($1, $2)';
      await two.times(9, run(unique, 1, 'twice'));
      // In a transaction an error cannot be healed, only named right.
      await two.do('BEGIN');
      await two.times(4, run(text, 1));
      await two.both(run(text, 1, 2));
      await two.both(run(text, 1));
      await two.do('ROLLBACK');
      await two.both(run(text, 1));
    });

    await t.test(
      'several statements in one batch, an error in the middle, several batches at once',
      async (t) => {
        const two = await twin(t);
        const a = 'SELECT v FROM t WHERE id = $1 -- a';
        const b = 'SELECT id / $1 FROM t WHERE id = 5 -- b';
        const part = (text: string, ...values: unknown[]) =>
          Buffer.concat([msg.parse(text), msg.bind(...values), msg.describePortal, msg.execute]);
        await two.times(8, run(a, 1));
        await two.times(8, run(b, 1));
        const hits = await two.hitsOf(async () => {
          await two.times(3, part(a, 1), part(b, 2), part(a, 3), part(b, 4), msg.sync);
          await two.times(3, part(a, 1), part(b, 0), part(a, 3), msg.sync);
          await two.times(3, part(a, 1), part(b, 'x'), part(a, 3), msg.sync);
          await two.times(3, part(a, 'x'), part(b, 'x'), part(a, 3), msg.sync);
          await two.times(3, run(a, 1), run(b, 0), run(a, 'x'), run(a, 2), run(b, 2));
        });
        assert.ok(hits > 0);
      },
    );

    await schemaTests(t, { cluster, proxy, owner, twin });
    await sessionTests(t, { cluster, proxy, owner, twin });
    await crowdTests(t, { cluster, proxy, owner, twin });
    await boundTests(t, { cluster, proxy, owner, twin });
  });
}

/**
 * What `work` counts, of a text that ends in `mark`. What is held is parsed anew once it is too old: where `work` took so long it is
 * done again, with a text that has not come yet.
 */
async function whileFresh<T>(work: (mark: string) => Promise<T>): Promise<T> {
  for (let i = 0; ; i++) {
    const startMs = performance.now();
    const counted = await work(i === 0 ? '' : ` -- ${i}`);
    if (performance.now() - startMs < FRESH_MS || i === 4) return counted;
  }
}

async function opened(twin: Promise<Twin>) {
  const two = await twin;
  return {
    both: (...messages: readonly Buffer[]) => two.both(...messages),
    counts: () => two.counts,
  };
}

async function sessionTests(t: TestContext, { owner, twin, cluster, proxy }: Scene): Promise<void> {
  await t.test('search_path: SET, SET LOCAL, set_config, startup', async (t) => {
    const two = await twin(t);
    const admin = await asSuperuser(t, cluster);
    await admin.do(`CREATE SCHEMA s1 AUTHORIZATION app_trust; CREATE SCHEMA s2 AUTHORIZATION app_trust`);
    await owner.do("CREATE TABLE s1.p (id int, v text); INSERT INTO s1.p VALUES (1, 's1')");
    await owner.do("CREATE TABLE s2.p (id text, v int); INSERT INTO s2.p VALUES ('1', 2), ('x', 3)");
    const message = run('SELECT v FROM p WHERE id = $1', 1);
    const letter = run('SELECT v FROM p WHERE id = $1', 'x');
    const hits = await two.hitsOf(async () => {
      for (let i = 0; i < 4; i++) {
        await two.do('SET search_path = s1');
        await two.times(4, message);
        await two.both(letter);
        await two.do('SET search_path = s2');
        await two.times(4, message);
        await two.both(letter);
      }
    });
    assert.ok(hits > 0);
    for (const local of ['SET LOCAL search_path = s1', "SELECT set_config('search_path', 's1', true)"]) {
      await two.do('BEGIN');
      await two.times(4, letter);
      await two.do(local);
      await two.times(4, message);
      await two.do('COMMIT');
      await two.times(4, letter);
    }
    await two.do('BEGIN');
    await two.times(4, letter);
    await two.both(run('SELECT set_config($1, $2, true)', 'search_path', 's1'));
    await two.times(4, message);
    await two.do('ROLLBACK');
    await two.times(4, letter);
    await two.do("SELECT set_config('search_path', 's1', false)");
    await two.times(4, message);
    await two.both(letter);
  });

  await t.test('SET ROLE: row security and rights are those of the role', async (t) => {
    const two = await twin(t);
    const admin = await asSuperuser(t, cluster);
    await admin.do(`CREATE ROLE reader; GRANT reader TO app_trust; GRANT USAGE ON SCHEMA public TO reader;
      CREATE TABLE secured (id int, v text); INSERT INTO secured VALUES (1, 'app_trust'), (2, 'reader');
      GRANT SELECT ON secured TO app_trust, reader; ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
      CREATE POLICY own ON secured USING (v = current_user); CREATE TABLE hidden (id int); GRANT SELECT ON hidden TO app_trust`);
    for (let i = 0; i < 3; i++) {
      await two.times(6, run('SELECT * FROM secured WHERE id > $1', 0));
      await two.times(6, run('SELECT * FROM hidden WHERE id > $1', 0));
      await two.do('SET ROLE reader');
      await two.times(6, run('SELECT * FROM secured WHERE id > $1', 0));
      await two.times(6, run('SELECT * FROM hidden WHERE id > $1', 0));
      await two.do('RESET ROLE');
    }
    await admin.do('REVOKE SELECT ON hidden FROM app_trust');
    await two.both(run('SELECT * FROM hidden WHERE id > $1', 0));
  });

  await t.test('a temporary table in place of a table', async (t) => {
    const two = await twin(t);
    const message = run('SELECT v FROM t WHERE id = $1', 1);
    await two.times(9, message);
    await two.do('CREATE TEMPORARY TABLE t (id text, v int)');
    await two.both(run("INSERT INTO t VALUES ('x', $1)", 7));
    // Without a row description: it names the table by its number.
    const letter = [msg.parse('SELECT v FROM t WHERE id = $1'), msg.bind('x'), msg.execute, msg.sync];
    assert.equal(await two.hitsOf(() => two.times(9, ...letter)), 0);
    await two.do('DROP TABLE pg_temp.t');
    await two.times(9, message);
  });

  await t.test('a transaction: what recurs in it is prepared from its second time on', async (t) => {
    const two = await twin(t);
    const message = run('INSERT INTO t VALUES ($1, $2) ON CONFLICT DO NOTHING', 1, 'loop');
    await two.times(7, message);
    await two.do('BEGIN');
    assert.equal(await two.hitsOf(() => two.times(10, message)), 8);
    await two.do('SAVEPOINT a');
    await two.times(3, message);
    await two.both(run('SELECT 1 / $1::int', 0));
    await two.both(message);
    await two.do('ROLLBACK TO a');
    await two.times(4, message);
    await two.do('COMMIT');
    await two.do('BEGIN');
    await two.times(4, message);
    await two.do('ROLLBACK');
    await two.times(4, message);
  });

  await t.test('DEALLOCATE ALL, DISCARD ALL and DISCARD PLANS', async (t) => {
    const two = await twin(t);
    const other = await twin(t);
    const message = run('SELECT v FROM t WHERE id = $1 AND 1 = 1', 2);
    for (const sql of ['DEALLOCATE ALL', 'DISCARD ALL', 'DISCARD PLANS']) {
      await two.times(9, message);
      await other.do(sql);
      await two.times(9, message);
      await two.both(run(sql));
      await two.times(9, message);
      await other.times(3, message);
    }
    // By its name, as nobody should.
    const name = await two.proxied.value(
      "SELECT name FROM pg_prepared_statements WHERE name LIKE 'scheelite_auto%' LIMIT 1",
    );
    await two.proxied.wire.talk(msg.query('DEALLOCATE ALL; SELECT 1'));
    await two.times(9, message);
    assert.ok(name.startsWith('scheelite_auto_'));
  });

  await t.test('a literal that is settled when it is parsed', async (t) => {
    const client = await RawClient.open(t, proxy, cluster.user.database);
    const seen = new Set<string>();
    for (let i = 0; i < 12; i++) {
      const answer = await client.talk(run("SELECT 'now'::timestamptz::text, $1::int", 1));
      seen.add(answer.find((line) => line.startsWith('D '))!);
    }
    assert.equal(seen.size, 12);
  });

  await t.test('what Parse warns of, it warns of each time', async (t) => {
    const two = await twin(t);
    const answers = await two.both(run(`SELECT $1::int AS ${'x'.repeat(70)}`, 1));
    assert.ok(answers.some((line) => line.startsWith('N ')));
    await two.times(12, run(`SELECT $1::int AS ${'x'.repeat(70)}`, 1));
  });
}

/** Until `isOver`: reads, alone and in transactions, each of which must be answered its own row. */
async function reader(client: Client, number: number, isOver: () => boolean): Promise<number> {
  let count = 0;
  const read = async (text: string, name: string) => {
    const { rows } = await client.query(text, [number, `${number} ${++count}`]);
    assert.deepEqual([rows[0].id, rows[0][name]], [number, `${number} ${count}`]);
  };
  while (!isOver()) {
    await read('SELECT *, $2::text AS mark FROM moving WHERE id = $1', 'mark');
    await read('UPDATE moving SET n = n + 1 WHERE id = $1 RETURNING *, $2::text AS mark', 'mark');
    if (count % 10 !== 0) continue;
    await client.query('BEGIN');
    for (let i = 0; i < 5; i++) await read('SELECT *, $2::text AS said FROM moving WHERE id = $1', 'said');
    await client.query('COMMIT');
  }
  return count;
}

async function crowdTests(t: TestContext, { cluster, owner }: Scene): Promise<void> {
  await t.test('many clients on few server connections, while the schema changes both ways', async (t) => {
    await owner.do(
      'CREATE TABLE moving (id int PRIMARY KEY, n int NOT NULL); INSERT INTO moving SELECT i, 0 FROM generate_series(1, 12) i',
    );
    const proxy = await front(t, cluster, {
      routing: { splitReads: false },
      pool: { maxServerConnections: 4 },
    });
    const clients: Client[] = [];
    for (let i = 0; i < 12; i++) {
      const { host, port } = proxy;
      const client = new pg.Client({ host, port, user: 'app_trust', database: cluster.user.database });
      client.on('error', () => {});
      await client.connect();
      t.after(() => client.end());
      clients.push(client);
    }
    let isOver = false;
    const readers = clients.map((client, i) => reader(client, i + 1, () => isOver));
    const through = await RawClient.open(t, proxy, cluster.user.database);
    for (let i = 0; i < 12; i++) {
      const by = i % 2 === 0 ? through : owner;
      await by.do(`ALTER TABLE moving ADD COLUMN extra${i} int DEFAULT ${i}`);
      if (i > 3) await by.do(`ALTER TABLE moving DROP COLUMN extra${i - 2}`);
      const { hits } = autoPrepareCounts(proxy);
      await until('prepared runs between the changes', () => autoPrepareCounts(proxy).hits > hits + 200);
    }
    isOver = true;
    const counts = await Promise.all(readers);
    const sum = counts.reduce((a, b) => a + b, 0);
    const hits = autoPrepareCounts(proxy).hits;
    assert.ok(hits > sum / 2, `${hits} of ${sum} were prepared`);
  });
}

async function boundTests(t: TestContext, { cluster, owner }: Scene): Promise<void> {
  const split = { routing: { splitReads: false } };

  await t.test('a flood of texts pushes out nothing, and is not prepared', async (t) => {
    const proxy = await front(t, cluster, split);
    const client = await RawClient.open(t, proxy, cluster.user.database);
    const recurring = run('SELECT v FROM t WHERE id = $1', 1);
    for (let i = 0; i < 7; i++) await client.talk(recurring);
    const before = autoPrepareCounts(proxy);
    const rounds = 8;
    for (let round = 0; round < rounds; round++) {
      const flood = [];
      for (let i = 0; i < 250; i++) flood.push(run(`SELECT ${round * 1000 + i} + $1`, 1));
      await client.talk(...flood);
      // On a slow machine a flood takes so long that the first is parsed anew, for its age.
      await client.talk(recurring);
      await client.talk(recurring);
    }
    const after = autoPrepareCounts(proxy);
    // Each text of the flood came once: what was parsed anew is the one that recurs.
    assert.ok(after.hits > before.hits);
    assert.ok(after.parses - before.parses <= 2 * rounds, `${after.parses - before.parses} parses`);
    const held = await client.value(
      "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'scheelite_auto%'",
    );
    assert.equal(held, '1');
  });

  await t.test('the bound of a server connection', async (t) => {
    const bound = { autoPrepare: { maxStatements: 3 } };
    await staysWithin(3, await front(t, cluster, { ...split, ...bound }));
    await staysWithin(3, await front(t, cluster, split, bound));
    const rule = { match: {}, action: { autoPrepare: { maxStatements: 2 } } };
    await staysWithin(2, await front(t, cluster, { ...split, ...bound, rules: [rule] }));
  });

  async function staysWithin(most: number, proxy: Awaited<ReturnType<typeof front>>): Promise<void> {
    const client = await RawClient.open(t, proxy, cluster.user.database);
    await client.wire.talk(Buffer.concat([msg.query('SELECT 1')]));
    for (let i = 0; i < 12; i++) {
      for (let text = 0; text < 10; text++) {
        const answer = await client.talk(run(`SELECT ${text} + $1`, 1));
        assert.ok(
          answer.some((line) => line.endsWith(String(text + 1))),
          answer.join(),
        );
      }
    }
    const held = await client.value(
      "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'scheelite_auto%'",
    );
    assert.equal(held, String(most));
    assert.ok(autoPrepareCounts(proxy).hits > 0);
  }

  await t.test('off, and later: by cluster, by listener, by a reload', async (t) => {
    for (const [changes, listener, isOn] of [
      [{ autoPrepare: { enabled: false } }, {}, false],
      [{}, { autoPrepare: { enabled: false } }, false],
      [{ autoPrepare: { enabled: false } }, { autoPrepare: { enabled: true } }, true],
      [{ autoPrepare: { threshold: 2 } }, {}, true],
      [{ autoPrepare: { threshold: 1_000 } }, { autoPrepare: { threshold: 2 } }, true],
      [{}, { autoPrepare: { threshold: 1_000 } }, false],
    ] as const) {
      const proxy = await front(t, cluster, { ...split, ...changes }, listener);
      const client = await RawClient.open(t, proxy, cluster.user.database);
      for (let i = 0; i < 9; i++) await client.talk(run('SELECT v FROM t WHERE id = $1', 1));
      assert.equal(autoPrepareCounts(proxy).hits > 0, isOn, JSON.stringify([changes, listener]));
      const [main] = proxy.config.clusters;
      const enabled = !isOn;
      const autoPrepare = { ...main!.autoPrepare, enabled };
      proxy.proxy.reload({ ...proxy.config, clusters: [{ ...main!, autoPrepare }] });
      if (Object.keys(listener).length > 0) continue;
      const { hits } = autoPrepareCounts(proxy);
      for (let i = 0; i < 9; i++) await client.talk(run('SELECT v FROM t WHERE id = $1', 1));
      assert.equal(autoPrepareCounts(proxy).hits > hits, enabled);
    }
  });

  await t.test('a text that is slower prepared is taken out', async (t) => {
    await owner.do(`CREATE TABLE skewed (id int PRIMARY KEY, kind int, pad text);
      INSERT INTO skewed SELECT i, CASE WHEN i <= 200000 THEN i % 2 ELSE 2 + i % 200 END, repeat('x', 20) FROM generate_series(1, 200200) i;
      CREATE INDEX skewed_kind ON skewed (kind)`);
    await owner.do('ANALYZE skewed');
    const proxy = await front(t, cluster, split);
    const client = await RawClient.open(t, proxy, cluster.user.database);
    // With its value known an index gives the one row at once; without it the order looks cheaper: all rows are read.
    const message = run('SELECT id, pad FROM skewed WHERE kind = $1 ORDER BY id LIMIT 1', 150);
    await until('it is taken out', async () => {
      for (let i = 0; i < 20; i++) await client.talk(message);
      return autoPrepareCounts(proxy).takenOut === 1;
    });
    const { hits } = autoPrepareCounts(proxy);
    for (let i = 0; i < 20; i++) await client.talk(message);
    assert.equal(autoPrepareCounts(proxy).hits, hits);
  });

  await t.test('on a replica; and after a schema change replicas wait until they have it', async (t) => {
    const proxy = await front(t, cluster, { consistency: { level: 'eventual' } });
    const client = await RawClient.open(t, proxy, cluster.user.database);
    const where = 'SELECT pg_is_in_recovery()';
    assert.equal(await client.value(where), 'f', 'that is asked of the primary');
    const first = await whileFresh(async (mark) => {
      const before = autoPrepareCounts(proxy).hits;
      for (let i = 0; i < 12; i++) await client.talk(run(`SELECT v FROM t WHERE id = $1${mark}`, 1));
      return autoPrepareCounts(proxy).hits - before;
    });
    assert.equal(first, 7);
    const units = proxy.proxy.counters().clusters.get('main')!.nodes.get(cluster.replicas[0]!.name)!.units;
    assert.ok(units.replica >= 12);
    const { hits } = autoPrepareCounts(proxy);
    await client.do('CREATE TABLE news (id int)');
    for (let i = 0; i < 12; i++) await client.talk(run('SELECT v FROM t WHERE id = $1', 1));
    assert.equal(autoPrepareCounts(proxy).hits, hits);
  });
}
