// What gates have told of replicas, over the pictures of the monitor: it stands until a later probe, and falls with the node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptySnapshot } from '../../src/cluster/reducer.js';
import type { ClusterSnapshot, NodeSnapshot } from '../../src/cluster/snapshot.js';
import { postgresPositions as positions } from '../../src/postgres/position.js';
import { Applied } from '../../src/proxy/applied.js';

const at = (lsn: number, line = 1) => positions.parse(`0/${lsn.toString(16)}@${line}`);
const told = (lsn: number) => positions.parse(`0/${lsn.toString(16)}`);
const replica = (
  applied: number,
  appliedAtMs: number,
  changes: Partial<NodeSnapshot> = {},
): ClusterSnapshot => ({
  ...emptySnapshot('c', 0),
  nodes: [
    {
      name: 'r',
      role: 'replica',
      health: 'up',
      applied: at(applied),
      appliedAtMs,
      ...changes,
    } as NodeSnapshot,
  ],
});
const appliedOf = (snapshot: ClusterSnapshot | null) => snapshot?.nodes[0]?.applied?.text;

test('a gate says more than the probe before it, and less than the one after it', () => {
  const applied = new Applied(positions);
  assert.equal(appliedOf(applied.learn(replica(0x100, 10), 'r', told(0x200), 20)), '0/200@1');
  assert.equal(applied.learn(replica(0x300, 10), 'r', told(0x200), 20), null, 'the probe says more');
  assert.equal(appliedOf(applied.over(replica(0x180, 15))), '0/200@1', 'a probe sent before the answer');
  assert.equal(appliedOf(applied.over(replica(0x280, 15))), '0/280@1');
  assert.equal(
    appliedOf(applied.over(replica(0x190, 21))),
    '0/190@1',
    'one sent after it: the node has gone back',
  );
  assert.equal(appliedOf(applied.over(replica(0x180, 15))), '0/180@1', 'and stays where it is');
});

test('with the node what is known of it goes', () => {
  for (const changes of [{ health: 'suspect' }, { role: 'unknown' }, { applied: at(0x100, 2) }] as const) {
    const applied = new Applied(positions);
    applied.learn(replica(0x100, 10), 'r', told(0x200), 20);
    const { health = 'up', role = 'replica' } = changes as Partial<NodeSnapshot>;
    const snapshot = replica(0x100, 15, changes);
    if (health === 'up' && role === 'replica') continue;
    assert.equal(appliedOf(applied.over(snapshot)), '0/100@1');
    assert.equal(appliedOf(applied.over(replica(0x100, 15))), '0/100@1', 'also when it is back');
  }
});
