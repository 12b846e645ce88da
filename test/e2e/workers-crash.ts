// A worker that crashes under load, on each kind of cluster: only its own clients are cut, nobody reads less than their key has been
// told, and what it held comes back.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../servers/poll.js';
import { rejects, type Stage } from './stage.js';
import { isAlive, type Placed, serverConnections, WorkersFront } from './workers-stage.js';

const CRASH = new URL('./crash-on-signal.js', import.meta.url).href;
const KEYS = [1, 2, 3, 4];
const MAX_CLIENTS = 12;
const MAX_OF_USER = 3;
const PLANTED = 'planted by the test';

export async function crashTests(t: TestContext, stage: Stage): Promise<void> {
  const { cluster } = stage;
  const { user: name, password } = cluster.user;
  const front = await WorkersFront.open(
    t,
    stage,
    {
      consistency: { scope: 'comment' },
      users: [{ name, password, maxServerConnections: MAX_OF_USER }],
    },
    { maxClients: MAX_CLIENTS },
    { NODE_OPTIONS: `--import=${CRASH}` },
  );
  await cluster.primary.admin(`INSERT INTO counters VALUES ${KEYS.map((id) => `(${id}, 0)`).join()}`);
  await cluster.waitCaughtUp();
  // A read that is not checked against its key would show it.
  await cluster.replicas[0]!.delay(1_000);
  const load = new KeyedLoad(t, front);
  await load.more(200);

  await t.test('an error that nobody catches costs nobody a connection', async () => {
    const { pid } = (await front.workers())[1]!;
    process.kill(pid!, 'SIGUSR2');
    await until('it is told', () =>
      front.server.log().some(({ msg, err }) => msg === 'uncaught error' && told(err) === PLANTED),
    );
    await load.more(100);
    assert.deepEqual(load.cuts, []);
    assert.equal((await front.workers())[1]!.pid, pid);
  });

  // What Node does itself when it is out of memory is the second.
  for (const [worker, signal] of [
    [1, 'SIGKILL'],
    [0, 'SIGABRT'],
  ] as const)
    await t.test(`${signal}: only its own clients are cut, and no key forgets`, async () => {
      load.cuts.length = 0;
      const { pid, restarts } = (await front.workers())[worker]!;
      process.kill(pid!, signal);
      await until('it is replaced', async () => {
        const now = (await front.workers())[worker]!;
        return now.restarts > restarts && now.state === 'running';
      });
      assert.ok(!isAlive(pid!));
      await load.more(200);
      assert.ok(load.cuts.length > 0, 'nobody was cut');
      for (const cut of load.cuts) assert.equal(cut.worker, worker, cut.error);
    });
  await load.end();
  await cluster.replicas[0]!.delay(0);
  assert.ok((await front.metric('watermark_store_writes_total')) > 0, 'keys were not shared');

  await t.test('what its clients have written their keys must see', (t) => keysOfTheDead(t, stage, front));
  await t.test('what it held comes back', (t) => limitsComeBack(t, stage, front));
}

function told(error: unknown): unknown {
  return (error as { message?: unknown } | undefined)?.message;
}

/** Replicas stand still, so that a read which should not have gone there shows it. */
async function keysOfTheDead(t: TestContext, stage: Stage, front: WorkersFront): Promise<void> {
  const { cluster } = stage;
  const id = 9;
  await cluster.primary.admin(`INSERT INTO counters VALUES (${id}, 0)`);
  await cluster.waitCaughtUp();
  const read = async (client: Placed, key: string) => {
    const sql = `/* scheelite: session=${key} */ SELECT value, node_port() AS port FROM counters WHERE id = ${id}`;
    const [row] = await client.query(sql);
    return { value: Number(row?.value), onReplica: stage.nodeAt(row?.port) !== cluster.primary.name };
  };
  const clients = await front.connectMany(t, 4);
  const [other, doomed] = [0, 1].map((worker) => clients.find((client) => client.worker === worker)!);
  for (const key of ['writer', 'stranger'])
    await until('it is read from a replica', async () => (await read(other!, key)).onReplica);
  t.after(() => Promise.all(cluster.replicas.map((node) => node.resumeReplay())));
  await Promise.all(cluster.replicas.map((node) => node.pauseReplay()));

  // The second of them nobody else has ever used.
  for (const key of ['writer', 'alone'])
    await doomed!.query(`/* scheelite: session=${key} */ UPDATE counters SET value = 1 WHERE id = ${id}`);
  process.kill((await front.workers())[1]!.pid!, 'SIGKILL');
  assert.deepEqual(await read(other!, 'stranger'), { value: 0, onReplica: true });
  assert.equal((await read(other!, 'writer')).value, 1, 'through a worker that knew the key before');
  await until('it has ended', () => doomed!.broken());
  await front.allRun();
  const successor = (await front.connectMany(t, 4)).find(({ worker }) => worker === 1);
  for (const key of ['alone', 'writer'])
    assert.equal((await read(successor!, key)).value, 1, `${key}, through its successor`);
}

/** One worker holds all that the user may have, and is killed. */
async function limitsComeBack(parent: TestContext, stage: Stage, front: WorkersFront): Promise<void> {
  const { cluster, driver } = stage;
  const clientsNow = async () => (await front.status()).listeners[0]!.clients;
  await until('the load has gone', async () => (await clientsNow()) === 0);
  await front.allRun();
  const clients = await front.connectMany(parent, MAX_CLIENTS);
  const of = (worker: number) => clients.filter((client) => client.worker === worker);
  const others = of(0);
  const inTransaction = async (client: Placed, seq: number): Promise<void> => {
    await client.query('BEGIN');
    await client.query(`INSERT INTO ledger VALUES (${100 + client.worker}, ${seq})`);
  };
  const atWork = (some: readonly Placed[]) =>
    Promise.all(some.slice(0, MAX_OF_USER).map((client, i) => inTransaction(client, i)));

  await atWork(of(1));
  const waiting = atWork(others);
  await until('the others wait', async () => (await front.metric('pool_waiting_units')) === MAX_OF_USER);
  process.kill((await front.workers())[1]!.pid!, 'SIGKILL');
  await waiting;
  await until('the server has only theirs', async () => {
    return (await serverConnections(stage, cluster.primary)) === MAX_OF_USER;
  });
  for (const client of others.slice(0, MAX_OF_USER)) await client.query('COMMIT');
  const rows = await cluster.primary.admin('SELECT DISTINCT client FROM ledger WHERE client IN (100, 101)');
  assert.deepEqual(
    rows.map(({ client }) => Number(client)),
    [100],
  );

  await until('its clients have noticed', () => of(1).every((client) => client.broken()));
  await front.allRun();
  const added = await front.connectMany(parent, MAX_CLIENTS - others.length);
  await rejects(driver, front.connect(parent), driver.code('too-many-clients'));
  for (const client of [...others, ...added]) {
    assert.equal(client.broken(), false);
    await client.query('SELECT 1');
  }
  assert.equal(await clientsNow(), MAX_CLIENTS);
}

interface Cut {
  readonly worker: number;
  readonly error: string;
}

/**
 * For each key one client that writes ever higher values, and one that reads: never less than the key has been told. Who is cut comes
 * back, as applications do. Anything else that goes wrong ends the load, and whoever waits for it gets to know.
 */
class KeyedLoad {
  readonly #front: WorkersFront;
  readonly #t: TestContext;
  readonly cuts: Cut[] = [];
  #done = 0;
  #ended = false;
  readonly #loops: Promise<unknown>;
  #failure: unknown = null;

  constructor(t: TestContext, front: WorkersFront) {
    this.#t = t;
    this.#front = front;
    const loops = KEYS.flatMap((key) => {
      const told = { value: 0, next: 1 };
      const where = `/* scheelite: session=key${key} */`;
      const write = async (client: Placed) => {
        const value = told.next++;
        // What a dead worker has left on its way to the server must not undo what came later.
        await client.query(
          `${where} UPDATE counters SET value = ${value} WHERE id = ${key} AND value < ${value}`,
        );
        told.value = Math.max(told.value, value);
      };
      const read = async (client: Placed) => {
        const least = told.value;
        const [row] = await client.query(`${where} SELECT value FROM counters WHERE id = ${key}`);
        const value = Number(row?.value);
        assert.ok(value >= least, `key ${key}: ${value} after ${least}`);
        told.value = Math.max(told.value, value);
      };
      // Those who write are on both workers, and so are those who read.
      return key % 2 === 0 ? [this.#live(write), this.#live(read)] : [this.#live(read), this.#live(write)];
    });
    this.#loops = Promise.all(loops);
    this.#loops.catch((error: unknown) => {
      this.#failure ??= error;
      this.#ended = true;
    });
  }

  async #live(unit: (client: Placed) => Promise<void>): Promise<void> {
    let client: Placed | null = null;
    while (!this.#ended) {
      // One that comes while a worker ends may be on it.
      client ??= await this.#front.connect(this.#t).catch(() => null);
      if (client === null) {
        await sleep(50);
        continue;
      }
      try {
        await unit(client);
        this.#done++;
        await sleep(2);
      } catch (error) {
        await until('it is cut', () => client!.broken(), 30_000).catch(() => {
          throw error;
        });
        this.cuts.push({ worker: client.worker, error: String(error) });
        client = null;
      }
    }
    await client?.close();
  }

  /** By the clients of all workers. */
  async more(units: number): Promise<void> {
    const goal = this.#done + units;
    await until(`${units} more`, () => this.#ended || this.#done >= goal);
    if (this.#failure !== null) throw this.#failure;
  }

  async end(): Promise<void> {
    this.#ended = true;
    await this.#loops;
  }
}
