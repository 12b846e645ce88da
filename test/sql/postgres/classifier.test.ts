// What must hold of the PostgreSQL classifier for any input: it never throws, its time and memory are bounded, its cache never
// changes an answer, and nothing that the parser sees as a write is called a read.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { parseSync } from 'libpg-query';
import { buildPostgresCatalog } from '../../../src/sql/postgres/catalog.js';
import { createPostgresClassifier } from '../../../src/sql/postgres/classifier.js';
import type { PostgresLexSettings, StatementClass } from '../../../src/sql/statement.js';
import { goldenTables, storedCatalog } from './fixture.js';
import { Random } from './random.js';

const on: PostgresLexSettings = { standardConformingStrings: true };
const off: PostgresLexSettings = { standardConformingStrings: false };
const catalog = storedCatalog();
const golden = [...goldenTables().values()].flat();
const statements = golden.filter((row) => row.sql.length < 1000).map((row) => row.sql);

function fresh(cacheEntries = 10_000) {
  return createPostgresClassifier({ catalog: () => catalog, cacheEntries });
}

function classOf(sql: string, classifier = fresh()): StatementClass {
  return classifier.classify(Buffer.from(sql), on).statement;
}

const routes = new Set(['replica', 'primary', 'last', 'session', 'proxy']);

test('random bytes: never throws, always answers', () => {
  const random = new Random(1);
  const classifier = fresh(100);
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.alloc(random.below(64));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
    const { statement, shape } = classifier.classify(bytes, round % 2 === 0 ? on : off);
    assert.ok(routes.has(statement.route) && shape.length <= 2048);
  }
});

/** Pieces of golden statements, cut and glued anywhere. */
function mutant(random: Random): string {
  const first = random.pick(statements);
  const second = random.pick(statements);
  switch (random.below(5)) {
    case 0:
      return first.slice(0, random.below(first.length + 1)) + second.slice(random.below(second.length + 1));
    case 1:
      return `${first}; ${second}`;
    case 2: {
      const words = first.split(' ');
      words.splice(random.below(words.length), 1, random.pick(second.split(' ')));
      return words.join(' ');
    }
    case 3:
      return `WITH q AS (${first}) ${second}`;
    default:
      return `SELECT * FROM (${first}) q, LATERAL (${second}) r WHERE a IN (1, 2)`;
  }
}

const writes =
  /"(?:Insert|Update|Delete|Merge|Create\w*|Drop\w*|Alter\w*|Truncate|Lock|Vacuum|Index|View|Do|Call|Notify|Listen|Grant\w*|Comment)Stmt"|"LockingClause"|"intoClause"/;
const writingNames =
  /"funcname":\[(?:\{"String":\{"sval":"\w+"\}\},)?\{"String":\{"sval":"(?:nextval|setval|currval|lastval|writes_row|hidden_write|mixed|txid_current|pg_advisory_\w+|pg_try_advisory_\w+|noting_sum|lo_\w+|dblink\w*|pg_notify|set_config|setseed)"/;

test('mutants: what the parser sees as a write is never a read, and the cache changes nothing', () => {
  const random = new Random(7);
  const warm = fresh(200);
  let parsed = 0;
  let reads = 0;
  for (let round = 0; round < 30_000; round++) {
    const sql = mutant(random);
    const statement = classOf(sql, warm);
    if (round % 10 === 0) assert.deepEqual(classOf(sql), statement, sql);
    let tree: string;
    try {
      tree = JSON.stringify(parseSync(sql));
    } catch {
      continue;
    }
    parsed++;
    if (statement.route !== 'replica') continue;
    reads++;
    if (/"(?:PrepareStmt|ExecuteStmt)"/.test(tree)) assert.fail(sql);
    assert.doesNotMatch(tree, writes, sql);
    // A BEGIN READ ONLY is no text to search for names.
    assert.doesNotMatch(tree, writingNames, sql);
  }
  assert.ok(parsed > 5000 && reads > 1000, `${parsed} parsed, ${reads} reads`);
});

test('two statements of one shape never share what their literals decide', () => {
  const classifier = fresh();
  const pairs: [string, string][] = [
    ["SELECT 't'::regclass", "SELECT 'pg_temp.t'::regclass"],
    ["SELECT current_setting('TimeZone')", "SELECT current_setting('in_hot_standby')"],
    ["SET application_name = 'a'", "SET application_name = 'b'"],
    ["SELECT set_config('a.b', 'x', false)", "SELECT set_config('a.b', 'y', false)"],
    ['DO $$ BEGIN PERFORM 1; END $$', 'DO $$ BEGIN CREATE TEMP TABLE x (a int); END $$'],
    ['SET transaction_read_only = 1', 'SET transaction_read_only = 0'],
    ["SET search_path = 'public'", "SET search_path = 'pg_temp'"],
  ];
  for (const [left, right] of pairs) {
    for (let round = 0; round < 3; round++) {
      assert.deepEqual(classOf(left, classifier), classOf(left));
      assert.deepEqual(classOf(right, classifier), classOf(right));
      assert.notDeepEqual(classOf(left, classifier), classOf(right, classifier));
    }
  }
});

test('a cached text does not answer for the other standard_conforming_strings', () => {
  const classifier = fresh();
  const sql = Buffer.from("SET application_name = 'a\\\\b'");
  for (let round = 0; round < 2; round++) {
    assert.equal(classifier.classify(sql, on).statement.pin, null);
    assert.equal(classifier.classify(sql, off).statement.pin, 'untracked-setting');
  }
});

test('names outside of the search path of encodings: text that is not UTF-8', () => {
  const latin1 = Buffer.from('SELECT * FROM gr\u00f6sse', 'latin1');
  const { statement } = fresh().classify(latin1, on);
  assert.equal(statement.route, 'primary');
  const setting = fresh().classify(Buffer.from("SET application_name = '\u00f6'", 'latin1'), on);
  assert.equal(setting.statement.pin, 'untracked-setting');
  // In a literal that decides nothing it does not matter.
  assert.equal(fresh().classify(Buffer.from("SELECT '\u00f6'", 'latin1'), on).statement.route, 'replica');
});

test('encodings whose second bytes look like quotes', () => {
  // SJIS 0x95 0x5c is one character; read as bytes its second half would quote the closing quote.
  const sjis = Buffer.concat([
    Buffer.from("SELECT E'"),
    Buffer.from([0x95, 0x5c]),
    Buffer.from("'; DELETE FROM t --'"),
  ]);
  const { statement } = fresh().classify(sjis, { ...on, clientEncoding: 'SJIS' });
  assert.deepEqual([statement.route, statement.pin], ['primary', 'untracked-setting']);
  const ascii = fresh().classify(Buffer.from('SELECT 1'), { ...on, clientEncoding: 'SJIS' });
  assert.equal(ascii.statement.route, 'replica');
});

test('a new catalog forgets what was concluded from the old one', () => {
  let known: typeof catalog | null = null;
  const classifier = createPostgresClassifier({ catalog: () => known });
  const sql = Buffer.from('SELECT reads_only(1)');
  assert.equal(classifier.classify(sql, on).statement.route, 'primary');
  known = catalog;
  // Without being told: the picture itself is compared.
  assert.equal(classifier.classify(sql, on).statement.route, 'replica');
  assert.ok(classifier.stats.entries > 0);
  classifier.catalogChanged();
  assert.equal(classifier.stats.entries, 0);
});

test('a flood of shapes is bounded in entries, and hot shapes survive it', () => {
  const classifier = fresh(1000);
  const hot = Buffer.from('SELECT a, b FROM t WHERE id = 1');
  let hotMisses = 0;
  for (let i = 0; i < 20_000; i++) {
    classifier.classify(Buffer.from(`SELECT c${i} FROM t${i} WHERE id = 1`), on);
    if (i % 100 !== 0) continue;
    const before = classifier.stats.misses;
    classifier.classify(hot, on);
    if (classifier.stats.misses !== before) hotMisses++;
  }
  assert.ok(classifier.stats.entries <= 1300, `${classifier.stats.entries} entries`);
  assert.ok(hotMisses <= 2, `${hotMisses} misses`);
});

test('huge statements: classed by their words, without their bytes being kept', () => {
  const classifier = fresh();
  const literal = `INSERT INTO t (b) VALUES ('${'x'.repeat(16 * 1024 * 1024)}')`;
  const list = `SELECT * FROM t WHERE a IN (${'1, '.repeat(500_000)}2)`;
  const names = `SELECT ${'a_column, '.repeat(500_000)}1`;
  const script = `${'INSERT INTO t (a, b) VALUES (f(1), 2); '.repeat(50_000)}SET work_mem = 1`;
  assert.equal(classOf(literal, classifier).verb, 'INSERT');
  // A list of literals is no longer than one of them.
  assert.equal(classOf(list, classifier).route, 'replica');
  assert.equal(classOf(names, classifier).route, 'primary');
  assert.equal(classOf(script, classifier).pin, 'untracked-setting');
  assert.equal(classOf(script.slice(0, -16), classifier).pin, null);
  assert.equal(classOf(`DELETE FROM t; ${names}`, classifier).verb, 'DELETE');
  for (const sql of [literal, list, names, script]) {
    assert.ok(classifier.classify(Buffer.from(sql), on).shape.length <= 2048);
  }
  assert.equal(classOf('SELECT 1', classifier).route, 'replica');
});

test('deep and endless statements leave the parser whole', () => {
  const classifier = fresh();
  for (const n of [400, 2000, 20_000, 200_000]) {
    for (const sql of [
      `SELECT ${'('.repeat(n)}1${')'.repeat(n)}`,
      `SELECT 1${'+1'.repeat(n)}`,
      `SELECT a${'+a'.repeat(n)}`,
      `SELECT ${'NOT '.repeat(n)}true`,
      `SELECT ${'- '.repeat(n)}a`,
      `SELECT a${'::int'.repeat(n)}`,
      `SELECT a${' IS NULL'.repeat(n)}`,
      `SELECT a${' ISNULL'.repeat(n)}`,
      `SELECT 1${' UNION SELECT 1'.repeat(n)}`,
      `SELECT * FROM t${' JOIN t ON true'.repeat(n)}`,
      `SELECT ${'CASE WHEN true THEN '.repeat(n)}1${' END'.repeat(n)}`,
      `SELECT * FROM ${'(SELECT * FROM '.repeat(n)}t${') x'.repeat(n)}`,
      `SELECT a${' COLLATE "C"'.repeat(n)}`,
      `SELECT a${'[1]'.repeat(n)}`,
      `SELECT a${' AT LOCAL'.repeat(n)}`,
      `SELECT ${'f('.repeat(n)}1${')'.repeat(n)}`,
      `${'EXPLAIN '.repeat(n)}SELECT 1`,
      `${'('.repeat(n)}SELECT 1`,
      `SELECT '${'a'.repeat(n)}'${"\n'b'".repeat(n)}`,
      `/*${'/*'.repeat(n)}`,
    ]) {
      assert.ok(routes.has(classOf(sql, classifier).route));
      assert.equal(classOf(`SELECT c${n} FROM t`, classifier).route, 'replica', sql.slice(0, 60));
    }
  }
});

test('a parser that broke inside is replaced', async () => {
  const require = createRequire(import.meta.url);
  const shared = require('libpg-query') as { parseSync(sql: string): unknown };
  // Without the bounds that the classifier keeps: each of these ends on the stack and leaves its pointer behind.
  for (let i = 0; i < 4; i++) assert.throws(() => shared.parseSync(`SELECT 1${'+1'.repeat(30_000)}`));
  const classifier = fresh();
  const until = performance.now() + 30_000;
  let tries = 0;
  while (classOf(`SELECT x${tries++} FROM t`, classifier).route !== 'replica') {
    assert.ok(performance.now() < until, 'the parser did not come back');
    await pause(10);
  }
});

test('functions that call each other, in a long chain and in a circle', () => {
  const length = 5000;
  const functions = Array.from({ length }, (_, i) => ({
    oid: String(20_000 + i),
    schema: 'public',
    name: `f${i}`,
    language: 'plpgsql',
    volatility: 's',
    takes_row: false,
    calls: i === 0 ? ['writes'] : i < 5 ? [`f${i - 1}`] : i < 10 ? [`f${5 + ((i + 1) % 5)}`] : [`f${i - 1}`],
  }));
  const writes = { oid: '19999', schema: 'public', name: 'writes', language: 'sql', volatility: 'v' };
  const empty = { operators: [], relations: [], views: [], policies: [], types: [], writes: [] };
  const catalog = buildPostgresCatalog({ ...empty, functions: [writes, ...functions] });
  const classifier = createPostgresClassifier({ catalog: () => catalog });
  const routeOf = (sql: string) =>
    classifier.classify(Buffer.from(sql), { standardConformingStrings: true }).statement.route;
  assert.equal(routeOf('SELECT f4(1)'), 'primary');
  assert.equal(routeOf('SELECT f7(1)'), 'replica');
  // Longer than is followed: not known to read.
  assert.equal(routeOf(`SELECT f${length - 1}(1)`), 'primary');
});
