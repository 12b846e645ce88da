// Tables of cases for leading hints: what a comment says of the policy of its statement, and that a mistake in it changes nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HintScope, readHint } from '../../src/routing/hint-layer.js';
import {
  clusterPolicy,
  NO_LAYER,
  Overlay,
  overlay,
  type PolicyLayer,
  PREPARE_AS_CLUSTER,
  type UnitPolicy,
} from '../../src/routing/policy.js';
import { parseHint } from '../../src/sql/hint.js';

const scope: HintScope = {
  levels: ['eventual', 'session', 'primary'],
  nodes: [
    { name: 'a', tags: {} },
    { name: 'b', tags: { zone: 'x' } },
  ],
};
const base = clusterPolicy({
  consistency: 'session',
  maxLagMs: 10_000,
  boundMs: 1_000,
  waitMs: 0,
  splitReads: true,
});
const primary = { kind: 'primary' } as const;
const replica = { kind: 'replica' } as const;

/** What is said, and how many directives say nothing. */
const CASES: [comment: string, says: Partial<PolicyLayer>, unread?: number][] = [
  // Each directive.
  ['scheelite: route=primary', { target: primary }],
  ['scheelite: route=replica', { target: replica }],
  ['scheelite: route=node:b', { target: { kind: 'node', name: 'b' } }],
  ['scheelite: route=tag:zone=x', { target: { kind: 'tag', tag: 'zone', value: 'x' } }],
  ['scheelite: fallback=hold', { fallback: 'hold' }],
  ['scheelite: fallback=primary', { fallback: 'primary' }],
  ['scheelite: consistency=primary', { consistency: 'primary' }],
  ['scheelite: consistency=eventual', { consistency: 'eventual' }],
  ['scheelite: maxLagMs=250', { maxLagMs: 250 }],
  ['scheelite: maxLagMs=0', { maxLagMs: 0 }],
  ['scheelite: maxLagMs=999999999', { maxLagMs: 999_999_999 }],
  ['scheelite: waitMs=20', { waitMs: 20 }],
  ['scheelite: timeoutMs=2000', { timeoutMs: 2_000 }],
  ['scheelite: session=alice', { sessionKey: 'alice' }],
  // Together.
  [
    'scheelite: route=primary consistency=eventual maxLagMs=500 timeoutMs=2000 session=alice',
    { target: primary, consistency: 'eventual', maxLagMs: 500, timeoutMs: 2_000, sessionKey: 'alice' },
  ],
  ['scheelite: consistency=eventual, maxLagMs=5', { consistency: 'eventual', maxLagMs: 5 }],
  ['scheelite: maxLagMs=5 maxLagMs=6', { maxLagMs: 6 }],
  // How it may be written.
  ['  SCHEELITE:route=primary', { target: primary }],
  ['scheelite: ROUTE = primary', { target: primary }],
  ['scheelite: MAXLAGMS=7', { maxLagMs: 7 }],
  ["scheelite: maxLagMs='8'", { maxLagMs: 8 }],
  ["scheelite: session='a b'", { sessionKey: 'a b' }],
  // Mistakes say nothing.
  ['scheelite: route=PRIMARY', {}, 1],
  ['scheelite: route=node:nobody', {}, 1],
  ['scheelite: route=node:', {}, 1],
  ['scheelite: route=tag:zone=y', {}, 1],
  ['scheelite: route=tag:zone', {}, 1],
  ['scheelite: route=tag:constructor=x', {}, 1],
  ['scheelite: fallback=never', {}, 1],
  ['scheelite: splitReads=true', {}, 1],
  ['scheelite: consistency=Eventual', {}, 1],
  ['scheelite: consistency=constructor', {}, 1],
  ['scheelite: maxLagMs=-1', {}, 1],
  ['scheelite: maxLagMs=1.5', {}, 1],
  ['scheelite: maxLagMs=1e3', {}, 1],
  ['scheelite: maxLagMs=1000000000', {}, 1],
  ['scheelite: maxLagMs=0x10', {}, 1],
  ['scheelite: timeoutMs=0', {}, 1],
  ['scheelite: maxLagMs=', {}],
  ['scheelite: maxLagMs', {}],
  ['scheelite: unknown=1', {}, 1],
  ['scheelite:', {}],
  ['scheelite: consistency=none maxLagMs=9', { maxLagMs: 9 }, 1],
];

for (const [comment, says, unread = 0] of CASES) {
  test(`/* ${comment} */`, () => {
    const hint = parseHint(comment);
    assert.notEqual(hint, null, 'it is a hint');
    const read = readHint(hint!, scope);
    assert.deepEqual(read.layer, { ...NO_LAYER, ...says });
    assert.equal(read.unread.length, unread);
  });
}

test('comments that are no hints are none', () => {
  for (const comment of ['', 'route=primary', 'scheelite route=primary', 'not scheelite: route=primary'])
    assert.equal(parseHint(comment), null, comment);
});

const LAYERS: [name: string, layers: Partial<PolicyLayer>[], expected: Partial<UnitPolicy>][] = [
  ['nothing said', [{}], {}],
  [
    'the later one is stronger',
    [{ maxLagMs: 1, timeoutMs: 7 }, { maxLagMs: 2 }],
    { maxLagMs: 2, timeoutMs: 7 },
  ],
  [
    'a later level is stronger',
    [{ consistency: 'primary' }, { consistency: 'eventual' }],
    { consistency: 'eventual' },
  ],
  [
    'a target is kept by who says another thing',
    [{ target: primary }, { consistency: 'eventual' }],
    { target: primary, consistency: 'eventual' },
  ],
  ['a later target is stronger', [{ target: primary }, { target: replica }], { target: replica }],
  [
    'the level primary after a target',
    [{ target: replica }, { consistency: 'primary' }],
    { consistency: 'primary', target: primary },
  ],
  [
    'replicas after the level primary',
    [{ consistency: 'primary' }, { target: replica }],
    { consistency: 'session', target: replica },
  ],
  [
    'the primary after the level primary',
    [{ consistency: 'primary' }, { target: primary }],
    { consistency: 'primary', target: primary },
  ],
  [
    'both at once: the primary',
    [{ consistency: 'primary', target: replica }],
    { consistency: 'primary', target: primary },
  ],
  [
    'a switch',
    [{ sharing: false }, { sharing: true, autoPrepare: { ...PREPARE_AS_CLUSTER, enabled: false } }],
    { sharing: true, autoPrepare: { ...PREPARE_AS_CLUSTER, enabled: false } },
  ],
  [
    'each word about preparing by itself',
    [
      { autoPrepare: { enabled: false, threshold: 2, maxStatements: null } },
      { sharing: true },
      { autoPrepare: { enabled: true, threshold: null, maxStatements: 7 } },
    ],
    { sharing: true, autoPrepare: { enabled: true, threshold: 2, maxStatements: 7 } },
  ],
];

for (const [name, layers, expected] of LAYERS) {
  test(`policy: ${name}`, () => {
    let policy = base;
    for (const layer of layers) policy = overlay(policy, { ...NO_LAYER, ...layer });
    assert.deepEqual(policy, { ...base, ...expected });
  });
}

test('policy: nothing said makes nothing, and what is said is made once', () => {
  assert.equal(overlay(base, NO_LAYER), base);
  const made = new Overlay({ ...NO_LAYER, maxLagMs: 1 });
  assert.equal(made.over(base), made.over(base));
});

test('policy: whether reads are split is for the cluster to say', () => {
  const whole = clusterPolicy({
    consistency: 'session',
    maxLagMs: 1,
    boundMs: 1_000,
    waitMs: 0,
    splitReads: false,
  });
  for (const [comment] of CASES) {
    const { layer } = readHint(parseHint(comment)!, scope);
    assert.equal(overlay(whole, layer).splitReads, false);
  }
});
