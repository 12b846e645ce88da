// Texts of one to three statements, at random: settings, roles, transactions, savepoints and what fails among them. Each is
// answered, byte by byte, as the server answers it without a proxy, and the next client finds nothing of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { available, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { Random } from '../storm/random.js';
import { asSuperuser, front } from './auto-prepare-scene.js';
import { msg, RawClient, Twin } from './twin.js';

const { query } = msg;
const SEED = Number(process.env.SCHEELITE_SEED ?? 2311);
const STORIES = Number(process.env.SCHEELITE_STORIES ?? 250);
const TEXTS = 6;
const STATEMENTS = [
  ...['BEGIN', 'START TRANSACTION READ ONLY', 'COMMIT', 'ROLLBACK', 'COMMIT AND CHAIN'],
  ...['SAVEPOINT a', 'ROLLBACK TO a', 'RELEASE a'],
  ...["SET work_mem = '123kB'", "SET LOCAL work_mem = '99kB'", 'RESET work_mem', 'RESET ALL'],
  ...["SELECT set_config('work_mem', '77kB', false)", "SELECT set_config('work_mem', '78kB', true)"],
  ...['SET ROLE other', 'RESET ROLE', 'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'],
  ...['PREPARE p AS SELECT 1', 'EXECUTE p', 'DEALLOCATE p'],
  ...['SELECT 1', 'SELECT 1 / 0', 'INSERT INTO w VALUES (1, 1) ON CONFLICT DO NOTHING', 'DELETE FROM w'],
];
const SHOWS = ['SHOW work_mem', 'SHOW role', 'SHOW default_transaction_read_only'];
/** README, limits: what a READ ONLY transaction on a replica cannot have. */
const LIMITS = /unsupported-feature|pinned-state-lost|C25006/;

test('PostgreSQL: several statements in one text, at random', {
  skip: skipWithout(available('postgres')),
}, async (t) => {
  const cluster = await startCluster('postgres', { replicas: 1 });
  t.after(() => cluster.stop());
  const { database } = cluster.user;
  const owner = await RawClient.open(t, cluster.primary, database);
  await (await asSuperuser(t, cluster)).do(
    `GRANT CREATE ON DATABASE ${database} TO app_trust; CREATE ROLE other SUPERUSER; GRANT other TO app_trust`,
  );
  await Twin.createApart(owner);
  const proxy = await front(t, cluster, { pool: { maxServerConnections: 4 } });
  const standard = new Map<string, string>();
  for (const show of SHOWS) standard.set(show, await owner.value(show));
  const random = new Random(SEED);
  let compared = 0;

  for (let n = 0; n < STORIES; n++) {
    const two = await Twin.openApart(t, cluster, proxy);
    const told: string[] = [];
    /** False: a limit was met, and there is nothing more to compare. */
    const tell = async (sql: string): Promise<boolean> => {
      told.push(sql);
      const actual = await two.proxied.talk(query(sql));
      const expected = await two.bare.talk(query(sql));
      const isAlike = isDeepStrictEqual(actual, expected);
      if (!isAlike && actual.some((line) => LIMITS.test(line))) return false;
      if (!isAlike) assert.deepEqual(actual, expected, `seed ${SEED}, story ${n}:\n${told.join('\n')}`);
      return true;
    };
    let goesOn = true;
    for (let i = 0; i < TEXTS && goesOn; i++) {
      const text = Array.from({ length: random.int(1, 3) }, () => random.pick(STATEMENTS)).join('; ');
      goesOn = await tell(text);
      if (random.chance(0.5)) for (const show of SHOWS) goesOn &&= await tell(show);
    }
    for (const sql of ['ROLLBACK', ...SHOWS]) goesOn &&= await tell(sql);
    if (goesOn) compared++;
    two.proxied.wire.socket.destroy();
    two.bare.wire.socket.destroy();
    const next = await RawClient.open(t, proxy, database);
    for (const [show, value] of standard)
      assert.equal(await next.value(show), value, `the next client's, behind:\n${told.join('\n')}`);
    next.wire.socket.destroy();
  }
  assert.ok(compared > STORIES / 2, `${compared} stories of ${STORIES} were compared to their end`);
});
