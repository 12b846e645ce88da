// Shapes: lists and rows collapse in both dialects, and no literal of a statement is ever in one.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createMysqlClassifier } from '../../src/sql/mysql/classifier.js';
import { createPostgresClassifier } from '../../src/sql/postgres/classifier.js';
import type { MysqlLexSettings } from '../../src/sql/statement.js';

const mysqlSettings: MysqlLexSettings = {
  flavour: 'mysql',
  versionNumber: 90_700,
  ansiQuotes: false,
  noBackslashEscapes: false,
  oracleMode: false,
  characterSet: 'utf8mb4',
};

const dialects = {
  postgres: () => {
    const classifier = createPostgresClassifier({ catalog: () => null });
    return (sql: string) => classifier.classify(Buffer.from(sql), { standardConformingStrings: true });
  },
  mysql: () => {
    const classifier = createMysqlClassifier({ catalog: () => null });
    return (sql: string) => classifier.classify(Buffer.from(sql), mysqlSettings);
  },
};

for (const [dialect, create] of Object.entries(dialects)) {
  describe(`${dialect}: lists and rows`, () => {
    const shapeOf = (sql: string): string => create()(sql).shape;
    const same = (...texts: string[]): void => {
      const [first, ...others] = texts.map(shapeOf);
      for (const [i, shape] of others.entries()) assert.equal(shape, first, texts[i + 1]);
    };

    test('an IN list has one shape, however long, and whatever literals are in it', () => {
      same(
        'SELECT * FROM t WHERE a IN (1)',
        'select *  from t where a in (1, 2)',
        "SELECT * FROM t WHERE a IN ('x', 2, -3, NULL, 1.5e3, TRUE)",
        `SELECT * FROM t WHERE a IN (${Array.from({ length: 5_000 }, (_, i) => i).join(',')})`,
      );
      same('SELECT 1 WHERE (a, b) IN ((1, 2))', 'SELECT 1 WHERE (a, b) IN ((1, 2), (3, 4), (5, 6))');
      assert.notEqual(shapeOf('SELECT 1 WHERE a IN (1, b)'), shapeOf('SELECT 1 WHERE a IN (1, c)'));
    });

    test('rows to insert have one shape, with functions, NULL and DEFAULT among their values', () => {
      const insert = (rows: string[]) => `INSERT INTO t (a, b, c) VALUES ${rows.join(', ')}`;
      const rowsOf = (row: (i: number) => string, count: number) =>
        Array.from({ length: count }, (_, i) => row(i));
      for (const row of [
        (i: number) => `(${i}, 'x${i}', ${-i})`,
        (i: number) => `(${i}, now(), 'x')`,
        (i: number) => (i % 2 === 0 ? `(${i}, now(), NULL)` : `(NULL, now(), '${i}')`),
        (i: number) => `(DEFAULT, ${i}, coalesce(${i}, ${i}))`,
        (i: number) => `((SELECT max(x) FROM u WHERE y = ${i}), ${i}, (${i}))`,
      ]) {
        const one = shapeOf(insert(rowsOf(row, 1)));
        for (const count of [2, 3, 500])
          assert.equal(shapeOf(insert(rowsOf(row, count))), one, `${count} rows`);
      }
      same(
        'SELECT * FROM t, (SELECT 1) x WHERE a IN (1, 2); INSERT INTO t VALUES (f()), (f())',
        'SELECT * FROM t, (SELECT 2) x WHERE a IN (1); INSERT INTO t VALUES (f()), (f()), (f())',
      );
    });

    test('what is no row, or another row, stays', () => {
      assert.notEqual(shapeOf('SELECT f(a), (a)'), shapeOf('SELECT f(a)'));
      assert.notEqual(shapeOf('SELECT (a), (a)'), shapeOf('SELECT (a)'));
      assert.notEqual(shapeOf('INSERT INTO t VALUES (f()), (g())'), shapeOf('INSERT INTO t VALUES (f())'));
      assert.notEqual(
        shapeOf('INSERT INTO t VALUES (a), (b), (a)'),
        shapeOf('INSERT INTO t VALUES (a), (b)'),
      );
    });

    test('the class is the one of a single row', () => {
      for (const [many, one] of [
        ['INSERT INTO t VALUES (now()), (now())', 'INSERT INTO t VALUES (now())'],
        ['SELECT * FROM t WHERE a IN (1, NULL)', 'SELECT * FROM t WHERE a IN (1)'],
      ] as const) {
        assert.deepEqual(create()(many).statement, create()(one).statement);
      }
    });
  });
}

/** Each has the secret as a literal, or in a comment. */
const secret = 'hunter2';
const number = '4711081';
const inBoth = [
  `SELECT '${secret}'`,
  `SELECT ${number}, -${number}, ${number}.5, .${number}, 1e${number.slice(0, 2)}, 0x${number}`,
  `SELECT 1 -- ${secret}`,
  `SELECT 1 -- ${secret}\n, 2`,
  `/* ${secret} ${number} */ SELECT 1 /* ${secret} */`,
  `/* scheelite: session=${secret} */ SELECT 1`,
  `SELECT 'it''s ${secret}'`,
  `SELECT x'${number}'`,
  `INSERT INTO t VALUES ('${secret}', ${number}), ('${secret}', NULL)`,
  `UPDATE t SET a = '${secret}' WHERE b IN (${number}, '${secret}')`,
  `SELECT '${secret}`,
  `SELECT "${secret}`,
  `SELECT 1 /* ${secret}`,
  `SELECT 'a', '${secret}' FROM "t`,
  `SELECT 1; SELECT '${secret}'; SELECT ${number}`,
  `SELECT * FROM t LIMIT ${number} OFFSET ${number}`,
  `SET x = '${secret}'`,
  `SELECT ${'a, '.repeat(30_000)} '${secret}', '${secret}`,
];
const postgresOnly = [
  `SELECT E'\\'${secret}'`,
  `SELECT e'a\\\\' , '${secret}'`,
  `SELECT $$${secret}$$, $tag$ '${secret}' $tag$`,
  `SELECT $tag$ ${secret}`,
  `SELECT $ta-g$${secret}$ta-g$`,
  `SELECT U&'${secret}' UESCAPE '!'`,
  `SELECT B'1', N'${secret}'`,
  `SELECT 'a'\n  '${secret}'`,
  `DO $body$ BEGIN PERFORM '${secret}'; END $body$`,
  `ALTER ROLE r PASSWORD '${secret}'`,
  `SET ROLE '${secret}'`,
  `/* a /* ${secret} */ b */ SELECT 1`,
  `SELECT ${number}::int, ${number}_${number}, '${secret}'::text`,
  `NOTIFY c, '${secret}'`,
  `COPY t FROM '/${secret}'`,
];
const mysqlOnly = [
  `SELECT "${secret}"`,
  `SELECT 'a\\'${secret}'`,
  `SELECT _utf8mb4'${secret}', _utf8'${secret}' COLLATE utf8_bin, N'${secret}'`,
  `SELECT /*! '${secret}', */ 1`,
  `SELECT /*!50000 ${number}, '${secret}', */ 1`,
  `SELECT /*!99999 ${number}, '${secret}', */ 1`,
  `SELECT /*! '${secret}'`,
  `SELECT /*+ SET_VAR(sql_mode = '${secret}') SET_VAR(sort_buffer_size = ${number}) MAX_EXECUTION_TIME(${number}) */ 1`,
  `SELECT /*+ SET_VAR(x="${secret}") SET_VAR(x=-${number}) SET_VAR(x=${number}.5) */ 1`,
  `SELECT 1 # ${secret}`,
  `CREATE USER 'u'@'${secret}' IDENTIFIED BY '${secret}'`,
  `GRANT ALL ON *.* TO u @'${secret}', u@"${secret}"`,
  `GRANT ALL ON *.* TO 'u'@'it''s ${secret}'`,
  `GRANT ALL ON *.* TO 'u'@'it\\'s ${secret}'`,
  `SELECT \`a, '${secret}'`,
  `SELECT @\`a, '${secret}'`,
  `SELECT @'${secret}`,
  `PREPARE s FROM 'SELECT ${secret}'`,
  `LOAD DATA INFILE '/${secret}' INTO TABLE t`,
  `SELECT b'1', 0b1, 'a' '${secret}'`,
  `SELECT @@x, DATE '${secret}', INTERVAL ${number} DAY`,
];

describe('no literal is in a shape', () => {
  for (const [dialect, texts] of [
    ['postgres', [...inBoth, ...postgresOnly]],
    ['mysql', [...inBoth.filter((text) => !text.includes('FROM "t')), ...mysqlOnly]],
  ] as const) {
    test(dialect, () => {
      const classify = dialects[dialect]();
      for (const text of texts) {
        // The second time it comes from a cache.
        for (const { shape } of [classify(text), classify(text)]) {
          assert.ok(!shape.includes(secret), `${text.slice(0, 200)}: ${shape.slice(-200)}`);
          assert.ok(!shape.includes(number), `${text.slice(0, 200)}: ${shape.slice(-200)}`);
        }
      }
    });
  }

  test('mysql, in every mode and cut off anywhere', () => {
    const classifier = createMysqlClassifier({ catalog: () => null });
    const postgres = createPostgresClassifier({ catalog: () => null });
    for (const text of [...inBoth, ...mysqlOnly].filter(({ length }) => length < 1_000)) {
      for (let end = 1; end <= text.length; end++) {
        const sql = Buffer.from(text.slice(0, end));
        for (const noBackslashEscapes of [false, true]) {
          for (const flavour of ['mysql', 'mariadb'] as const) {
            const settings = { ...mysqlSettings, flavour, noBackslashEscapes };
            // With no backslash escapes this string ends where it says so, and what follows is code.
            if (noBackslashEscapes && text.includes('\\')) continue;
            const { shape } = classifier.classify(sql, settings);
            assert.ok(!shape.includes(secret) && !shape.includes(number), `${sql.toString()}: ${shape}`);
          }
        }
      }
    }
    for (const text of [...inBoth, ...postgresOnly].filter(({ length }) => length < 1_000)) {
      for (let end = 1; end <= text.length; end++) {
        const sql = Buffer.from(text.slice(0, end));
        const { shape } = postgres.classify(sql, { standardConformingStrings: true });
        assert.ok(!shape.includes(secret) && !shape.includes(number), `${sql.toString()}: ${shape}`);
      }
    }
  });
});
