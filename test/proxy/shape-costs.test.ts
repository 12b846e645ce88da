// What a shape's calls teach of it: when it is light enough to stand behind others on a shared server connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLight, learnCost } from '../../src/proxy/shape-costs.js';
import { StatementRecord } from '../../src/telemetry/statements.js';

const MAX_MS = 5;
/** A larger reply makes others wait. */
const MAX_BYTES = 65_536;

function learned(...calls: readonly (readonly [ms: number, bytes: number])[]): StatementRecord {
  const record = new StatementRecord('select ?', 0);
  for (const [ms, bytes] of calls) learnCost(record, ms, bytes);
  return record;
}
const light = (record: StatementRecord | null) => isLight(record, MAX_MS);
/** How many small quick calls it takes until it is light. */
function callsUntilLight(record: StatementRecord): number {
  let calls = 0;
  for (; !light(record) && calls < 10_000; calls++) learnCost(record, 0.1, 100);
  return calls;
}

test('a shape that is not known is not light', () => {
  assert.equal(light(null), false);
  assert.equal(light(learned()), false);
  assert.equal(light(learned([0.1, 100])), true);
});

test('a shape is as light as its replies are small, the bound included', () => {
  assert.equal(light(learned([0.1, MAX_BYTES])), true);
  assert.equal(light(learned([0.1, MAX_BYTES + 1])), false);
});

test('one large reply is enough, among however many small ones', () => {
  const small = Array.from({ length: 1_000 }, () => [0.1, 100] as const);
  const record = learned(...small, [0.1, 200_000]);
  assert.equal(record.costBytes, 200_000);
  assert.equal(light(record), false);
});

test('it is forgotten slowly, and never while large ones come', () => {
  // 200,000 bytes, less 5 % of what is above the small ones with each of them.
  assert.equal(callsUntilLight(learned([0.1, 200_000])), 22);
  const record = learned([0.1, 200_000]);
  for (let i = 0; i < 1_000; i++) {
    learnCost(record, 0.1, i % 20 === 0 ? 200_000 : 100);
    assert.equal(light(record), false);
  }
});

test('time is near the least of late: one quick call is enough, one slow call says little', () => {
  assert.equal(light(learned([MAX_MS, 100])), true);
  assert.equal(light(learned([MAX_MS + 0.1, 100])), false);
  assert.equal(light(learned([80, 100], [1, 100])), true);
  const record = learned([1, 100], [60, 100]);
  assert.equal(light(record), true);
  for (let i = 0; i < 5; i++) learnCost(record, 60, 100);
  assert.equal(light(record), false, 'it is slow now');
});
