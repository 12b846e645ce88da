// The storm's judge before planted replies, in both protocols: the right one passes, and each kind of wrong one is a violation.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Speech, StormClient } from './client.js';
import { mysqlSpeech } from './mysql-operations.js';
import * as mysql from './mysql-units.js';
import { postgresSpeech } from './postgres-operations.js';
import * as postgres from './postgres-units.js';
import { Random } from './random.js';
import { Tally } from './tally.js';
import { type ErrorRules, judge, type Unit, Weather } from './unit.js';
import { END, HANG, type Wire } from './wire.js';

const NOWHERE = { host: '127.0.0.1', port: 1 };
/** So many of what clients ask at random: of each kind there are some. */
const SEEDS = 300;

function clientOf<W extends Wire, S>(speech: Speech<W, S>, number: number, seed: number, counter = 0) {
  const client = new StormClient(number, speech, new Random(seed), new Tally(), new Weather());
  for (let i = 0; i < counter; i++) client.next();
  return client;
}

/** What a server would say, also to what is not compared line by line. */
function answerTo({ expect, kind, text }: Unit): string[] {
  if (expect.length > 0) return [...expect];
  let found = /^SELECT \*, (\d+) AS c, .* \((\d+), (\d+)\)$/.exec(text);
  if (found !== null) {
    const [, c, k, id] = found;
    const row = `D ${id}|shifty-${id}|${c}|${k}`;
    return ['1', '2', 'T id:23:0,name:25:0,c:23:0,k:23:0', row, 'C SELECT 1', 'Z I'];
  }
  found = /^SELECT s\.\*, (\d+) AS c, (\d+) AS k .* id = (\d+)$/.exec(text);
  if (found !== null) {
    const [, c, k, id] = found;
    return ['T id,name,c,k', `D ${id}|shifty-${id}|${c}|${k}`, 'EOF'];
  }
  found = /^SELECT (1 AS a )?(\w+)$/.exec(text);
  assert.ok(found !== null, `${kind}: ${text}`);
  return [
    found[1] === undefined
      ? `E 1054 Unknown column '${found[2]}' in 'field list'`
      : `E 1064 You have an error in your SQL syntax near '${found[2]}' at line 1`,
  ];
}

/** Every way to spoil the lines of a reply, with what was done. */
function* spoiled(lines: readonly string[]): Generator<[string, string[]]> {
  yield ['nothing', []];
  yield ['twice', [...lines, ...lines]];
  for (const line of lines.slice(0, 20)) yield [`one more: ${line}`, [...lines, line]];
  for (let i = 0; i < Math.min(lines.length, 20); i++) {
    yield [`without line ${i + 1}`, lines.toSpliced(i, 1)];
    yield [`ended in line ${i + 1}, without a row`, [...lines.slice(0, i).filter(isNoRow), END]];
    yield [`hangs in line ${i + 1}`, [...lines.slice(0, i), HANG]];
    const next = lines[i + 1];
    if (next !== undefined && next !== lines[i])
      yield [`lines ${i + 1} and ${i + 2} exchanged`, lines.toSpliced(i, 2, next, lines[i]!)];
  }
}

const isNoRow = (line: string) => !line.startsWith('D ');

function common<W extends Wire, S>(
  speech: Speech<W, S>,
  stateless: (client: StormClient<W, S>) => Unit,
  kinds: number,
): void {
  const { rules } = speech;
  const weather = new Weather();
  const ask = (number: number, seed: number, counter = 0) =>
    stateless(clientOf(speech, number, seed, counter));
  const isViolation = (unit: Unit, lines: readonly string[], what: string) => {
    const judged = judge(unit, lines, rules, weather);
    assert.equal(typeof judged, 'string', `${what}: ${unit.text}\n${lines.join('\n')}`);
  };

  test('the right reply is no violation', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const unit = ask(7, seed);
      seen.add(unit.kind);
      assert.deepEqual(
        judge(unit, answerTo(unit), rules, weather),
        { verdict: 'right', code: '' },
        unit.text,
      );
    }
    assert.equal(seen.size, kinds, [...seen].join());
  });

  test("another client's number is a violation", () => {
    for (let seed = 0; seed < SEEDS; seed++) isViolation(ask(7, seed), answerTo(ask(8, seed)), 'number');
  });

  test('rows of another counter are a violation', () => {
    for (let seed = 0; seed < SEEDS; seed++) isViolation(ask(7, seed, 1), answerTo(ask(7, seed)), 'counter');
  });

  test('two replies exchanged are two violations', () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const [first, second] = [ask(7, seed), ask(7, seed + SEEDS, 1)];
      isViolation(first, answerTo(second), 'first');
      isViolation(second, answerTo(first), 'second');
    }
  });

  test('a reply with too little, too much, or in another order is a violation', () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const unit = ask(7, seed);
      for (const [what, lines] of spoiled(answerTo(unit))) isViolation(unit, lines, what);
    }
  });
}

interface Case {
  readonly class: Unit['class'];
  readonly got: readonly string[];
  readonly kind?: string;
  readonly cancelled?: true;
  readonly failingOver?: true;
}

/** `null`: a violation. */
function verdictOf(expect: readonly string[], rules: ErrorRules, each: Case): string | null {
  const { got, failingOver, ...about } = each;
  const weather = new Weather();
  weather.failingOver = failingOver === true;
  const unit: Unit = { kind: 'planted', text: '', bytes: Buffer.alloc(0), expect, ...about };
  const judged = judge(unit, got, rules, weather);
  return typeof judged === 'string' ? null : judged.verdict;
}

function errors(expect: readonly string[], rules: ErrorRules, cases: readonly [string | null, Case][]): void {
  for (const [verdict, each] of cases)
    test(`${JSON.stringify(each)} -> ${verdict ?? 'violation'}`, () => {
      assert.equal(verdictOf(expect, rules, each), verdict);
    });
}

/** A client's own row, as it reads it. */
function ownRow(
  read: (exact?: number) => Unit,
  row: (c: number, k: number, value: number) => string[],
  own: { acknowledged(value: number): void; unknown(value: number): void },
  rules: ErrorRules,
  weather: Weather,
): void {
  let k = 0;
  const reads = (value: number, { c = 7, late = 0, exact = undefined as number | undefined } = {}) => {
    k++;
    const unit = read(exact);
    const judged = judge(unit, row(c, k - late, value), rules, weather);
    return typeof judged === 'string' ? null : judged.verdict;
  };
  assert.equal(reads(0), 'right');
  own.acknowledged(5);
  assert.equal(reads(5), 'right');
  assert.equal(reads(4), null, 'older than what was acknowledged');
  assert.equal(reads(6), null, 'never written');
  assert.equal(reads(5, { c: 8 }), null, "another client's");
  assert.equal(reads(5, { late: 1 }), null, 'of another counter');
  own.unknown(9);
  assert.equal(reads(5), 'right');
  assert.equal(reads(9), 'right');
  assert.equal(reads(5), null, 'gone back');
  assert.equal(reads(12, { exact: 12 }), 'right');
  assert.equal(reads(9, { exact: 12 }), null, 'not what its transaction wrote');
  weather.epoch++;
  assert.equal(reads(5), 'right', 'a failover may lose it');
  assert.equal(reads(9), null, 'and only once');
}

describe('postgres', () => {
  const speech = postgresSpeech(NOWHERE, 'app', 'app');
  common(speech, postgres.stateless, 10);

  test('its own row', () => {
    const client = clientOf(speech, 7, 1);
    const row = (c: number, k: number, value: number) => [
      'T c:23:0,k:23:0,value:23:0',
      `D ${c}|${k}|${value}`,
      'C SELECT 1',
      'Z I',
    ];
    const read = (exact?: number) => postgres.readOwn(client, 'read', exact);
    ownRow(read, row, client.own, speech.rules, client.weather);
  });

  errors(['T c:23:0', 'D 7', 'D 8', 'C SELECT 2', 'Z I'], speech.rules, [
    // A read that nothing of has been seen is run again.
    [null, { class: 'read', got: ['E 57P01 ended', 'Z I'] }],
    [null, { class: 'read', got: ['E 40001 conflict with recovery', 'Z I'] }],
    ['failed', { class: 'read', got: ['T c:23:0', 'E 57P01 ended', 'Z I'] }],
    [null, { class: 'read', got: ['T c:23:0', 'E 42601 syntax', 'Z I'] }],
    [null, { class: 'read', got: ['T c:23:0', 'D 8', 'E 57P01 ended', 'Z I'] }],
    [null, { class: 'read', got: ['E 57014 cancelled', 'Z I'] }],
    ['failed', { class: 'read', got: ['E 57014 cancelled', 'Z I'], cancelled: true }],
    [null, { class: 'read', got: ['E 57P03 no primary', 'Z I'] }],
    ['failed', { class: 'read', got: ['E 57P03 no primary', 'Z I'], failingOver: true }],
    ['failed', { class: 'write', got: ['E 08007 unknown', 'Z I'] }],
    [null, { class: 'write', got: ['E 23505 duplicate', 'Z I'] }],
    [null, { class: 'write', got: ['E 25006 read-only', 'Z I'] }],
    ['failed', { class: 'write', got: ['E 25006 read-only', 'Z I'], failingOver: true }],
    [null, { class: 'read', got: ['E 25006 read-only', 'Z I'], failingOver: true }],
    ['failed', { class: 'transaction', got: ['E 40001 serialization', 'Z E'] }],
    [null, { class: 'transaction', got: ['E 42703 column', 'Z E'] }],
    // What is behind the error.
    [null, { class: 'write', got: ['E 08006 lost'] }],
    [null, { class: 'write', got: ['E 08006 lost', 'D 7', 'Z I'] }],
    [null, { class: 'write', got: ['E 08006 lost', END] }],
    ['ended', { class: 'pin', got: ['E 08006 lost', END] }],
    ['ended', { class: 'pin', got: [END] }],
    [null, { class: 'transaction', got: [END] }],
    // A row may be cut in two, and no other one may come before.
    ['ended', { class: 'read', got: ['T c:23:0', 'D 7', END] }],
    [null, { class: 'read', got: ['T c:23:0', 'D 9', END] }],
  ]);
});

describe('mysql', () => {
  const speech = mysqlSpeech(NOWHERE, 'app', 'app');
  common(speech, mysql.stateless, 5);

  test('its own row', () => {
    const client = clientOf(speech, 7, 1);
    const row = (c: number, k: number, value: number) => ['T c,k,value', `D ${c}|${k}|${value}`, 'EOF'];
    const read = (exact?: number) => mysql.readOwn(client, 'read', exact);
    ownRow(read, row, client.own, speech.rules, client.weather);
  });

  errors(['T c', 'D 7', 'D 8', 'EOF'], speech.rules, [
    [null, { class: 'read', got: ['E 2013 lost'] }],
    [null, { class: 'read', got: ['E 1053 shutdown'] }],
    ['failed', { class: 'read', got: ['T c', 'E 2013 lost'] }],
    [null, { class: 'read', got: ['T c', 'D 8', 'E 2013 lost'] }],
    [null, { class: 'read', got: ['T c', 'E 1064 syntax'] }],
    [null, { class: 'read', got: ['E 1317 interrupted'] }],
    ['failed', { class: 'read', got: ['E 1317 interrupted'], cancelled: true }],
    [null, { class: 'read', got: ['E 1235 of another client'] }],
    ['failed', { class: 'read', got: ['E 1235 of another client'], kind: 'last' }],
    [null, { class: 'read', got: ['E 1235 not supported'], kind: 'last' }],
    [null, { class: 'write', got: ['E 1290 read-only'] }],
    ['failed', { class: 'write', got: ['E 1290 read-only'], failingOver: true }],
    ['failed', { class: 'write', got: ['E 2013 lost'] }],
    [null, { class: 'write', got: ['E 1213 deadlock'] }],
    ['failed', { class: 'transaction', got: ['E 1213 deadlock'] }],
    [null, { class: 'transaction', got: ['E 1054 column'] }],
    [null, { class: 'write', got: ['E 2013 lost', 'O 1 0'] }],
    [null, { class: 'write', got: ['E 2013 lost', END] }],
    ['ended', { class: 'pin', got: ['E 2013 lost', END] }],
    ['ended', { class: 'pin', got: [END] }],
    [null, { class: 'transaction', got: [END] }],
    ['ended', { class: 'read', got: ['T c', 'D 7', END] }],
    [null, { class: 'read', got: ['T c', 'D 9', END] }],
  ]);
});
