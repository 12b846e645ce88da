// PostgreSQL positions: forms, page headers, timelines, and the laws that the data path relies on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatLsn,
  type PostgresPosition,
  postgresPosition,
  postgresPositions,
} from '../../src/postgres/position.js';

const { parse, covers, union, distance } = postgresPositions;
const p = (text: string): PostgresPosition => parse(text) as PostgresPosition;

/** A small linear congruential generator: the same cases on every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

test('a location is read and written as the server does', () => {
  for (const text of ['0/0', '0/3000060', '16/B374D848', '1FFFFF/FFFFFFF8']) assert.equal(p(text).text, text);
  assert.equal(p('0/3000060').lsn, 0x3000060);
  assert.equal(p('1/0').lsn, 2 ** 32);
  assert.equal(p('0/3000060@7').timeline, 7);
  assert.equal(p('0/3000060@7').text, '0/3000060@7');
  assert.equal(p(postgresPosition('a/bc', 3).text).text, 'A/BC@3');
});

test('anything else is refused', () => {
  for (const text of [
    '',
    '0',
    '/',
    '0/',
    '0/1/2',
    '0/123456789',
    'x/1',
    '0/1@',
    '0/1@x',
    ' 0/1',
    '200000/0',
    '-1/0',
  ])
    assert.throws(() => parse(text), TypeError, text);
});

test('the start of the next record behind a page header is the end of the last one', () => {
  assert.equal(p('0/3002018').lsn, 0x3002000, 'short header');
  assert.equal(p('0/4000028').lsn, 0x4000000, 'long header at the start of a segment');
  assert.equal(p('0/3002028').lsn, 0x3002028, '40 bytes into an ordinary page is a place of its own');
  assert.ok(covers(p('0/4000000@1'), p('0/4000028@1')));
  assert.equal(distance(p('0/3002000'), p('0/3002018')), 0);
});

test('timelines are only compared when both are known and equal', () => {
  assert.ok(covers(p('0/20@1'), p('0/10@1')));
  assert.ok(covers(p('0/20'), p('0/10@1')));
  assert.ok(!covers(p('0/20@2'), p('0/10@1')), 'the fork may lie before 0/10');
  assert.ok(!covers(p('0/20@1'), p('0/10@2')));
  assert.ok(distance(p('0/20@2'), p('0/10@1')) > 0);
  assert.equal(union(p('0/20@1'), p('0/10@2')).text, '0/10@2');
  assert.equal(union(p('0/20'), p('0/10@2')).text, '0/20@2');
});

test('a standby on the former timeline is behind, not ahead', () => {
  const { ahead } = postgresPositions;
  assert.equal(ahead(p('0/20@1'), p('0/30@2')), 0);
  assert.equal(ahead(p('0/20@1'), p('0/20@1')), 0);
  assert.equal(ahead(p('0/30@1'), p('0/20@1')), 16);
  assert.equal(ahead(p('0/30@1'), p('0/20@2')), 16);
  assert.ok(ahead(p('0/10@3'), p('0/20@2')) > 0);
});

test('laws: covers is an order, union the least upper bound, distance 0 exactly when covered', () => {
  const next = random(1);
  const draw = (): PostgresPosition =>
    p(
      `${formatLsn(Math.floor(next() * 40) * 0x1008 + Math.floor(next() * 3) * 2 ** 32)}@${1 + Math.floor(next() * 2)}`,
    );
  for (let round = 0; round < 5_000; round++) {
    const [a, b, c] = [draw(), draw(), draw()];
    assert.ok(covers(a, a));
    if (covers(a, b) && covers(b, c)) assert.ok(covers(a, c));
    assert.equal(distance(a, b) === 0, covers(a, b));
    if (a.timeline === b.timeline) {
      const both = union(a, b);
      assert.ok(covers(both, a) && covers(both, b));
      if (covers(c, a) && covers(c, b)) assert.ok(covers(c, both));
      assert.equal(both.text, union(b, a).text);
      assert.equal(distance(a, b), distance(a, both));
    }
    assert.equal(p(a.text).lsn, a.lsn);
  }
});
