// Holds the lexer against the servers' own: a call of a function that does not exist stands somewhere in a text full of
// quotes, comments and halves of characters. Where the server finds the call, the classifier must have found it too.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMysqlClassifier } from '../../../src/sql/mysql/classifier.js';
import { available, skipWithout } from '../../servers/available.js';
import { startCluster } from '../../servers/cluster.js';
import { goldenTables, runsOf, settingsOf } from './golden.js';
import { canaryText, Random, withCall } from './random-text.js';
import { RawConnection } from './raw-connection.js';
import { schemaOf } from './schema.js';

/** ER_SP_DOES_NOT_EXIST; ER_FUNC_INEXISTENT_NAME_COLLISION, when white space stood before the bracket. */
const found = new Set([1305, 1630]);
const textsEach = 1000;
const seed = 20_261_121;

const characterSets = ['utf8mb4', 'latin1', 'gbk', 'sjis', 'cp932', 'big5', 'gb18030'];

for (const flavour of ['mysql', 'mariadb'] as const) {
  test(`${flavour}: the lexer sees what the server sees`, {
    skip: skipWithout(available(flavour)),
  }, async (t) => {
    const cluster = await startCluster(flavour, { replicas: 0 });
    t.after(() => cluster.stop());
    const { primary, user } = cluster;
    const random = new Random(seed);
    const missed: string[] = [];
    let calls = 0;
    let clean = 0;
    let cautious = 0;
    for (const characterSet of characterSets) {
      if (characterSet === 'gb18030' && flavour === 'mariadb') continue;
      for (const mode of ['', 'ANSI_QUOTES', 'NO_BACKSLASH_ESCAPES', 'ORACLE']) {
        if (mode === 'ORACLE' && flavour === 'mysql') continue;
        const settings = settingsOf(flavour, {
          characterSet,
          ansiQuotes: mode === 'ANSI_QUOTES' || mode === 'ORACLE',
          noBackslashEscapes: mode === 'NO_BACKSLASH_ESCAPES',
          oracleMode: mode === 'ORACLE',
        });
        const connection = await RawConnection.open(primary, user, user.database);
        t.after(() => connection.close());
        assert.equal((await connection.run(`SET NAMES ${characterSet}`)).errno, 0);
        assert.equal((await connection.run(`SET SESSION sql_mode = '${mode}'`)).errno, 0);
        const classifier = createMysqlClassifier({ catalog: () => null });
        const texts = Array.from({ length: textsEach }, () => Buffer.from(canaryText(random), 'latin1'));
        const answers = await Promise.all(texts.map((text) => connection.run(text)));
        texts.forEach((text, i) => {
          const { route } = classifier.classify(text, settings).statement;
          const { errno } = answers[i]!;
          if (found.has(errno)) {
            calls++;
            if (route !== 'primary')
              missed.push(`${characterSet} ${mode}: ${JSON.stringify(text.toString('latin1'))}`);
          } else if (errno === 0) {
            clean++;
            if (route !== 'replica') cautious++;
          }
        });
      }
    }
    t.diagnostic(
      `${calls} texts call, ${clean} run without a call, ${cautious} of those are kept on the primary`,
    );
    assert.deepEqual(missed.slice(0, 20), []);
    // Both kinds have to come up, or nothing was compared.
    assert.ok(calls > 1000 && clean > 100, `${calls} calls, ${clean} without`);
    // In doubt the primary, but not for what is plain to the server.
    assert.ok(cautious < 0.1 * clean, `${cautious} of ${clean}`);
  });
  test(`${flavour}: a call anywhere in a read is found`, {
    skip: skipWithout(available(flavour)),
  }, async (t) => {
    const cluster = await startCluster(flavour, {
      replicas: 0,
      settings: { 'log-bin-trust-function-creators': 'ON' },
    });
    t.after(() => cluster.stop());
    const { primary, user } = cluster;
    for (const statement of schemaOf(flavour, user.user)) await primary.admin(statement);
    const plain = settingsOf(flavour);
    const reads = goldenTables().flatMap(({ cases }) =>
      cases
        .filter(
          (golden) =>
            golden.route === 'replica' && golden.catalog !== true && !/sleep|;|transaction/i.test(golden.sql),
        )
        .filter((golden) => runsOf(golden).some((run) => JSON.stringify(run) === JSON.stringify(plain)))
        .map((golden) => golden.sql),
    );
    const connection = await RawConnection.open(primary, user, 'shop');
    t.after(() => connection.close());
    await connection.run("SET SESSION sql_mode = ''");
    const classifier = createMysqlClassifier({ catalog: () => null });
    const random = new Random(seed + 1);
    const missed: string[] = [];
    let calls = 0;
    for (let round = 0; round < 20; round++) {
      const texts = Array.from({ length: 500 }, () => Buffer.from(withCall(random, random.of(reads))));
      const answers = await Promise.all(texts.map((text) => connection.run(text)));
      texts.forEach((text, i) => {
        if (!found.has(answers[i]!.errno)) return;
        calls++;
        if (classifier.classify(text, plain).statement.route !== 'primary') missed.push(text.toString());
      });
    }
    t.diagnostic(`${calls} of 10000 texts call`);
    assert.deepEqual(missed.slice(0, 20), []);
    assert.ok(calls > 500, `${calls} calls`);
  });
}
