// The coalesced position query: one in flight, answers only what it covers, fails with null.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PositionResolver } from '../../src/cluster/position-resolver.js';
import { postgresPosition } from '../../src/postgres/position.js';
import type { Position } from '../../src/protocol/position.js';

interface Asked {
  readonly resolve: (position: Position) => void;
  readonly reject: (error: Error) => void;
}

function setUp() {
  const clock = { ms: 100, now: () => clock.ms };
  const asked: Asked[] = [];
  const resolver = new PositionResolver(clock, 1_000);
  const query = () => new Promise<Position>((resolve, reject) => asked.push({ resolve, reject }));
  resolver.setPrimary(query, 1);
  const answers: (string | null)[] = [];
  const ask = (afterMs: number) =>
    resolver.request(afterMs, (position) => answers.push(position?.text ?? null));
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
  return { clock, asked, resolver, query, answers, ask, turn };
}

const at = (n: number) => postgresPosition(`0/${n}`, 1);

test('many requests share one query, later ones the next', async () => {
  const { clock, asked, resolver, answers, ask, turn } = setUp();
  ask(90);
  ask(95);
  assert.equal(asked.length, 1);
  clock.ms = 110;
  ask(105);
  ask(108);
  assert.equal(asked.length, 1, 'one is in flight');
  assert.equal(resolver.waiting, 4);
  asked[0]!.resolve(at(1));
  await turn();
  assert.deepEqual(answers, ['0/1@1', '0/1@1'], 'it was sent before the last two');
  assert.equal(asked.length, 2);
  asked[1]!.resolve(at(2));
  await turn();
  assert.deepEqual(answers.slice(2), ['0/2@1', '0/2@1']);
  assert.equal(asked.length, 2, 'nobody asks any more');
  assert.equal(resolver.queries, 2);
});

test('a sample that was sent later answers at once', async () => {
  const { clock, asked, resolver, answers, ask, turn } = setUp();
  ask(90);
  asked[0]!.resolve(at(1));
  await turn();
  clock.ms = 200;
  ask(99);
  assert.deepEqual(answers, ['0/1@1', '0/1@1']);
  assert.equal(resolver.firstSampleAfter(99)?.text, '0/1@1');
  assert.equal(resolver.firstSampleAfter(100), null, 'sent at 100 covers what was before 100');
});

test('the first sample after a moment is found among many', () => {
  const { resolver } = setUp();
  for (let ms = 1; ms <= 5_000; ms++) resolver.add(ms, at(ms));
  assert.equal(resolver.firstSampleAfter(4_321)?.text, at(4_322).text);
  assert.equal(resolver.firstSampleAfter(5_000), null);
  assert.ok(resolver.firstSampleAfter(0) !== null, 'any later sample covers an older moment');
  resolver.add(3, at(9_999));
  assert.equal(
    resolver.firstSampleAfter(4_999)?.text,
    at(5_000).text,
    'an answer that comes late is dropped',
  );
});

test('not two starts in one millisecond', async () => {
  const { clock, asked, ask, turn } = setUp();
  ask(90);
  asked[0]!.resolve(at(1));
  await Promise.resolve();
  await Promise.resolve();
  ask(100);
  assert.equal(asked.length, 1, 'the clock has not moved');
  clock.ms = 101;
  await turn();
  assert.equal(asked.length, 2);
});

test('a failure answers null to those that it concerns, and the rest are asked for again', async () => {
  const { clock, asked, answers, ask, turn } = setUp();
  ask(90);
  clock.ms = 110;
  ask(105);
  asked[0]!.reject(new Error('gone'));
  await turn();
  assert.deepEqual(answers, [null]);
  assert.equal(asked.length, 2);
  asked[1]!.resolve(at(2));
  await turn();
  assert.deepEqual(answers, [null, '0/2@1']);
});

test('another primary: what waits gets null, old samples and late answers are forgotten', async () => {
  const { clock, asked, resolver, query, answers, ask, turn } = setUp();
  ask(90);
  resolver.setPrimary(null, 1);
  assert.deepEqual(answers, [null]);
  ask(90);
  assert.deepEqual(answers, [null, null], 'nobody to ask');
  resolver.setPrimary(query, 2);
  assert.equal(resolver.epoch, 2);
  asked[0]!.resolve(at(1));
  await turn();
  assert.equal(resolver.firstSampleAfter(0), null, 'an answer of the old primary');
  clock.ms = 120;
  ask(110);
  asked[1]!.resolve(at(7));
  await turn();
  assert.equal(answers[2], '0/7@1');
});
