// Routing rules and hints before a real cluster of each kind: every action, every matcher, reloads, and that nothing a rule or a
// hint can say brings a write to a replica.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ConfigInput } from '../../../src/config/schema.js';
import type { Client } from '../../e2e/driver.js';
import { type Front, FUNCTIONS, rejects as rejectsWith, Stage } from '../../e2e/stage.js';
import { available, type Kind, skipWithout } from '../../servers/available.js';
import { until } from '../../servers/poll.js';
import { ONE_SHARED } from '../one-shared.js';
import { configFor } from '../proxy-under-test.js';
import { oneNodeTests } from './one-node.js';
import { switchTests } from './switches.js';

type Rules = NonNullable<ConfigInput['clusters'][number]['rules']>;

/** Longer than any test waits. */
const LONG_SECONDS = 120;

export function rulesSuite(kind: Kind): void {
  test(`${kind}: rules and hints`, { skip: skipWithout(available(kind)) }, async (t) => {
    const stage = await Stage.open(t, kind);
    await t.test('matchers', (t) => matcherTests(t, stage));
    await t.test('deny', (t) => denyTests(t, stage));
    await t.test('route', (t) => routeTests(t, stage));
    await t.test('about one node', (t) => oneNodeTests(t, stage));
    await t.test('timeoutMs', (t) => timeoutTests(t, stage));
    await t.test('log', (t) => logTests(t, stage));
    await t.test('switches', (t) => switchTests(t, stage));
    await t.test('reload', (t) => reloadTests(t, stage));
    await t.test('writes', (t) => writeTests(t, stage));
  });
}

const nodesOf = (stage: Stage, tags: Readonly<Record<string, Record<string, string>>> = {}) =>
  stage.cluster.nodes.map(({ name, host, port }) => ({ name, host, port, tags: tags[name] ?? {} }));

/** Of a denial: SQLSTATE, or MySQL's number. */
const deniedCode = (stage: Stage) => stage.driver.code('denied-by-rule');

/** Under another alias each: other shapes for the rules. */
async function where(stage: Stage, client: Client, alias: string, hint = ''): Promise<string> {
  const [row] = await client.query(`${hint}SELECT node_port() AS ${alias}`);
  return stage.nodeAt(row?.[alias]);
}

async function connectAs(
  stage: Stage,
  front: Front,
  t: TestContext,
  application: string,
): Promise<() => Promise<void>> {
  const { host, port } = front.proxy;
  const { user, password, database } = stage.cluster.user;
  if (stage.kind === 'postgres') {
    const client = new pg.Client({ host, port, user, password, database, application_name: application });
    // The proxy may end first.
    client.on('error', () => {});
    await client.connect();
    t.after(() => client.end());
    return async () => void (await client.query('SELECT 1'));
  }
  const client = await mysql.createConnection({
    host,
    port,
    user,
    password,
    database,
    connectAttributes: { program_name: application },
  });
  t.after(() => client.end());
  return async () => void (await client.query('SELECT 1'));
}

async function matcherTests(t: TestContext, stage: Stage): Promise<void> {
  const { user, superuser } = stage.cluster;
  const rules: Rules = [
    { name: 'app', match: { application: 'bad-*' }, action: { deny: 'not this application' } },
    {
      name: 'user',
      match: { user: superuser.user, shapePattern: 'items' },
      action: { deny: 'not this user' },
    },
    { name: 'net', match: { clientAddress: '10.0.0.0/8' }, action: { deny: 'not from there' } },
    {
      name: 'near',
      match: { clientAddress: '127.0.0.0/8', shapePattern: 'as near\\b' },
      action: { deny: 'not from here' },
    },
    { name: 'base', match: { database: 'no*', class: 'read' }, action: { deny: 'not this database' } },
    {
      name: 'shape',
      match: { shape: "DELETE FROM notes\n WHERE id = 5 AND note = 'x'" },
      action: { deny: 'not that' },
    },
    { name: 'pattern', match: { shapePattern: '^update notes\\b.* where note' }, action: { deny: 'not so' } },
    { name: 'ddl', match: { user: user.user, class: 'ddl' }, action: { deny: 'no new tables' } },
  ];
  const front = await stage.front(t, { rules });
  const client = await front.connect(t);
  const denied = async (sql: string, rule: string, values: readonly (string | number)[] = []) => {
    const error = await rejectsWith(stage.driver, client.query(sql, values), deniedCode(stage));
    assert.match(error.message, new RegExp(`\\(rule ${rule}\\)$`));
  };

  await denied('delete from notes where id=77 and note=?', 'shape', ['y']);
  await client.query('DELETE FROM notes WHERE id = 77');
  await denied("UPDATE notes SET note = 'x' WHERE note = 'y'", 'pattern');
  await client.query("UPDATE notes SET note = 'x' WHERE id = 700");
  await denied('CREATE TABLE more (id int)', 'ddl');
  await denied('SELECT 1 AS near', 'near');
  const far = await connectAs(stage, front, t, 'good-one');
  await far();
  const bad = await connectAs(stage, front, t, 'bad-one');
  await rejectsWith(stage.driver, bad(), deniedCode(stage));
  const admin = await front.connect(t, { ...superuser, database: user.database });
  await rejectsWith(stage.driver, admin.query('SELECT name FROM items WHERE id = 1'), deniedCode(stage));
  assert.equal((await client.query('SELECT name FROM items WHERE id = 1')).length, 1);

  const { ruleMatches, ruleDenials } = front.counters();
  assert.deepEqual({ ...ruleMatches }, { shape: 1, pattern: 1, ddl: 1, near: 1, app: 1, user: 1 });
  assert.deepEqual({ ...ruleDenials }, { ...ruleMatches });
  const status = front.status().rules.find(({ name }) => name === 'pattern');
  assert.deepEqual(status, { name: 'pattern', matches: 1, denials: 1 });
}

async function denyTests(t: TestContext, stage: Stage): Promise<void> {
  const rules: Rules = [
    {
      name: 'ledger',
      match: { shapePattern: 'ledger', class: ['read', 'write'] },
      action: { deny: 'the ledger is closed' },
    },
  ];
  const front = await stage.front(t, { rules });
  const code = deniedCode(stage);
  const note = async (client: Client, id: number) =>
    (await client.query(`/* scheelite: route=primary */ SELECT note FROM notes WHERE id = ${id}`)).length;

  await t.test('in every way that a statement comes', async (t) => {
    const client = await front.connect(t);
    for (let i = 0; i < 2; i++) {
      await rejectsWith(stage.driver, client.query('SELECT * FROM ledger'), code);
      await rejectsWith(stage.driver, client.query('SELECT * FROM ledger WHERE seq = ?', [1]), code);
      await rejectsWith(stage.driver, client.execute('SELECT * FROM ledger WHERE seq = ?', [1]), code);
      await rejectsWith(stage.driver, client.query('DELETE FROM ledger'), code);
      // All or nothing: the text is one unit.
      await rejectsWith(
        stage.driver,
        client.query("INSERT INTO notes VALUES (900, 'x'); DELETE FROM ledger"),
        code,
      );
    }
    assert.equal(await note(client, 900), 0);
    assert.equal(client.broken, null);
    assert.equal((await client.query('SELECT name FROM items WHERE id = 1')).length, 1);
  });

  await t.test('a statement that was prepared before the rule came', async (t) => {
    const open = await stage.front(t);
    const client = await open.connect(t);
    await client.execute('SELECT * FROM ledger WHERE seq = ?', [1]);
    await open.reload(configFor(stage.cluster, { routing: { readFunctions: FUNCTIONS }, rules }));
    await rejectsWith(stage.driver, client.execute('SELECT * FROM ledger WHERE seq = ?', [1]), code);
  });

  await t.test('inside a transaction it is an error like any other', async (t) => {
    const client = await front.connect(t);
    await client.query('BEGIN');
    await client.query("INSERT INTO notes VALUES (901, 'x')");
    await rejectsWith(stage.driver, client.query('DELETE FROM ledger'), code);
    if (stage.kind === 'postgres') {
      // The transaction has failed, here and on the node: COMMIT rolls back.
      await rejectsWith(stage.driver, client.query('SELECT name FROM items WHERE id = 1'), '25P02');
      await rejectsWith(stage.driver, client.query('SELECT name FROM items WHERE id = ?', [1]), '25P02');
      await rejectsWith(stage.driver, client.query('DELETE FROM ledger'), code);
      await client.query('COMMIT');
      assert.equal(await note(client, 901), 0);
    } else {
      // An error ends a statement only.
      await client.query('COMMIT');
      assert.equal(await note(client, 901), 1);
    }
    assert.equal((await client.query('SELECT name FROM items WHERE id = 1')).length, 1);
  });

  await t.test('a savepoint leads back behind it', async (t) => {
    const client = await front.connect(t);
    await client.query('BEGIN');
    await client.query("INSERT INTO notes VALUES (902, 'x')");
    await client.query('SAVEPOINT here');
    await rejectsWith(stage.driver, client.execute('DELETE FROM ledger WHERE seq = ?', [1]), code);
    await client.query('ROLLBACK TO SAVEPOINT here');
    await client.query("INSERT INTO notes VALUES (903, 'x')");
    await client.query('COMMIT');
    assert.deepEqual([await note(client, 902), await note(client, 903)], [1, 1]);
  });

  await t.test('as the first statement of a transaction', async (t) => {
    const client = await front.connect(t);
    await client.query('BEGIN');
    await rejectsWith(stage.driver, client.query('DELETE FROM ledger'), code);
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    await rejectsWith(stage.driver, client.query('DELETE FROM ledger'), code);
    if (stage.kind === 'postgres')
      await rejectsWith(stage.driver, client.query("INSERT INTO notes VALUES (904, 'x')"), '25P02');
    await client.query('COMMIT');
    assert.equal(await note(client, 904), 0);
  });

  await t.test('whole classes: transactions', async (t) => {
    const own = await stage.front(t, {
      rules: [{ match: { class: 'transaction' }, action: { deny: 'no transactions' } }],
    });
    const client = await own.connect(t);
    for (let i = 0; i < 2; i++) {
      await rejectsWith(stage.driver, client.query('BEGIN'), code);
      await rejectsWith(stage.driver, client.query('START TRANSACTION READ ONLY'), code);
    }
    await client.query("INSERT INTO notes VALUES (905, 'x')");
    assert.equal(await note(client, 905), 1);
  });
}

async function routeTests(t: TestContext, stage: Stage): Promise<void> {
  const primary = stage.cluster.primary.name;
  const [first, second] = stage.replicaNames as [string, string];
  const nodes = nodesOf(stage, { [first]: { zone: 'a' }, [second]: { zone: 'b' }, [primary]: { zone: 'a' } });
  const rules: Rules = [
    { name: 'p', match: { shapePattern: 'as to_primary' }, action: { route: 'primary' } },
    { name: 'n', match: { shapePattern: 'as to_node' }, action: { route: { node: second } } },
    { name: 't', match: { shapePattern: 'as to_tag' }, action: { route: { tag: { zone: 'a' } } } },
    { name: 'r', match: { shapePattern: 'as to_replica' }, action: { route: 'replica' } },
    {
      name: 'fresh',
      match: { shapePattern: 'as to_fresh' },
      action: { maxLagMs: 0, consistency: 'eventual' },
    },
    { name: 'level', match: { shapePattern: 'as to_level' }, action: { consistency: 'primary' } },
  ];
  const front = await stage.front(t, { nodes, rules });
  const always = async (client: Client, node: string, alias: string, hint = '') => {
    for (let i = 0; i < 6; i++)
      assert.equal(await where(stage, client, alias, hint), node, `${hint}${alias}`);
  };
  const fresh = { consistency: { level: 'eventual' as const } };

  await t.test('by rule', async (t) => {
    const client = await front.connect(t);
    await always(client, primary, 'to_primary');
    await always(client, primary, 'to_level');
    const other = await stage.front(t, { nodes, rules, ...fresh });
    const eventual = await other.connect(t);
    await always(eventual, second, 'to_node');
    await always(eventual, first, 'to_tag');
    for (let i = 0; i < 6; i++)
      assert.ok(stage.replicaNames.includes(await where(stage, eventual, 'to_replica')));
  });

  await t.test('by hint, which is stronger', async (t) => {
    const own = await stage.front(t, { nodes, rules, ...fresh });
    const client = await own.connect(t);
    await always(client, first, 'to_node', `/* scheelite: route=node:${first} */ `);
    await always(client, second, 'to_tag', '/* scheelite: route=tag:zone=b */ ');
    await always(client, primary, 'to_replica', '/* scheelite: route=primary */ ');
    await always(client, primary, 'x', `/* scheelite: route=node:${primary} */ `);
    assert.ok(
      stage.replicaNames.includes(
        await where(stage, client, 'to_primary', '/* scheelite: route=replica */ '),
      ),
    );
    // What says nothing changes nothing, and is counted.
    const before = own.counters().hintsUnread;
    await always(client, second, 'to_node', '/* scheelite: route=node:nobody */ ');
    assert.equal(own.counters().hintsUnread - before, 6);
    assert.equal(own.counters().reads['target-unavailable'], 0);
  });

  await t.test('where nothing is split, who asks for replicas gets them', async (t) => {
    const own = await stage.front(t, { nodes, rules, ...fresh, routing: { splitReads: false } });
    const client = await own.connect(t);
    await always(client, primary, 'x');
    await always(client, second, 'to_node');
    await always(client, first, 'x', `/* scheelite: route=node:${first} */ `);
  });

  await t.test('a listener that obeys no hints', async (t) => {
    const listener = { name: 'test', host: '127.0.0.1', port: 0, hints: false };
    const own = await stage.front(
      t,
      { nodes, ...fresh, routing: { splitReads: false } },
      { listeners: [listener] },
    );
    const client = await own.connect(t);
    await always(client, primary, 'x', '/* scheelite: route=replica */ ');
  });

  await t.test('no node of the target: the primary, or a wait with an end', async (t) => {
    const wait: Rules[number] = {
      name: 'wait',
      match: { shapePattern: 'as to_wait' },
      action: { route: { node: second }, fallback: 'hold' },
    };
    const changes = (mode: 'online' | 'standby-only', holdMs: number) => ({
      nodes: nodes.map((node) => (node.name === second ? { ...node, mode } : node)),
      rules: [...rules, wait],
      ...fresh,
      routing: { readFunctions: FUNCTIONS },
      failover: { mode: 'off' as const, holdMs },
    });
    const own = await stage.front(t, changes('online', 300));
    const become = (mode: 'online' | 'standby-only', holdMs: number) =>
      own.reload(configFor(stage.cluster, changes(mode, holdMs)));
    await become('standby-only', 300);
    await own.seesReplicas([first]);
    const client = await own.connect(t);
    await always(client, primary, 'to_node');
    assert.equal(own.counters().reads['target-unavailable'], 6);
    const error = await rejectsWith(
      stage.driver,
      client.query('SELECT node_port() AS to_wait'),
      stage.driver.code('no-node'),
    );
    assert.match(error.message, /none where it is wanted may take it/);
    assert.equal(own.counters().holds['no-target'], 1);
    assert.equal(own.counters().holds['no-primary'], 0);
    // A node that may take it again ends the wait.
    await become('standby-only', 120_000);
    const waiting = client.query('SELECT node_port() AS to_wait');
    await until('it to be held', () => own.status().held === 1);
    await become('online', 120_000);
    assert.equal(stage.nodeAt((await waiting)[0]?.to_wait), second);
    // And so does a deadline.
    await become('standby-only', 120_000);
    await own.seesReplicas([first]);
    const late = '/* scheelite: timeoutMs=200 */ SELECT node_port() AS to_wait';
    await rejectsWith(stage.driver, client.query(late), timeoutCode(stage));
  });
}

const timeoutCode = ({ kind }: Stage) => ({ postgres: '57014', mysql: '3024', mariadb: '1969' })[kind];

async function timeoutTests(t: TestContext, stage: Stage): Promise<void> {
  const code = timeoutCode(stage);
  const rules: Rules = [{ name: 'slow', match: { shapePattern: 'pause|sleep' }, action: { timeoutMs: 300 } }];
  const front = await stage.front(t, { rules });
  // MySQL lets nobody kill a statement that is in a function of somebody else's, and SLEEP by itself ends without an error.
  const sleep = (seconds: string) =>
    stage.kind === 'postgres'
      ? `SELECT pause(${seconds}) AS a FROM items WHERE id = 1`
      : `SELECT name AS a FROM items WHERE SLEEP(${seconds}) = 0`;
  const slow = sleep(String(LONG_SECONDS));

  await t.test('a read, simple and prepared, and the connection goes on', async (t) => {
    const client = await front.connect(t);
    for (const run of [() => client.query(slow), () => client.execute(sleep('?'), [LONG_SECONDS])]) {
      const error = await rejectsWith(stage.driver, run(), code);
      assert.match(error.message, /timeout|time exceeded|max_statement_time/);
      assert.equal((await client.query('SELECT name FROM items WHERE id = 2')).length, 1);
    }
    assert.equal(front.counters().timeouts, 2);
    assert.equal(client.broken, null);
  });

  await t.test('by hint, and what is in time is not touched', async (t) => {
    const own = await stage.front(t);
    const client = await own.connect(t);
    await rejectsWith(stage.driver, client.query(`/* scheelite: timeoutMs=200 */ ${slow}`), code);
    const [row] = await client.query(
      '/* scheelite: timeoutMs=60000 */ SELECT pause(0.3) AS a FROM items WHERE id = 1',
    );
    assert.equal(Number(row?.a), 1);
    assert.equal(own.counters().timeouts, 1);
  });

  await t.test('a write that waits for a lock leaves nothing, in a transaction or not', async (t) => {
    const locker = await front.connect(t);
    await locker.query('BEGIN');
    await locker.query('UPDATE counters SET value = 1 WHERE id = 1');
    await locker.query('INSERT INTO counters VALUES (7, 0)');
    const own = await stage.front(t);
    const client = await own.connect(t);
    const update = '/* scheelite: timeoutMs=300 */ INSERT INTO counters VALUES (7, 1)';
    await rejectsWith(stage.driver, client.query(update), code);
    await client.query('BEGIN');
    await client.query("INSERT INTO notes VALUES (910, 'x')");
    await rejectsWith(stage.driver, client.query(update), code);
    if (stage.kind === 'postgres') await rejectsWith(stage.driver, client.query('SELECT 1'), '25P02');
    await client.query('ROLLBACK');
    await locker.query('ROLLBACK');
    assert.deepEqual(
      await client.query('/* scheelite: route=primary */ SELECT value FROM counters WHERE id = 7'),
      [],
    );
  });

  await t.test('the time includes the wait for a server connection', async (t) => {
    const own = await stage.front(t, { pool: { maxServerConnections: 1 }, sharing: { enabled: false } });
    const busy = await own.connect(t);
    const client = await own.connect(t);
    await busy.query('BEGIN');
    await busy.query('SELECT name FROM items WHERE id = 1');
    await rejectsWith(
      stage.driver,
      client.query("/* scheelite: timeoutMs=200 */ INSERT INTO notes VALUES (911, 'x')"),
      code,
    );
    await busy.query('ROLLBACK');
    await client.query("INSERT INTO notes VALUES (911, 'x')");
  });

  await t.test('neighbours on a shared server connection are not hit', async (t) => {
    const own = await stage.front(t, { sharing: { ...ONE_SHARED, maxHeadMs: 10_000 } });
    const clients = await own.connectMany(t, 6);
    // Light until its argument says otherwise.
    const read =
      stage.kind === 'postgres'
        ? 'SELECT name FROM items WHERE pause(?) = 1 AND id = ?'
        : 'SELECT name FROM items WHERE SLEEP(?) = 0 AND id = ?';
    for (let i = 0; i < 4; i++) for (const client of clients) await client.query(read, [0, 1]);
    const late = clients[0]!;
    const outcomes = await Promise.all([
      rejectsWith(
        stage.driver,
        late.query(`/* scheelite: timeoutMs=300 */ ${read}`, [LONG_SECONDS, 1]),
        code,
      ),
      ...clients.slice(1).map((client) => client.query(read, [0, 2])),
    ]);
    for (const rows of outcomes.slice(1)) assert.equal((rows as { name?: unknown }[])[0]?.name, 'two');
    assert.equal((await late.query(read, [0, 3]))[0]?.name, 'three');
  });
}

async function logTests(t: TestContext, stage: Stage): Promise<void> {
  const rules: Rules = [
    { name: 'watched', match: { shapePattern: 'from items' }, action: { log: 'warn' }, continue: true },
    { name: 'denied', match: { shapePattern: 'from ledger' }, action: { deny: 'no', log: true } },
  ];
  const front = await stage.front(t, { rules });
  const client = await front.connect(t);
  interface Line {
    readonly msg: string;
    readonly rule?: string;
    readonly [field: string]: unknown;
  }
  const lines = (rule: string) =>
    front.proxy.lines
      .flatMap((text) => text.split('\n'))
      .filter((text) => text !== '')
      .map((text) => JSON.parse(text) as Line)
      .filter((line) => line.rule === rule);
  await client.query("SELECT name FROM items WHERE name = 'a secret'");
  await rejectsWith(stage.driver, client.query('SELECT seq FROM ledger'), deniedCode(stage));
  const [watched] = lines('watched');
  assert.equal(watched?.shape, 'select name from items where name = ?');
  assert.equal(watched?.user, stage.cluster.user.user);
  assert.ok(stage.replicaNames.includes(String(watched?.node)));
  const [denied] = lines('denied');
  assert.deepEqual([denied?.shape, denied?.node], ['select seq from ledger', undefined]);
  assert.ok(!front.proxy.lines.join('').includes('a secret'));

  // A flood of them does not flood the log, which says what it leaves out.
  const startedMs = performance.now();
  for (let i = 0; i < 400; i++) await client.query(`SELECT name FROM items WHERE id = ${i}`);
  const seconds = Math.floor((performance.now() - startedMs) / 1000) + 2;
  assert.ok(lines('watched').length <= 50 * seconds + 2, String(lines('watched').length));
  assert.equal(front.counters().ruleMatches.watched, 401);
}

async function reloadTests(t: TestContext, stage: Stage): Promise<void> {
  const routing = { readFunctions: FUNCTIONS };
  const consistency = { level: 'eventual' as const };
  const front = await stage.front(t, { consistency });
  const client = await front.connect(t);
  const [first, second] = stage.replicaNames as [string, string];
  for (const node of [first, second, first]) {
    const rules: Rules = [{ match: { shapePattern: 'as live' }, action: { route: { node } } }];
    await front.reload(configFor(stage.cluster, { routing, consistency, rules }));
    for (let i = 0; i < 4; i++) assert.equal(await where(stage, client, 'live'), node);
  }
  await front.reload(configFor(stage.cluster, { routing, consistency }));
  const seen = new Set<string>();
  await until(
    'both replicas to be read again',
    async () => seen.add(await where(stage, client, 'live')).size === 2,
  );
}

/** Everything that asks for a replica, before everything that writes. */
async function writeTests(t: TestContext, stage: Stage): Promise<void> {
  const [replica] = stage.replicaNames as [string];
  const { primary } = stage.cluster;
  await primary.admin(
    stage.kind === 'postgres'
      ? `CREATE FUNCTION scribble(n int) RETURNS int VOLATILE LANGUAGE sql AS $$INSERT INTO notes VALUES (n, 'f') RETURNING id$$;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC`
      : "CREATE FUNCTION scribble(n INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO notes VALUES (n, 'f'); RETURN n; END",
  );
  const rules: Rules = [{ action: { route: { node: replica }, consistency: 'eventual' } }];
  for (const [how, hint, changes] of [
    ['a rule', '', { rules }],
    ['a hint', `/* scheelite: route=node:${replica} consistency=eventual */ `, {}],
    ['a hint and a rule', '/* scheelite: route=replica fallback=hold consistency=eventual */ ', { rules }],
  ] as const) {
    await t.test(how, async (t) => {
      const front = await stage.front(t, changes);
      const client = await front.connect(t);
      await client.query('DELETE FROM notes');
      const units = () =>
        stage.replicaNames.map((name) => {
          const { units, retries } = front.node(name);
          return [units.replica, units.primary, units.last, retries['server-lost']];
        });
      const before = units();
      const prepared = `${hint}INSERT INTO notes VALUES (?, ?)`;
      await client.query(`${hint}INSERT INTO notes VALUES (1, 'x')`);
      await client.query(prepared, [2, 'x']);
      if (hint === '' || stage.kind === 'postgres') await client.execute(prepared, [3, 'x']);
      else await client.execute(prepared, [3, 'x']);
      await client.query(`${hint}SELECT 1; INSERT INTO notes VALUES (4, 'x')`);
      await client.query(`${hint}UPDATE notes SET note = 'y' WHERE id = 1`);
      await client.query(`${hint}SELECT note FROM notes WHERE id = 1 FOR UPDATE`);
      await client.query(`${hint}SELECT scribble(5)`);
      if (stage.kind === 'postgres')
        await client.query(
          `${hint}WITH x AS (INSERT INTO notes VALUES (6, 'x') RETURNING id) SELECT id FROM x`,
        );
      await client.query(`${hint}BEGIN`);
      await client.query(`${hint}SELECT count(*) AS n FROM notes`);
      await client.query(`${hint}INSERT INTO notes VALUES (7, 'x')`);
      await client.query(`${hint}COMMIT`);
      assert.deepEqual(units(), before, 'something ran on a replica, if only to fail there');
      const expected = stage.kind === 'postgres' ? 7 : 6;
      const direct = await stage.direct(t, primary);
      const [row] = await direct.query('SELECT count(*) AS n FROM notes');
      assert.equal(Number(row?.n), expected);
    });
  }
}
