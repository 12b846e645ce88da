// Deadlines come once, not before their time, in any number, and cost nothing when nobody has one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicMs } from '../../src/lib/clock.js';
import { Deadlines, type Late } from '../../src/proxy/deadlines.js';
import { until } from '../servers/poll.js';

class Waits implements Late {
  readonly atMs: number;
  readonly passedAtMs: number[] = [];

  constructor(afterMs: number) {
    this.atMs = monotonicMs() + afterMs;
  }

  deadlinePassed(): void {
    this.passedAtMs.push(monotonicMs());
  }

  terminate(): void {}
}

test('each is told once, when its time is over', async () => {
  const deadlines = new Deadlines((_, cause) => assert.fail(String(cause)));
  const waits = Array.from({ length: 500 }, (_, i) => new Waits((i * 37) % 200));
  for (const wait of waits) deadlines.add(wait, wait.atMs);
  await until('all to be told', () => waits.every(({ passedAtMs }) => passedAtMs.length > 0));
  for (const { atMs, passedAtMs } of waits) {
    assert.equal(passedAtMs.length, 1);
    assert.ok(passedAtMs[0]! >= atMs, `${atMs - passedAtMs[0]!} ms too early`);
  }
});

test('whoever goes in time is not told, and one that throws stops nobody', async () => {
  const failed: Late[] = [];
  const deadlines = new Deadlines((late) => failed.push(late));
  const gone = new Waits(30);
  const span = deadlines.add(gone, gone.atMs);
  const bad: Late = {
    deadlinePassed() {
      throw new Error('bad');
    },
    terminate() {},
  };
  deadlines.add(bad, monotonicMs() + 30);
  const good = new Waits(60);
  deadlines.add(good, good.atMs);
  deadlines.remove(gone, span);
  await until('the last to be told', () => good.passedAtMs.length > 0);
  assert.equal(gone.passedAtMs.length, 0);
  assert.deepEqual(failed, [bad]);
});
