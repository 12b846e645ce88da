// What explain says beside what then happens: on real servers, of nobody in particular and of live sessions, in one process
// and with workers, over the API and by the command line.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ExplainReport, SessionReport, SessionsReport } from '../../src/admin/explain.js';
import { scheelite, startServer } from '../cli/run.js';
import { temporaryFolder } from '../config/folder.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { configFor } from '../proxy/proxy-under-test.js';
import { ON_ALL_SERVERS } from '../servers/alike.js';
import { until } from '../servers/poll.js';
import type { Client } from './driver.js';
import { type Front, FUNCTIONS, ONE_PROCESS, type Stage } from './stage.js';

const READ = 'SELECT name, node_port() AS port FROM items WHERE id = 1';
/** Stands in a statement and must stand nowhere else. */
const SECRET = 'a literal that nobody may see';

async function explain(
  front: Front,
  sql: string,
  session: number | null = null,
  database: string | null = null,
): Promise<ExplainReport> {
  const request = { sql, session, database, cluster: null, user: null, application: null };
  const report = await front.proxy.proxy.explain(request);
  if ('problem' in report) return assert.fail(report.problem);
  return report;
}

async function sessions(front: Front): Promise<readonly SessionReport[]> {
  return (await front.proxy.proxy.sessions({ cluster: null, user: null, limit: 100 })).sessions;
}

/** A client, and the number of its session: the only one that was not there before. */
async function connect(t: TestContext, front: Front): Promise<{ client: Client; id: number }> {
  const before = new Set((await sessions(front)).map(({ id }) => id));
  const client = await front.connect(t);
  const added = (await sessions(front)).filter(({ id }) => !before.has(id));
  assert.equal(added.length, 1);
  return { client, id: added[0]!.id };
}

const verdicts = ({ nodes }: ExplainReport): Record<string, string> =>
  Object.fromEntries(nodes.map(({ name, verdict }) => [name, verdict]));
const whyNot = ({ nodes }: ExplainReport, name: string): string =>
  nodes.find((node) => node.name === name)!.why;

export async function explainTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster, kind } = stage;
  const primary = cluster.primary.name;
  const [a, b] = cluster.replicas as [(typeof cluster.replicas)[0], (typeof cluster.replicas)[0]];
  const { database } = cluster.user;

  await t.test('of nobody: the node that the next newcomer reads from, however often one asks', async (t) => {
    // Each worker takes turns by itself.
    const front = await stage.front(t, {}, ONE_PROCESS);
    await front.spread(t, 1);
    for (let i = 0; i < 4; i++) {
      const report = await explain(front, READ, null, database);
      for (let k = 0; k < 5; k++)
        assert.deepEqual((await explain(front, READ, null, database)).decision, report.decision);
      assert.deepEqual(await front.spread(t, 1), { [report.decision.node!]: 1 });
      assert.equal(report.decision.onReplica, true);
      assert.equal(report.route, 'replica');
      assert.deepEqual(Object.values(verdicts(report)).sort(), ['also', 'also', 'chosen']);
    }
    const write = await explain(front, `INSERT INTO notes VALUES (1, '${SECRET}')`);
    assert.deepEqual([write.decision.node, write.decision.onReplica], [primary, false]);
    assert.equal(write.sharing.would, false);
    assert.equal(whyNot(write, a.name), 'is not the primary');
    assert.doesNotMatch(JSON.stringify(write), new RegExp(SECRET));
    assert.doesNotMatch(front.proxy.lines.join(''), new RegExp(SECRET));
  });

  await t.test('the key is that of the explained text, not of what the session ran last', async (t) => {
    const rules = [{ match: { shape: 'SELECT note FROM notes' }, action: { session: 'notes' } }];
    // What is known of a key each worker knows by itself.
    const front = await stage.front(t, { consistency: { scope: 'comment' }, rules }, ONE_PROCESS);
    const { client, id } = await connect(t, front);
    const of = (name: string) => `/* scheelite: session=${name} */ ${READ}`;
    // What a key is not known for is owed by all of it; alice's reads come back to replicas, bob's do not.
    await until('a read of alice on a replica', async () => {
      return (await client.query(of('alice')))[0]?.port !== cluster.primary.port;
    });
    for (const session of [id, null]) {
      const alice = await explain(front, of('alice'), session, database);
      assert.deepEqual([alice.consistency.key, alice.consistency.watermarkPending], ['session:alice', false]);
      assert.equal(alice.decision.onReplica, true);
      assert.notEqual(alice.consistency.watermark, null);
      for (let i = 0; i < 2; i++) {
        const bob = await explain(front, of('bob'), session, database);
        assert.deepEqual([bob.consistency.key, bob.consistency.watermarkPending], ['session:bob', true]);
        assert.equal(bob.decision.reason, 'watermark-unknown');
      }
      const ruled = await explain(front, 'SELECT note FROM notes', session, database);
      assert.equal(ruled.consistency.key, 'session:notes');
      const own = await explain(front, READ, session, database);
      assert.deepEqual([own.consistency.key, own.consistency.watermarkPending], [null, false]);
    }
    // In a transaction the rest is under the key that it began with.
    await client.query('BEGIN');
    await client.query(of('alice'));
    // The client has its rows before the session has learnt all that they have changed.
    await until('the session is in a transaction under the key', async () => {
      return (await explain(front, READ, id)).consistency.key === 'session:alice';
    });
    await client.query('ROLLBACK');
    // And the rule's key is one session over connections.
    const { client: other } = await connect(t, front);
    await cluster.waitCaughtUp();
    for (const replica of cluster.replicas) await replica.pauseReplay();
    t.after(async () => {
      for (const replica of cluster.replicas) await replica.resumeReplay();
      await cluster.waitCaughtUp();
    });
    await client.query("/* scheelite: session=notes */ INSERT INTO notes VALUES (901, 'ruled')");
    const rows = await other.query('SELECT note FROM notes');
    assert.ok(rows.some(({ note }) => note === 'ruled'));
  });

  await t.test('rules: which one has a say, why others have none, and what is refused', async (t) => {
    const front = await stage.front(t, {
      routing: { readFunctions: FUNCTIONS },
      rules: [
        { name: 'others', match: { user: 'somebody' }, action: { route: 'primary' } },
        {
          name: 'no-notes',
          match: { shape: 'SELECT note FROM notes' },
          action: { deny: 'ask somebody else' },
        },
        { name: 'here', match: { class: 'read' }, action: { route: { node: b.name } } },
      ],
    });
    const { client, id } = await connect(t, front);
    for (const session of [null, id]) {
      const report = await explain(front, READ, session, database);
      assert.deepEqual([report.rule, report.decision.node], ['here', b.name]);
      assert.deepEqual(
        report.rules.map(({ rule, matches }) => [rule, matches]),
        [
          ['others', false],
          ['no-notes', false],
          ['here', true],
        ],
      );
      const refused = await explain(front, 'SELECT note FROM notes', session, database);
      assert.deepEqual([refused.decision.kind, refused.rule], ['refused', 'no-notes']);
      assert.match(refused.decision.why, /ask somebody else/);
    }
    await assert.rejects(client.query('SELECT note FROM notes'), /ask somebody else/);
    assert.equal((await client.query(READ))[0]?.port, b.port);
    const odd = await explain(front, `/* scheelite: route=nowhere */ ${READ}`);
    assert.ok(
      odd.notes.some((note) => note.includes('route=nowhere')),
      odd.notes.join(),
    );
  });

  await t.test('a hint, a mode and a level are reasons', async (t) => {
    const front = await stage.front(t, { routing: { readFunctions: FUNCTIONS, balance: 'weighted' } });
    const hinted = await explain(front, `/* scheelite: route=primary */ ${READ}`);
    assert.equal(hinted.decision.node, primary);
    assert.deepEqual(hinted.hint, { route: 'primary' });
    assert.equal(hinted.decision.reason, 'primary-asked');
    const next = configFor(cluster, {
      nodes: cluster.nodes.map(({ name, host, port }) => ({
        name,
        host,
        port,
        mode: name === a.name ? 'drain' : 'online',
      })),
      routing: { readFunctions: FUNCTIONS },
    });
    front.proxy.proxy.reload(next);
    await front.refresh();
    const drained = await explain(front, READ);
    assert.deepEqual(verdicts(drained), { [primary]: 'also', [a.name]: 'passed-over', [b.name]: 'chosen' });
    assert.equal(whyNot(drained, a.name), 'is set to drain');
  });

  await t.test('of a session: what it wrote keeps it from the replicas that do not have it', async (t) => {
    const front = await stage.front(t);
    const { client, id } = await connect(t, front);
    await client.query(READ);
    await a.pauseReplay();
    await b.pauseReplay();
    t.after(async () => {
      await a.resumeReplay();
      await b.resumeReplay();
    });
    await client.query("INSERT INTO notes VALUES (900, 'mine')");
    await until('its watermark to be known', async () => {
      const { consistency } = await explain(front, READ, id);
      return consistency.watermark !== null && !consistency.watermarkPending;
    });
    const report = await explain(front, READ, id);
    assert.equal(report.decision.node, primary);
    assert.equal(report.decision.reason, 'replicas-behind-watermark');
    assert.equal(whyNot(report, a.name), 'has not what the session wrote or saw');
    assert.equal(await front.whereIs(client), primary);
    // Somebody else could read there.
    assert.equal((await explain(front, READ)).decision.onReplica, true);
  });
  await cluster.waitCaughtUp();

  await t.test('of a session in a transaction, and pinned: it runs where it holds', async (t) => {
    const front = await stage.front(t);
    const { client, id } = await connect(t, front);
    await client.query('BEGIN');
    await client.query("INSERT INTO notes VALUES (910, 'open')");
    const inside = await explain(front, READ, id);
    assert.deepEqual(
      [inside.decision.kind, inside.decision.node, inside.session?.transaction],
      ['held-connection', primary, 'transaction'],
    );
    assert.match(inside.decision.why, /its transaction is open/);
    assert.equal(inside.sharing.would, false);
    const [listed] = await sessions(front);
    assert.deepEqual([listed?.id, listed?.node, listed?.transaction], [id, primary, 'transaction']);
    await client.query('ROLLBACK');
    await client.query('CREATE TEMPORARY TABLE mine (id int)');
    const pinned = await explain(front, READ, id);
    assert.deepEqual([pinned.decision.kind, pinned.session?.pins], ['held-connection', ['temporary-table']]);
    assert.equal(await front.whereIs(client), primary);
  });

  await t.test("a session's settings decide how its text is read", async (t) => {
    const front = await stage.front(t);
    const { client, id } = await connect(t, front);
    if (kind === 'postgres') {
      await client.query('SET search_path TO pg_catalog, public');
      await client.query('SET standard_conforming_strings = off');
      const text = "SELECT 1 WHERE 'x\\' <> ' ; DELETE FROM items; --'";
      assert.equal((await explain(front, text, null, database)).route, 'replica');
      const report = await explain(front, text, id);
      // With backslashes the first literal goes on, and a second statement comes to light.
      assert.equal(report.route, 'primary');
      assert.equal(report.session?.settings.standard_conforming_strings, 'off');
      assert.match(report.session?.settings.search_path ?? '', /pg_catalog/);
    } else {
      await client.query("SET SESSION sql_mode = 'ANSI_QUOTES'");
      const text = 'SELECT name FROM items WHERE name = "one"';
      const report = await explain(front, text, id);
      assert.equal(report.session?.settings.sql_mode, 'ANSI_QUOTES');
      assert.notEqual(report.shape, (await explain(front, text)).shape);
      await client.query('SET autocommit = 0');
      assert.equal((await explain(front, READ, id)).decision.node, primary);
      assert.equal((await explain(front, READ)).decision.onReplica, true);
    }
  });

  await t.test('sharing and preparing: why not yet, and then that', async (t) => {
    const front = await stage.front(t);
    const { client, id } = await connect(t, front);
    const sql = 'SELECT name FROM items WHERE id = 2';
    assert.match((await explain(front, sql, id)).sharing.why, /not known yet/);
    await until('it to be known as short', async () => {
      await client.query(sql);
      return (await explain(front, sql, id)).sharing.would;
    });
    const text = kind === 'postgres' ? 'SELECT name FROM items WHERE id = $1' : sql;
    const before = await explain(front, text, id);
    if (kind !== 'postgres') {
      assert.equal(before.autoPrepare, null);
      return;
    }
    assert.equal(before.autoPrepare?.would, false);
    for (let i = 0; i < 6; i++) await client.query('SELECT name FROM items WHERE id = ?', [2]);
    assert.deepEqual((await explain(front, text, id)).autoPrepare?.would, true);
    assert.equal((await explain(front, 'BEGIN', id)).autoPrepare?.would, false);
  });

  await t.test('sharing: not while large replies come', async (t) => {
    const front = await stage.front(t, { sharing: ONE_SHARED });
    const { client, id } = await connect(t, front);
    const sql = (length: number) => `SELECT name, repeat('x', ${length}) AS filler FROM items WHERE id = 2`;
    const sharing = async () => (await explain(front, sql(5), id)).sharing;
    const shared = async () => {
      await front.refresh();
      return cluster.nodes.reduce((sum, { name }) => sum + front.node(name).sharedUnits, 0);
    };
    await until('it to be known as short, and shared', async () => {
      await client.query(sql(5));
      return (await sharing()).would && (await shared()) > 0;
    });
    await client.query(sql(60_000));
    assert.equal((await sharing()).would, true, 'that was not too large');
    await client.query(sql(200_000));
    const before = await shared();
    for (let i = 0; i < 10; i++) {
      assert.deepEqual(await sharing(), { would: false, why: 'its replies are too large' });
      await client.query(sql(5));
    }
    assert.equal(await shared(), before);
    await until('none has come for long', async () => {
      await client.query(sql(5));
      return (await sharing()).would && (await shared()) > before;
    });
  });

  await t.test('what is not there', async (t) => {
    const front = await stage.front(t);
    const ask = { sql: 'SELECT 1', user: null, database: null, application: null };
    assert.deepEqual(await front.proxy.proxy.explain({ ...ask, cluster: 'other', session: null }), {
      problem: 'there is no cluster of that name; there is: main',
    });
    assert.deepEqual(await front.proxy.proxy.explain({ ...ask, cluster: null, session: 987_654 }), {
      problem: 'cluster main has no session 987654 that is logged in',
    });
  });

  for (const workers of stage.kind === 'postgres' || ON_ALL_SERVERS ? [1, 2] : [1])
    await t.test(`by the command line, ${workers} of ${workers} processes`, (t) =>
      commandLine(t, stage, workers),
    );
}

async function commandLine(t: TestContext, stage: Stage, workers: number): Promise<void> {
  const { cluster, driver } = stage;
  const folder = temporaryFolder(t);
  const file = folder.write('proxy.json', {
    listeners: [{ name: 'app', port: 0 }],
    clusters: [
      {
        name: 'main',
        protocol: stage.kind === 'postgres' ? 'postgres' : 'mysql',
        nodes: cluster.nodes.map(({ name, host, port }) => ({ name, host, port })),
        monitor: { ...cluster.superuser, intervalMs: 100, timeoutMs: 10_000 },
        routing: { readFunctions: FUNCTIONS },
      },
    ],
    admin: { port: 0 },
    log: { level: 'trace' },
    workers,
  });
  const server = await startServer(t, file);
  await until('it is ready', async () => (await fetch(`${server.admin}/readyz`)).ok);
  const port = server.listeners[0]!.port;
  const run = (...args: string[]) => scheelite([...args, '--admin', server.admin]);
  const clients: Client[] = [];
  for (let i = 0; i < 4; i++) {
    const client = await driver.connect({ host: '127.0.0.1', port }, cluster.user);
    t.after(() => client.kill());
    clients.push(client);
  }
  await clients[0]!.query('BEGIN');
  await clients[0]!.query(`INSERT INTO notes VALUES (${920 + workers}, '${SECRET}')`);

  const listed = await run('sessions', '--json');
  assert.equal(listed.code, 0, listed.stderr);
  const report = JSON.parse(listed.stdout) as SessionsReport;
  assert.equal(report.total, 4);
  // Who is in a transaction comes first.
  const [inside, idle] = report.sessions;
  assert.deepEqual(
    [inside?.transaction, inside?.node, idle?.transaction],
    ['transaction', cluster.primary.name, 'idle'],
  );
  assert.equal(inside?.user, cluster.user.user);
  assert.match((await run('sessions', '--limit', '1')).stdout, /\n4 sessions, 3 not shown\n$/);
  assert.match((await run('sessions', '--user', 'nobody')).stdout, /\n0 sessions\n$/);

  for (const session of report.sessions) {
    const { code, stdout, stderr } = await run('explain', READ, '--session', String(session.id), '--json');
    assert.equal(code, 0, stderr);
    const explained = JSON.parse(stdout) as ExplainReport;
    assert.equal(explained.session?.id, session.id);
    assert.equal(explained.decision.kind, session === inside ? 'held-connection' : 'node');
  }
  const shown = await run('explain', `SELECT name FROM items WHERE name = '${SECRET}'`, '--cluster', 'main');
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /^class +replica: /m);
  assert.match(shown.stdout, /^NODE +ROLE +TAKES IT +WHY$/m);
  assert.match(shown.stdout, new RegExp(`^${cluster.primary.name} +primary +could `, 'm'));
  const unknown = await run('explain', 'SELECT 1', '--session', '987654');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /has no session 987654/);
  for (const text of [
    listed.stdout,
    shown.stdout,
    server
      .log()
      .map((line) => JSON.stringify(line))
      .join('\n'),
  ])
    assert.doesNotMatch(text, new RegExp(SECRET));
}
