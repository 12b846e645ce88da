// Tables of cases for the reducer: what nodes say, in order, and the picture that must follow.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterPhase } from '../../src/cluster/snapshot.js';
import { healthy, nodeConfig, Picture } from './pictures.js';

interface Case {
  readonly name: string;
  readonly picture: () => Picture;
  readonly primary: string | null;
  readonly phase: ClusterPhase;
  readonly epoch?: number;
  readonly explanation?: RegExp;
  readonly fenced?: readonly string[];
  readonly roles?: Readonly<Record<string, string>>;
}

const three = () => new Picture([nodeConfig('a'), nodeConfig('b'), nodeConfig('c')]);

const promoteB = (picture: Picture): Picture =>
  picture
    .event((nowMs) => ({ type: 'failover-started', verdict: 'test', nowMs }))
    .event((nowMs) => ({ type: 'promoted', node: 'b', nowMs }));

const cases: readonly Case[] = [
  {
    name: 'nobody is the primary before everybody has been asked',
    picture: () => three().primary('a').replica('b', { from: 'a' }),
    primary: null,
    phase: 'starting',
    explanation: /not every node/,
  },
  {
    name: 'one writable node is the primary',
    picture: healthy,
    primary: 'a',
    phase: 'normal',
    epoch: 1,
    explanation: /^$/,
    roles: { a: 'primary', b: 'replica', c: 'replica' },
  },
  {
    name: 'a node that is down does not keep the others from starting',
    picture: () => three().primary('a').replica('b', { from: 'a' }).fails('c'),
    primary: 'a',
    phase: 'normal',
    roles: { c: 'unknown' },
  },
  {
    name: 'no writable node at all',
    picture: () =>
      three().replica('a', { from: 'x' }).replica('b', { from: 'x' }).replica('c', { from: 'x' }),
    primary: null,
    phase: 'no-primary',
    explanation: /no node takes writes/,
  },
  {
    name: 'a read-only node that is no replica is not taken for a primary',
    picture: () =>
      three().primary('a', { writable: false }).replica('b', { from: 'a' }).replica('c', { from: 'a' }),
    primary: null,
    phase: 'no-primary',
    explanation: /a: not a replica, but read-only/,
  },
  {
    name: 'the primary stays the primary when it is made read-only',
    picture: () => healthy().primary('a', { writable: false }),
    primary: 'a',
    phase: 'normal',
    explanation: /read-only/,
  },
  {
    name: 'a refused connection holds the writes at once',
    picture: () => healthy().fails('a', 'refused'),
    primary: null,
    phase: 'no-primary',
    explanation: /primary a does not serve: refused/,
  },
  {
    name: 'a single time-out does not',
    picture: () => healthy().fails('a', 'timeout', 2),
    primary: 'a',
    phase: 'normal',
  },
  {
    name: 'the last of them does',
    picture: () => healthy().fails('a', 'timeout', 3),
    primary: null,
    phase: 'no-primary',
  },
  {
    name: 'too many connections is not death, however often',
    picture: () => healthy().fails('a', 'too-many-connections', 50),
    primary: 'a',
    phase: 'normal',
  },
  {
    name: 'a server that starts up is awaited',
    picture: () => healthy().fails('a', 'starting-up', 50),
    primary: null,
    phase: 'no-primary',
    explanation: /starting-up/,
  },
  {
    name: 'a primary that restarts without having been replaced stays the primary',
    picture: () => healthy().fails('a', 'refused', 2).primary('a'),
    primary: 'a',
    phase: 'normal',
    epoch: 1,
    fenced: [],
  },
  {
    name: 'a report of the data path leaves the primary in place',
    picture: () => healthy().event((nowMs) => ({ type: 'reported', node: 'a', message: 'reset', nowMs })),
    primary: 'a',
    phase: 'normal',
  },
  {
    name: 'during a failover nobody is the primary, not even an old one that comes back',
    picture: () =>
      healthy()
        .fails('a', 'refused', 3)
        .event((nowMs) => ({ type: 'failover-started', verdict: 'replacing a', nowMs }))
        .primary('a'),
    primary: null,
    phase: 'failing-over',
    explanation: /replacing a/,
  },
  {
    name: 'after a promotion there is a new epoch and the old primary is fenced',
    picture: () => promoteB(healthy().fails('a', 'refused', 3)),
    primary: 'b',
    phase: 'normal',
    epoch: 2,
    fenced: ['a'],
    roles: { a: 'unknown', b: 'primary', c: 'replica' },
  },
  {
    name: 'a fenced node that returns writable is reported and not used',
    picture: () =>
      promoteB(healthy().fails('a', 'refused', 3))
        .primary('b', { timeline: 2 })
        .primary('a'),
    primary: 'b',
    phase: 'normal',
    epoch: 2,
    fenced: ['a'],
    explanation: /a: fenced: .* still takes writes/,
  },
  {
    name: 'a fenced node is not used when the new primary dies either',
    picture: () =>
      promoteB(healthy().fails('a', 'refused', 3))
        .primary('b', { timeline: 2 })
        .primary('a')
        .fails('b', 'refused', 3),
    primary: null,
    phase: 'no-primary',
    fenced: ['a'],
  },
  {
    name: 'a fenced node that receives from the new primary has been rejoined',
    picture: () =>
      promoteB(healthy().fails('a', 'refused', 3))
        .primary('b', { timeline: 2 })
        .replica('a', { timeline: 2, from: 'b' }),
    primary: 'b',
    phase: 'normal',
    fenced: [],
    roles: { a: 'replica' },
  },
  {
    name: 'an operator may unfence',
    picture: () =>
      promoteB(healthy().fails('a', 'refused', 3))
        .fails('b', 'refused', 3)
        .replica('c', { from: 'a' })
        .primary('a')
        .event((nowMs) => ({ type: 'unfenced', node: 'a', nowMs })),
    primary: 'a',
    phase: 'normal',
    epoch: 3,
    fenced: ['b'],
  },
  {
    name: 'somebody else has promoted a replica: the primary is down',
    picture: () => healthy().fails('a', 'refused', 3).primary('b', { timeline: 2 }),
    primary: 'b',
    phase: 'normal',
    epoch: 2,
    fenced: ['a'],
  },
  {
    name: 'somebody else has switched over: the old primary is a replica now',
    picture: () => healthy().replica('a', { from: 'b', timeline: 2 }).primary('b', { timeline: 2 }),
    primary: 'b',
    phase: 'normal',
    epoch: 2,
    fenced: [],
  },
  {
    name: 'several writable: the newest timeline',
    picture: () => three().primary('a').primary('b', { timeline: 2 }).replica('c', { from: 'a' }),
    primary: 'b',
    phase: 'normal',
    explanation: /several nodes take writes \(a, b\): b is the primary, its timeline 2/,
  },
  {
    name: 'several writable: the one that replicas receive from',
    picture: () =>
      three()
        .primary('a', { timeline: 0, serverId: '1' })
        .primary('b', { timeline: 0, serverId: '2' })
        .replica('c', { timeline: 0, serverId: '3', from: 'b' }),
    primary: 'b',
    phase: 'normal',
    explanation: /the replicas receive from it/,
  },
  {
    name: 'several writable: the one that was it before',
    picture: () => healthy().replica('b', { from: 'x' }).replica('c', { from: 'x' }).primary('c'),
    primary: 'a',
    phase: 'normal',
    explanation: /it was before/,
  },
  {
    name: 'several writable that cannot be told apart: none, and both are named',
    picture: () => three().primary('a').primary('b').replica('c', { from: 'x' }),
    primary: null,
    phase: 'no-primary',
    explanation: /none can be told to be the primary: a, b/,
  },
  {
    name: 'a writable stranger is not taken for a promoted replica',
    picture: () => healthy().fails('a', 'refused', 3).primary('c', { timeline: 9, serverId: 'another' }),
    primary: null,
    phase: 'no-primary',
  },
  {
    name: 'remembered primary is down, an unknown node takes writes: nothing shows that it was replaced',
    picture: () =>
      three()
        .event((nowMs) => ({
          type: 'restored',
          epoch: 4,
          primary: 'a',
          fenced: [],
          unfinished: false,
          nowMs,
        }))
        .fails('a', 'refused', 3)
        .primary('b')
        .replica('c', { from: 'x' }),
    primary: null,
    phase: 'no-primary',
    epoch: 4,
    explanation: /b takes writes, but a is remembered/,
  },
  {
    name: 'remembered primary is down, another one has a follower',
    picture: () =>
      three()
        .event((nowMs) => ({
          type: 'restored',
          epoch: 4,
          primary: 'a',
          fenced: [],
          unfinished: false,
          nowMs,
        }))
        .fails('a', 'refused', 3)
        .replica('c', { from: 'b' })
        .primary('b'),
    primary: 'b',
    phase: 'normal',
    epoch: 5,
    fenced: ['a'],
  },
  {
    name: 'fences survive a restart',
    picture: () =>
      three()
        .event((nowMs) => ({
          type: 'restored',
          epoch: 4,
          primary: 'b',
          fenced: ['a'],
          unfinished: false,
          nowMs,
        }))
        .primary('a', { timeline: 7 })
        .primary('b')
        .replica('c', { from: 'a' }),
    primary: 'b',
    phase: 'normal',
    epoch: 4,
    fenced: ['a'],
  },
  {
    name: 'an unfinished promotion leaves the cluster without a primary until it is settled',
    picture: () =>
      three()
        .event((nowMs) => ({ type: 'restored', epoch: 4, primary: 'a', fenced: [], unfinished: true, nowMs }))
        .primary('a')
        .primary('b')
        .replica('c', { from: 'a' }),
    primary: null,
    phase: 'failing-over',
  },
  {
    name: 'blocked stays blocked while there is no primary',
    picture: () =>
      healthy()
        .fails('a', 'refused', 3)
        .event((nowMs) => ({ type: 'blocked', verdict: 'too soon', nowMs }))
        .fails('a', 'refused', 3),
    primary: null,
    phase: 'blocked',
    explanation: /too soon/,
  },
  {
    name: 'and ends when the primary returns',
    picture: () =>
      healthy()
        .fails('a', 'refused', 3)
        .event((nowMs) => ({ type: 'blocked', verdict: 'too soon', nowMs }))
        .primary('a'),
    primary: 'a',
    phase: 'normal',
    explanation: /^$/,
  },
  {
    name: 'or when an operator acknowledges',
    picture: () =>
      healthy()
        .fails('a', 'refused', 3)
        .event((nowMs) => ({ type: 'blocked', verdict: 'too soon', nowMs }))
        .event((nowMs) => ({ type: 'acknowledged', nowMs })),
    primary: null,
    phase: 'no-primary',
  },
  {
    name: 'a primary that was never seen is known by its replicas',
    picture: () => three().fails('a', 'refused', 3).replica('b', { from: 'a' }).replica('c', { from: 'a' }),
    primary: null,
    phase: 'no-primary',
    explanation: /primary a does not serve: refused/,
  },
  {
    name: 'and is the primary when it comes',
    picture: () =>
      three().fails('a', 'refused', 3).replica('b', { from: 'a' }).replica('c', { from: 'a' }).primary('a'),
    primary: 'a',
    phase: 'normal',
    epoch: 1,
  },
  {
    name: 'but not when they do not agree',
    picture: () => three().fails('a', 'refused', 3).replica('b', { from: 'a' }).replica('c', { from: 'b' }),
    primary: null,
    phase: 'no-primary',
    explanation: /^no node takes writes$/,
  },
  {
    name: 'a removed primary makes room for another',
    picture: () =>
      healthy()
        .configure([nodeConfig('b'), nodeConfig('c')])
        .primary('b', { timeline: 2 }),
    primary: 'b',
    phase: 'normal',
    epoch: 2,
  },
];

for (const expected of cases)
  test(expected.name, () => {
    const { snapshot } = expected.picture();
    assert.equal(snapshot.primary, expected.primary);
    assert.equal(snapshot.phase, expected.phase);
    if (expected.epoch !== undefined) assert.equal(snapshot.epoch, expected.epoch);
    if (expected.explanation !== undefined) assert.match(snapshot.explanation, expected.explanation);
    if (expected.fenced !== undefined)
      assert.deepEqual(
        snapshot.nodes.filter((node) => node.fenced).map((node) => node.name),
        expected.fenced,
      );
    for (const [name, role] of Object.entries(expected.roles ?? {}))
      assert.equal(snapshot.nodes.find((node) => node.name === name)?.role, role, name);
  });

test('health: up, suspect on the first failure, down after the last, up with the next answer', () => {
  const picture = healthy();
  const steps: [() => void, string][] = [
    [() => picture.fails('b', 'refused'), 'suspect'],
    [() => picture.fails('b', 'timeout'), 'suspect'],
    [() => picture.fails('b', 'lost'), 'down'],
    [() => picture.replica('b', { from: 'a' }), 'up'],
    [() => picture.fails('b', 'refused', 2), 'suspect'],
    [() => picture.fails('b', 'too-many-connections'), 'suspect'],
    [() => picture.fails('b', 'refused', 2), 'suspect'],
    [() => picture.fails('b', 'refused'), 'down'],
  ];
  for (const [act, health] of steps) {
    act();
    assert.equal(picture.node('b').health, health);
  }
  assert.equal(picture.node('b').role, 'replica', 'what it was is not forgotten');
});

test('a suspicion of the data path is only cleared by a probe that was sent after it', () => {
  const picture = healthy();
  const sentBefore = picture.nowMs;
  picture.event((nowMs) => ({ type: 'reported', node: 'b', message: 'reset', nowMs }));
  assert.equal(picture.node('b').health, 'suspect');
  assert.equal(picture.node('b').reason, 'reset');
  const late = healthy().replica('b', { from: 'a' }).node('b');
  picture.event((nowMs) => ({
    type: 'answered',
    node: 'b',
    reading: {
      sentAtMs: sentBefore,
      answeredAtMs: nowMs,
      role: 'replica',
      writable: false,
      applied: late.applied!,
      received: late.received!,
      upstream: null,
      timeline: 1,
      serverId: 'system',
      version: '18.0',
    },
    lagMs: 0,
    lagDistance: 0,
    nowMs,
  }));
  assert.equal(picture.node('b').health, 'suspect', 'its answer was on the way before the failure');
  picture.replica('b', { from: 'a' });
  assert.equal(picture.node('b').health, 'up');
});

test('an answer to a probe from before a promotion does not undo it', () => {
  const picture = healthy().fails('a', 'refused', 3);
  const sentBefore = picture.nowMs;
  promoteB(picture);
  const before = picture.snapshot;
  picture.event((nowMs) => ({
    type: 'failed',
    node: 'b',
    kind: 'lost',
    message: 'late',
    sentAtMs: sentBefore,
    nowMs,
  }));
  assert.equal(picture.snapshot.primary, 'b');
  assert.equal(picture.node('b').health, before.nodes.find((node) => node.name === 'b')?.health);
});

test('a receiver has moved when its message or its position has changed, not when it is first seen', () => {
  const picture = new Picture([nodeConfig('a'), nodeConfig('b')]).primary('a');
  const moved = () => picture.node('b').upstream?.movedAtMs;
  picture.replica('b', { from: 'a', message: '1' });
  assert.equal(moved(), Number.NEGATIVE_INFINITY);
  picture.replica('b', { from: 'a', message: '2' });
  const first = picture.nowMs;
  assert.equal(moved(), first);
  picture.replica('b', { from: 'a', message: '2' });
  assert.equal(moved(), first);
  picture.replica('b', { from: 'a', message: '2', at: '0/200' });
  assert.equal(moved(), picture.nowMs);
});

test('a change of the configuration keeps what is known of nodes that stay', () => {
  const picture = healthy();
  picture.configure([nodeConfig('a'), nodeConfig('b', { weight: 7, mode: 'drain' }), nodeConfig('d')]);
  assert.deepEqual(
    picture.snapshot.nodes.map(({ name, role, weight, mode }) => ({ name, role, weight, mode })),
    [
      { name: 'a', role: 'primary', weight: 1, mode: 'online' },
      { name: 'b', role: 'replica', weight: 7, mode: 'drain' },
      { name: 'd', role: 'unknown', weight: 1, mode: 'online' },
    ],
  );
  assert.equal(picture.snapshot.primary, 'a');
  picture.configure([nodeConfig('a'), nodeConfig('b', { port: 1 })]);
  assert.equal(picture.node('b').role, 'unknown', 'another address is another node');
});
