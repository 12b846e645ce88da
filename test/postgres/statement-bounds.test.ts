// How many prepared statements there may be: on a server connection, where the least recently used make room for others and nobody
// notices, and of one client, which is refused what is too much while nobody else notices.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type PostgresWire, say } from '../e2e/postgres-wire.js';
import { available, skipWithout } from '../servers/available.js';
import { SharingScene, sharingCluster } from './sharing-scene.js';

const skip = skipWithout(available('postgres'));
/** Of a server connection, and of a client (postgres/prepared-statements.ts). */
const MAX_HELD = 500;
const MAX_STATEMENTS = 10_000;

const text = (i: number): string => `SELECT ${i} AS bounded`;
const name = (i: number): string => `s${i}`;
const parse = (i: number): Buffer => say.parse(name(i), text(i));
const run = (i: number): Buffer[] => [say.bind(name(i)), say.execute()];
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Each runs by itself, one behind the other, and answers with its own number. */
async function runAll(wire: PostgresWire, numbers: readonly number[]): Promise<void> {
  wire.send(...numbers.flatMap((i) => [...run(i), say.sync()]));
  for (const i of numbers)
    assert.deepEqual(await wire.ready(), [
      'BindComplete',
      `DataRow ${i}`,
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
}

test('postgres: bounds of prepared statements', { skip }, async (t) => {
  const cluster = await sharingCluster(t);
  // One server connection, whoever asks: what it holds, any client can see.
  const open = (t: TestContext) => SharingScene.open(t, cluster, { pool: { maxServerConnections: 1 } });
  /** The numbers of those that the server connection holds. */
  const held = async (wire: PostgresWire): Promise<number[]> => {
    const lines = await wire.talk(
      say.query(
        "SELECT substring(statement FROM '^SELECT (.*) AS bounded$')::int AS n FROM pg_prepared_statements ORDER BY n",
      ),
    );
    return lines.flatMap((line) => (line.startsWith('DataRow ') ? [Number(line.slice(8))] : []));
  };

  await t.test(
    'on a server connection: the least recently used is closed there, and still works',
    async (t) => {
      const scene = await open(t);
      const [wire, other] = (await scene.clients(2)) as [PostgresWire, PostgresWire];
      await wire.talk(...range(1, 620).map(parse), say.sync());
      await runAll(wire, range(1, 620));
      assert.deepEqual(await held(other), range(121, 620));
      // Those that are used again are not the next to go.
      await runAll(wire, range(121, 130));
      await runAll(wire, range(1, 20));
      assert.deepEqual(await held(other), [...range(1, 20), ...range(121, 130), ...range(151, 620)]);
      // Another client's statement of the same text is the same one.
      await other.talk(say.parse('mine', text(1)), say.sync());
      await other.talk(say.parse('new', text(621)), say.bind('new'), say.execute(), say.sync());
      assert.equal((await held(other)).length, MAX_HELD);
      assert.ok((await held(other)).includes(621));
      await runAll(wire, range(1, 620));
      assert.deepEqual(await held(other), range(121, 620));
    },
  );

  await t.test('on a server connection: within one batch', async (t) => {
    const scene = await open(t);
    const [wire, other] = (await scene.clients(2)) as [PostgresWire, PostgresWire];
    const numbers = range(1001, 1001 + MAX_HELD + 49);
    // What has been closed for the bound is asked for again before the Sync.
    wire.send(...numbers.map(parse), ...run(1001), ...run(1050), ...run(1003), say.sync());
    const lines = await wire.ready();
    assert.deepEqual(
      lines.filter((line) => line !== 'ParseComplete'),
      [1001, 1050, 1003]
        .flatMap((i) => ['BindComplete', `DataRow ${i}`, 'CommandComplete SELECT 1'])
        .concat('ReadyForQuery I'),
    );
    assert.equal(lines.filter((line) => line === 'ParseComplete').length, numbers.length);
    await runAll(wire, numbers);
    assert.deepEqual(await held(other), numbers.slice(-MAX_HELD));
  });

  await t.test('of a client: it is told and ended, and nobody else notices', async (t) => {
    const scene = await open(t);
    const [wire, other] = (await scene.clients(2)) as [PostgresWire, PostgresWire];
    await other.talk(say.parse('s1', 'SELECT 2 AS others'), say.sync());
    const lines = await wire.talk(...range(1, MAX_STATEMENTS).map(parse), say.sync());
    assert.equal(lines.filter((line) => line === 'ParseComplete').length, MAX_STATEMENTS);
    await runAll(wire, [1, 5_000, MAX_STATEMENTS]);
    // One that is closed makes room for another.
    assert.deepEqual(await wire.talk(say.close('s1'), say.parse('another', 'SELECT 3'), say.sync()), [
      'CloseComplete',
      'ParseComplete',
      'ReadyForQuery I',
    ]);
    wire.send(say.parse('too many', 'SELECT 4'), say.sync());
    const told = (await wire.closed()).filter((line) => line.startsWith('ErrorResponse'));
    assert.deepEqual(told, [
      `ErrorResponse FATAL 53400 the client holds more than ${MAX_STATEMENTS} prepared statements`,
    ]);
    assert.deepEqual(await other.talk(say.bind('s1'), say.execute(), say.sync()), [
      'BindComplete',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
    assert.ok((await held(other)).length <= MAX_HELD);
    const again = await scene.client();
    await again.talk(...range(1, 3).map(parse), say.sync());
    await runAll(again, range(1, 3));
  });
});
