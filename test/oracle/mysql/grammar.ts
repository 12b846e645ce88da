// Makes up MySQL and MariaDB statements by their grammar: mostly valid reads over the oracle's database, in some of which
// something that writes, locks or stays is hidden, also in executable comments and behind quotes. It judges nothing.

import type { Random } from '../../storm/random.js';
import type { Flavour } from './material.js';

const poisonNumbers = [
  'writes(1)',
  'shop.writes(1)',
  'shop . writes (1)',
  '`writes`(1)',
  'WRITES (1)',
  'writes/* c */(1)',
  '(SELECT w FROM v_writes LIMIT 1)',
  '(SELECT id FROM t LIMIT 1 FOR UPDATE)',
  '(SELECT id FROM t LIMIT 1 LOCK IN SHARE MODE)',
  "GET_LOCK('l', 0)",
  "get_lock ('l', 0)",
  '@v := 1',
  '(@v := @v + 1)',
  'ABS(writes(1))',
  'CASE WHEN a > 0 THEN writes(1) END',
  'IF(1, writes(1), 2)',
  'a IN (writes(1))',
  '(1, writes(1)) = (1, 2)',
  'EXISTS (SELECT writes(1))',
  'SUM(writes(1)) OVER ()',
  'SUM(a) OVER (ORDER BY writes(1))',
  'CAST(writes(1) AS CHAR)',
  "CONCAT('x', writes(1))",
  'INTERVAL(writes(1), 2)',
  "'2020-01-01' + INTERVAL writes(1) DAY",
  'BINARY writes(1)',
  '-writes(1)',
  'NOT writes(1)',
  'IFNULL(NULL, writes(1))',
  "JSON_OBJECT('a', writes(1))",
  'GROUP_CONCAT(writes(1) ORDER BY a)',
  '1 /*! + writes(1) */',
  '1 /*!50000 + writes(1) */',
  '1 /*!99999 + writes(1) */',
  '1 /*!100100 + writes(1) */',
  '1 /*M! + writes(1) */',
  '1 /*M!100100 + writes(1) */',
  '1 /*! /* c */ + writes(1) */',
  "1 /*!50000 , ';' , writes(1) */",
  "'\\'' , writes(1) , '\\''",
  '"\'" , writes(1) , "\'"',
  '1 -- \n + writes(1)',
  '1 # x\n + writes(1)',
  '1 --writes(1)',
  'RELEASE_ALL_LOCKS()',
];
const poisonMaria = [
  'NEXTVAL(s)',
  'NEXT VALUE FOR s',
  'SETVAL(s, 5)',
  'NEXTVAL(shop.s)',
  's.nextval',
  '(SELECT NEXTVAL(s))',
];

const poisonTails = [
  'FOR UPDATE',
  'FOR UPDATE NOWAIT',
  'FOR UPDATE SKIP LOCKED',
  'LOCK IN SHARE MODE',
  'INTO @v',
  "INTO OUTFILE '/dev/null'",
  '/*! FOR UPDATE */',
  '/*!50000 FOR UPDATE */',
  '/*!99999 FOR UPDATE */',
  '/*M!100100 FOR UPDATE */',
  'FOR SHARE',
  'FOR UPDATE OF t',
  '; INSERT INTO t (a) VALUES (1)',
  '/*! ; INSERT INTO t (a) VALUES (1) */',
  '; SET @v = 1',
  '; DELETE FROM t WHERE id = -1',
  '; UPDATE t SET a = a WHERE id = 1',
  '; CREATE TEMPORARY TABLE IF NOT EXISTS tt (x INT)',
  "; DO GET_LOCK('l', 0)",
  '; CALL nothing()',
];

const poisonWhole = [
  'WITH w AS (SELECT 1) DELETE FROM t WHERE id = -1',
  'WITH w AS (SELECT 1 AS x) UPDATE t, w SET t.a = t.a WHERE t.id = -1',
  'EXPLAIN ANALYZE SELECT writes(1)',
  'ANALYZE SELECT writes(1)',
  'ANALYZE UPDATE t SET a = 5 WHERE id = 1',
  'EXPLAIN ANALYZE DELETE FROM t WHERE id = -1',
  'DO writes(1)',
  'VALUES ROW(writes(1))',
  'TABLE v_writes',
  '(SELECT writes(1))',
  'SELECT 1 UNION SELECT writes(1)',
  'SHOW TABLES WHERE writes(1) > 0',
  'SHOW COLUMNS FROM t WHERE writes(1) > 0',
  'SELECT * FROM t WHERE id = 1 PROCEDURE ANALYSE(writes(1))',
  'SET STATEMENT max_statement_time = 1 FOR DELETE FROM t WHERE id = -1',
  'SET STATEMENT max_statement_time = 1 FOR SELECT writes(1)',
  'INSERT INTO t (a) SELECT 1',
  "REPLACE INTO u (id, name) VALUES (1, 'z')",
  'DESC SELECT writes(1)',
];

const texts = [
  "'x'",
  "'it''s'",
  "'a\\'b'",
  "'\\\\'",
  "N'x'",
  "_utf8mb4'x'",
  "x'41'",
  "b'01'",
  "'a' 'b'",
  "'/*'",
  "'--'",
  "'; INSERT INTO t'",
  "'GET_LOCK(1,1)'",
  'c',
  '`c`',
  't.c',
  "''",
  '"for update"',
  '"\'"',
];
const numbers = [
  '1',
  '0',
  '-1',
  '1.5',
  '1e3',
  '.5',
  'id',
  'a',
  'b',
  '`a`',
  't.a',
  'NULL',
  'TRUE',
  '0x41',
  "DATE '2020-01-01'",
  '1--1',
];
const numberCalls = [
  'ABS(#)',
  'MOD(#, 3)',
  '# MOD 3',
  '# DIV 2',
  'GREATEST(#, #)',
  'COALESCE(#, 0)',
  'IFNULL(#, #)',
  'NULLIF(#, #)',
  'IF(?, #, #)',
  'CASE WHEN ? THEN # ELSE # END',
  'CASE # WHEN 1 THEN # END',
  'LENGTH(@)',
  'LOCATE(@, @)',
  'POSITION(@ IN @)',
  'ROUND(#, 2)',
  'RAND()',
  'reader(#)',
  'shop.plain(#)',
  'reader_of_readers(1)',
  '(SELECT COUNT(*) FROM t)',
  '(SELECT MAX(a) FROM t WHERE id < 3)',
  'CAST(@ AS SIGNED)',
  'CONVERT(#, CHAR)',
  'YEAR(NOW())',
  "DATEDIFF(NOW(), '2020-01-01')",
  'EXTRACT(YEAR FROM NOW())',
  "TIMESTAMPDIFF(DAY, '2020-01-01', NOW())",
  'ROW_NUMBER() OVER (ORDER BY id)',
  'SUM(a) OVER (PARTITION BY b ORDER BY id ROWS 1 PRECEDING)',
  'INTERVAL(#, 1, 2)',
  "JSON_EXTRACT(j, '$.a')",
  'JSON_LENGTH(j)',
  '~#',
  '(# ^ #)',
  'ASCII(@)',
  'CRC32(@)',
  'STRCMP(@, @)',
  'UNIX_TIMESTAMP()',
  'CHAR_LENGTH(@)',
  'BIT_COUNT(3)',
  'FIELD(@, @, @)',
  'ISNULL(#)',
];
const textCalls = [
  'UPPER(@)',
  'CONCAT(@, #, @)',
  "CONCAT_WS(',', @, @)",
  'SUBSTRING(@, 1, 2)',
  'SUBSTRING(@ FROM 1 FOR 2)',
  "TRIM(BOTH 'x' FROM @)",
  'REPLACE(@, @, @)',
  'MD5(@)',
  "DATE_FORMAT(NOW(), '%Y')",
  'HEX(@)',
  'UUID()',
  'DATABASE()',
  'USER()',
  'VERSION()',
  'LEFT(@, 2)',
  'INSERT(@, 1, 1, @)',
  "j->'$.a'",
  'CHAR(65 USING utf8mb4)',
  '(@ COLLATE utf8mb4_bin)',
  'JSON_OBJECT(@, #)',
  'CURDATE()',
  'NOW() + INTERVAL # DAY',
  'LPAD(@, 5, @)',
  'ELT(1, @, @)',
  'QUOTE(@)',
  'REGEXP_REPLACE(@, @, @)',
];
const conditions = [
  '# > #',
  '# = #',
  '# <=> NULL',
  '# IS NOT NULL',
  "@ LIKE '%x%'",
  '@ REGEXP @',
  '@ RLIKE @',
  '? AND ?',
  '? || ?',
  '? XOR ?',
  'NOT (?)',
  '!#',
  '# BETWEEN 1 AND #',
  '# IN (1, 2, #)',
  '# IN (SELECT id FROM t)',
  'EXISTS (SELECT 1 FROM u)',
  '# = ANY (SELECT id FROM t)',
  '# > ALL (SELECT id FROM u)',
  "MATCH (u.name) AGAINST ('one')",
  '(#, 1) = (1, 1)',
  '# IS TRUE',
  '# SOUNDS LIKE #',
];
const gaps = [
  ' ',
  '  ',
  '\n',
  ' /* c */ ',
  " /* it's */ ",
  ' -- x\n',
  ' # x\n',
  '\t',
  ' /*!99999 x */ ',
  ' /**/ ',
];

export class MysqlGrammar {
  readonly #random: Random;
  readonly #poisons: readonly string[];
  #poison = 0;

  constructor(random: Random, flavour: Flavour) {
    this.#random = random;
    this.#poisons = flavour === 'mariadb' ? [...poisonNumbers, ...poisonMaria] : poisonNumbers;
  }

  statement(): string {
    const random = this.#random;
    this.#poison = random.chance(0.35) ? 0.12 : 0;
    if (this.#poison > 0 && random.chance(0.15)) return this.#dressed(random.pick(poisonWhole));
    let sql = this.#query(random.int(0, 2));
    if (random.chance(this.#poison * 2)) sql = `${sql} ${random.pick(poisonTails)}`;
    const wrapping = random.int(0, 24);
    if (wrapping === 0) sql = `EXPLAIN ${sql}`;
    else if (wrapping === 1) sql = `DESCRIBE ${sql}`;
    else if (wrapping === 2) sql = `EXPLAIN FORMAT=JSON ${sql}`;
    else if (wrapping === 3) sql = `${sql}; ${this.#query(1)}`;
    else if (wrapping === 4) sql = `(${sql})`;
    else if (wrapping === 5) sql = `;${sql};`;
    else if (wrapping === 6) sql = `/*! ${sql} */`;
    else if (wrapping === 7) sql = `DO ${this.#number(1)}`;
    else if (wrapping === 8) sql = `EXPLAIN ANALYZE ${sql}`;
    return this.#dressed(sql);
  }

  #dressed(sql: string): string {
    const random = this.#random;
    if (random.chance(0.5)) return sql;
    return sql
      .split(/( )/)
      .map((part) => (part === ' ' && random.chance(0.12) ? random.pick(gaps) : part))
      .map((part) => (/^[A-Z]{4,}$/.test(part) && random.chance(0.2) ? part.toLowerCase() : part))
      .join('');
  }

  #query(depth: number): string {
    const random = this.#random;
    const parts: string[] = [];
    if (random.chance(0.12))
      parts.push(
        random.pick([
          'WITH w AS (SELECT 1 AS x)',
          'WITH w (x, y) AS (SELECT 1, 2)',
          'WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3)',
          `WITH w AS (${this.#select(0)})`,
        ]),
      );
    parts.push(
      random.chance(0.06)
        ? random.pick(['TABLE t', 'VALUES ROW(1, 2)', 'VALUES (1, 2)'])
        : this.#select(depth),
    );
    while (random.chance(0.1))
      parts.push(random.pick(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT']), this.#select(depth));
    if (random.chance(0.15)) parts.push('ORDER BY 1');
    if (random.chance(0.2)) parts.push(random.pick(['LIMIT 1', 'LIMIT 0, 2', 'LIMIT 2 OFFSET 1']));
    return parts.join(' ');
  }

  #select(depth: number): string {
    const random = this.#random;
    const items: string[] = [];
    for (let i = random.int(1, 3); i > 0; i--) {
      const value = random.chance(0.6) ? this.#number(depth) : this.#text(depth);
      items.push(random.chance(0.15) ? `${value} AS ${random.pick(['x', '`into`', "'y'"])}` : value);
    }
    const option = random.chance(0.1)
      ? random.pick([
          'DISTINCT ',
          'SQL_NO_CACHE ',
          'STRAIGHT_JOIN ',
          'ALL ',
          '/*+ MAX_EXECUTION_TIME(900) */ ',
        ])
      : '';
    const parts = [`SELECT ${option}${items.join(', ')} FROM ${this.#from(depth)}`];
    if (random.chance(0.5)) parts.push(`WHERE ${this.#condition(depth)}`);
    if (random.chance(0.07))
      parts.push(
        random.pick(['GROUP BY t.id', 'GROUP BY t.id WITH ROLLUP', 'GROUP BY 1 HAVING COUNT(*) > 0']),
      );
    return parts.join(' ');
  }

  #from(depth: number): string {
    const random = this.#random;
    switch (random.int(0, 9)) {
      case 0:
        return 't JOIN x2 ON TRUE';
      case 1:
        return 't LEFT JOIN u ON u.t_id = t.id';
      case 2:
        return 't, u';
      case 3:
        return '(t, u)';
      case 4:
        return depth > 0 ? `t, (${this.#select(depth - 1)}) AS q` : 't';
      case 5:
        return "t, JSON_TABLE('[{\"q\":1}]', '$[*]' COLUMNS (q INT PATH '$.q')) AS jt";
      case 6:
        return 't FORCE INDEX (PRIMARY)';
      case 7:
        return '`shop`.`t`';
      case 8:
        return 't, v_plain v, v_reads vr';
      default:
        return 't';
    }
  }

  #number(depth: number): string {
    const random = this.#random;
    if (random.chance(this.#poison)) return random.pick(this.#poisons);
    if (depth <= 0 || random.chance(0.3)) return random.pick(numbers);
    if (random.chance(0.3))
      return `(${this.#number(depth - 1)} ${random.pick(['+', '-', '*', '%', '<<', '|', '&'])} ${this.#number(depth - 1)})`;
    return this.#filled(random.pick(numberCalls), depth - 1);
  }

  #text(depth: number): string {
    const random = this.#random;
    if (depth <= 0 || random.chance(0.3)) return random.pick(texts);
    return this.#filled(random.pick(textCalls), depth - 1);
  }

  #condition(depth: number): string {
    const random = this.#random;
    if (random.chance(this.#poison / 2)) return `${random.pick(this.#poisons)} > 0`;
    const form = random.pick(conditions);
    return depth <= 0 && form.includes('?') ? 'TRUE' : this.#filled(form, depth - 1);
  }

  #filled(form: string, depth: number): string {
    return form.replaceAll(/[#@?]/g, (place) => {
      if (place === '#') return this.#number(depth);
      return place === '@' ? this.#text(depth) : this.#condition(depth);
    });
  }
}
