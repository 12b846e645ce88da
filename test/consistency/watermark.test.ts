// What a session must see next, from what it wrote and saw: a model of positions as numbers, time as numbers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PositionSamples, Watermark } from '../../src/consistency/watermark.js';
import type { Position, PositionFunctions } from '../../src/protocol/position.js';

interface At extends Position {
  readonly at: number;
}
const at = (value: number): At => ({ text: String(value), at: value });
const positions: PositionFunctions = {
  parse: (text) => at(Number(text)),
  related: () => true,
  covers: (have, want) => (have as At).at >= (want as At).at,
  union: (a, b) => ((a as At).at >= (b as At).at ? a : b),
  distance: (have, want) => Math.max(0, (want as At).at - (have as At).at),
  ahead: (node, primary) => Math.max(0, (node as At).at - (primary as At).at),
  distanceUnit: 'bytes',
};

/** Samples as (asked at, position). */
function samples(...list: [number, number][]): PositionSamples {
  return {
    firstSampleAfter: (ms) => {
      const found = list.find(([askedMs]) => askedMs > ms);
      return found === undefined ? null : at(found[1]);
    },
  };
}
const none = samples();

test('a new session needs nothing', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 10);
  assert.equal(watermark.pending, false);
  assert.equal(watermark.known, null);
  assert.equal(watermark.floorForMove(none), null);
});

test('after the primary it owes a position that was asked for later', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.ranOnPrimary(100);
  watermark.settle(samples([99, 7]), 1, 101);
  assert.equal(watermark.pending, true, 'an older answer proves nothing');
  watermark.settle(samples([99, 7], [101, 8], [200, 9]), 1, 201);
  assert.equal(watermark.pending, false);
  assert.equal(
    watermark.known?.text,
    '8',
    'the first one is enough: a later one would only narrow the choice',
  );
});

test('watermarks only grow', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.ranOnPrimary(100);
  watermark.settle(samples([101, 8]), 1, 102);
  watermark.ranOnPrimary(200);
  watermark.settle(samples([101, 8], [201, 5]), 1, 202);
  assert.equal(watermark.known?.text, '8');
});

test('moving to another replica needs what the first may have shown', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.ranOnReplica('r1', 0, 100, true);
  assert.equal(
    watermark.lastReplica(() => 0),
    'r1',
  );
  assert.equal(
    watermark.lastReplica(() => 1),
    '',
    'it has been down: it may be behind what it has shown',
  );
  assert.equal(watermark.floorForMove(samples([100, 7])), 'unknown');
  assert.equal((watermark.floorForMove(samples([100, 7], [101, 8])) as Position).text, '8');
});

test('the primary covers what a replica has shown', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.ranOnReplica('r1', 0, 100, true);
  watermark.ranOnPrimary(110);
  assert.equal(
    watermark.lastReplica(() => 0),
    null,
  );
  watermark.settle(samples([105, 7], [111, 9]), 1, 120);
  assert.equal(watermark.known?.text, '9');
});

test('after a promotion an old position is dropped, and one of the new primary owed', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.ranOnPrimary(100);
  watermark.settle(samples([101, 1000]), 1, 102);
  watermark.settle(none, 2, 500);
  assert.equal(watermark.known === null, true, 'it may name what was lost');
  assert.equal(watermark.pending, true);
  watermark.settle(samples([501, 900]), 2, 502);
  assert.equal(watermark.known?.text, '900');
});

test('a session without history owes nothing after a promotion', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.settle(none, 2, 500);
  assert.equal(watermark.pending, false);
});

test('what an unchecked read on another replica leaves behind is owed', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.ranOnReplica('r1', 0, 100, true);
  watermark.ranOnReplica('r2', 0, 200, false);
  watermark.settle(samples([100, 7]), 1, 201);
  assert.equal(watermark.pending, true);
  watermark.settle(samples([101, 8]), 1, 202);
  assert.equal(watermark.known?.text, '8');
});

test('a write that tells its position leaves nothing owed, and what was owed before stays', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.wrote(at(7), 50);
  watermark.settle(none, 1, 60);
  assert.equal(watermark.pending, false);
  assert.equal(watermark.known?.text, '7');
  watermark.ranOnPrimary(100);
  watermark.wrote(at(9), 110);
  assert.equal(watermark.pending, true, 'what was seen at 100 may be more than was written');
  watermark.settle(samples([101, 8]), 1, 120);
  assert.equal(watermark.pending, false);
  assert.equal(watermark.known?.text, '9');
});

test('its age is that of the newest thing in it', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.wrote(at(7), 50);
  assert.equal(watermark.sinceMs, 50);
  watermark.ranOnPrimary(100);
  assert.equal(watermark.sinceMs, 100, 'what is owed is from then');
  watermark.settle(samples([101, 7]), 1, 120);
  assert.equal(watermark.sinceMs, 50, 'nothing had been written meanwhile');
  watermark.ranOnPrimary(200);
  watermark.settle(samples([201, 8]), 1, 220);
  assert.equal(watermark.sinceMs, 200);
});

test('a position that was told by a primary that has been replaced is dropped', () => {
  const watermark = new Watermark(positions);
  watermark.settle(none, 1, 1);
  watermark.wrote(at(1000), 50);
  watermark.settle(none, 2, 100);
  assert.equal(watermark.pending, true);
});
