// Prepared statements of many clients on one server connection: how many there may be, and long data.
// Run by prepared-statements-mysql.test.ts and prepared-statements-mariadb.test.ts.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { PacketReader } from '../../src/mysql/wire/bytes.js';
import { buildStatementClose, buildStatementReset } from '../../src/mysql/wire/command.js';
import { payloadOf } from '../../src/mysql/wire/framer.js';
import { type Fixture, type RawClient, startFixture } from './harness.js';
import {
  execute,
  executeLong,
  executeText,
  longData,
  prepare,
  prepared,
  prepareFrame,
  valueAnswered,
} from './raw-statements.js';

/** Of a server connection (mysql/prepared-statements.ts), and of a client (mysql/client-statements.ts). */
const MAX_HELD = 100;
const MAX_STATEMENTS = 10_000;

export function preparedStatementTests(kind: 'mysql' | 'mariadb'): void {
  describe(`prepared statements of ${kind} on one server connection`, () => {
    let f: Fixture;
    before(async () => {
      f = await startFixture(kind, 0, { pool: { maxServerConnections: 1 } });
    });
    after(() => f.stop());

    it('are closed where they were used least recently, and still work', async () => {
      const raw = await f.raw();
      /** On the server connection, by its own count. */
      const count = async (command: string): Promise<number> => {
        raw.send(raw.queryFrame(`SHOW SESSION STATUS LIKE 'Com_stmt_${command}'`));
        const { packets } = await raw.results();
        const reader = new PacketReader(payloadOf(packets[3]!));
        reader.lenencText();
        return Number(reader.lenencText());
      };
      const held = async (): Promise<number> => (await count('prepare')) - (await count('close'));
      const ids: number[] = [];
      /** Answers how many had to be prepared anew. */
      const run = async (from: number, to: number): Promise<number> => {
        const before = await count('prepare');
        for (let i = from; i < to; i++) {
          raw.send(execute(ids[i]!));
          assert.equal(await valueAnswered(raw), `v${i}`);
        }
        assert.equal(await held(), MAX_HELD);
        return (await count('prepare')) - before;
      };
      for (let i = 0; i < 150; i++) ids.push(await prepare(raw, `SELECT 'v${i}' AS bounded`));
      assert.equal(await run(50, 150), 0, 'the last hundred are there');
      assert.equal(await run(50, 60), 0);
      assert.equal(await run(0, 20), 20);
      assert.equal(await run(50, 60), 0, 'they were used again');
      assert.equal(await run(80, 150), 0);
      assert.equal(await run(60, 80), 20, 'they made room');
      assert.equal(await run(0, 150), 130);
      // Of all connections; those of the proxy itself have some, too.
      const all = await f.count(f.cluster.primary, 'Prepared_stmt_count');
      assert.ok(all >= MAX_HELD && all < MAX_HELD + 20, `${all} on the node`);
    });

    it('are not too many of one client, and nobody else notices', async () => {
      const other = await f.raw();
      const others = await prepare(other, "SELECT 'of others' AS x");
      const raw = await f.raw();
      const text = 'SELECT ? AS x';
      const ids = [await prepare(raw, text)];
      raw.send(Buffer.concat(Array.from({ length: MAX_STATEMENTS - 1 }, () => prepareFrame(text))));
      while (ids.length < MAX_STATEMENTS) ids.push(await prepared(raw));
      assert.equal(new Set(ids).size, MAX_STATEMENTS);
      await assert.rejects(prepare(raw, text), /the client holds more than 10000 prepared statements/);
      await assert.rejects(prepare(raw, "SELECT 'new' AS x"), /more than 10000/);
      const answers = async (client: RawClient, frame: Buffer): Promise<string> => {
        client.send(frame);
        return valueAnswered(client);
      };
      assert.equal(await answers(other, execute(others)), 'of others');
      assert.equal(await answers(raw, executeText(ids.at(-1)!, 'still here')), 'still here');
      // One that is closed makes room for another.
      raw.send(buildStatementClose(ids[5]!));
      assert.equal(await answers(raw, execute(await prepare(raw, "SELECT 'another' AS x"))), 'another');
      await assert.rejects(prepare(raw, text), /more than 10000/);
      raw.destroy();
      assert.equal(await answers(other, execute(await prepare(other, "SELECT 'more' AS x"))), 'more');
    });

    describe('long data', () => {
      const TEXT = 'SELECT ? AS x';
      let raw: RawClient;
      let id: number;
      const answers = async (client: RawClient, ...frames: Buffer[]): Promise<string> => {
        client.send(Buffer.concat(frames));
        return valueAnswered(client);
      };
      /** Others use the server connection: with the same text for a number, too, with long data and without. */
      const others = async (): Promise<void> => {
        for (const [n, own] of ['a', 'b'].entries()) {
          const client = await f.raw();
          const theirs = await prepare(client, TEXT);
          assert.equal(await answers(client, executeText(theirs, `short ${n}`)), `short ${n}`);
          client.send(longData(theirs, own.repeat(70_000)));
          assert.deepEqual((await client.query(`SELECT ${n}`)).results, [[String(n)]]);
          assert.equal(await answers(client, executeText(theirs, null)), own.repeat(70_000));
          // Left as a number on a statement that they share.
          client.send(executeLong(theirs, n, true));
          await client.results();
          client.destroy();
        }
      };
      const PIECES = ['x'.repeat(100_000), '', 'y'.repeat(20_000_000), "'\0\\z"];
      beforeEach(async () => {
        raw = await f.raw();
        id = await prepare(raw, TEXT);
      });

      it('arrives whole and in order, whoever has the server connection meanwhile', async () => {
        // Once before anything has been executed, and again.
        for (let round = 0; round < 2; round++) {
          for (const piece of PIECES) {
            raw.send(longData(id, piece));
            await others();
          }
          assert.ok((await answers(raw, executeText(id, null))) === PIECES.join(''));
          assert.equal(await answers(raw, executeText(id, 'its own')), 'its own', 'it is for one execution');
        }
      });

      it('stays with its statement and with its client', async () => {
        const second = await prepare(raw, TEXT);
        raw.send(Buffer.concat([longData(id, 'of the first'), longData(second, 'of the second')]));
        await others();
        const stranger = await f.raw();
        const same = await prepare(stranger, TEXT);
        assert.equal(await answers(stranger, executeText(same, 'of a stranger')), 'of a stranger');
        assert.equal(await answers(raw, executeText(second, null)), 'of the second');
        assert.equal(await answers(raw, executeText(id, null)), 'of the first');
      });

      it('in a transaction, too', async () => {
        await raw.query('BEGIN');
        raw.send(longData(id, 'one, '));
        assert.deepEqual((await raw.query('SELECT 7')).results, [['7']]);
        assert.equal(await answers(raw, longData(id, 'two'), executeText(id, null)), 'one, two');
        await raw.query('COMMIT');
      });

      it('is cleared by COM_STMT_RESET', async () => {
        raw.send(Buffer.concat([longData(id, 'before'), buildStatementReset(id)]));
        assert.deepEqual((await raw.results()).results, ['OK']);
        await others();
        assert.equal(await answers(raw, executeText(id, 'in the command')), 'in the command');
        raw.send(Buffer.concat([longData(id, 'before'), buildStatementReset(id)]));
        assert.deepEqual((await raw.results()).results, ['OK']);
        await others();
        assert.equal(await answers(raw, longData(id, 'behind'), executeText(id, null)), 'behind');
      });

      it('is dropped by COM_STMT_CLOSE', async () => {
        raw.send(Buffer.concat([longData(id, 'before'), buildStatementClose(id), longData(id, 'too late')]));
        assert.equal(await answers(raw, executeText(id, null)), 'ERR 1243');
        await others();
        const again = await prepare(raw, TEXT);
        assert.equal(await answers(raw, executeText(again, 'in the command')), 'in the command');
        assert.equal(await answers(raw, longData(again, 'its own'), executeText(again, null)), 'its own');
      });
    });
  });
}
