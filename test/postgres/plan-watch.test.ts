// When a text counts as slower prepared: by tables of times, without a server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlanWatch } from '../../src/postgres/plan-watch.js';

type Ms = (i: number) => number;

/** Runs `count` times, a millisecond apart, some of them unprepared as it asks for; how often it was taken out. */
function runs(watch: PlanWatch, count: number, plainMs: Ms, preparedMs: Ms): number {
  let out = 0;
  for (let i = 1; i <= count; i++) {
    if (i % watch.sampleEvery === 0) watch.ranPlain(plainMs(i));
    else if (watch.ranPrepared(preparedMs(i), i)) out++;
    if (out > 0) return out;
  }
  return out;
}

const ms =
  (value: number): Ms =>
  () =>
    value;

function watched(plainMs: number): PlanWatch {
  const watch = new PlanWatch();
  for (let i = 0; i < 4; i++) watch.ranPlain(plainMs);
  return watch;
}

/** The same numbers each time: a burst of load now and then, whatever runs. */
function noisy(): Ms {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const chance = state / 2 ** 32;
    return chance < 0.1 ? 20 * chance * 10 + 5 : 0.3 + chance;
  };
}

test('clearly slower: out, for a while, and each time for longer', () => {
  const watch = watched(1);
  assert.equal(runs(watch, 100, ms(1), ms(3)), 1);
  assert.equal(watch.isOut(1000), true);
  assert.equal(watch.isOut(11_000), false);
  assert.equal(runs(watch, 200, ms(1), ms(3)), 1);
  assert.equal(watch.isOut(11_000), true);
  assert.equal(watch.isOut(21_000), false);
});

test('slower for some values only: out', () => {
  const watch = watched(1);
  assert.equal(
    runs(watch, 2000, ms(1), (i) => (i % 7 === 0 ? 60 : 1)),
    1,
  );
});

test('faster, as fast, a little slower, or slower by next to nothing: it stays', () => {
  for (const [plain, prepared] of [
    [2, 1],
    [2, 2],
    [2, 2.8],
    [0.1, 0.5],
  ] as const) {
    const watch = watched(plain);
    assert.equal(runs(watch, 5000, ms(plain), ms(prepared)), 0, `${plain} ${prepared}`);
  }
});

test('another load than at the beginning is no reason', () => {
  const watch = watched(1);
  assert.equal(runs(watch, 1000, ms(5), ms(5)), 0);
});

test('one slow time is no reason', () => {
  const watch = watched(1);
  assert.equal(
    runs(watch, 1000, ms(1), (i) => (i < 35 ? 40 : 0.8)),
    0,
  );
});

test('noise is no reason, and costs little', () => {
  const noise = noisy();
  const watch = watched(0.3);
  let samples = 0;
  const plain: Ms = (i) => {
    samples++;
    return noise(i);
  };
  assert.equal(runs(watch, 200_000, plain, noise), 0);
  assert.ok(samples < 10_000, `${samples} unprepared runs`);
});

test('without unprepared runs to compare with nothing is concluded', () => {
  const watch = new PlanWatch();
  for (let i = 0; i < 100; i++) assert.equal(watch.ranPrepared(100, 0), false);
});
