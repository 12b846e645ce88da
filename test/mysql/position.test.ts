// MySQL GTID sets and MariaDB GTID positions: forms, and the set laws against a naive model.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mysqlPositions } from '../../src/mysql/position.js';

const { parse, covers, union, distance } = mysqlPositions;

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const B = '4f22fb58-82db-22f2-af44-d91bb053a673';

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test('a GTID set is read and normalized', () => {
  const cases: [given: string, normal: string][] = [
    ['', ''],
    [`${A}:1`, `${A}:1`],
    [`${A}:1-5`, `${A}:1-5`],
    [`${A}:1-3:4-5:7`, `${A}:1-5:7`],
    [`${A}:7:1-5`, `${A}:1-5:7`],
    [`${A}:1-9:3-4`, `${A}:1-9`],
    [`${B}:1,\n${A}:2`, `${A}:2,${B}:1`],
    [`${A}:1-2,${A}:3`, `${A}:1-3`],
    [`${A.toUpperCase()}:1`, `${A}:1`],
    [`${A.replaceAll('-', '')}:1`, `${A}:1`],
    [`${A}:1-5:tag_a:1-3:5:tag_b:1`, `${A}:1-5:tag_a:1-3:5:tag_b:1`],
    [`${A}:tag_b:1:tag_a:2:TAG_B:2`, `${A}:tag_a:2:tag_b:1-2`],
    [`${A}:5-3`, ''],
  ];
  for (const [given, normal] of cases) assert.equal(parse(given).text, normal, given);
});

test('a MariaDB position is read, its server ids kept', () => {
  assert.equal(parse('0-1-100').text, '0-1-100');
  assert.equal(parse('1-2-50,0-1-100').text, '0-1-100,1-2-50');
  assert.equal(parse('0-1-100,0-2-105').text, '0-2-105', 'a binlog state has one entry for each server');
});

test('anything else is refused', () => {
  for (const text of [
    'x',
    '1',
    '0-1',
    '0-1-',
    '0-1-2-3',
    '0-1-18446744073709551615',
    `${A}`,
    `${A}:`,
    `${A}:0`,
    `${A}:1-`,
    `${A}:tag`,
    `${A}:1:tag`,
    `${A}:9tag:1`,
    `${A}:9223372036854775806`,
    `${A.slice(1)}:1`,
    `${A}:1,0-1-2`,
  ])
    assert.throws(() => parse(text), TypeError, text);
});

test('tags are sources of their own', () => {
  assert.ok(!covers(parse(`${A}:1-5`), parse(`${A}:t:1`)));
  assert.ok(covers(parse(`${A}:1-5:t:1-2`), parse(`${A}:t:1`)));
  assert.equal(distance(parse(`${A}:1-5`), parse(`${A}:1-6:t:1-2`)), 3);
});

test('an empty position is comparable with both kinds, and they never with each other', () => {
  const empty = parse('');
  for (const text of [`${A}:1-5`, '0-1-5']) {
    assert.ok(covers(parse(text), empty));
    assert.ok(!covers(empty, parse(text)));
    assert.equal(distance(empty, parse(text)), 5);
    assert.equal(union(empty, parse(text)).text, text);
    assert.equal(union(parse(text), empty).text, text);
  }
  assert.ok(!covers(parse('0-1-5'), parse(`${A}:1`)));
  assert.throws(() => union(parse('0-1-5'), parse(`${A}:1`)), TypeError);
});

test('what a replica has beyond its primary is errant', () => {
  const { ahead } = mysqlPositions;
  assert.equal(ahead(parse(`${A}:1-5`), parse(`${A}:1-9`)), 0);
  assert.equal(ahead(parse(`${A}:1-5,${B}:1`), parse(`${A}:1-9`)), 1);
  assert.equal(ahead(parse('0-1-5'), parse('0-1-6')), 0);
  assert.equal(ahead(parse('0-1-6'), parse('0-1-5')), 1);
  assert.equal(ahead(parse('0-2-5'), parse('0-1-5')), 1, 'the same number from two servers');
  assert.equal(ahead(parse(''), parse('0-1-5')), 0);
});

test('GTID sets behave as the sets that they name', () => {
  const next = random(7);
  const sources = [`${A}`, `${A}:x`, `${B}`];
  const draw = (): Set<string> => {
    const model = new Set<string>();
    const runs = next(5);
    for (let run = 0; run < runs; run++) {
      const source = sources[next(3)]!;
      const first = 1 + next(20);
      for (let n = first; n < first + 1 + next(6); n++) model.add(`${source}|${n}`);
    }
    return model;
  };
  const write = (model: Set<string>): string => {
    const parts = [...model].map((key) => key.replace('|', ':'));
    for (let i = parts.length - 1; i > 0; i--) {
      const j = next(i + 1);
      [parts[i], parts[j]] = [parts[j]!, parts[i]!];
    }
    return parts.join(',');
  };
  for (let round = 0; round < 5_000; round++) {
    const [x, y] = [draw(), draw()];
    const [a, b] = [parse(write(x)), parse(write(y))];
    const missing = [...y].filter((gtid) => !x.has(gtid)).length;
    assert.equal(distance(a, b), missing, `${a.text} | ${b.text}`);
    assert.equal(covers(a, b), missing === 0);
    assert.equal(union(a, b).text, parse(write(new Set([...x, ...y]))).text);
    assert.equal(parse(a.text).text, a.text);
  }
});

test('MariaDB positions: covers is an order, union the least upper bound', () => {
  const next = random(11);
  const draw = () => {
    const parts: string[] = [];
    for (let domain = 0; domain < 3; domain++)
      if (next(3) > 0) parts.push(`${domain}-${1 + next(3)}-${1 + next(6)}`);
    return parse(parts.join(','));
  };
  for (let round = 0; round < 5_000; round++) {
    const [a, b, c] = [draw(), draw(), draw()];
    const both = union(a, b);
    assert.ok(covers(a, a));
    assert.ok(covers(both, a) && covers(both, b));
    if (covers(a, b) && covers(b, c)) assert.ok(covers(a, c));
    if (covers(c, a) && covers(c, b)) assert.ok(covers(c, both));
    assert.equal(distance(a, b) === 0, covers(a, b));
    assert.equal(distance(a, b), distance(a, both));
  }
});
