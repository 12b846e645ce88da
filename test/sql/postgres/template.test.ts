// Which integers of a text become parameters, and which texts stay whole.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPostgresClassifier } from '../../../src/sql/postgres/classifier.js';

const settings = { standardConformingStrings: true };

/** The text with parameters and their values; null: it stays whole. `twin`: of the same shape, and classified before it. */
function filled(sql: string, twin = sql): { text: string; types: number[]; values: string[] } | null {
  const classifier = createPostgresClassifier({ catalog: () => null });
  classifier.classify(Buffer.from(twin), settings);
  const bytes = Buffer.from(sql);
  classifier.classify(bytes, settings);
  const result = classifier.filled(bytes);
  if (result === null) return null;
  const end = result.body.indexOf(0);
  const count = result.body.readInt16BE(end + 1);
  assert.equal(result.body.length, end + 3 + 4 * count);
  const types = Array.from({ length: count }, (_, i) => result.body.readInt32BE(end + 3 + 4 * i));
  return { text: result.body.toString('utf8', 0, end), types, values: result.values.map(String) };
}

const TAKEN: readonly [sql: string, text: string, ...values: string[]][] = [
  [
    'SELECT abalance FROM accounts WHERE aid = 12345;',
    'SELECT abalance FROM accounts WHERE aid = $1',
    '12345',
  ],
  ['select a from t where b=7', 'select a from t where b=$1', '7'],
  ['select a from t where (b=7) and c <> 0', 'select a from t where (b=$1) and c <> $2', '7', '0'],
  [
    'SELECT * FROM s.t x WHERE x.a >= 1 AND NOT (b < 2 OR c <= 3)',
    'SELECT * FROM s.t x WHERE x.a >= $1 AND NOT (b < $2 OR c <= $3)',
    '1',
    '2',
    '3',
  ],
  ['  /* tag */ SELECT \u00e9 FROM t WHERE \u00e9 = 5 -- end', 'SELECT \u00e9 FROM t WHERE \u00e9 = $1', '5'],
  [
    "SELECT 'x', 1 FROM t WHERE n = 'a' AND a = 3 ORDER BY 1 LIMIT 10",
    "SELECT 'x', 1 FROM t WHERE n = 'a' AND a = $1 ORDER BY 1 LIMIT 10",
    '3',
  ],
  [
    'SELECT count(*) FROM t WHERE a = 999999999 GROUP BY b + 1',
    'SELECT count(*) FROM t WHERE a = $1 GROUP BY b + 1',
    '999999999',
  ],
  [
    'SELECT a FROM t WHERE a = 1 AND b IN (2) AND c = 3',
    'SELECT a FROM t WHERE a = $1 AND b IN (2) AND c = $2',
    '1',
    '3',
  ],
  ['SELECT a FROM t WHERE a = 007', 'SELECT a FROM t WHERE a = $1', '007'],
  [
    'SELECT f(3, a) FROM t WHERE a = 1 AND s.f(b) = 2',
    'SELECT f(3, a) FROM t WHERE a = $1 AND s.f(b) = 2',
    '1',
  ],
  ['SELECT a FROM t WHERE a = (5)', 'SELECT a FROM t WHERE a = ($1)', '5'],
  ["SELECT a FROM t WHERE b = 'it''s 5' AND a = 1", "SELECT a FROM t WHERE b = 'it''s 5' AND a = $1", '1'],
];

for (const [sql, text, ...values] of TAKEN)
  test(`parameters: ${sql}`, () => {
    assert.deepEqual(filled(sql), { text, types: values.map(() => 23), values });
  });

const WHOLE: readonly [sql: string, why: string][] = [
  ['SELECT 1', 'no condition'],
  ['SELECT a FROM t', 'no number'],
  ['SELECT a FROM t LIMIT 5', 'no comparison'],
  ['SELECT a FROM t WHERE a = -5', 'a sign'],
  ['SELECT a FROM t WHERE a = +5', 'a sign'],
  ['SELECT a FROM t WHERE a = - 5', 'a sign'],
  ['SELECT a FROM t WHERE a = -/* */5', 'a sign, perhaps, behind a comment'],
  ['SELECT a FROM t WHERE a = 1.5', 'numeric'],
  ['SELECT a FROM t WHERE a = .5', 'numeric'],
  ['SELECT a FROM t WHERE a = 1e3', 'numeric'],
  ['SELECT a FROM t WHERE a = 0x1F', 'hexadecimal'],
  ['SELECT a FROM t WHERE a = 1_000', 'an underscore'],
  ['SELECT a FROM t WHERE a = 1000000000', 'perhaps a bigint'],
  ['SELECT a FROM t WHERE a = 5::bigint', 'a cast'],
  ['SELECT a FROM t WHERE a = 5 + 1', 'an expression'],
  ['SELECT a FROM t WHERE a + 1 = 5', 'an expression on the left'],
  ['SELECT a FROM t WHERE 5 = a', 'the constant is on the left'],
  ['SELECT a FROM t WHERE a BETWEEN 1 AND 5', 'no comparison'],
  ['SELECT a FROM t WHERE a IN (1, 2, 3)', 'a list'],
  ['SELECT a FROM t WHERE a = 1 AND b IN (1, 2, 3)', 'a list beside it'],
  ['SELECT a FROM t WHERE (a, b) = (1, 2)', 'rows'],
  ['SELECT a FROM t WHERE a OPERATOR(pg_catalog.=) 1', 'an operator with its schema'],
  ['SELECT a FROM t WHERE a ~ 1', 'another operator'],
  ['SELECT a = 1 FROM t GROUP BY a = 1', 'not in a condition: the two would be two parameters'],
  ['SELECT a FROM t GROUP BY a HAVING a = 1', 'not in WHERE'],
  ['SELECT a FROM t JOIN u ON t.a = 1', 'not in WHERE'],
  ['SELECT a FROM t WHERE EXISTS (SELECT FROM u WHERE u.a = 1)', 'of another query'],
  ['SELECT a FROM t WHERE a = 1 UNION SELECT a FROM u WHERE a = 2', 'of a union'],
  ['WITH w AS (SELECT 1) SELECT a FROM w WHERE a = 1 AND current_query() = a', 'it may ask for its text'],
  ['SELECT pg_catalog.Current_Query() FROM t WHERE a = 1', 'it asks for its text'],
  ['SELECT query FROM pg_stat_activity WHERE pid = 1', 'it asks for its text'],
  ['SELECT a FROM t WHERE a = $1 AND b = 2', 'it has parameters'],
  ['SELECT a FROM t WHERE a = 1; SELECT a FROM t WHERE a = 2', 'two statements'],
  ['INSERT INTO t SELECT a FROM t WHERE a = 1', 'no SELECT'],
  ['UPDATE t SET a = 1 WHERE a = 2', 'no SELECT'],
  [`SELECT a FROM t WHERE ${Array.from({ length: 17 }, (_, i) => `a = ${i}`).join(' OR ')}`, 'more than 16'],
];

for (const [sql, why] of WHOLE)
  test(`whole: ${sql.slice(0, 80)}: ${why}`, () => {
    assert.equal(filled(sql), null);
  });

test('of one shape, a text whose number is no such integer stays whole', () => {
  const twin = 'SELECT a FROM t WHERE a = 1 AND b = 2';
  assert.deepEqual(filled('select a from t where a = 10 AND b = 20', twin)?.values, ['10', '20']);
  for (const number of ['-1', '1.0', '2147483648', '1e1', '0b1'])
    assert.equal(filled(`SELECT a FROM t WHERE a = ${number} AND b = 2`, twin), null, number);
});

test('nothing is told of a shape that comes for the first time, nor of a text that has not been read', () => {
  const classifier = createPostgresClassifier({ catalog: () => null });
  const sql = Buffer.from('SELECT a FROM t WHERE a = 1');
  assert.equal(classifier.filled(sql), null);
  classifier.classify(sql, settings);
  assert.equal(classifier.filled(sql), null);
  classifier.classify(sql, settings);
  assert.equal(String(classifier.filled(sql)?.values[0]), '1');
  classifier.classify(Buffer.from('SELECT (unclosed'), settings);
  classifier.classify(Buffer.from("SELECT 'unclosed"), settings);
  assert.equal(classifier.filled(sql), null);
});
