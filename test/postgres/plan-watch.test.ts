// When a text counts as slower prepared: by tables of times, without a server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlanWatch } from '../../src/postgres/plan-watch.js';

/** Runs `count` times, some of them unprepared as it asks for; how often it was taken out. */
function runs(watch: PlanWatch, count: number, plainMs: number, preparedMs: (i: number) => number): number {
  let out = 0;
  for (let i = 1; i <= count; i++) {
    if (i % watch.sampleEvery === 0) watch.ranPlain(plainMs);
    else if (watch.ranPrepared(preparedMs(i), 0)) out++;
  }
  return out;
}

function watched(plainMs: number): PlanWatch {
  const watch = new PlanWatch();
  for (let i = 0; i < 4; i++) watch.ranPlain(plainMs);
  return watch;
}

test('clearly slower: out, for a while', () => {
  const watch = watched(1);
  assert.equal(
    runs(watch, 150, 1, () => 3),
    1,
  );
  assert.equal(watch.isOut(1000), true);
  assert.equal(watch.isOut(600_001), false);
});

test('faster, as fast, a little slower, or slower by next to nothing: it stays', () => {
  for (const [plain, prepared] of [
    [2, 1],
    [2, 2],
    [2, 2.8],
    [0.1, 0.5],
  ] as const) {
    const watch = watched(plain);
    assert.equal(
      runs(watch, 2000, plain, () => prepared),
      0,
      `${plain} ${prepared}`,
    );
    assert.equal(watch.isOut(0), false);
  }
});

test('a slow time for both is no reason', () => {
  const watch = watched(1);
  assert.equal(
    runs(watch, 400, 5, () => 5),
    0,
  );
});

test('one slow window is no reason', () => {
  const watch = watched(1);
  assert.equal(
    runs(watch, 400, 1, (i) => (i < 25 ? 40 : 0.8)),
    0,
  );
});

test('without unprepared runs to compare with nothing is concluded', () => {
  const watch = new PlanWatch();
  for (let i = 0; i < 100; i++) assert.equal(watch.ranPrepared(100, 0), false);
});
