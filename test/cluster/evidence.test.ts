// Tables of cases for the evidence: whether a primary that does not answer is dead, and which replica replaces it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choose } from '../../src/cluster/candidate.js';
import { type Confirmations, judge } from '../../src/cluster/evidence.js';
import { mysqlPositions } from '../../src/mysql/position.js';
import { healthy, nodeConfig, Picture } from './pictures.js';

const rules = { freshMs: 1_000, confirmedForMs: 15_000 };
const never: Confirmations = new Map();
const verdict = (picture: Picture, confirmations = never) =>
  judge(picture.snapshot, confirmations, rules, picture.nowMs).verdict;

test('no case while the primary answers, or is only suspect', () => {
  assert.equal(verdict(healthy()), 'no-case');
  assert.equal(verdict(healthy().fails('a', 'refused', 2)), 'no-case');
  assert.equal(verdict(healthy().fails('a', 'too-many-connections', 20)), 'no-case');
});

test('killed: nobody receives any more', () => {
  const picture = healthy().fails('a', 'refused', 3);
  assert.equal(verdict(picture), 'wait', 'what replicas said before it failed is no evidence');
  picture.replica('b', { from: 'a', receiving: false });
  assert.equal(verdict(picture), 'wait');
  picture.replica('c', { from: 'a', receiving: false });
  assert.equal(verdict(picture), 'dead');
});

test('a replica that cannot be reached does not hold it up', () => {
  const picture = healthy().fails('a', 'refused', 3).fails('c', 'timeout', 3);
  picture.replica('b', { from: 'a', receiving: false });
  assert.equal(verdict(picture), 'dead');
});

test('a replica that only answers with errors holds it up for a while, not for ever', () => {
  const picture = healthy().fails('a', 'refused', 3).fails('c', 'too-many-connections', 3);
  picture.replica('b', { from: 'a', receiving: false });
  assert.equal(verdict(picture), 'wait');
  picture.later(15_000).fails('c', 'too-many-connections').replica('b', { from: 'a', receiving: false });
  assert.equal(verdict(picture), 'dead');
  const nobody = healthy().fails('a', 'refused', 3).later(15_000).fails('b', 'other').fails('c', 'other');
  assert.equal(verdict(nobody), 'wait');
});

test('when no replica answers, the proxy may be the one that is cut off', () => {
  assert.equal(
    verdict(healthy().fails('a', 'timeout', 3).fails('b', 'timeout', 3).fails('c', 'timeout', 3)),
    'wait',
  );
});

test('cut off from the proxy only: a receiver that moves is evidence of life, for a while', () => {
  const picture = healthy().fails('a', 'timeout', 3);
  picture.replica('b', { from: 'a', receiving: false }).replica('c', { from: 'a', message: '1' });
  assert.equal(verdict(picture), 'alive');
  picture.later(999).replica('c', { from: 'a', message: '1' });
  assert.equal(verdict(picture), 'ask');
});

test('frozen: replicas believe that they receive, and are asked when they have been silent', () => {
  const picture = healthy().fails('a', 'timeout', 3);
  picture.replica('b', { from: 'a' }).replica('c', { from: 'a' });
  assert.equal(verdict(picture), 'wait');
  picture.later(1_000).replica('b', { from: 'a' }).replica('c', { from: 'a', receiving: false });
  assert.deepEqual(judge(picture.snapshot, never, rules, picture.nowMs), { verdict: 'ask', replicas: ['b'] });

  const at = picture.nowMs;
  const no: Confirmations = new Map([['b', { atMs: at, receiving: false }]]);
  const yes: Confirmations = new Map([['b', { atMs: at, receiving: true }]]);
  const old: Confirmations = new Map([['b', { atMs: 0, receiving: false }]]);
  assert.equal(verdict(picture, no), 'dead');
  assert.equal(verdict(picture, yes), 'alive');
  assert.equal(verdict(picture, old), 'ask', 'from before the failure');
  picture.later(15_000);
  assert.equal(verdict(picture, yes), 'ask', 'it does not hold for ever');
});

test('one replica that confirms is enough to keep the primary', () => {
  const picture = healthy()
    .fails('a', 'timeout', 3)
    .later(2_000)
    .replica('b', { from: 'a' })
    .replica('c', { from: 'a' });
  const both: Confirmations = new Map([
    ['b', { atMs: picture.nowMs, receiving: false }],
    ['c', { atMs: picture.nowMs, receiving: true }],
  ]);
  assert.equal(verdict(picture, both), 'alive');
});

test('what is received from another replica is no evidence; from an unknown address it is', () => {
  const cascade = healthy().fails('a', 'refused', 3);
  cascade.replica('b', { from: 'a', receiving: false });
  cascade.replica('c', { from: 'b', message: '1' }).replica('c', { from: 'b', message: '2' });
  assert.equal(verdict(cascade), 'dead');
  const behindNat = healthy().fails('a', 'refused', 3);
  behindNat.replica('b', { from: 'a', receiving: false });
  behindNat.replica('c', { from: '10.0.0.1', message: '1' }).replica('c', { from: '10.0.0.1', message: '2' });
  assert.equal(verdict(behindNat), 'alive');
});

test('a single node is never replaced', () => {
  assert.equal(verdict(new Picture([nodeConfig('a')]).primary('a').fails('a', 'refused', 3)), 'wait');
});

const A = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
const stopped = (
  name: string,
  received: string,
  extra: {
    mode?: 'online' | 'standby-only' | 'offline' | 'drain';
    errant?: boolean;
    weight?: number;
    applied?: string;
    applying?: boolean;
  } = {},
) => {
  const node = healthy().node('b');
  const { applied = received, applying = true, ...rest } = extra;
  return {
    node: {
      ...node,
      name,
      mode: 'online' as const,
      ...rest,
      applied: mysqlPositions.parse(applied),
      upstream: { ...node.upstream!, applying },
    },
    received: mysqlPositions.parse(received),
  };
};

test('the candidate has received the most; preference only decides among equals', () => {
  const table: [
    name: string,
    replicas: ReturnType<typeof stopped>[],
    candidate: string | null,
    lost: number,
  ][] = [
    ['most', [stopped('b', `${A}:1-5`), stopped('c', `${A}:1-9`)], 'c', 0],
    [
      'most, though standby-only',
      [stopped('b', `${A}:1-5`), stopped('c', `${A}:1-9`, { mode: 'standby-only' })],
      'c',
      0,
    ],
    [
      'equal: online first',
      [stopped('b', `${A}:1-9`, { mode: 'standby-only' }), stopped('c', `${A}:1-9`)],
      'c',
      0,
    ],
    ['equal: weight', [stopped('b', `${A}:1-9`), stopped('c', `${A}:1-9`, { weight: 5 })], 'c', 0],
    ['equal: name', [stopped('c', `${A}:1-9`), stopped('b', `${A}:1-9`)], 'b', 0],
    [
      'never offline, and what it alone has is lost',
      [stopped('b', `${A}:1-5`), stopped('c', `${A}:1-9`, { mode: 'offline' })],
      'b',
      4,
    ],
    [
      'never drained: it is on its way out',
      [stopped('b', `${A}:1-5`, { mode: 'drain' }), stopped('c', `${A}:1-5`, { mode: 'standby-only' })],
      'c',
      0,
    ],
    ['never errant', [stopped('b', `${A}:1-5`), stopped('c', `${A}:1-5:99`, { errant: true })], 'b', 1],
    [
      'equal: one that applies, before a preferred one that has stopped doing so',
      [
        stopped('b', `${A}:1-9`, { applied: `${A}:1-8`, applying: false, weight: 5 }),
        stopped('c', `${A}:1-9`, { applied: `${A}:1-7`, mode: 'standby-only' }),
      ],
      'c',
      0,
    ],
    [
      'equal: one that has stopped with nothing left to apply is as good',
      [stopped('b', `${A}:1-9`, { applying: false }), stopped('c', `${A}:1-9`)],
      'b',
      0,
    ],
    [
      'most, though it does not apply: it is tried',
      [stopped('b', `${A}:1-9`, { applied: `${A}:1-5`, applying: false }), stopped('c', `${A}:1-8`)],
      'b',
      0,
    ],
    ['nobody', [stopped('b', `${A}:1-5`, { errant: true })], null, 0],
    ['nothing', [], null, 0],
  ];
  for (const [name, replicas, candidate, lost] of table) {
    const choice = choose(replicas, mysqlPositions);
    assert.equal(choice.candidate?.node.name ?? null, candidate, name);
    assert.equal(choice.lost, lost, name);
    for (const { node } of replicas)
      assert.ok(node.name === candidate || node.name in choice.passedOver, name);
  }
});
