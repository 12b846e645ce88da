// Makes up PostgreSQL statements by the grammar: mostly valid queries over the oracle's database, in some of which something
// that writes, locks or pins is hidden where only a reader of the whole grammar finds it. From a seed; it judges nothing.

import type { Random } from '../../storm/random.js';

/** Integer expressions that are no reads. */
const poisonNumbers = [
  "nextval('s')",
  "pg_catalog.nextval('s')",
  "setval('s', 1)",
  'writes_row(1)',
  '"writes_row"(1)',
  'U&"wr\\0069tes_row"(1)',
  'U&"wr!0069tes_row" UESCAPE \'!\' (1)',
  'WRITES_ROW (1)',
  'public.writes_row(1)',
  'public . writes_row /* here */ ( 1 )',
  'app.hidden_write()',
  "mixed('x')",
  'impure(n => 1)',
  'impure(2)',
  'with_default()',
  'counts_up()::int',
  'noting_sum(a) OVER ()',
  '(SELECT noting_sum(a) FROM t)',
  "(5 OPERATOR(public.~~>) 'x')::int",
  "(5 ~~> 'x')::int",
  "(5 ~~> ANY (ARRAY['x', 'y']))::int",
  '5::noted_int',
  'CAST(5 AS noted_int)',
  'CAST(5 AS public.noted_int)',
  "noted_int '5'",
  '(SELECT accounts.touch FROM accounts LIMIT 1)',
  '(SELECT (accounts).touch FROM accounts LIMIT 1)',
  '(SELECT (x).touch FROM accounts x LIMIT 1)',
  '(SELECT touch(accounts) FROM accounts LIMIT 1)',
  '(SELECT id FROM v_write)',
  '(SELECT n FROM v_over_nextval)::int',
  '(SELECT id FROM app.v_plain)',
  '(SELECT id FROM v_operator LIMIT 1)',
  '(SELECT 1 FROM v_locks LIMIT 1)',
  '(SELECT 1 FROM v_advisory)',
  '(SELECT id FROM t LIMIT 1 FOR UPDATE)',
  '(SELECT id FROM t LIMIT 1 FOR KEY SHARE SKIP LOCKED)',
  '(SELECT id FROM (SELECT id FROM t FOR NO KEY UPDATE OF t) q LIMIT 1)',
  '(SELECT writes_rows FROM writes_rows(1))',
  '(SELECT * FROM ROWS FROM (writes_rows(1)) LIMIT 1)',
  'txid_current()::text::int',
  '(pg_current_xact_id() IS NULL)::int',
  '(pg_advisory_xact_lock(1) IS NULL)::int',
  '(pg_try_advisory_lock(7))::int',
  "length(set_config('work_mem', '5MB', false))",
  "length(set_config('app.x', 'y', true))",
  "(pg_notify('c', 'x') IS NULL)::int",
  "length(query_to_xml('SELECT writes_row(1)', true, true, '')::text)",
  "length(table_to_xml('v_write', true, true, '')::text)",
  'lo_create(0)::int',
  "(SELECT count(*) FROM dblink('', '') AS q(x int))",
  'CASE WHEN a > 0 THEN writes_row(1) END',
  'COALESCE(NULL, writes_row(1))',
  'GREATEST(1, writes_row(1))',
  '(ARRAY[writes_row(1)])[1]',
  '(ARRAY[1, 2])[writes_row(1)]',
  '(ROW(writes_row(1), 2)).f1',
  'count(*) FILTER (WHERE writes_row(1) > 0) OVER ()',
  'sum(a) OVER (PARTITION BY writes_row(1))',
  'sum(a) OVER (ORDER BY writes_row(1))',
  '(EXISTS (SELECT writes_row(1)))::int',
  '(1 = ANY (SELECT writes_row(1)))::int',
  '(1 IN (2, writes_row(1)))::int',
  '(1 BETWEEN 0 AND writes_row(1))::int',
  '(1 IS DISTINCT FROM writes_row(1))::int',
  'length(\'x\' COLLATE "C" || writes_row(1))',
  "extract(year FROM now() + writes_row(1) * interval '1 day')::int",
  "length(overlay('abc' PLACING 'x' FROM writes_row(1) FOR 1))",
  '(NOT writes_row(1) > 0)::int',
  '(writes_row(1) IS NULL)::int',
  '- writes_row(1)',
  'length(xmlelement(name a, writes_row(1))::text)',
  'length(xmlforest(writes_row(1) AS a)::text)',
  'many(VARIADIC ARRAY[writes_row(1)])',
  'percentile_disc(0.5) WITHIN GROUP (ORDER BY writes_row(1))',
];

const poisonTables = [
  'v_write v(a)',
  'v_over_nextval v(a)',
  'writes_rows(1) v(a)',
  'LATERAL (SELECT writes_row(1)) v(a)',
  'ROWS FROM (generate_series(1, 2), writes_rows(1)) v(a)',
  'v_locks v(a)',
  's v(a)',
  'guarded v(a)',
  'ft v(a)',
  'measured v(at, a)',
  'v_activity v(a)',
  'pg_stat_activity v(a)',
  't v(a) TABLESAMPLE system (writes_row(1))',
  'generate_series(1, writes_row(1)) v(a)',
  '(VALUES (writes_row(1))) v(a)',
  "xmltable('/a' PASSING '<a/>'::xml COLUMNS a int DEFAULT writes_row(1)) v(a)",
  'json_to_recordset(\'[{"a":1}]\') AS v(a noted_int)',
];

const writes = [
  'INSERT INTO t (a) VALUES (1) RETURNING a',
  'UPDATE t SET a = 2 WHERE id = 1 RETURNING a',
  'DELETE FROM orders WHERE id = -1 RETURNING id AS a',
  'INSERT INTO t (a) SELECT 1 RETURNING a',
];

const others = [
  'INSERT INTO t (a) VALUES (1)',
  'UPDATE t SET a = 1 WHERE id = 3',
  'DELETE FROM t WHERE id = -5',
  'TRUNCATE orders',
  'CREATE TABLE made_up (x int)',
  'SELECT 1 INTO made_up',
  'SELECT a INTO TEMP made_up FROM t',
  'LOCK t',
  'DO $$ BEGIN PERFORM 1; END $$',
  'CALL do_things()',
  "NOTIFY c, 'x'",
  'LISTEN c',
  'SET LOCAL work_mem = 1000',
  "SET app.x = 'y'",
  'PREPARE p AS SELECT 1',
  'EXECUTE p',
  'FETCH ALL FROM c',
  'COMMIT',
  'ROLLBACK',
];

const tables: Readonly<Record<string, readonly string[]>> = {
  t: ['id', 'a', 'b', 'c', 'ts'],
  accounts: ['id', 'name', 'balance'],
  orders: ['id', 'account_id', 'total', 'status', 'placed'],
  '"Mixed Case"': ['"Id"', '"select"'],
  'app.items': ['id', 'name'],
  'public.t': ['id', 'a', 'b'],
  mv: ['a', 'n'],
  v_stable: ['n', 'at'],
  v_random: ['r', 'u'],
  'public.v_plain': ['id', 'a', 'b'],
  lone: ['id', '"order"', '"Weird ""Name"'],
  pg_class: ['relname', 'relkind', 'oid'],
  'pg_catalog.pg_attribute': ['attname', 'attnum'],
  'information_schema.columns': ['table_name', 'column_name'],
  measured_2020: ['at', 'value'],
};
const tableNames = Object.keys(tables);

const texts = [
  "'x'",
  "'it''s'",
  "E'a\\'b'",
  "E'\\\\'",
  "U&'d\\0061t'",
  "$$nextval('s')$$",
  '$q$; INSERT INTO t $q$',
  "'a' \n 'b'",
  "N'x'",
  "'/* nextval */'",
  "'--'",
  "''",
  'b',
  "'INTO'",
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
  '$$7$$::int',
  "'3'::int",
  'NULL',
  '42',
  "int '4'",
];
const numberCalls = [
  'abs(#)',
  'pure(#)',
  'pure(n => #)',
  'reads_only(#)',
  'adds_one(#)',
  'mod(#, 3)',
  'greatest(#, #)',
  'least(#, #)',
  'coalesce(#, 0)',
  'nullif(#, 0)',
  'length(@)',
  'position(@ IN @)',
  'extract(epoch FROM now())',
  'char_length(@)',
  '(random() * #)',
  'many(1, 2, 3)',
  'many(VARIADIC ARRAY[1, 2])',
  '(SELECT count(*) FROM t)',
  '(SELECT max(a) FROM t WHERE id < #)',
  'CASE WHEN ? THEN # ELSE # END',
  'CASE # WHEN 1 THEN # END',
  '(ARRAY[1, 2, 3])[#]',
  '(ARRAY[#, #])[1:2]',
  '(ROW(#, 2)).f1',
  'CAST(# AS small_int)',
  '#::numeric::int',
  'date_part(@, now())',
  'width_bucket(1, 0, 10, 5)',
  '"abs"(#)',
  'pg_catalog.abs(#)',
  'cardinality(tags)',
  '(- #)',
  '(@ IS NULL)::int',
  'ascii(@)',
  '(SELECT sum(n) FROM (VALUES (1), (2)) v(n))',
  'grouping(a)',
  "txid_visible_in_snapshot(1, '10:20:')::int",
];
const textCalls = [
  'upper(@)',
  'lower(@)',
  '(@ || @)',
  'concat(@, #, @)',
  'substring(@ FROM 1 FOR 2)',
  'trim(BOTH FROM @)',
  "format('%s', @)",
  'md5(@)',
  'replace(@, @, @)',
  'to_char(now(), @)',
  'quote_ident(@)',
  "current_setting('work_mem')",
  "current_setting('app.none', true)",
  'current_user::text',
  'current_database()',
  "data ->> 'k'",
  "string_agg(b, ',') OVER ()",
  "jsonb_build_object('k', #)::text",
  '#::text',
  'xmlelement(name a, @)::text',
  'initcap(@)',
  '(@ COLLATE "C")',
  'json_build_array(#, @)::text',
  'version()',
  'left(@, #::int)',
  'gen_random_uuid()::text',
];
const conditions = [
  '# > #',
  '# = #',
  '# IS NOT NULL',
  "@ LIKE '%x%'",
  '@ ~ @',
  '? AND ?',
  '? OR ?',
  'NOT (?)',
  '# BETWEEN 1 AND #',
  '# IN (1, 2, #)',
  '# IN (SELECT id FROM t)',
  'EXISTS (SELECT 1 FROM orders WHERE total > 0)',
  '# = ANY (ARRAY[1, 2])',
  '# < ALL (SELECT a FROM t)',
  '# IS DISTINCT FROM #',
  "tags @> ARRAY['x']",
  'data @> \'{"k": 1}\'',
  'true',
  '(# , 1) = (1, 1)',
  '(?) IS TRUE',
  '1 OPERATOR(pg_catalog.=) #',
  "@ SIMILAR TO 'x%'",
  '"order" > 0',
  "5 <~~ 'x'",
];

const comments = [
  ' ',
  '  ',
  '\n',
  ' /* c */ ',
  ' -- x\n',
  ' /* a /* nested */ b */ ',
  "/* it's */",
  '\t',
  ' /*;*/ ',
];

export class PostgresGrammar {
  readonly #random: Random;
  /** Chance of something that is no read at each place that could hold one. */
  #poison = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  statement(): string {
    const random = this.#random;
    this.#poison = random.chance(0.35) ? 0.15 : 0;
    let sql = this.#query(random.int(0, 3));
    const wrapping = random.int(0, 19);
    if (wrapping === 0) sql = `EXPLAIN ${sql}`;
    else if (wrapping === 1) sql = `EXPLAIN (ANALYZE, VERBOSE, COSTS off) ${sql}`;
    else if (wrapping === 2) sql = `COPY (${sql}) TO STDOUT`;
    else if (wrapping === 3) sql = `${sql}; ${this.#query(1)}`;
    else if (wrapping === 4 && this.#poison > 0) sql = `${sql}; ${random.pick(others)}`;
    else if (wrapping === 5 && this.#poison > 0) sql = `${random.pick(others)}; ${sql}`;
    else if (wrapping === 6) sql = `EXPLAIN ANALYZE ${this.#poison > 0 ? random.pick(writes) : sql}`;
    else if (wrapping === 7) sql = `(${sql})`;
    else if (wrapping === 8) sql = `;; ${sql} ;`;
    return this.#dressed(sql);
  }

  /** Comments and white space where they may stand, and words in another case. */
  #dressed(sql: string): string {
    const random = this.#random;
    if (random.chance(0.5)) return sql;
    return sql
      .split(/( )/)
      .map((part) => (part === ' ' && random.chance(0.15) ? random.pick(comments) : part))
      .map((part) => (/^[A-Z]{4,}$/.test(part) && random.chance(0.2) ? part.toLowerCase() : part))
      .join('');
  }

  #query(depth: number): string {
    const random = this.#random;
    const parts: string[] = [];
    if (random.chance(0.15)) parts.push(this.#with(depth));
    parts.push(this.#body(depth));
    while (random.chance(0.12))
      parts.push(random.pick(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT']), this.#body(depth));
    if (random.chance(0.15)) parts.push('ORDER BY 1');
    if (random.chance(0.2))
      parts.push(`LIMIT ${random.pick(['1', '2', '(SELECT 3)', 'ALL', this.#poisoned('2')])}`);
    if (random.chance(0.08)) parts.push('OFFSET 0');
    if (random.chance(0.03)) parts.push('FETCH FIRST 2 ROWS ONLY');
    if (random.chance(this.#poison / 2))
      parts.push(
        random.pick([
          'FOR UPDATE',
          'FOR SHARE',
          'FOR NO KEY UPDATE NOWAIT',
          'FOR KEY SHARE',
          'FOR READ ONLY',
        ]),
      );
    return parts.join(' ');
  }

  #with(depth: number): string {
    const random = this.#random;
    const kind = random.int(0, 5);
    if (random.chance(this.#poison * 2)) return `WITH w AS (${random.pick(writes)})`;
    if (kind === 0) return 'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3)';
    if (kind === 1) return `WITH w AS NOT MATERIALIZED (${this.#select(0)}), w2 AS (SELECT 1)`;
    if (kind === 2) return `WITH w(x) AS MATERIALIZED (SELECT ${this.#number(depth)})`;
    return `WITH "for update" AS (${this.#query(Math.max(0, depth - 2))})`;
  }

  #body(depth: number): string {
    const random = this.#random;
    const kind = random.int(0, 11);
    if (kind === 0) return `VALUES (${this.#number(depth)}), (${this.#number(depth)})`;
    if (kind === 1) return `TABLE ${random.chance(this.#poison) ? 'v_write' : random.pick(tableNames)}`;
    if (kind === 2 && depth > 0) return `(${this.#query(depth - 1)})`;
    return this.#select(depth);
  }

  #select(depth: number): string {
    const random = this.#random;
    const items: string[] = [];
    for (let i = random.int(1, 3); i > 0; i--) items.push(this.#item(depth));
    // Most expressions speak of t's columns.
    const from = random.chance(0.75) ? `FROM ${this.#from(depth)}` : 'FROM t';
    const parts = [`SELECT ${random.chance(0.08) ? 'DISTINCT ' : ''}${items.join(', ')}`, from];
    if (random.chance(0.5)) parts.push(`WHERE ${this.#condition(depth)}`);
    if (random.chance(0.08)) parts.push('GROUP BY id, a, b, c, data, tags');
    else if (random.chance(0.03)) parts.push('GROUP BY ROLLUP (id, a), GROUPING SETS ((b), ())');
    if (random.chance(0.04))
      parts.push(`WINDOW w AS (PARTITION BY ${this.#number(0)} ORDER BY b ROWS 1 PRECEDING)`);
    return parts.join(' ');
  }

  #item(depth: number): string {
    const random = this.#random;
    const value = random.chance(0.6) ? this.#number(depth) : this.#text(depth);
    const kind = random.int(0, 9);
    if (kind === 0) return `${value} AS "into"`;
    if (kind === 1) return `${value} AS x`;
    if (kind === 2) return `(${this.#condition(depth)}) AS ok`;
    if (kind === 3) return 't.*';
    return value;
  }

  #from(depth: number): string {
    const random = this.#random;
    if (random.chance(this.#poison)) return `t, ${random.pick(poisonTables)}`;
    switch (random.int(0, 11)) {
      case 0:
        return `t, ${random.pick(tableNames)} q`;
      case 1:
        return `t JOIN accounts q ON ${this.#condition(0).replaceAll(/\b(id|a|b)\b/g, 't.$1')}`;
      case 2:
        return 't LEFT JOIN orders o USING (id)';
      case 3:
        return `t CROSS JOIN LATERAL (SELECT t.a + 1) q(z)`;
      case 4:
        return `t, generate_series(1, 3) g(n)`;
      case 5:
        return `t, numbers_to(2) WITH ORDINALITY r(v, o)`;
      case 6:
        return depth > 0 ? `t, (${this.#query(depth - 1)}) sub` : 't';
      case 7:
        return 't, jsonb_each(t.data) e, unnest(t.tags) WITH ORDINALITY u(tag, nr)';
      case 8:
        return 't TABLESAMPLE bernoulli (50)';
      case 9:
        return 't, jsonb_to_recordset(\'[{"k": 1}]\') AS rec(k int)';
      case 10:
        return 'ONLY t';
      default:
        return 't';
    }
  }

  #poisoned(otherwise: string): string {
    return this.#random.chance(this.#poison) ? this.#random.pick(poisonNumbers) : otherwise;
  }

  #number(depth: number): string {
    const random = this.#random;
    if (random.chance(this.#poison)) return random.pick(poisonNumbers);
    if (depth <= 0 || random.chance(0.3)) return random.pick(numbers);
    if (random.chance(0.3))
      return `(${this.#number(depth - 1)} ${random.pick(['+', '-', '*', '%', '<<', '|', '#'])} ${this.#number(depth - 1)})`;
    return this.#filled(random.pick(numberCalls), depth - 1);
  }

  #text(depth: number): string {
    const random = this.#random;
    if (depth <= 0 || random.chance(0.3)) return random.pick(texts);
    return this.#filled(random.pick(textCalls), depth - 1);
  }

  #condition(depth: number): string {
    const random = this.#random;
    if (random.chance(this.#poison / 2)) return `${random.pick(poisonNumbers)} > 0`;
    const form = random.pick(conditions);
    return depth <= 0 && form.includes('?') ? 'true' : this.#filled(form, depth - 1);
  }

  #filled(form: string, depth: number): string {
    // The JSON of a literal is not a place.
    return form.replaceAll(/[#@?](?![>~])/g, (place, at: number) => {
      if (place === '@' && form[at + 1] === '>') return place;
      if (place === '#') return this.#number(depth);
      return place === '@' ? this.#text(depth) : this.#condition(depth);
    });
  }
}
