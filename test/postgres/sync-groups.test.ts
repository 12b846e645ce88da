// Cheap reads of several clients that leave with one Sync, on a real server: each is answered as it would be alone. That a group
// was there is seen by reads of now(), which are equal only within one transaction, and by what the proxy counts.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { cancelRequest, say } from '../e2e/postgres-wire.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import { available, skipWithout } from '../servers/available.js';
import type { TestCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { asSuperuser } from './auto-prepare-scene.js';
import { Random } from './pipelines/generate.js';
import { SharingScene, sharingCluster } from './sharing-scene.js';
import { RawClient } from './twin.js';

const skip = skipWithout(available('postgres'));
const SEED = 5;
const DEADLINE_MS = 30_000;
/** Enough that what is unnamed runs prepared, and that all shapes are known to be cheap. */
const WARM_ROUNDS = 12;

/** Each client's own, so that no watch over unnamed texts takes one out of its group. */
const NAMES = {
  mark: 'SELECT now()::text',
  mine: 'SELECT v FROM t WHERE id = $1',
  held: 'SELECT v FROM locked WHERE id = $1',
  divide: 'SELECT 10 / (id - $1::int) FROM t WHERE id = 5',
  behind: 'SELECT i, 10 / ($1::int - i) FROM generate_series(1, 5) i',
  wait: 'SELECT may_wait($1)',
  kill: 'SELECT may_die($1)',
};
const PREPARE = Object.entries(NAMES).map(([name, sql]) => say.parse(name, sql));

const bound = (name: keyof typeof NAMES, ...values: readonly unknown[]): Buffer =>
  Buffer.concat([say.bind(name, values), say.execute(), say.sync()]);
const MARK = bound('mark');
const read = (id: number): Buffer =>
  id % 2 === 0 ? bound('mine', id) : say.run('SELECT v FROM t WHERE id = $1', [id]);
const blocked = (id: number): Buffer => bound('held', id);
const named = (id: number): Buffer => bound('mine', id);
const divide = (id: number): Buffer => bound('divide', id);

const dataOf = (lines: readonly string[]): string => lines.find((line) => line.startsWith('D ')) ?? '';

/** The answers are the same each time. */
type Units = readonly Buffer[] | (() => readonly Buffer[]);

/** Clients that speak at the same time, and one that asks the primary itself what each should be answered. */
class Crowd {
  readonly scene: SharingScene;
  readonly clients: readonly RawClient[];
  readonly bare: RawClient;
  /** Rounds in which the marks of all markers were of one transaction. */
  together = 0;

  private constructor(scene: SharingScene, clients: readonly RawClient[], bare: RawClient) {
    this.scene = scene;
    this.clients = clients;
    this.bare = bare;
  }

  static async open(t: TestContext, cluster: TestCluster, scene: SharingScene, count = 12): Promise<Crowd> {
    const { database } = cluster.user;
    const clients: RawClient[] = [];
    for (let i = 0; i < count; i++) clients.push(await RawClient.open(t, scene.proxy, database));
    const crowd = new Crowd(scene, clients, await RawClient.open(t, cluster.primary, database));
    await Promise.all([...clients, crowd.bare].map((client) => client.talk(...PREPARE, say.sync())));
    return crowd;
  }

  /** Client by client; all leave in one turn. */
  speak(units: readonly Buffer[]): Promise<string[]>[] {
    return units.map((unit, i) => this.clients[i]!.talk(unit));
  }

  /** Two markers stand among them; the others' answers are those of the primary. */
  async round(units: readonly Buffer[], expected: readonly (readonly string[])[]): Promise<void> {
    const half = units.length >> 1;
    const said = [MARK, ...units.slice(0, half), MARK, ...units.slice(half)];
    const answers = await Promise.all(this.speak(said));
    const marks = [answers[0]!, answers[half + 1]!];
    for (const mark of marks) assert.deepEqual(mark.map((line) => line[0]).join(''), '2DCZ');
    if (dataOf(marks[0]!) === dataOf(marks[1]!)) this.together++;
    const others = answers.filter((_, i) => i !== 0 && i !== half + 1);
    for (const [i, answer] of others.entries()) assert.deepEqual(answer, expected[i]);
  }

  async expect(units: readonly Buffer[]): Promise<string[][]> {
    const expected: string[][] = [];
    for (const unit of units) expected.push(await this.bare.talk(unit));
    return expected;
  }

  /** Rounds of these, each time in another order, until `isSeen`, and at least so many. */
  async rounds(units: Units, isSeen: () => boolean, least = WARM_ROUNDS): Promise<void> {
    const make = typeof units === 'function' ? units : () => units;
    const answers = await this.expect(make());
    const deadline = performance.now() + DEADLINE_MS;
    for (let round = 0; round < least || !isSeen(); round++) {
      assert.ok(performance.now() < deadline, 'it has never come about');
      const turned = <T>(list: readonly T[]): T[] => list.map((_, i) => list[(i + round) % list.length]!);
      await this.round(turned(make()), turned(answers));
    }
  }

  /** They are known to be cheap, and leave together. */
  async warm(units: Units): Promise<void> {
    const before = this.together;
    await this.rounds(units, () => this.together >= before + 3);
  }

  get retries() {
    return this.scene.retries;
  }

  get grouped(): number {
    return this.scene.grouped;
  }
}

test('postgres: reads that leave with one Sync', { skip }, async (t) => {
  const cluster = await sharingCluster(t);
  const root = await asSuperuser(t, cluster);
  const owner = await RawClient.open(t, cluster.primary, cluster.user.database);
  const noisy = `CREATE FUNCTION noisy(i int) RETURNS int STABLE LANGUAGE plpgsql AS
    $$BEGIN RAISE NOTICE 'heard %', i; RETURN i; END$$`;
  await owner.do(noisy);
  await owner.do('CREATE TABLE flags (name text PRIMARY KEY)');
  await owner.do(`CREATE FUNCTION may_wait(i int) RETURNS int STABLE LANGUAGE plpgsql AS
    $$BEGIN IF EXISTS (SELECT FROM flags WHERE name = 'slow') THEN PERFORM pg_sleep(6); END IF; RETURN i; END$$`);
  await owner.do(`CREATE FUNCTION may_die(i int) RETURNS bool STABLE LANGUAGE plpgsql AS
    $$BEGIN RETURN i = 666 AND pg_terminate_backend(pg_backend_pid()); END$$`);

  const open = async (
    t: TestContext,
    sharing: Record<string, number> = {},
    changes: Parameters<typeof SharingScene.open>[2] = {},
    count = 12,
  ): Promise<Crowd> => {
    const scene = await SharingScene.open(t, cluster, {
      routing: { splitReads: false, readFunctions: ['may_die'] },
      pool: { maxServerConnections: 16 },
      autoPrepare: { threshold: 2 },
      ...changes,
      sharing: { ...ONE_SHARED, maxHeadMs: 1_500, ...sharing },
    });
    const crowd = await Crowd.open(t, cluster, scene, count);
    // Before the catalog is known none leave together.
    const before = scene.shared;
    await until('a function of a user is known to read', async () => {
      await crowd.clients[0]!.talk(say.run('SELECT noisy($1)', [1]));
      return scene.shared > before;
    });
    return crowd;
  };
  const tens = (from: number): Buffer[] => Array.from({ length: 10 }, (_, i) => read(from + i));

  await t.test('each gets its own rows', async (t) => {
    const crowd = await open(t);
    assert.equal(crowd.grouped, 0);
    await crowd.warm(tens(1));
    for (let i = 0; i < 20; i++) await crowd.rounds(tens(2 + 4 * i), () => true, 1);
    assert.ok(crowd.together > 10, `${crowd.together} groups`);
    assert.ok(crowd.grouped > 10 * 2, `${crowd.grouped} were counted`);
  });

  await t.test('whatever forms of the protocol are mixed', async (t) => {
    const crowd = await open(t);
    const rows = (size: number, count: number): Buffer =>
      say.run(`SELECT repeat('y', $1::int) || i FROM generate_series(1, ${count}) i`, [size]);
    const forms = [
      named(3),
      Buffer.concat([say.bind('mine', [4]), say.describePortal(), say.execute(), named(5)]),
      Buffer.concat([
        say.parse('', 'SELECT i FROM generate_series(1, $1::int) i'),
        say.bind('', [7]),
        ...[say.execute(3), say.execute(3), say.execute(1), say.sync()],
      ]),
      read(1_000_000),
      Buffer.concat([
        say.parse('', 'SELECT id, v FROM t WHERE id = $1'),
        ...[say.describeStatement(''), say.bind('', [9]), say.execute(), say.sync()],
      ]),
      rows(3_000, 1),
      rows(900, 20),
      say.run('SELECT noisy($1)', [3]),
      Buffer.concat([
        say.parse('other', 'SELECT v, id FROM t WHERE id = $1'),
        ...[say.bind('other', [8]), say.execute(), say.close('other'), say.sync()],
      ]),
      Buffer.concat([say.parse('', 'SELECT v FROM t WHERE id = $1'), say.bind('', [9]), say.sync()]),
    ];
    await crowd.warm(forms);
    const before = crowd.together;
    await crowd.rounds(forms, () => crowd.together >= before + 10, 30);
  });

  await t.test('long ones too', async (t) => {
    const crowd = await open(t);
    // More than is gathered for one write, and more than a group's answers may be.
    const long = Array.from({ length: 10 }, (_, i) =>
      say.run('SELECT length($1), $1::text', [String(i).repeat(9_000 + 500 * i)]),
    );
    await crowd.rounds(long, () => crowd.together > 3, 30);
    const wide = Array.from({ length: 10 }, (_, i) =>
      say.run("SELECT repeat($1, 60) || repeat('z', $2)", [`abc${i}`, 50_000]),
    );
    await crowd.rounds(wide, () => crowd.together > 3, 30);
    // Of a shape that has once been as long as that no other goes with others; and now and then one goes alone to be measured.
    const moved = crowd.retries['slow-group'];
    for (let i = 0; crowd.retries['slow-group'] === moved; i++) {
      assert.ok(i < 10, 'it has never come about');
      const sized = (size: number) =>
        say.run(`SELECT repeat($1, 60) || repeat('z', $2) AS long${i}`, ['much', size]);
      await crowd.warm([sized(5), ...tens(5).slice(1)]);
      const last = [sized(3_000_000), ...tens(5).slice(1)];
      await crowd.round(last, await crowd.expect(last));
    }
  });

  const behindRows = bound('behind', 3);
  const before = [bound('behind', 30), divide(1), ...tens(1).slice(2)];
  const failing: Record<string, readonly Buffer[]> = {
    'at run time': [divide(5), ...tens(1).slice(1)],
    'behind rows': [behindRows, ...tens(1).slice(1)],
    'in Bind': [bound('mine', 'nothing'), ...tens(1).slice(1)],
    'for having no such statement': [
      Buffer.concat([say.bind('nobody', [1]), say.execute(), say.sync()]),
      divide(5),
      ...tens(1).slice(2),
    ],
    'several at once': [
      divide(5),
      read(3),
      read(4),
      divide(5),
      behindRows,
      named(8),
      read(9),
      divide(7),
      read(2),
      divide(5),
    ],
  };
  await t.test('one that fails gets its error, the others their rows', async (t) => {
    const crowd = await open(t);
    await crowd.warm(before);
    for (const [how, units] of Object.entries(failing)) {
      const failed = crowd.retries['neighbour-failed'];
      await crowd.rounds(units, () => crowd.retries['neighbour-failed'] > failed, 10);
      await t.test(how, () => assert.ok(crowd.retries['neighbour-failed'] > failed));
    }
    await crowd.rounds(tens(20), () => true);
  });

  await t.test('at random', async (t) => {
    const crowd = await open(t);
    const all = [
      ...tens(1),
      ...tens(31),
      ...Object.values(failing).flat(),
      bound('behind', 30),
      bound('mine', 1_000_000),
      bound('wait', 3),
      Buffer.concat([say.bind('behind', [30]), say.execute(2), say.execute(2), say.sync()]),
      Buffer.concat([say.bind('mine', [4]), say.describePortal(), say.execute(), named(5)]),
      Buffer.concat([say.execute(), say.sync()]),
      Buffer.concat([say.bind('mine', [6], 'p'), say.execute(0, 'p'), say.sync()]),
    ];
    const expected = await crowd.expect(all);
    await crowd.warm(tens(1));
    const random = new Random(SEED);
    const failed = crowd.retries['neighbour-failed'];
    for (let round = 0; round < 250; round++) {
      // A few of them fail in some rounds, and none in others.
      const from = round % 3 === 0 ? all.length : 20;
      const picked = Array.from({ length: 10 }, () => random.below(from));
      await crowd.round(
        picked.map((at) => all[at]!),
        picked.map((at) => expected[at]!),
      );
    }
    assert.ok(crowd.together > 20, `${crowd.together} groups`);
    assert.ok(crowd.retries['neighbour-failed'] > failed + 20);
  });

  await t.test('one that fails in Parse', async (t) => {
    const crowd = await open(t);
    await owner.do('CREATE TABLE goes (id int)');
    let at = 0;
    // Texts that do not come again.
    const units = (): Buffer[] => [
      say.run(`SELECT id FROM goes WHERE id = ${at++}`),
      ...tens(1).slice(2),
      Buffer.concat([say.parse('', `SELECT id FROM goes WHERE id = ${-at}`), say.bind(''), say.sync()]),
    ];
    await crowd.warm(units);
    await owner.do('DROP TABLE goes');
    const failed = crowd.retries['neighbour-failed'];
    await crowd.rounds(units, () => crowd.retries['neighbour-failed'] > failed, 10);
  });

  await t.test('one meets a stale plan', async (t) => {
    const crowd = await open(t);
    await owner.do('CREATE TABLE grows (id int); INSERT INTO grows VALUES (1)');
    const prepare = [say.parse('all', 'SELECT * FROM grows'), say.sync()];
    await Promise.all(crowd.clients.map((client) => client.talk(...prepare)));
    const all = Buffer.concat([say.bind('all'), say.describePortal(), say.execute(), say.sync()]);
    await crowd.bare.talk(...prepare);
    const units = [all, ...tens(1).slice(1)];
    await crowd.warm(units);
    for (let column = 0; column < 3; column++) {
      await owner.do(`ALTER TABLE grows ADD COLUMN c${column} int DEFAULT ${column}`);
      // A bare client prepares it again.
      await crowd.bare.talk(say.close('all'), ...prepare);
      const failed = crowd.retries['neighbour-failed'];
      await crowd.round(units, await crowd.expect(units));
      const warm = crowd.together;
      await crowd.rounds(units, () => crowd.together > warm, 5);
      if (column === 2) t.diagnostic(`${crowd.retries['neighbour-failed'] - failed} moved`);
    }
    assert.ok(crowd.retries['neighbour-failed'] > 0);
  });

  await t.test('one waits for a lock, and the others do not wait for it', async (t) => {
    const crowd = await open(t, { maxHeadMs: 100 });
    const units = [blocked(1), ...tens(1).slice(1)];
    await crowd.warm(units);
    const { clients } = crowd;
    const moved = crowd.retries['slow-group'];
    // Now and then it is the one that leaves by itself.
    for (let place = 0; place < 12; place += 5) {
      await crowd.scene.lock();
      let isAnswered = false;
      const said = clients.map((_, i) => (i === place ? blocked(1) : read(10 + i)));
      const answers = crowd.speak(said);
      void answers[place]!.then(() => {
        isAnswered = true;
      });
      for (const [i, answer] of answers.entries()) {
        if (i !== place) assert.equal(dataOf(await answer), dataOf(await crowd.bare.talk(read(10 + i))));
      }
      assert.equal(isAnswered, false);
      await crowd.scene.unlock();
      assert.match(dataOf(await answers[place]!), /locked1$/);
      await crowd.warm(units);
    }
    assert.ok(crowd.retries['slow-group'] > moved);
  });

  await t.test('DDL that locks one table after the other meets no deadlock', async (t) => {
    const crowd = await open(t, { maxHeadMs: 50 });
    const units = [read(3), blocked(1), ...tens(1).slice(2)];
    await crowd.warm(units);
    for (let i = 0; i < 3; i++) {
      await crowd.scene.lock();
      const answers = crowd.speak([...units, ...units].slice(0, 12));
      await until('one waits', async () => (await crowd.scene.active('locked')).length > 0);
      await crowd.scene.alsoLock('t');
      await crowd.scene.unlock();
      const expected = await crowd.expect(units);
      for (const [j, answer] of answers.entries())
        assert.deepEqual(await answer, expected[j % expected.length]);
      await crowd.warm(units);
    }
  });

  await t.test('one is slow, which was cheap before', async (t) => {
    const crowd = await open(t, { maxHeadMs: 100 });
    const slow = bound('wait', 4);
    const units = [slow, ...tens(1).slice(1)];
    const moved = crowd.retries['slow-group'];
    for (let i = 0; i < 5 && crowd.retries['slow-group'] === moved; i++) {
      await crowd.warm(units);
      await owner.do("INSERT INTO flags VALUES ('slow')");
      let isAnswered = false;
      const answers = crowd.speak([...units.slice(1, 6), slow, ...units.slice(1, 6)]);
      void answers[5]!.then(() => {
        isAnswered = true;
      });
      for (const [j, answer] of answers.entries())
        if (j !== 5) assert.equal(dataOf(await answer), dataOf(await crowd.bare.talk(read(2 + (j % 6)))));
      assert.equal(isAnswered, false);
      assert.match(dataOf(await answers[5]!), /4$/);
      await owner.do('DELETE FROM flags');
    }
    assert.ok(crowd.retries['slow-group'] > moved);
  });

  await t.test('a client dies, a cancel hits, a backend is killed', async (t) => {
    const crowd = await open(t, { maxHeadMs: 1_000 });
    const units = [blocked(1), ...tens(1).slice(1)];
    await crowd.warm(units);
    const { clients, scene } = crowd;
    const besides = async (
      answers: readonly Promise<string[]>[],
      except: readonly number[],
    ): Promise<void> => {
      for (const [i, answer] of answers.entries())
        if (!except.includes(i))
          assert.equal(dataOf(await answer), dataOf(await crowd.bare.talk(read(10 + i))));
    };
    const said = (place: number): Buffer[] =>
      clients.map((_, i) => (i === place ? blocked(1) : read(10 + i)));
    const waits = () => until('it waits', async () => (await scene.active('locked')).length > 0);

    await scene.lock();
    let answers = crowd.speak(said(4));
    await waits();
    await cancelRequest(scene.proxy, clients[4]!.wire);
    assert.match((await answers[4]!).join('\n'), /^E .*C57014\0Mcanceling statement due to user request/s);
    await besides(answers, [4]);
    await until('nothing of it runs', async () => (await scene.active('locked')).length === 0);
    await scene.unlock();
    await crowd.warm(units);

    await scene.lock();
    answers = crowd.speak(said(2));
    await waits();
    for (const { pid } of await scene.active('locked'))
      await scene.admin(`SELECT pg_terminate_backend(${String(pid)})`);
    await besides(answers, [2]);
    await scene.unlock();
    assert.match(dataOf(await answers[2]!), /locked1$/);
    await crowd.warm(units);

    await scene.lock();
    answers = crowd.speak(said(3));
    for (const answer of answers) answer.catch(() => {});
    for (const i of [3, 7]) clients[i]!.wire.socket.destroy();
    await besides(answers, [3, 7]);
    await until('nothing of theirs runs', async () => (await scene.active('locked')).length === 0);
    await scene.unlock();
  });

  await t.test('clients that die in a group that goes on', async (t) => {
    // So long that nobody is moved meanwhile.
    const crowd = await open(t, { maxHeadMs: 10_000 });
    const { clients, scene } = crowd;
    await crowd.warm([blocked(1), ...tens(1).slice(1)]);
    const count = (): number => scene.proxy.proxy.counters().clusters.get('main')!.clients;
    await scene.lock();
    const answers = crowd.speak(clients.map((_, i) => (i === 0 ? blocked(1) : read(10 + i))));
    await until('it waits', async () => (await scene.active('locked')).length > 0);
    const before = count();
    const gone = [2, 3, 7];
    for (const i of gone) {
      answers[i]!.catch(() => {});
      clients[i]!.wire.socket.destroy();
    }
    await until('they are gone', () => count() === before - gone.length);
    await scene.unlock();
    for (const [i, answer] of answers.entries()) {
      if (gone.includes(i)) continue;
      const row = i === 0 ? await crowd.bare.talk(blocked(1)) : await crowd.bare.talk(read(10 + i));
      assert.equal(dataOf(await answer), dataOf(row), `client ${i}`);
      assert.notEqual(dataOf(row), '');
    }
  });

  await t.test('one kills its backend whenever it runs', async (t) => {
    const crowd = await open(t);
    const kills = (id: number): Buffer => bound('kill', id);
    await crowd.warm([kills(1), ...tens(1).slice(1)]);
    for (let place = 0; place < 11; place += 5) {
      const said = crowd.clients.map((_, i) => (i === place ? kills(666) : read(10 + i)));
      const answers = await Promise.all(crowd.speak(said));
      for (const [i, answer] of answers.entries()) {
        if (i === place) assert.match(answer.join('\n'), /^E .*terminating connection due to administrator/m);
        else assert.equal(dataOf(answer), dataOf(await crowd.bare.talk(read(10 + i))));
      }
      await crowd.warm(tens(1));
    }
  });

  await t.test('portals that a unit has not bound, and portals with names', async (t) => {
    const crowd = await open(t);
    const portals = [
      Buffer.concat([say.execute(), say.sync()]),
      Buffer.concat([say.describePortal(), say.sync()]),
      Buffer.concat([say.parse('', 'SELECT v FROM t WHERE id = $1'), say.execute(), say.sync()]),
      Buffer.concat([
        say.parse('', 'SELECT v FROM t WHERE id = $1'),
        ...[say.bind('', [6], 'p'), say.execute(0, 'p'), say.sync()],
      ]),
      Buffer.concat([say.bind('mine', [7], 'p'), say.execute(), say.sync()]),
      Buffer.concat([say.execute(0, 'p'), say.sync()]),
    ];
    await crowd.warm([...tens(1)]);
    const before = crowd.together;
    await crowd.rounds([...portals, ...tens(1).slice(6)], () => crowd.together >= before + 3, 40);
  });

  await t.test('none leave together where each has its own Sync', async (t) => {
    const crowd = await open(t, { maxGroup: 1 });
    await crowd.rounds(tens(1), () => true, 60);
    assert.equal(crowd.together, 0);
  });

  await t.test('none leave together where transactions are serializable', async (t) => {
    await root.do('ALTER ROLE app_trust SET default_transaction_isolation = serializable');
    try {
      const crowd = await open(t);
      await crowd.rounds(tens(1), () => true, 60);
      assert.equal(crowd.together, 0);
    } finally {
      await root.do('ALTER ROLE app_trust RESET default_transaction_isolation');
    }
  });

  await t.test('none leave together where a read may change a setting for its transaction', async (t) => {
    await owner.do(`CREATE FUNCTION become(text) RETURNS text STABLE LANGUAGE plpgsql AS
      $$BEGIN PERFORM set_config('app.tenant', $1, true); RETURN current_setting('app.tenant'); END$$`);
    try {
      const crowd = await open(t);
      const become = say.run('SELECT become($1)', ['somebody']);
      const asked = say.run("SELECT coalesce(current_setting('app.tenant', true), '')");
      await crowd.bare.talk(become);
      await crowd.rounds([become, asked, become, asked, asked, ...tens(1).slice(5)], () => true, 60);
      assert.equal(crowd.together, 0);
    } finally {
      await owner.do('DROP FUNCTION become');
    }
  });
});
