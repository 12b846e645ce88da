// Balancing policies under simulated load: shares, load, latency, slow start and locality, one by one and by turns.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type BalanceNode,
  type BalanceOptions,
  type BalancePolicy,
  type Balancer,
  ByTurns,
  createBalancer,
  Latencies,
} from '../../src/routing/balance.js';
import { type SimulatedNode, Simulation, shares } from './simulation.js';

const POLICIES: readonly BalancePolicy[] = ['round-robin', 'weighted', 'least-outstanding', 'peak-ewma'];

const node = (name: string, changes: Partial<SimulatedNode> = {}): SimulatedNode => ({
  name,
  weight: 1,
  serviceMs: () => 0.5,
  ...changes,
});

interface Scene {
  readonly simulation: Simulation;
  readonly one: Balancer;
  readonly byTurns: Balancer;
  readonly latencies: Latencies;
}

function scene(
  policy: BalancePolicy,
  nodes: readonly SimulatedNode[],
  changes: Partial<BalanceOptions> = {},
): Scene {
  const latencies = new Latencies(10_000);
  const simulation: Simulation = new Simulation(nodes, 20261121, (name, ms) =>
    latencies.note(name, ms, simulation.nowMs),
  );
  const one = createBalancer(policy, simulation.outstanding, {
    locality: null,
    slowStartMs: 0,
    nowMs: () => simulation.nowMs,
    latencies,
    ...changes,
  });
  return { simulation, one, byTurns: new ByTurns(one, () => simulation.turn), latencies };
}

const near = (actual: number | undefined, expected: number, margin: number): void =>
  assert.ok(Math.abs(actual! - expected) <= margin, `${actual} is not ${expected} +- ${margin}`);

const plain = (...names: string[]): BalanceNode[] => names.map((name) => ({ name, weight: 1 }));

describe('shares', () => {
  test('weights are exact over a cycle, and 0 takes nothing while another may', () => {
    const balancer = createBalancer('weighted', () => 0);
    const nodes = [
      { name: 'a', weight: 3 },
      { name: 'b', weight: 1 },
      { name: 'c', weight: 0 },
    ];
    const chosen = Array.from({ length: 8 }, () => balancer.choose(nodes).name).join('');
    assert.equal(chosen, 'aabaaaba');
    assert.equal(balancer.choose([nodes[2]!]).name, 'c');
  });

  for (const policy of POLICIES)
    test(`${policy}: a weight of 0 takes nothing while another may`, () => {
      const balancer = createBalancer(policy, () => 0);
      const nodes = [...plain('a', 'b'), { name: 'c', weight: 0 }];
      for (let i = 0; i < 50; i++) assert.notEqual(balancer.choose(nodes).name, 'c');
      assert.equal(balancer.choose([nodes[2]!]).name, 'c');
    });

  test('round-robin is even for everybody, also where some may not use every node', () => {
    const balancer = createBalancer('round-robin', () => 0);
    const [a, b, c] = plain('a', 'b', 'c') as [BalanceNode, BalanceNode, BalanceNode];
    const seen = new Map<string, number>();
    for (let i = 0; i < 900; i++) {
      const { name } = balancer.choose(i % 2 === 0 ? [a, b, c] : [a, b]);
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    near(seen.get('a'), seen.get('b')!, 3);
    assert.ok(seen.get('c')! >= 150, JSON.stringify([...seen]));
  });

  test('least outstanding prefers the idler node and shares ties', () => {
    const load = new Map([
      ['a', 2],
      ['b', 1],
      ['c', 1],
    ]);
    const balancer = createBalancer('least-outstanding', (name) => load.get(name)!);
    const nodes = plain('a', 'b', 'c');
    const chosen = Array.from({ length: 6 }, () => balancer.choose(nodes).name);
    assert.deepEqual([...new Set(chosen)].sort(), ['b', 'c']);
    assert.equal(chosen.filter((name) => name === 'b').length, 3);
    // Twice the weight carries twice as much.
    assert.equal(balancer.choose([{ name: 'a', weight: 2 }, ...plain('b')]).name, 'a');
  });
});

describe('load', () => {
  const uneven = [node('fast', { serviceMs: () => 0.5 }), node('slow', { serviceMs: () => 2 })];

  for (const [policy, pauseMs] of [
    ['least-outstanding', 0.5],
    ['peak-ewma', 0.5],
  ] as const)
    test(`${policy}: a node four times as slow gets what it can serve, and the clients wait less`, () => {
      const even = scene('round-robin', uneven);
      const evenRun = even.simulation.run(even.one, 5_000, pauseMs);
      const { simulation, one } = scene(policy, uneven);
      const run = simulation.run(one, 5_000, pauseMs);
      assert.ok(shares(run).slow! < 0.35, JSON.stringify(shares(run)));
      assert.ok(run.meanMs * 2 < evenRun.meanMs, `${run.meanMs} beside ${evenRun.meanMs}`);
    });

  test('peak-ewma: with little to do nearly everything goes where it is fast; by load alone it would be half', () => {
    const byLoad = scene('least-outstanding', uneven);
    near(shares(byLoad.simulation.run(byLoad.one, 5_000, 10)).slow, 0.5, 0.1);
    const { simulation, one } = scene('peak-ewma', uneven);
    const run = shares(simulation.run(one, 20_000, 10));
    assert.ok(run.slow! < 0.05, JSON.stringify(run));
    // And yet it is tried again.
    assert.ok(run.slow! > 0, JSON.stringify(run));
  });

  test('peak-ewma: a node that becomes slow is left at once, and comes back when it is fast again', () => {
    // Nothing takes the same time twice.
    const usual = (nowMs: number) => 0.3 + 0.4 * ((nowMs * 7.13) % 1);
    const nodes = [
      node('steady', { serviceMs: usual }),
      node('moody', { serviceMs: (nowMs) => (nowMs >= 5_000 && nowMs < 10_000 ? 50 : usual(nowMs)) }),
    ];
    const { simulation, one } = scene('peak-ewma', nodes);
    near(shares(simulation.run(one, 5_000, 1)).moody, 0.5, 0.1);
    const slow = simulation.run(one, 5_000, 1);
    assert.ok(shares(slow).moody! < 0.02, JSON.stringify(shares(slow)));
    // Only who was there when it began, and who tried, waited.
    assert.ok(
      slow.waitsMs.filter((ms) => ms > 20).length < 20,
      `${slow.waitsMs.filter((ms) => ms > 20).length}`,
    );
    // Tried again when 50 ms have faded to what the other takes, ln(100) times 10 s; and then it is averaged for as long.
    simulation.run(one, 80_000, 1);
    near(shares(simulation.run(one, 5_000, 1)).moody, 0.5, 0.15);
  });

  test('peak-ewma: one unit finds out about a node of which nothing is known', () => {
    const latencies = new Latencies(10_000);
    latencies.note('a', 1, 0);
    const outstanding = new Map([
      ['a', 3],
      ['b', 0],
    ]);
    const balancer = createBalancer('peak-ewma', (name) => outstanding.get(name)!, {
      locality: null,
      slowStartMs: 0,
      nowMs: () => 0,
      latencies,
    });
    const nodes = plain('a', 'b');
    assert.equal(balancer.choose(nodes).name, 'b');
    outstanding.set('b', 1);
    for (let i = 0; i < 10; i++) assert.equal(balancer.choose(nodes).name, 'a');
    latencies.note('b', 0.5, 0);
    assert.equal(balancer.choose(nodes).name, 'b');
  });
});

describe('latencies', () => {
  test('a rise counts at once, a fall by the time that passes', () => {
    const latencies = new Latencies(1_000);
    assert.equal(latencies.of('a', 0), null);
    latencies.note('a', 1, 0);
    latencies.note('a', 80, 1);
    assert.equal(latencies.of('a', 1), 80);
    // Answers in the same moment, as of a pipeline, do not wash it out.
    for (let i = 0; i < 1000; i++) latencies.note('a', 1, 1);
    assert.equal(latencies.of('a', 1), 80);
    latencies.note('a', 1, 1_001);
    near(latencies.of('a', 1_001)!, 80 / Math.E + (1 - 1 / Math.E), 0.001);
    // Unheard, it fades.
    assert.ok(latencies.of('a', 5_001)! < 1);
    assert.ok(latencies.of('a', 1_000_000)! > 0);
    latencies.forget('a');
    assert.equal(latencies.of('a', 1_000_000), null);
  });

  test('a clock that seems to go back changes nothing', () => {
    const latencies = new Latencies(1_000);
    latencies.note('a', 5, 100);
    latencies.note('a', 2, 50);
    assert.equal(latencies.of('a', 40), 5);
  });
});

describe('slow start', () => {
  for (const policy of POLICIES)
    test(`${policy}: the share of a node that has come back grows from a tenth of its own to the whole`, () => {
      const nodes = [node('a'), node('b'), node('back', { backSinceMs: 0 })];
      const { simulation, one } = scene(policy, nodes, { slowStartMs: 10_000 });
      const parts = Array.from({ length: 14 }, () => shares(simulation.run(one, 1_000, 0.4)).back!);
      assert.ok(parts[0]! < 0.1, `first ${parts}`);
      assert.ok(parts[0]! > 0, `first ${parts}`);
      assert.ok(parts[4]! < 0.3 && parts[4]! > 0.1, `half way ${parts}`);
      near(parts[13], 1 / 3, 0.06);
      for (let i = 0; i < 6; i++) assert.ok(parts[i]! < parts[i + 4]!, `it rises: ${parts}`);
    });

  test('the others stay even meanwhile', () => {
    const nodes = [node('a'), node('b'), node('back', { backSinceMs: 0 })];
    const { simulation, one } = scene('round-robin', nodes, { slowStartMs: 10_000 });
    const run = shares(simulation.run(one, 5_000, 0.4));
    near(run.a, run.b!, 0.01);
  });

  test('where all have come back they share, and one alone takes everything', () => {
    const nodes = [node('a', { backSinceMs: 0 }), node('b', { backSinceMs: 0 })];
    const { simulation, one } = scene('round-robin', nodes, { slowStartMs: 60_000 });
    near(shares(simulation.run(one, 1_000, 1)).a, 0.5, 0.01);
    assert.equal(one.choose([nodes[0]!]).name, 'a');
  });

  test('it was never away, or is back for long: nothing is held back', () => {
    const nodes = [node('a', { backSinceMs: Number.NEGATIVE_INFINITY }), node('b', { backSinceMs: -20_000 })];
    const { simulation, one } = scene('round-robin', nodes, { slowStartMs: 10_000 });
    near(shares(simulation.run(one, 1_000, 1)).b, 0.5, 0.01);
  });
});

describe('locality', () => {
  const here = { zone: 'here' };
  const nodes = [
    node('far', { tags: { zone: 'there' } }),
    node('near', { tags: here }),
    node('near too', { tags: here }),
    node('nowhere'),
  ];

  for (const policy of POLICIES)
    test(`${policy}: nodes of the zone take everything while any of them may`, () => {
      const { one } = scene(policy, nodes, { locality: { tag: 'zone', value: 'here' } });
      const chosen = new Set(Array.from({ length: 40 }, () => one.choose(nodes).name));
      for (const name of chosen) assert.ok(name.startsWith('near'), name);
      assert.equal(one.choose([nodes[0]!, nodes[1]!]).name, 'near');
      const rest = Array.from({ length: 40 }, () => one.choose([nodes[0]!, nodes[3]!]).name);
      assert.deepEqual([...new Set(rest)].sort(), ['far', 'nowhere']);
    });

  test('a node of the zone without weight comes behind the others', () => {
    const { one } = scene('round-robin', nodes, { locality: { tag: 'zone', value: 'here' } });
    assert.equal(one.choose([{ ...nodes[1]!, weight: 0 }, nodes[0]!]).name, 'far');
  });

  test('what every object has is no tag', () => {
    const { one } = scene('round-robin', nodes, { locality: { tag: 'constructor', value: 'x' } });
    assert.equal(new Set(Array.from({ length: 8 }, () => one.choose(nodes).name)).size, 4);
  });
});

describe('by turns', () => {
  test('one node for a turn, and the shares of the policy over many turns of uneven length', () => {
    let turn = 0;
    const balancer = new ByTurns(
      createBalancer('round-robin', () => 0),
      () => turn,
    );
    const nodes = plain('a', 'b');
    const seen = new Map([
      ['a', 0],
      ['b', 0],
    ]);
    for (; turn < 1000; turn++) {
      const inTurn = new Set<string>();
      for (let i = 0; i < (turn % 2 === 0 ? 7 : 1); i++) {
        const { name } = balancer.choose(nodes);
        inTurn.add(name);
        seen.set(name, seen.get(name)! + 1);
      }
      assert.equal(inTurn.size, 1);
    }
    near(seen.get('a'), seen.get('b')!, 20);
    // Who has no choice changes nothing for the others.
    turn++;
    const { name } = balancer.choose(nodes);
    const other = nodes.find((node) => node.name !== name)!;
    assert.equal(balancer.choose([other]).name, other.name);
    assert.equal(balancer.choose(nodes).name, name);
  });

  for (const policy of ['round-robin', 'weighted'] as const)
    test(`${policy}: the shares are those of one by one`, () => {
      const nodes = [node('a', { weight: 3 }), node('b')];
      const alone = scene(policy, nodes);
      const together = scene(policy, nodes);
      const expected = shares(alone.simulation.run(alone.one, 10_000, 1));
      near(shares(together.simulation.run(together.byTurns, 10_000, 8, 8)).a, expected.a!, 0.02);
    });

  for (const policy of POLICIES)
    test(`${policy}: a node that has come back gets its part of the turns only`, () => {
      const nodes = [node('a'), node('b'), node('back', { backSinceMs: 0 })];
      const { simulation, byTurns } = scene(policy, nodes, { slowStartMs: 10_000 });
      const first = shares(simulation.run(byTurns, 1_000, 4, 8));
      assert.ok(first.back! < 0.15, JSON.stringify(first));
      simulation.run(byTurns, 12_000, 4, 8);
      near(shares(simulation.run(byTurns, 4_000, 4, 8)).back, 1 / 3, 0.08);
    });

  for (const policy of POLICIES)
    test(`${policy}: nobody is sent away from the zone with the others of the turn`, () => {
      const nodes = [node('near', { tags: { zone: 'here' } }), node('far')];
      const { byTurns } = scene(policy, nodes, { locality: { tag: 'zone', value: 'here' } });
      // The first of the turn may not read there.
      assert.equal(byTurns.choose([nodes[1]!]).name, 'far');
      for (let i = 0; i < 10; i++) assert.equal(byTurns.choose(nodes).name, 'near');
    });

  test('peak-ewma: what goes together is as much as a node does in a moment, and one where nothing is known', () => {
    const nodes = [node('quick', { serviceMs: () => 0.1 }), node('slow', { serviceMs: () => 10 })];
    const { simulation, byTurns, latencies } = scene('peak-ewma', nodes);
    const first = Array.from({ length: 3 }, () => byTurns.choose(plain('x', 'y', 'z')).name);
    assert.equal(new Set(first).size, 3);
    simulation.run(byTurns, 1_000, 20, 20);
    const run = simulation.run(byTurns, 20_000, 20, 20);
    assert.ok(shares(run).slow! < 0.05, JSON.stringify(shares(run)));
    assert.ok(latencies.of('quick', simulation.nowMs)! < 0.2);
    assert.ok(Math.max(...run.waitsMs) < 60, `${Math.max(...run.waitsMs)}`);
  });
});

describe('peek', () => {
  for (const policy of POLICIES)
    for (const together of [false, true])
      test(`${policy}${together ? ', by turns' : ''}: says what the next choice is, and changes nothing`, () => {
        const nodes = [
          node('a', { weight: 3, serviceMs: () => 1.5 }),
          node('b', { weight: 2 }),
          node('back', { backSinceMs: 0 }),
        ];
        const peeked = scene(policy, nodes, { slowStartMs: 5_000 });
        const unseen = scene(policy, nodes, { slowStartMs: 5_000 });
        const watch = (balancer: Balancer): Balancer => ({
          peek: (nodes) => balancer.peek(nodes),
          choose: (nodes) => {
            const expected = balancer.peek(nodes);
            assert.equal(balancer.peek(nodes), expected);
            const chosen = balancer.choose(nodes);
            assert.equal(chosen, expected);
            return chosen;
          },
        });
        const of = ({ one, byTurns }: Scene): Balancer => (together ? byTurns : one);
        const a = peeked.simulation.run(watch(of(peeked)), 3_000, 2, 3);
        const b = unseen.simulation.run(of(unseen), 3_000, 2, 3);
        assert.deepEqual([...a.served], [...b.served]);
      });
});
