// What is done with a read for which no replica is known to be fresh enough: gated, waiting, or neither; and when a gate is
// worth it. Positions and times are numbers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Position } from '../../src/protocol/position.js';
import { decide, type RoutingNode, type SessionView } from '../../src/routing/decide.js';
import { GateOdds } from '../../src/routing/gate-odds.js';
import type { Effort } from '../../src/routing/gating.js';
import { emptyStatement } from '../../src/sql/merge.js';
import type { StatementClass } from '../../src/sql/statement.js';

interface At extends Position {
  readonly at: number;
  readonly line: number;
}
const at = (value: number, line = 1): At => ({ text: `${value}@${line}`, at: value, line });
const positions = {
  covers: (have: Position, want: Position) =>
    (have as At).line === (want as At).line && (have as At).at >= (want as At).at,
  related: (a: Position, b: Position) => (a as At).line === (b as At).line,
  union: (a: Position, b: Position) => ((a as At).at >= (b as At).at ? a : b),
};
const read: StatementClass = { ...emptyStatement, route: 'replica', statements: 1, verb: 'SELECT' };
const node = (name: string, role: RoutingNode['role'], changes: Partial<RoutingNode> = {}): RoutingNode => ({
  ...{
    name,
    role,
    health: 'up',
    mode: 'online',
    applied: at(10),
    lagMs: 0,
    weight: 1,
    tags: {},
    errant: false,
  },
  ...changes,
});
const effort: Effort = {
  mayGate: true,
  watermarkAgeMs: 3,
  moveAgeMs: 2,
  mayAwaitPosition: true,
  mayAwaitReplica: false,
  returnMs: 0,
  isWorthGating: () => true,
};
const session: SessionView = {
  consistency: 'session',
  maxLagMs: 1000,
  splitReads: true,
  watermark: at(20),
  watermarkPending: false,
  lastReplica: null,
  moveFloor: null,
  excluded: [],
  target: null,
  fallback: 'primary',
  effort,
};
const nodes = [node('p', 'primary'), node('r1', 'replica'), node('r2', 'replica')];
const first = { choose: <Node>(among: readonly Node[]): Node => among[0]! };

function decided(view: Partial<SessionView>, with_: Partial<Effort> = {}, among = nodes) {
  const whole = { ...session, effort: { ...effort, ...with_ }, ...view };
  return decide(read, whole, { primary: 'p', nodes: among }, positions, first);
}
const gated = (name: string, want: Position, ageMs: number) => ({
  ...{ kind: 'node', node: name, onReplica: true, reason: 'fresh-by-gate', gate: { want, ageMs } },
});
const toPrimary = (reason: string) => ({ kind: 'node', node: 'p', onReplica: false, reason, gate: null });

test('a replica whose last probe is too old is asked', () => {
  assert.deepEqual(decided({}), gated('r1', at(20), 3));
});

test('one that is known to have it is not', () => {
  const decision = decided({}, {}, [...nodes, node('r3', 'replica', { applied: at(20) })]);
  assert.deepEqual(decision, {
    ...{ kind: 'node', node: 'r3', onReplica: true, reason: 'fresh-by-probe', gate: null },
  });
});

test('on the replica of the last read its own watermark is enough, elsewhere what that has shown is needed too', () => {
  assert.deepEqual(decided({ lastReplica: 'r2', moveFloor: at(30) }), gated('r2', at(20), 3));
  const without = [nodes[0]!, nodes[1]!];
  assert.deepEqual(decided({ lastReplica: 'r2', moveFloor: at(30) }, {}, without), gated('r1', at(30), 2));
  assert.deepEqual(
    decided({ lastReplica: 'r2', moveFloor: 'unknown' }, {}, without),
    toPrimary('replicas-behind-watermark'),
    'nobody knows what to ask for',
  );
});

test('what may not be run twice, or is not worth it, goes to the primary', () => {
  const expected = toPrimary('replicas-behind-watermark');
  assert.deepEqual(decided({}, { mayGate: false }), expected);
  assert.deepEqual(decided({}, { isWorthGating: () => false }), expected);
  assert.deepEqual(decided({ effort: null }), expected);
  assert.deepEqual(decided({ excluded: ['r1', 'r2'] }), toPrimary('no-replica'));
});

test('a replica on another history never gets there', () => {
  const forked = [nodes[0]!, node('r1', 'replica', { applied: at(99, 2) })];
  assert.deepEqual(decided({}, {}, forked), toPrimary('replicas-behind-watermark'));
});

test('where waiting is preferred it waits for a replica', () => {
  const waits = { kind: 'wait', for: 'replica' };
  assert.deepEqual(decided({}, { mayAwaitReplica: true, isWorthGating: () => false }), waits);
  assert.deepEqual(
    decided({ excluded: ['r1', 'r2'] }, { mayAwaitReplica: true }),
    toPrimary('no-replica'),
    'nobody could come to have it',
  );
});

test('a session that reads on the primary waits for a replica that will soon have what it needs', () => {
  const waits = { kind: 'wait', for: 'replica' };
  const on = toPrimary('replicas-behind-watermark');
  // The watermark is 3 ms old; replicas have what is 30 ms old.
  const late = { mayGate: true, isWorthGating: (_node: RoutingNode, ageMs: number) => ageMs >= 30 };
  const lagging = (lagMs: number) => [nodes[0]!, node('r1', 'replica', { lagMs })];
  assert.deepEqual(decided({}, { ...late, returnMs: 50 }, lagging(30)), waits);
  assert.deepEqual(decided({}, { ...late, returnMs: 0 }, lagging(30)), on, 'it does not');
  assert.deepEqual(decided({}, { ...late, returnMs: 20 }, lagging(30)), on, 'not in that time');
  assert.deepEqual(decided({}, { ...late, returnMs: 50 }, lagging(300)), on, 'the last probe says otherwise');
  assert.deepEqual(
    decided({ lastReplica: 'r9', moveFloor: 'unknown' }, { ...late, returnMs: 50 }, lagging(30)),
    on,
  );
  const pending = { watermark: null, watermarkPending: true };
  assert.deepEqual(decided(pending, { ...late, returnMs: 50 }, lagging(30)), {
    kind: 'wait',
    for: 'position',
  });
  assert.deepEqual(decided(pending, { ...late, returnMs: 0 }, lagging(30)), toPrimary('watermark-unknown'));
});

test('a position that is not known yet is awaited where a replica may have it then', () => {
  const pending = { watermark: null, watermarkPending: true };
  assert.deepEqual(decided(pending), { kind: 'wait', for: 'position' });
  assert.deepEqual(decided(pending, { isWorthGating: () => false }), toPrimary('watermark-unknown'));
  assert.deepEqual(decided(pending, { mayAwaitPosition: false }), toPrimary('watermark-unknown'));
  assert.deepEqual(
    decided({ ...pending, consistency: 'strong' }, { isWorthGating: () => false }),
    { kind: 'wait', for: 'position' },
    'a strong read has none before it asks',
  );
});

test('lag does not matter where a position is the bound', () => {
  const late = [nodes[0]!, node('r1', 'replica', { applied: at(20), lagMs: 5000 })];
  assert.equal(decided({ consistency: 'bounded' }, {}, late).kind, 'node');
  assert.deepEqual(decided({ consistency: 'bounded' }, {}, late), {
    ...{ kind: 'node', node: 'r1', onReplica: true, reason: 'fresh-by-probe', gate: null },
  });
  assert.deepEqual(decided({}, {}, late), toPrimary('replicas-lag'));
});

/** Reads at random ages of their watermarks against a replica that is `delayMs` late: the share of gates that fail. */
function simulated(odds: GateOdds, delayMs: number, reads: number, fromMs: number, lagMs = 0) {
  let gates = 0;
  let failed = 0;
  for (let i = 0; i < reads; i++) {
    const nowMs = fromMs + i;
    const ageMs = (i * 7919) % 97;
    if (!odds.isWorth('r', ageMs, lagMs, nowMs)) continue;
    gates++;
    if (ageMs >= delayMs) odds.passed('r', ageMs, nowMs);
    else {
      failed++;
      odds.refused('r', ageMs, nowMs);
    }
  }
  return { gates, failed };
}

test('odds: gates find out how late a replica is, and that it has caught up', () => {
  const odds = new GateOdds();
  const late = simulated(odds, 20, 5000, 0);
  assert.ok(late.failed < 0.1 * late.gates, JSON.stringify(late));
  assert.ok(late.gates > 0.6 * 5000 * 0.8, JSON.stringify(late));
  const hopeless = simulated(odds, 1000, 5000, 5000, 400);
  assert.ok(hopeless.gates < 1000, `nobody asks in vain all the time: ${JSON.stringify(hopeless)}`);
  const caughtUp = simulated(odds, 0, 5000, 10_000);
  assert.ok(caughtUp.gates > 4000, JSON.stringify(caughtUp));
});

test('odds: a replica that is known to be seconds late is not asked', () => {
  const odds = new GateOdds();
  assert.equal(odds.isWorth('r', 10, 3000, 0), false);
  assert.equal(odds.isWorth('r', 3000, 3000, 0), true);
});
