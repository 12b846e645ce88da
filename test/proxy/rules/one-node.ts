// What asks how one node is (its port stands for it): the primary answers, unless a hint or a rule says which node is meant; and
// nothing in the same text gets there that would not get there without it.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Client } from '../../e2e/driver.js';
import type { Stage } from '../../e2e/stage.js';
import { until } from '../../servers/poll.js';

/** Each answers with the port of the server, as `port` or as `Value`. */
const QUESTIONS = {
  postgres: [
    'SELECT inet_server_port() AS port',
    "SELECT setting AS port FROM pg_settings WHERE name = 'port'",
    "SELECT current_setting('port') AS port, count(*) FROM pg_stat_activity",
    'SELECT port FROM own_port',
  ],
  mysql: [
    'SELECT @@port AS port',
    'SELECT VARIABLE_VALUE AS port FROM performance_schema.global_variables WHERE VARIABLE_NAME = "port"',
    'SHOW GLOBAL VARIABLES LIKE "port"',
  ],
  mariadb: [
    'SELECT @@port AS port',
    'SELECT VARIABLE_VALUE AS port FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = "port"',
    'SHOW GLOBAL VARIABLES LIKE "port"',
  ],
} as const;

const to = (node: string, more = ''): string => `/* scheelite: route=node:${node} ${more} */ `;

export async function oneNodeTests(t: TestContext, stage: Stage): Promise<void> {
  const { kind, cluster } = stage;
  const [first, second] = stage.replicaNames as [string, string];
  const primary = cluster.primary.name;
  if (kind === 'postgres')
    await cluster.primary.admin(
      'CREATE VIEW own_port AS SELECT inet_server_port() AS port; GRANT SELECT ON own_port TO PUBLIC',
    );
  await cluster.waitCaughtUp();
  const port = kind === 'postgres' ? 'inet_server_port()' : '@@port';
  // A read waits for the position that its session owes; "in vain" it would be the primary's.
  const front = await stage.front(t, {
    consistency: { waitMs: 10_000 },
    rules: [{ match: { shapePattern: 'as of_second' }, action: { route: { node: second } } }],
  });
  const nodeOf = async (rows: Promise<Record<string, unknown>[]>): Promise<string> => {
    const [row] = await rows;
    return stage.nodeAt(row?.port ?? row?.Value);
  };
  const asked = (client: Client, sql: string) => nodeOf(client.query(sql));

  await t.test('the node that a hint names, else the primary', async (t) => {
    const client = await front.connect(t);
    for (const question of QUESTIONS[kind]) {
      if (question.includes('own_port'))
        await until('the view is known', async () => (await asked(client, question)) === primary);
      for (const node of [first, second, primary, first]) {
        assert.equal(await asked(client, `${to(node)}${question}`), node, question);
        assert.equal(await nodeOf(client.execute(`${to(node)}${question}`)), node, question);
        assert.equal(await asked(client, question), primary, question);
        assert.equal(await nodeOf(client.execute(question)), primary, question);
      }
    }
    for (let i = 0; i < 4; i++)
      assert.ok(
        stage.replicaNames.includes(
          await asked(client, `/* scheelite: route=replica */ SELECT ${port} AS port`),
        ),
      );
    assert.equal(
      await asked(client, `/* scheelite: consistency=eventual */ SELECT ${port} AS port`),
      primary,
    );
    assert.equal(await asked(client, `${to(first, 'consistency=primary')}SELECT ${port} AS port`), primary);
  });

  await t.test('the node that a rule names', async (t) => {
    const client = await front.connect(t);
    const [row] = await client.query(`SELECT ${port} AS of_second`);
    assert.equal(stage.nodeAt(row?.of_second), second);
  });

  await t.test('what writes or locks as well stays on the primary', async (t) => {
    const client = await front.connect(t);
    const both =
      kind === 'postgres'
        ? [
            `SELECT ${port} AS port, pg_current_xact_id()`,
            `SELECT ${port} AS port FROM pg_sequences RIGHT JOIN items ON true`,
          ]
        : [`SELECT ${port} AS port, UUID_SHORT()`, `SELECT ${port} AS port, GET_LOCK('a', 0)`];
    for (const sql of [...both, `SELECT ${port} AS port FROM items WHERE id = 1 FOR UPDATE`])
      assert.equal(await asked(client, `${to(first)}${sql}`), primary, sql);
  });

  await t.test('in a transaction it runs where that is', async (t) => {
    const client = await front.connect(t);
    const sql = `${to(first)}SELECT ${port} AS port`;
    await client.query('BEGIN');
    assert.equal(await asked(client, sql), primary);
    assert.equal(await asked(client, sql), primary);
    await client.query('COMMIT');
    assert.equal(await asked(client, sql), first);
    if (kind === 'postgres') return;
    await client.query('SET autocommit = 0');
    assert.equal(await asked(client, sql), primary);
    await client.query('SET autocommit = 1');
    await client.query('SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE');
    assert.equal(await asked(client, sql), primary);
  });

  await t.test('tables in the same text are as fresh as everywhere', async (t) => {
    const replica = cluster.replicas.find(({ name }) => name === first)!;
    const client = await front.connect(t);
    const sql = `SELECT ${port} AS port, (SELECT count(*) FROM notes WHERE id = 990) AS found`;
    assert.equal(await asked(client, `${to(first)}${sql}`), first);
    await replica.pauseReplay();
    try {
      await client.query("INSERT INTO notes VALUES (990, 'x')");
      const [row] = await client.query(`${to(first)}${sql}`);
      assert.deepEqual([stage.nodeAt(row?.port), Number(row?.found)], [primary, 1]);
      assert.equal(
        await asked(client, `${to(first, 'consistency=eventual maxLagMs=999999999')}${sql}`),
        first,
      );
      // What it was shown there binds nothing to that node.
      const [after] = await client.query('SELECT count(*) AS found FROM notes WHERE id = 990');
      assert.equal(Number(after?.found), 1);
    } finally {
      await replica.resumeReplay();
    }
    await client.query('DELETE FROM notes WHERE id = 990');
  });

  await t.test('a node that is gone: as every read that is wanted there', async (t) => {
    const own = await stage.front(t, { failover: { mode: 'off', holdMs: 300 } });
    const client = await own.connect(t);
    const replica = cluster.replicas.find(({ name }) => name === second)!;
    const sql = `SELECT ${port} AS port`;
    assert.equal(await asked(client, `${to(second)}${sql}`), second);
    await replica.stop();
    try {
      await until(
        'the primary answers',
        async () => (await asked(client, `${to(second)}${sql}`)) === primary,
      );
      await assert.rejects(
        asked(client, `${to(second, 'fallback=hold')}${sql}`),
        (error) => stage.driver.codeOf(error) === stage.driver.code('no-node'),
      );
    } finally {
      await replica.start();
      await cluster.waitCaughtUp();
    }
  });
}
