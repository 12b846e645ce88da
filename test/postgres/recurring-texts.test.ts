// Which texts recur: bounded whatever comes, and what recurs stays.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecurringTexts } from '../../src/postgres/recurring-texts.js';

const body = (text: string) => Buffer.from(`${text}\0\0\0`);

test('a text is admitted when it has come often enough, for its settings and types', () => {
  const texts = new RecurringTexts();
  for (let i = 1; i < 5; i++) assert.notEqual(texts.seen(body('a'), '', 5)?.isAdmitted, true, String(i));
  const admitted = texts.seen(body('a'), '', 5);
  assert.equal(admitted?.isAdmitted, true);
  assert.equal(admitted?.comings, 5);
  assert.equal(texts.seen(body('a'), '', 5), admitted);
  assert.equal(admitted?.comings, 6);
  assert.equal(texts.seen(body('a'), 'search_path', 5), null);
  assert.equal(texts.seen(Buffer.from('a\0\0\x01\0\0\0\x17'), '', 5), null);
  assert.equal(texts.seen(body('b'), '', 1)?.isAdmitted, true);
});

test('a flood of texts that come once or twice is bounded, and pushes out nothing that recurs', () => {
  const texts = new RecurringTexts();
  for (let i = 0; i < 5; i++) texts.seen(body('recurs'), '', 5);
  const recurring = texts.seen(body('recurs'), '', 5);
  let slow = 0;
  for (let i = 0; i < 50_000; i++) {
    texts.seen(body(`flood ${i}`), '', 5);
    texts.seen(body(`flood ${i}`), '', 5);
    // Another one recurs in the middle of it, and gets in.
    if (i % 1000 === 0 && texts.seen(body('in between'), '', 5)?.isAdmitted === true) slow++;
  }
  assert.equal(texts.seen(body('recurs'), '', 5), recurring);
  assert.ok(slow > 40);
  const { counts, candidates, admitted } = texts.sizes;
  assert.ok(counts <= 8192 && candidates <= 512 && admitted === 2, JSON.stringify(texts.sizes));
});

test('a flood of texts that all recur is bounded, and what comes all the time stays', () => {
  const texts = new RecurringTexts();
  for (let i = 0; i < 5; i++) texts.seen(body('busy'), '', 5);
  const busy = texts.seen(body('busy'), '', 5);
  for (let i = 0; i < 10_000; i++) {
    for (let n = 0; n < 5; n++) texts.seen(body(`flood ${i}`), '', 5);
    assert.equal(texts.seen(body('busy'), '', 5), busy);
  }
  assert.ok(texts.sizes.admitted <= 2048);
  const long = Buffer.alloc(30_000, 'x');
  for (let i = 0; i < 2000; i++) {
    long.write(String(i));
    for (let n = 0; n < 5; n++) texts.seen(long, '', 5);
  }
  assert.ok(texts.sizes.admitted < 600, `${texts.sizes.admitted}`);
  assert.equal(texts.seen(Buffer.alloc(40_000, 'x'), '', 1), null);
});

test('texts whose meaning is settled by their Parse', () => {
  const texts = new RecurringTexts();
  const needsParse = (text: string) => texts.seen(body(text), '', 1)!.needsParse;
  for (const text of [
    "SELECT 'now'::timestamptz",
    "SELECT date 'TODAY'",
    "SELECT 'tomorrow'",
    String.raw`SELECT E'\x6eow'`,
  ])
    assert.equal(needsParse(text), true, text);
  for (const text of ['SELECT now()', 'SELECT NOW ()', "SELECT 'knowing'", 'SELECT 1'])
    assert.equal(needsParse(text), false, text);
});
