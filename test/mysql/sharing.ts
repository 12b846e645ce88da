// Clients whose reads are under way on one server connection at once: each gets its own answers, whatever happens to the
// others. Run by sharing-mysql.test.ts and sharing-mariadb.test.ts.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import type { DataPath } from '../../src/proxy/data-path.js';
import type { NodeCounters } from '../../src/telemetry/counters.js';
import { ONE_SHARED } from '../proxy/one-shared.js';
import type { TestNode } from '../servers/cluster.js';
import { until } from '../servers/poll.js';
import { type Fixture, startFixture } from './harness.js';

type Rows = RowDataPacket[];

const CLIENTS = 12;
/** How long a neighbour is slow: far more than its neighbours take on a busy machine, far less than a test may. */
const SLOW_S = 30;
const NOBODY = 'nobody was queued behind it: the test proves nothing';
const CLUSTER = { sharing: ONE_SHARED, routing: { readFunctions: ['who', 'wait_for'] } };

interface Holder {
  lock(): Promise<unknown>;
  unlock(): Promise<unknown>;
  /** Resolves once one read waits. */
  blocks(): Promise<void>;
}

async function rowsOf(client: Connection, sql: string): Promise<unknown[][]> {
  const [rows] = await client.query<Rows>(sql);
  return rows.map((row) => Object.values(row));
}

async function one(client: Connection, sql: string): Promise<unknown> {
  return (await rowsOf(client, sql))[0]?.[0];
}

async function errnoOf(work: Promise<unknown>): Promise<number> {
  try {
    await work;
  } catch (error) {
    return (error as { errno?: number }).errno ?? -1;
  }
  return 0;
}

export function sharingTests(kind: 'mysql' | 'mariadb'): void {
  describe(`shared server connections of ${kind}`, () => {
    let f: Fixture;
    let clients: Connection[];
    let warm: Connection;
    before(async () => {
      // One replica, and one connection to it: who shares at all shares with everybody.
      f = await startFixture(kind, 1, CLUSTER);
      const { primary } = f.cluster;
      await primary.admin('CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100))');
      await primary.admin('CREATE TABLE locked (id INT PRIMARY KEY, v VARCHAR(100))');
      const values = Array.from({ length: 100 }, (_, i) => `(${i}, 'v${i}')`).join(', ');
      await primary.admin(`INSERT INTO t VALUES ${values}`);
      await primary.admin(`INSERT INTO locked VALUES ${values}`);
      await primary.admin('CREATE FUNCTION who() RETURNS BIGINT NO SQL RETURN CONNECTION_ID()');
      await f.cluster.waitCaughtUp();
      clients = await Promise.all(Array.from({ length: CLIENTS }, () => f.connect()));
      warm = await f.connect();
      // A kind of statement is known once it has run.
      await warmUp('SELECT who(), v FROM t WHERE id = 1');
      await warmUp('SELECT v FROM t WHERE id = 1');
      await warmUp('SELECT v FROM locked WHERE id = 1');
    });
    after(() => f.stop());

    const warmUp = async (sql: string): Promise<void> => {
      for (let i = 0; i < 3; i++) await warm.query(sql);
    };
    const counted = (of: (node: NodeCounters) => number): number => {
      let count = 0;
      for (const { nodes } of f.proxy.counters().clusters.values())
        for (const node of nodes.values()) count += of(node);
      return count;
    };
    const moved = (): number => counted(({ retries }) => retries['slow-head']);
    /** Heads that have been at their place for too long. */
    const slowHeads = (): number => counted((node) => node.slowHeads);
    const shared = (): number => counted(({ sharedUnits }) => sharedUnits);
    /** Whoever is queued behind a head stays there, until the head has ended. */
    const patiently = async (work: () => Promise<void>): Promise<void> => {
      f.reload({ ...CLUSTER, sharing: { ...ONE_SHARED, maxHeadMs: 10_000 } });
      try {
        await work();
      } finally {
        f.reload(CLUSTER);
      }
    };
    /**
     * Tries until somebody was queued behind a head and moved away: where the machine stands still for a moment the head is known to be
     * slow before anybody comes. Each try has a text of its own, as one that was slow is known to be. Not `until`: a wrong row is no
     * "not yet".
     */
    const untilMoved = async (attempt: (n: number) => Promise<number>): Promise<void> => {
      let count = 0;
      for (let n = 0; count === 0 && n < 20; n++) count = await attempt(n);
      assert.ok(count > 0, NOBODY);
    };
    /** A slow read of this text runs, and all the others stand behind it, each with a read of its own. */
    const standBehind = async (
      slow: Connection,
      text: string,
      others: readonly Connection[],
    ): Promise<{ answer: Promise<unknown>; reads: Promise<void> }> => {
      const before = shared();
      const answer = one(slow, text);
      answer.catch(() => {});
      await untilRunning('SELECT SLEEP%');
      assert.equal(shared(), before + 1);
      const reads = readAll(others, 1);
      reads.catch(() => {});
      await until('all stand behind it', () => shared() === before + 1 + others.length);
      return { answer, reads };
    };
    /** A kind of its own, known to be quick; then it takes so long. */
    const slowRead = async (kindOf: string, seconds: number): Promise<string> => {
      const text = (s: number): string => `SELECT SLEEP(${s}) AS ${kindOf}, v FROM t WHERE id = 1`;
      await warmUp(text(0));
      return text(seconds);
    };
    /** Each of them asks for rows of its own, and checks them. */
    const readAll = async (who: readonly Connection[], times = 5): Promise<void> => {
      await Promise.all(
        who.map(async (client, n) => {
          for (let i = 0; i < times; i++) {
            const id = (n * 7 + i) % 100;
            assert.deepEqual(await rowsOf(client, `SELECT v FROM t WHERE id = ${id}`), [[`v${id}`]]);
          }
        }),
      );
    };
    /** Server connections that run a text of the test's, by their own ids. */
    const running = async (like: string): Promise<{ node: TestNode; id: number }[]> => {
      const sql = `SELECT id FROM information_schema.processlist WHERE info LIKE '${like}' AND id <> CONNECTION_ID()`;
      const found = await Promise.all(
        f.cluster.nodes.map(async (node) =>
          (await node.admin(sql)).map((row) => ({ node, id: Number(Object.values(row)[0]) })),
        ),
      );
      return found.flat();
    };
    const untilRunning = (like: string): Promise<void> =>
      until(`${like} to run`, async () => (await running(like)).length > 0);

    /** Holds what reads of the table `locked` wait for. */
    const withHolder = async (work: (holder: Holder) => Promise<void>): Promise<void> => {
      const replica = f.cluster.replicas[0]!;
      const superuser = await createConnection({
        ...{ host: replica.host, port: replica.port },
        ...f.cluster.superuser,
      });
      try {
        if (kind === 'mysql') await superuser.query('SET GLOBAL super_read_only = OFF');
        await work({
          lock: () => superuser.query(`LOCK TABLES ${f.cluster.user.database}.locked WRITE`),
          unlock: () => superuser.query('UNLOCK TABLES'),
          blocks: () =>
            until('one waits for it', async () => {
              const rows = await replica.admin(
                "SELECT id FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'",
              );
              return rows.length === 1;
            }),
        });
      } finally {
        await superuser.query('UNLOCK TABLES');
        if (kind === 'mysql') await superuser.query('SET GLOBAL super_read_only = ON');
        await superuser.end();
      }
    };

    it('answers the reads of many clients on few server connections', async () => {
      const serversOfARound = async (): Promise<number> => {
        const servers = new Set<unknown>();
        await Promise.all(
          clients.map(async (client, n) => {
            for (let i = 0; i < 30; i++) {
              const id = (n * 5 + i) % 100;
              const [row] = await rowsOf(client, `SELECT who(), v FROM t WHERE id = ${id}`);
              assert.equal(row![1], `v${id}`);
              servers.add(row![0]);
            }
          }),
        );
        return servers.size;
      };
      // Where the machine stands still for a moment, heads look slow, and those behind them rightly go elsewhere. Not `until`:
      // a wrong row is no "not yet".
      let count = await serversOfARound();
      for (let rounds = 1; count > 3 && rounds < 50; rounds++) count = await serversOfARound();
      assert.ok(count <= 3, `${CLIENTS} clients on ${count} server connections`);
    });

    it('executes one text for many clients, with the values of each', async () => {
      const texts = ['SELECT v, ? AS x FROM t WHERE id = ?', 'SELECT ? AS x, v FROM t WHERE id = ?'];
      for (const text of texts) await warm.execute(text, ['a', 1]);
      for (const text of texts) await warm.execute(text, ['a', 1]);
      await Promise.all(
        clients.map(async (client, n) => {
          for (let i = 0; i < 30; i++) {
            const text = texts[(n + i) % 2]!;
            const values = [null, `c${n}i${i}`, n * 1000 + i, 'long'.repeat(50)];
            const x = values[(n + i) % values.length]!;
            const id = (n * 3 + i) % 100;
            const [rows] = await client.execute<Rows>(text, [x, id]);
            assert.equal(rows[0]!.v, `v${id}`);
            assert.equal(rows[0]!.x === null ? null : String(rows[0]!.x), x === null ? null : String(x));
          }
        }),
      );
    });

    it('does not keep the neighbours of a slow read waiting', async () => {
      const [slow, ...others] = clients as [Connection, ...Connection[]];
      const id = await one(slow, 'SELECT CONNECTION_ID()');
      await untilMoved(async (n) => {
        const text = await slowRead(`plain${n}`, SLOW_S);
        const before = moved();
        let slowIsDone = false;
        const ended = errnoOf(slow.query(text)).finally(() => {
          slowIsDone = true;
        });
        await readAll(others);
        assert.equal(slowIsDone, false);
        const count = moved() - before;
        await warm.query(`KILL QUERY ${id}`);
        assert.equal(await ended, 1317);
        return count;
      });
      // One that is left alone gets its own answer.
      const answer = one(slow, await slowRead('shorter', 1));
      await readAll(others);
      assert.equal(await answer, 0);
    });

    it('does not keep the neighbours of a blocked read waiting, text or prepared', async () => {
      const [text, prepared, ...others] = clients as [Connection, Connection, ...Connection[]];
      await withHolder(async (holder) => {
        for (const way of ['prepared', 'text'] as const) {
          await untilMoved(async (n) => {
            const sql = (id: string): string => `SELECT v AS ${way}${n} FROM locked WHERE id = ${id}`;
            // Prepared where the client was then: the shared server connection has yet to prepare it.
            const statement = await prepared.prepare(sql('?'));
            await warmUp(sql('1'));
            await readAll(clients);
            await holder.lock();
            const answer =
              way === 'text'
                ? one(text, sql('7'))
                : statement.execute([7]).then(([rows]) => Object.values((rows as Rows)[0]!)[0]);
            await holder.blocks();
            // From here on only others can be moved.
            const before = moved();
            await readAll(others);
            const count = moved() - before;
            await holder.unlock();
            assert.equal(await answer, 'v7');
            return count;
          });
        }
      });
    });

    it('does not keep the neighbours of a slow reader waiting', async () => {
      // More than all the buffers on the way take.
      const rows = (length: number, count: number): string =>
        `SELECT REPEAT('x', ${length}) FROM locked WHERE id < ${count}`;
      await warmUp(rows(10, 1));
      const reader = await f.raw();
      // Of the same kind: those of the driver have another session state, and do not stand on its server connection.
      const others = await Promise.all([f.raw(), f.raw(), f.raw()]);
      for (const raw of [reader, ...others]) await raw.query('SELECT v FROM t WHERE id = 3');
      await patiently(() =>
        withHolder(async (holder) => {
          await holder.lock();
          reader.pause();
          const before = { moved: moved(), shared: shared(), slowHeads: slowHeads() };
          reader.send(reader.queryFrame(rows(1_000_000, 40)));
          await holder.blocks();
          const answers = others.map((raw, n) => raw.query(`SELECT v FROM t WHERE id = ${n}`));
          await until('all stand behind it', () => shared() === before.shared + 1 + others.length);
          assert.equal(moved(), before.moved);
          await holder.unlock();
          for (const [n, answer] of answers.entries()) assert.deepEqual((await answer).results, [[`v${n}`]]);
          assert.equal(moved(), before.moved + others.length);
          assert.equal(slowHeads(), before.slowHeads, 'not because of its reader');
          assert.equal((await running('SELECT REPEAT%1000000%')).length, 1, 'it was not held up');
        }),
      );
      await readAll(clients);
      reader.resume();
      const { results } = await reader.results();
      const lengths = (results[0] as string[]).map(({ length }) => length);
      assert.deepEqual(lengths, Array(40).fill(1_000_000));
      for (const raw of [reader, ...others]) raw.destroy();
    });

    it('goes on when a client dies, at the head or behind it', async () => {
      await untilMoved(async (n) => {
        const text = await slowRead(`dying${n}`, SLOW_S);
        const before = moved();
        const dying = await Promise.all([f.connect(), f.connect(), f.connect()]);
        for (const client of dying) {
          client.on('error', () => {});
          await one(client, 'SELECT v FROM t WHERE id = 1');
        }
        const ends = dying.map((client, i) =>
          errnoOf(client.query(i === 0 ? text : 'SELECT v FROM t WHERE id = 2')),
        );
        const reads = readAll(clients);
        await untilRunning('SELECT SLEEP%');
        for (const client of dying) client.destroy();
        await reads;
        await until('the sleep of the dead client to be cancelled', async () => {
          return (await running('SELECT SLEEP%')).length === 0;
        });
        await readAll(clients);
        void ends;
        return moved() - before;
      });
    });

    it('cancels one and nobody else', async () => {
      const [victim, ...others] = clients as [Connection, ...Connection[]];
      const text = await slowRead('cancelled', SLOW_S);
      const id = await one(victim, 'SELECT CONNECTION_ID()');
      await patiently(async () => {
        const { answer, reads } = await standBehind(victim, text, others);
        const ended = errnoOf(answer);
        await warm.query(`KILL QUERY ${id}`);
        assert.equal(await ended, 1317);
        await reads;
      });
      await readAll(clients);
    });

    it('answers everybody when their server connection is killed', async () => {
      for (let round = 0; round < 3; round++) {
        const [slow, ...others] = clients as [Connection, ...Connection[]];
        const text = await slowRead(`killed${round}`, 3);
        await patiently(async () => {
          const { answer, reads } = await standBehind(slow, text, others);
          const [thread] = await running('SELECT SLEEP%');
          await thread?.node.admin(`KILL ${thread.id}`).catch(() => {});
          assert.ok([0, 1].includes(Number(await answer)));
          await reads;
        });
      }
    });

    describe('what is asked about the last statement', () => {
      const noisy = async <T>(work: () => Promise<T>): Promise<T> => {
        const noise = readAll(clients, 10);
        const result = await work();
        await noise;
        return result;
      };

      it('warnings', async () => {
        const text = "SELECT CAST('12abc' AS SIGNED)";
        await warmUp(text);
        for (const question of ['SHOW WARNINGS', 'SHOW COUNT(*) WARNINGS', 'SELECT @@warning_count']) {
          const client = await f.connect();
          await noisy(async () => {
            assert.equal(Number(await one(client, text)), 12);
            const answer = await rowsOf(client, question);
            if (question === 'SHOW WARNINGS') assert.equal(answer[0]?.[1], 1292);
            else assert.equal(Number(answer[0]?.[0]), 1);
            // From here on as a client that is known to ask.
            assert.equal(Number(await one(client, text)), 12);
            assert.equal((await rowsOf(client, 'SHOW WARNINGS'))[0]?.[1], 1292);
            await one(client, 'SELECT v FROM t WHERE id = 1');
            assert.deepEqual(await rowsOf(client, 'SHOW WARNINGS'), []);
          });
        }
      });

      it('warnings, when what may be repeated is held once for all', async () => {
        await warmUp("SELECT CAST('12abc' AS SIGNED)");
        const asking = await Promise.all(
          ['7a', '8b', '7a', '7a'].map(async (text) => ({ text, client: await f.connect() })),
        );
        await noisy(async () => {
          for (const { text, client } of asking) await one(client, `SELECT CAST('${text}' AS SIGNED)`);
          (f.proxy as DataPath).letGo();
          for (const { text, client } of asking)
            assert.match(String((await rowsOf(client, 'SHOW WARNINGS'))[0]?.[2]), new RegExp(`'${text}'`));
        });
      });

      it('rows found and counted', async () => {
        await warmUp('SELECT v FROM t WHERE id < 7');
        for (const rows of [3, 7]) {
          const client = await f.connect();
          await noisy(async () => {
            assert.equal((await rowsOf(client, `SELECT v FROM t WHERE id < ${rows}`)).length, rows);
            assert.equal(Number(await one(client, 'SELECT FOUND_ROWS()')), rows);
          });
        }
        const client = await f.connect();
        await noisy(async () => {
          await rowsOf(client, 'SELECT v FROM t WHERE id < 5');
          assert.equal(Number(await one(client, 'SELECT ROW_COUNT()')), -1);
        });
      });

      it('behind an execution, by an execution', async () => {
        const text = 'SELECT v FROM t WHERE id < ?';
        const question = 'SELECT FOUND_ROWS() AS n';
        await warm.execute(text, [4]);
        await warm.execute(text, [4]);
        const client = await f.connect();
        await noisy(async () => {
          const [rows] = await client.execute<Rows>(text, [9]);
          assert.equal(rows.length, 9);
          const [answer] = await client.execute<Rows>(question);
          assert.equal(Number(answer[0]!.n), 9);
        });
      });

      it('the id of an insert, with a shared read in between', async () => {
        const client = await f.connect();
        await client.query('CREATE TABLE IF NOT EXISTS ids (id INT PRIMARY KEY AUTO_INCREMENT, v INT)');
        await client.query('INSERT INTO ids (id, v) VALUES (NULL, 1), (NULL, 2)');
        const id = await one(client, 'SELECT LAST_INSERT_ID()');
        await noisy(async () => {
          await one(client, 'SELECT v FROM t WHERE id = 1');
          assert.equal(await one(client, 'SELECT LAST_INSERT_ID()'), id);
        });
      });

      it('an error, as the client had it', async () => {
        const client = await f.connect();
        await warmUp('SELECT v FROM t WHERE id = 1');
        await noisy(async () => {
          await one(client, 'SELECT v FROM t WHERE id = 1');
          assert.equal(await errnoOf(client.query('SELECT nothing FROM nowhere')), 1146);
          const [row] = await rowsOf(client, 'SHOW WARNINGS');
          assert.deepEqual(row?.slice(0, 2), ['Error', 1146]);
        });
      });
    });
  });
}
