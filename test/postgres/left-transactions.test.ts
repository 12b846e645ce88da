// READ ONLY transactions on a replica, ended by a text that then writes: it runs on the primary, and the client is answered as if
// the transaction had been there from its beginning. Its settings hold, or fall, with it, for this client and for the next one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient, run, Twin } from './twin.js';

const { parse, bind, execute, sync, query } = msg;
const q = (...texts: string[]): Buffer[] => texts.map((text) => query(text));
const SHOW = 'SHOW work_mem';
const PORT = 'SELECT inet_server_port()';

/** What a transaction does before its end. */
const BODIES: readonly (readonly [string, readonly Buffer[]])[] = [
  ['nothing set', q('SELECT 1')],
  ['set', q("SET work_mem = '123kB'", SHOW)],
  ['reset', q('RESET work_mem', SHOW)],
  ['set LOCAL', q("SET LOCAL work_mem = '124kB'", SHOW)],
  ['set, then failed', q("SET work_mem = '125kB'", 'SELECT 1 / 0', 'SELECT 1')],
  ['failed, then set', q('SELEC', "SET work_mem = '126kB'")],
  ['set and a role', q("SET work_mem = '127kB'", 'SET ROLE other', SHOW, 'RESET ROLE')],
];

const ENDS: readonly (readonly [string, (id: number) => Buffer])[] = [
  ['COMMIT; INSERT', (id) => query(`COMMIT; INSERT INTO w VALUES (${id}, 1)`)],
  ['ROLLBACK; INSERT', (id) => query(`ROLLBACK; INSERT INTO w VALUES (${id}, 1)`)],
  ['END; SELECT; INSERT', (id) => query(`END; SELECT 1; INSERT INTO w VALUES (${id}, 1)`)],
  ['COMMIT; INSERT that fails', () => query('COMMIT; INSERT INTO w VALUES (1 / 0, 1)')],
  [
    'ROLLBACK and INSERT in one batch',
    (id) =>
      Buffer.concat([
        ...[parse('ROLLBACK'), bind(), execute],
        ...[parse('INSERT INTO w VALUES ($1, 1)'), bind(id), execute, sync],
      ]),
  ],
];

test('PostgreSQL: READ ONLY transactions that a replica is left in', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const owner = await RawClient.open(t, cluster.primary, cluster.user.database);
  await (await asSuperuser(t, cluster)).do(
    `GRANT CREATE ON DATABASE ${cluster.user.database} TO app_trust; CREATE ROLE other; GRANT other TO app_trust`,
  );
  await Twin.createApart(owner);
  await cluster.waitCaughtUp();
  const proxy = await front(t, cluster);
  let id = 0;
  const beginsOnReplica = async (two: Twin): Promise<void> => {
    await until('the transaction is on the replica', async () => {
      await two.proxied.do('START TRANSACTION READ ONLY');
      const isThere = (await two.proxied.value(PORT)) !== (await owner.value(PORT));
      if (!isThere) await two.proxied.do('COMMIT');
      return isThere;
    });
    await two.bare.do('START TRANSACTION READ ONLY');
  };

  await t.test('COPY FROM is refused as the primary refuses it', async (t) => {
    const two = await Twin.openApart(t, cluster, proxy);
    await beginsOnReplica(two);
    const told = async (client: RawClient): Promise<unknown> => {
      const lines = await client.talk(query('COPY w FROM STDIN'));
      return [lines.length, /\0C(\w+)\0M([^\0]+)/.exec(lines[0]!)?.slice(1)];
    };
    assert.deepEqual(await told(two.proxied), await told(two.bare));
    await two.do('ROLLBACK');
  });

  for (const [body, units] of BODIES)
    for (const [end, unit] of ENDS)
      await t.test(`${body}: ${end}`, async (t) => {
        id++;
        const two = await Twin.openApart(t, cluster, proxy);
        const next = await RawClient.open(t, proxy, cluster.user.database);
        await two.do("SET work_mem = '99kB'");
        // What it must have seen is there.
        await beginsOnReplica(two);
        for (const each of units) await two.both(each);
        await two.both(unit(id));
        await two.do(SHOW);
        await two.both(run('SELECT count(*), sum(v) FROM w'));
        await two.do(`${SHOW}; DELETE FROM w WHERE id < 0`);
        // What the server connection cannot be told it is not used with again.
        two.proxied.wire.socket.destroy();
        // On either node.
        for (const sql of [SHOW, `${SHOW}; DELETE FROM proxied.w WHERE id < 0`, SHOW])
          assert.equal(await next.value(sql), await owner.value(SHOW), sql);
      });
});
