// Tables of cases for the decision: statement class, session, snapshot in; node, or hold, and the reason out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Position } from '../../src/protocol/position.js';
import { createBalancer } from '../../src/routing/balance.js';
import { type Decision, decide, type RoutingNode, type SessionView } from '../../src/routing/decide.js';
import { emptyStatement } from '../../src/sql/merge.js';
import type { StatementClass } from '../../src/sql/statement.js';

interface At extends Position {
  readonly at: number;
}
const at = (value: number): At => ({ text: String(value), at: value });
const positions = {
  covers: (have: Position, want: Position) => (have as At).at >= (want as At).at,
  related: () => true,
  union: (a: Position, b: Position) => ((a as At).at >= (b as At).at ? a : b),
};

const read: StatementClass = { ...emptyStatement, route: 'replica', statements: 1, verb: 'SELECT' };
const write: StatementClass = { ...read, route: 'primary', verb: 'INSERT' };
const set: StatementClass = { ...read, route: 'session', verb: 'SET' };
const begin = (readOnly: boolean, isolation: string | null = null): StatementClass => ({
  ...write,
  verb: 'BEGIN',
  transaction: { kind: 'begin', readOnly, isolation, snapshot: false },
});

function node(name: string, role: RoutingNode['role'], changes: Partial<RoutingNode> = {}): RoutingNode {
  return {
    name,
    role,
    health: 'up',
    mode: 'online',
    applied: at(100),
    lagMs: 0,
    weight: 1,
    tags: {},
    errant: false,
    ...changes,
  };
}
const session: SessionView = {
  consistency: 'session',
  maxLagMs: 1000,
  splitReads: true,
  target: null,
  fallback: 'primary',
  watermark: null,
  watermarkPending: false,
  lastReplica: null,
  moveFloor: null,
  excluded: [],
  effort: null,
};
const p = node('p', 'primary');
const primaryOnly = { primary: 'p', nodes: [p] };
const three = { primary: 'p', nodes: [p, node('r1', 'replica'), node('r2', 'replica', { applied: at(50) })] };

const drained = (mode: RoutingNode['mode']) => ({
  primary: 'p',
  nodes: [node('p', 'primary', { mode }), node('r1', 'replica')],
});

const onNode = (name: string, onReplica: boolean, reason: string) => ({
  kind: 'node',
  node: name,
  onReplica,
  reason,
  gate: null,
});
const hold = { kind: 'hold', reason: 'no-primary' };

const CASES: [
  string,
  StatementClass,
  Partial<SessionView>,
  { primary: string | null; nodes: RoutingNode[] },
  object,
][] = [
  ['a write goes to the primary', write, {}, three, onNode('p', false, 'write')],
  ['a write without a primary is held', write, {}, { ...three, primary: null }, hold],
  ['a read without replicas goes to the primary', read, {}, primaryOnly, onNode('p', false, 'no-replica')],
  ['a read without any node is held', read, {}, { primary: null, nodes: [] }, hold],
  [
    'a read goes on without a primary',
    read,
    { excluded: ['r2'] },
    { ...three, primary: null },
    onNode('r1', true, 'no-watermark'),
  ],
  ['a read that pins is a write', { ...read, pin: 'session-lock' }, {}, three, onNode('p', false, 'write')],
  ['splitting is off', read, { splitReads: false }, three, onNode('p', false, 'primary-asked')],
  [
    'the level asks for the primary',
    read,
    { consistency: 'primary' },
    three,
    onNode('p', false, 'primary-asked'),
  ],
  ['a pending watermark', read, { watermarkPending: true }, three, onNode('p', false, 'watermark-unknown')],
  [
    'a pending watermark does not matter to eventual reads',
    read,
    { watermarkPending: true, consistency: 'eventual', excluded: ['r2'] },
    three,
    onNode('r1', true, 'no-watermark'),
  ],
  [
    'only one replica has the watermark',
    read,
    { watermark: at(80) },
    three,
    onNode('r1', true, 'fresh-by-probe'),
  ],
  [
    'exactly the watermark is enough',
    read,
    { watermark: at(100) },
    three,
    onNode('r1', true, 'fresh-by-probe'),
  ],
  [
    'no replica has the watermark',
    read,
    { watermark: at(101) },
    three,
    onNode('p', false, 'replicas-behind-watermark'),
  ],
  [
    'a replica of unknown position has nothing',
    read,
    { watermark: at(1) },
    { primary: 'p', nodes: [p, node('r1', 'replica', { applied: null })] },
    onNode('p', false, 'replicas-behind-watermark'),
  ],
  [
    'lag over the limit',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'replica', { lagMs: 1001 })] },
    onNode('p', false, 'replicas-lag'),
  ],
  [
    'lag at the limit',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'replica', { lagMs: 1000 })] },
    onNode('r1', true, 'no-watermark'),
  ],
  [
    'unknown lag',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'replica', { lagMs: null })] },
    onNode('p', false, 'replicas-lag'),
  ],
  [
    'a suspect replica',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'replica', { health: 'suspect' })] },
    onNode('p', false, 'no-replica'),
  ],
  [
    'a drained replica',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'replica', { mode: 'drain' })] },
    onNode('p', false, 'no-replica'),
  ],
  [
    'a replica that is kept for promotion takes no reads',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'replica', { mode: 'standby-only' })] },
    onNode('p', false, 'no-replica'),
  ],
  [
    'once it is the primary it takes everything',
    write,
    {},
    { primary: 'p', nodes: [node('p', 'primary', { mode: 'standby-only' })] },
    onNode('p', false, 'write'),
  ],
  ['writes wait while the primary is drained', write, {}, drained('drain'), hold],
  ['writes wait while the primary is offline', write, {}, drained('offline'), hold],
  [
    'reads go on while the primary is drained',
    read,
    { watermark: at(80) },
    drained('drain'),
    onNode('r1', true, 'fresh-by-probe'),
  ],
  ['reads that need the primary wait', read, { watermarkPending: true }, drained('drain'), hold],
  [
    'SET goes anywhere while the primary is drained',
    set,
    {},
    drained('drain'),
    onNode('r1', true, 'session-state'),
  ],
  [
    'its replica is drained: it leaves for one that has what it saw',
    read,
    { lastReplica: 'r2', moveFloor: at(60) },
    { primary: 'p', nodes: [p, node('r1', 'replica'), node('r2', 'replica', { mode: 'drain' })] },
    onNode('r1', true, 'no-watermark'),
  ],
  [
    'its replica is drained, and what it saw there is not known elsewhere: the primary',
    read,
    { lastReplica: 'r2', moveFloor: 'unknown' },
    { primary: 'p', nodes: [p, node('r1', 'replica'), node('r2', 'replica', { mode: 'drain' })] },
    onNode('p', false, 'replicas-behind-watermark'),
  ],
  [
    'a stranger is never read',
    read,
    {},
    { primary: 'p', nodes: [p, node('r1', 'unknown')] },
    onNode('p', false, 'no-replica'),
  ],
  [
    'what it read on r1 must be there: r2 may be behind',
    read,
    { lastReplica: 'r1', moveFloor: at(60) },
    three,
    onNode('r1', true, 'no-watermark'),
  ],
  [
    'it may not move while nothing is known',
    read,
    { lastReplica: 'r2', moveFloor: 'unknown' },
    three,
    onNode('r2', true, 'no-watermark'),
  ],
  [
    'its replica is gone, and the other may be behind',
    read,
    { lastReplica: 'r1', moveFloor: at(60), excluded: ['r1'] },
    three,
    onNode('p', false, 'replicas-behind-watermark'),
  ],
  ['BEGIN goes to the primary', begin(false), {}, three, onNode('p', false, 'write')],
  [
    'BEGIN READ ONLY goes to a replica',
    begin(true),
    { watermark: at(80) },
    three,
    onNode('r1', true, 'fresh-by-probe'),
  ],
  ['SERIALIZABLE READ ONLY does not', begin(true, 'serializable'), {}, three, onNode('p', false, 'write')],
  [
    'BEGIN READ ONLY with more behind it does not',
    { ...begin(true), statements: 2 },
    {},
    three,
    onNode('p', false, 'write'),
  ],
  ['SET goes to the primary', set, {}, three, onNode('p', false, 'session-state')],
  [
    'SET goes anywhere without a primary',
    set,
    {},
    { primary: null, nodes: [node('r1', 'replica')] },
    onNode('r1', true, 'session-state'),
  ],
];

const tagged = {
  primary: 'p',
  nodes: [
    { ...p, tags: { zone: 'a', role: 'main' } },
    node('r1', 'replica', { tags: { zone: 'a' } }),
    node('r2', 'replica', { tags: { zone: 'b' }, applied: at(50) }),
  ],
};
const toNode = (name: string): Partial<SessionView> => ({ target: { kind: 'node', name } });
const toTag = (tag: string, value: string): Partial<SessionView> => ({ target: { kind: 'tag', tag, value } });
const toReplica: Partial<SessionView> = { target: { kind: 'replica' } };

const TARGETS: typeof CASES = [
  [
    'a target of the primary',
    read,
    { target: { kind: 'primary' } },
    tagged,
    onNode('p', false, 'primary-asked'),
  ],
  ['a named node', read, toNode('r2'), tagged, onNode('r2', true, 'no-watermark')],
  ['a named node that is the primary', read, toNode('p'), tagged, onNode('p', false, 'primary-asked')],
  [
    'a named node that has become the primary',
    read,
    toNode('r1'),
    { ...tagged, primary: 'r1' },
    onNode('r1', false, 'primary-asked'),
  ],
  [
    'a named node that lacks the watermark',
    read,
    { ...toNode('r2'), watermark: at(60) },
    tagged,
    onNode('p', false, 'target-unavailable'),
  ],
  [
    'a named node that is down, and somebody who would rather wait',
    read,
    { ...toNode('r2'), fallback: 'hold' },
    { primary: 'p', nodes: [p, node('r1', 'replica'), node('r2', 'replica', { health: 'down' })] },
    { kind: 'hold', reason: 'no-target' },
  ],
  ['a named node that is not there', read, toNode('r9'), tagged, onNode('p', false, 'target-unavailable')],
  ['a named node that is not there and no primary', read, toNode('r9'), { ...tagged, primary: null }, hold],
  ['a tag', read, toTag('zone', 'b'), tagged, onNode('r2', true, 'no-watermark')],
  ['a tag that the primary has too', read, toTag('zone', 'a'), tagged, onNode('r1', true, 'no-watermark')],
  [
    'a tag that only the primary has',
    read,
    toTag('role', 'main'),
    tagged,
    onNode('p', false, 'primary-asked'),
  ],
  ['a tag that nobody has', read, toTag('zone', 'c'), tagged, onNode('p', false, 'target-unavailable')],
  ['replicas', read, { ...toReplica, watermark: at(80) }, tagged, onNode('r1', true, 'fresh-by-probe')],
  [
    'replicas where nothing is split',
    read,
    { ...toReplica, splitReads: false, watermark: at(80) },
    tagged,
    onNode('r1', true, 'fresh-by-probe'),
  ],
  ['replicas, and there are none', read, toReplica, primaryOnly, onNode('p', false, 'target-unavailable')],
  [
    'replicas only, and there are none',
    read,
    { ...toReplica, fallback: 'hold' },
    primaryOnly,
    { kind: 'hold', reason: 'no-target' },
  ],
  [
    'replicas at the level primary',
    read,
    { ...toReplica, consistency: 'primary' },
    tagged,
    onNode('p', false, 'primary-asked'),
  ],
  ['a write, whatever is wanted', write, toReplica, tagged, onNode('p', false, 'write')],
  [
    'a write to a named replica',
    write,
    { ...toNode('r1'), fallback: 'hold' },
    tagged,
    onNode('p', false, 'write'),
  ],
  ['BEGIN, whatever is wanted', begin(false), toNode('r1'), tagged, onNode('p', false, 'write')],
  ['BEGIN READ ONLY on a named node', begin(true), toNode('r2'), tagged, onNode('r2', true, 'no-watermark')],
  [
    'a read that pins, to a replica',
    { ...read, pin: 'session-lock' },
    toReplica,
    tagged,
    onNode('p', false, 'write'),
  ],
];

for (const [name, statement, changes, snapshot, expected] of [...CASES, ...TARGETS]) {
  test(`decide: ${name}`, () => {
    const balancer = createBalancer('round-robin', () => 0);
    const decision: Decision = decide(statement, { ...session, ...changes }, snapshot, positions, balancer);
    assert.deepEqual(decision, expected);
  });
}

test('decide: round-robin spreads reads evenly', () => {
  const balancer = createBalancer('round-robin', () => 0);
  const seen = new Map<string, number>();
  for (let i = 0; i < 100; i++) {
    const decision = decide(read, session, three, positions, balancer);
    assert(decision.kind === 'node');
    seen.set(decision.node, (seen.get(decision.node) ?? 0) + 1);
  }
  assert.deepEqual([...seen].sort(), [
    ['r1', 50],
    ['r2', 50],
  ]);
});
