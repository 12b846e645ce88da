// Tables of cases for leading hints: what a comment changes of the settings, and that a mistake in it changes nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyHint, type RoutingSettings } from '../../src/routing/hint-settings.js';
import { parseHint } from '../../src/sql/hint.js';

const base: RoutingSettings = { consistency: 'session', maxLagMs: 10_000, splitReads: true };

const CASES: [comment: string, changes: Partial<RoutingSettings>][] = [
  // Each directive.
  ['scheelite: route=primary', { consistency: 'primary' }],
  ['scheelite: consistency=primary', { consistency: 'primary' }],
  ['scheelite: consistency=eventual', { consistency: 'eventual' }],
  ['scheelite: consistency=session', {}],
  ['scheelite: maxLagMs=250', { maxLagMs: 250 }],
  ['scheelite: maxLagMs=0', { maxLagMs: 0 }],
  ['scheelite: maxLagMs=999999999', { maxLagMs: 999_999_999 }],
  // Together; the primary is the strongest, wherever it stands.
  ['scheelite: consistency=eventual maxLagMs=5', { consistency: 'eventual', maxLagMs: 5 }],
  ['scheelite: consistency=eventual, maxLagMs=5', { consistency: 'eventual', maxLagMs: 5 }],
  ['scheelite: route=primary consistency=eventual', { consistency: 'primary' }],
  ['scheelite: consistency=eventual route=primary', { consistency: 'primary' }],
  ['scheelite: maxLagMs=5 maxLagMs=6', { maxLagMs: 6 }],
  // How it may be written.
  ['  SCHEELITE:route=primary', { consistency: 'primary' }],
  ['scheelite: ROUTE = primary', { consistency: 'primary' }],
  ['scheelite: MAXLAGMS=7', { maxLagMs: 7 }],
  ["scheelite: maxLagMs='8'", { maxLagMs: 8 }],
  ['scheelite: consistency="eventual"', { consistency: 'eventual' }],
  // Nothing a hint can say makes a read of anything else, or turns reads towards replicas that the configuration keeps away.
  ['scheelite: route=replica', {}],
  ['scheelite: splitReads=true', {}],
  ['scheelite: splitReads=false', {}],
  // Mistakes change nothing.
  ['scheelite: route=PRIMARY', {}],
  ['scheelite: consistency=strong', {}],
  ['scheelite: consistency=Eventual', {}],
  ['scheelite: consistency=constructor', {}],
  ['scheelite: maxLagMs=-1', {}],
  ['scheelite: maxLagMs=1.5', {}],
  ['scheelite: maxLagMs=1e3', {}],
  ['scheelite: maxLagMs=1000000000', {}],
  ['scheelite: maxLagMs=0x10', {}],
  ['scheelite: maxLagMs=', {}],
  ['scheelite: maxLagMs', {}],
  ['scheelite: unknown=1', {}],
  ['scheelite:', {}],
  ['scheelite: consistency=strong maxLagMs=9', { maxLagMs: 9 }],
];

for (const [comment, changes] of CASES) {
  test(`/* ${comment} */`, () => {
    const hint = parseHint(comment);
    assert.notEqual(hint, null, 'it is a hint');
    assert.deepEqual(applyHint(base, hint), { ...base, ...changes });
  });
}

test('without a hint the settings are the very same', () => {
  assert.equal(applyHint(base, null), base);
});

test('a hint weakens and strengthens whatever the configuration says, for this statement only', () => {
  const strict: RoutingSettings = { consistency: 'primary', maxLagMs: 100, splitReads: true };
  const before = { ...strict };
  assert.deepEqual(applyHint(strict, parseHint('scheelite: consistency=eventual maxLagMs=5000')), {
    consistency: 'eventual',
    maxLagMs: 5_000,
    splitReads: true,
  });
  assert.deepEqual(strict, before);
});

test('where reads are not split no hint splits them', () => {
  const whole: RoutingSettings = { ...base, splitReads: false };
  for (const [comment] of CASES) assert.equal(applyHint(whole, parseHint(comment)).splitReads, false);
});

test('comments that are no hints are none', () => {
  for (const comment of ['', 'route=primary', 'scheelite route=primary', 'not scheelite: route=primary'])
    assert.equal(parseHint(comment), null, comment);
});
