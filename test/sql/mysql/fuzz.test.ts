// Whatever the bytes: the classifier answers, in bounded time and memory, and its caches never change an answer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMysqlClassifier } from '../../../src/sql/mysql/classifier.js';
import { maxTokens } from '../../../src/sql/mysql/lexer.js';
import type { Classified, MysqlLexSettings } from '../../../src/sql/statement.js';
import { bytesOf, goldenTables, runsOf, settingsOf } from './golden.js';
import { Random, soup } from './random-text.js';

const seed = 4_711;
const fresh = (sql: Buffer, settings: MysqlLexSettings) =>
  createMysqlClassifier({ catalog: () => null }).classify(sql, settings);

const everySetting: MysqlLexSettings[] = (['mysql', 'mariadb'] as const).flatMap((flavour) =>
  ['utf8mb4', 'latin1', 'gbk', 'sjis', 'gb18030', 'cp1251'].flatMap((characterSet) =>
    [false, true].flatMap((flag) => [
      settingsOf(flavour, { characterSet, ansiQuotes: flag, oracleMode: flag && flavour === 'mariadb' }),
      settingsOf(flavour, { characterSet, noBackslashEscapes: flag }),
    ]),
  ),
);

function assertSound({ statement, shape }: Classified, sql: Buffer): void {
  assert.ok(['replica', 'primary', 'last', 'session', 'proxy'].includes(statement.route));
  if (statement.pin !== null) assert.ok(statement.route === 'primary' || statement.route === 'last');
  assert.ok(
    Buffer.byteLength(shape, 'latin1') <= 2048 + 3,
    `a shape of ${shape.length} for ${sql.length} bytes`,
  );
  assert.ok(statement.reasons.length <= 8);
}

test('random bytes', () => {
  const random = new Random(seed);
  const classifier = createMysqlClassifier({ catalog: () => null, cacheEntries: 500 });
  for (let i = 0; i < 30_000; i++) {
    const sql = Buffer.alloc(random.below(80));
    for (let k = 0; k < sql.length; k++) sql[k] = random.below(256);
    assertSound(classifier.classify(sql, random.of(everySetting)), sql);
  }
});

/** Words that classification looks at, from the golden tables themselves. */
const words = [
  ...new Set(
    goldenTables().flatMap(({ cases }) =>
      cases.flatMap((golden) => golden.sql.match(/[A-Za-z_]+|@\w+|'[^']*'/g) ?? []),
    ),
  ),
];

test('the caches never change an answer', () => {
  const random = new Random(seed + 1);
  const classifiers = everySetting.map(() =>
    createMysqlClassifier({ catalog: () => null, cacheEntries: 2000 }),
  );
  for (let i = 0; i < 30_000; i++) {
    const sql = Buffer.from(soup(random, words), 'latin1');
    // Few settings at a time, so that shapes meet again.
    const at = random.below(everySetting.length);
    const settings = everySetting[at]!;
    const cached = classifiers[at]!.classify(sql, settings);
    assertSound(cached, sql);
    assert.deepEqual(cached, fresh(sql, settings), JSON.stringify(sql.toString('latin1')));
  }
});

test('texts that differ in their literals only have the class that each has alone', () => {
  const random = new Random(seed + 2);
  const literals = [
    "'x'",
    '"y"',
    '1',
    '-2',
    'NULL',
    "x'41'",
    '1.5',
    "'SELECT 1'",
    "'DELETE FROM t'",
    '5',
    'DEFAULT',
    '?',
  ];
  const shared = new Map<string, ReturnType<typeof createMysqlClassifier>>();
  for (const { cases } of goldenTables()) {
    for (const golden of cases) {
      if (golden.catalog === true || golden.overrides !== undefined) continue;
      for (const settings of runsOf(golden)) {
        for (let round = 0; round < 4; round++) {
          const text = bytesOf(golden, settings)
            .toString('latin1')
            .replace(/'[^'\\]*'|\b\d+\b/g, (literal) =>
              random.below(2) === 0 ? literal : random.of(literals),
            );
          const key = JSON.stringify(settings);
          const classifier = shared.get(key) ?? createMysqlClassifier({ catalog: () => null });
          shared.set(key, classifier);
          const sql = Buffer.from(text, 'latin1');
          assert.deepEqual(classifier.classify(sql, settings), fresh(sql, settings), JSON.stringify(text));
        }
      }
    }
  }
});

test('every cut of every golden text', () => {
  const classifier = createMysqlClassifier({ catalog: () => null });
  for (const { cases } of goldenTables()) {
    for (const golden of cases) {
      for (const settings of runsOf(golden)) {
        const sql = bytesOf(golden, settings);
        for (let end = 0; end < sql.length; end++) {
          const part = sql.subarray(0, end);
          assertSound(classifier.classify(part, settings), part);
        }
      }
    }
  }
});

const megabytes16 = 16 * 1024 * 1024;
const fill = (head: string, piece: string, tail = '', bytes = megabytes16) =>
  Buffer.concat([
    Buffer.from(head),
    Buffer.alloc(bytes, piece).subarray(0, bytes - (bytes % piece.length)),
    Buffer.from(tail),
  ]);

test('statements of 16 MB: bounded, and in doubt the primary', () => {
  const settings = settingsOf('mysql');
  const classifier = createMysqlClassifier({ catalog: () => null });
  const route = (sql: Buffer) => classifier.classify(sql, settings).statement.route;
  const started = process.memoryUsage().heapUsed;

  assert.equal(route(fill("SELECT '", 'a', "'")), 'replica');
  assert.equal(route(fill('SELECT 1 FROM t WHERE id IN (1', ', 2', ')')), 'replica');
  assert.equal(route(fill('SELECT 1 FROM t WHERE id IN (1', ', 2', ') FOR UPDATE')), 'primary');
  assert.equal(route(fill("INSERT INTO t VALUES (1, 'a')", ", (2, 'b')")), 'primary');
  assert.equal(route(fill('SELECT a', ', f(a)')), 'primary');
  assert.equal(route(fill('SELECT a', ', a')), 'primary');
  assert.equal(route(fill('SELECT 1 ', '/**/')), 'replica');
  for (const piece of [
    '(',
    ')',
    "'",
    '`',
    '/*',
    '/*!',
    '/*!99999 ',
    '-- ',
    '#',
    ';',
    '@',
    '@@',
    '$',
    '$$',
    '\\',
    '.',
    '_a ',
    '0x',
    '1e',
    "'a' ",
    'begin ',
    'if ',
    'create procedure ',
    'x(',
    'with x(',
    ',f(',
    '\u0000',
  ]) {
    for (const head of ['', 'SELECT ', 'CREATE PROCEDURE p() BEGIN ', 'SET x = ', "SELECT '"]) {
      // Long enough that anything worse than linear would not end.
      assertSound(classifier.classify(fill(head, piece, '', 1024 * 1024), settings), Buffer.alloc(0));
    }
  }
  const grown = process.memoryUsage().heapUsed - started;
  assert.ok(grown < 512 * 1024 * 1024, `${grown} bytes more`);
});

test('a text with more tokens than are kept pins: its end is not known', () => {
  const settings = settingsOf('mysql');
  const classifier = createMysqlClassifier({ catalog: () => null });
  const long = `SELECT a${', a'.repeat(maxTokens)}; SET @x = 1`;
  const { statement } = classifier.classify(Buffer.from(long), settings);
  assert.equal(statement.route, 'primary');
  assert.equal(statement.pin, 'untracked-setting');
});

test('a flood of shapes stays within the bounds of the cache', () => {
  const settings = settingsOf('mysql');
  const classifier = createMysqlClassifier({ catalog: () => null, cacheEntries: 1000 });
  for (let i = 0; i < 20_000; i++) classifier.classify(Buffer.from(`SELECT a${i} FROM t${i}`), settings);
  for (let i = 0; i < 20_000; i++) classifier.classify(Buffer.from(`SET time_zone = '${i}'`), settings);
  assert.ok(classifier.stats.entries <= 1300, `${classifier.stats.entries} entries`);
});
