// Lag in time from a history of the primary's positions, without a clock.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrimaryHistory } from '../../src/cluster/lag.js';
import { postgresPosition, postgresPositions } from '../../src/postgres/position.js';

const at = (lsn: number) => postgresPosition(`0/${(lsn * 0x1000).toString(16)}`, 1);

test('lag table', () => {
  const history = new PrimaryHistory(postgresPositions);
  assert.equal(history.lagMs(at(1), 0), null, 'nothing is known');
  // Idle at 1 until 300, then a write a probe.
  for (const [ms, lsn] of [
    [0, 1],
    [100, 1],
    [200, 1],
    [300, 1],
    [400, 2],
    [500, 3],
    [600, 4],
  ] as const)
    history.add(ms, at(lsn));
  const cases: [lsn: number, readAtMs: number, lag: number][] = [
    [4, 650, 0],
    [5, 650, 0],
    [3, 650, 150],
    [2, 650, 250],
    [1, 650, 350],
    [1, 410, 110],
    [0, 650, 650],
    [1, 290, 0],
  ];
  for (const [lsn, readAtMs, lag] of cases)
    assert.equal(history.lagMs(at(lsn), readAtMs), lag, `${lsn}@${readAtMs}`);
  history.clear();
  assert.equal(history.lagMs(at(4), 700), null);
});

test('an answer that overtakes another is dropped', () => {
  const history = new PrimaryHistory(postgresPositions);
  history.add(100, at(2));
  history.add(50, at(1));
  assert.equal(history.newest?.text, at(2).text);
});

test('the history is bounded and still reaches back, coarser', () => {
  const history = new PrimaryHistory(postgresPositions);
  const samples = 100_000;
  for (let i = 0; i <= samples; i++) history.add(i * 100, at(i));
  const now = samples * 100;
  assert.equal(history.lagMs(at(samples), now), 0);
  const recent = history.lagMs(at(samples - 10), now)!;
  assert.ok(recent >= 1_000 && recent <= 1_200, `recent ${recent}`);
  const old = history.lagMs(at(samples - 5_000), now)!;
  assert.ok(old >= 500_000 && old < 520_000, `old ${old}`);
});
