// Since when a node serves reads again: after an absence, not after a mishap, and not because the proxy has just come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { postgresPositions } from '../../src/postgres/position.js';
import { fromWire, toWire } from '../../src/proxy/workers/wire-snapshot.js';
import { healthy, nodeConfig, Picture } from './pictures.js';

const NEVER = Number.NEGATIVE_INFINITY;

test('when the proxy starts nobody has been away', () => {
  const picture = healthy();
  for (const name of ['b', 'c']) assert.equal(picture.node(name).backSinceMs, NEVER);
});

test('a replica that was down is back when it answers again', () => {
  const picture = healthy().later(1_000).fails('b', 'refused', 3).later(5_000).replica('b', { from: 'a' });
  assert.equal(picture.node('b').backSinceMs, picture.nowMs);
  assert.equal(picture.node('b').awaySinceMs, null);
  assert.equal(picture.node('c').backSinceMs, NEVER);
  const backSinceMs = picture.nowMs;
  picture.later(100).replica('b', { from: 'a' });
  assert.equal(picture.node('b').backSinceMs, backSinceMs, 'an answer more changes nothing');
});

test('a probe that failed once, or a broken connection, is no absence', () => {
  const picture = healthy().fails('b', 'timeout').later(200).replica('b', { from: 'a' });
  picture.event((nowMs) => ({ type: 'reported', node: 'c', message: 'reset', nowMs }));
  assert.equal(picture.node('c').health, 'suspect');
  picture.later(100).replica('c', { from: 'a' });
  for (const name of ['b', 'c']) assert.equal(picture.node(name).backSinceMs, NEVER);
});

test('nor is one that lasts: that counts', () => {
  const picture = healthy()
    .fails('b', 'starting-up')
    .later(600)
    .fails('b', 'starting-up')
    .replica('b', { from: 'a' });
  assert.equal(picture.node('b').backSinceMs, picture.nowMs);
});

test('a mode that kept it away counts, once it lasted', () => {
  const drained = [nodeConfig('a'), nodeConfig('b', { mode: 'drain' }), nodeConfig('c')];
  const all = [nodeConfig('a'), nodeConfig('b'), nodeConfig('c')];
  const picture = healthy().configure(drained).later(100).configure(all);
  assert.equal(picture.node('b').backSinceMs, NEVER);
  picture.configure(drained).later(5_000).replica('b', { from: 'a' }).configure(all);
  assert.equal(picture.node('b').backSinceMs, picture.nowMs);
});

test('a replica that was down when the proxy came, or that is new in the configuration, comes cold', () => {
  const picture = new Picture([nodeConfig('a'), nodeConfig('b')]).primary('a').fails('b', 'refused', 3);
  picture.later(5).replica('b', { from: 'a' });
  assert.equal(picture.node('b').backSinceMs, picture.nowMs);
  picture.configure([nodeConfig('a'), nodeConfig('b'), nodeConfig('d')]).replica('d', { from: 'a' });
  assert.equal(picture.node('d').backSinceMs, picture.nowMs);
});

test("workers are told, in the machine's time", () => {
  const picture = healthy().later(1_000).fails('b', 'refused', 3).later(5_000).replica('b', { from: 'a' });
  picture.fails('c', 'refused', 3);
  const told = fromWire(toWire(picture.snapshot), postgresPositions);
  for (const [i, { backSinceMs, awaySinceMs }] of told.nodes.entries()) {
    const node = picture.snapshot.nodes[i]!;
    const same = (a: number | null, b: number | null) =>
      assert.ok(a === b || Math.abs(a! - b!) < 0.01, `${node.name}: ${a} ${b}`);
    same(backSinceMs, node.backSinceMs);
    same(awaySinceMs, node.awaySinceMs);
  }
});
