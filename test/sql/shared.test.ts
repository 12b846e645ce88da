// What both dialects share: hints, the cache by shape, and the class of several statements in one text.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HintReader, looksLikeHint, parseHint } from '../../src/sql/hint.js';
import { emptyStatement, mergeClasses } from '../../src/sql/merge.js';
import { hashBytes, ShapeCache } from '../../src/sql/shape-cache.js';
import type { StatementClass } from '../../src/sql/statement.js';
import { TextCache } from '../../src/sql/text-cache.js';

test('hints', () => {
  const entries = (text: string): unknown => {
    const hint = parseHint(text);
    return hint && Object.fromEntries(hint);
  };
  assert.deepEqual(entries(' scheelite: route=primary maxLagMs=500'), { route: 'primary', maxlagms: '500' });
  assert.deepEqual(entries('SCHEELITE:a="b c" d=\'e f\',g=h;i = j'), { a: 'b c', d: 'e f', g: 'h', i: 'j' });
  assert.deepEqual(entries('scheelite: nonsense a=1 a=2'), { a: '2' });
  assert.deepEqual(entries('scheelite:'), {});
  assert.equal(entries('scheelit: a=b'), null);
  assert.equal(entries('x scheelite: a=b'), null);
  const many = Array.from({ length: 100 }, (_, i) => `k${String.fromCharCode(97 + (i % 26))}${i}=1`).join(
    ' ',
  );
  assert.equal(parseHint(`scheelite: ${many}`)?.size, 16);
});

test('hints are recognized by their bytes and remembered', () => {
  const sql = Buffer.from('/* Scheelite: session=alice */ SELECT 1');
  assert.ok(looksLikeHint(sql, 2, 28));
  assert.ok(!looksLikeHint(sql, 4, 28));
  const reader = new HintReader();
  const first = reader.read(sql, 2, 28);
  assert.deepEqual(first && Object.fromEntries(first), { session: 'alice' });
  assert.equal(reader.read(Buffer.from(sql), 2, 28), first);
  assert.equal(reader.read(Buffer.from(` scheelite: ${'x'.repeat(2000)}`), 0, 2000), null);
});

function key(text: string): [Uint8Array, number, number, number] {
  const bytes = Buffer.from(text);
  return [bytes, 0, bytes.length, hashBytes(bytes, 0, bytes.length)];
}

test('the cache answers for equal bytes and equal salt only', () => {
  const cache = new ShapeCache<string>({ maxEntries: 10, maxBytes: 1000 });
  cache.set(...key('select ?'), 1, 'a');
  assert.equal(cache.get(...key('select ?'), 1), 'a');
  assert.equal(cache.get(...key('select ?'), 2), undefined);
  assert.equal(cache.get(...key('select  ?'), 1), undefined);
  // The same hash with other bytes is a miss, not an answer.
  const [bytes, start, end, hash] = key('select x');
  assert.notEqual(hash, key('select ?')[3]);
  assert.equal(cache.get(bytes, start, end, key('select ?')[3], 1), undefined);
  // The key is a copy: the caller's buffer is used again.
  const buffer = Buffer.from('abc');
  cache.set(buffer, 0, 3, hashBytes(buffer, 0, 3), 0, 'b');
  buffer.fill(0x78);
  assert.equal(cache.get(...key('abc'), 0), 'b');
});

test('the cache is bounded in entries and bytes, and keeps what is used', () => {
  const cache = new ShapeCache<number>({ maxEntries: 100, maxBytes: 10_000 });
  cache.set(...key('hot'), 0, -1);
  for (let i = 0; i < 5000; i++) {
    cache.set(...key(`cold ${i}`), 0, i);
    if (i % 20 === 0) assert.equal(cache.get(...key('hot'), 0), -1, `after ${i}`);
    assert.ok(cache.size <= 100);
  }
  for (let i = 0; i < 500; i++) {
    cache.set(...key(`${i} ${'x'.repeat(900)}`), 0, i);
    assert.ok(cache.bytes <= 10_000);
  }
  cache.set(...key('y'.repeat(20_000)), 0, 1);
  assert.equal(cache.get(...key('y'.repeat(20_000)), 0), undefined);
  cache.clear();
  assert.deepEqual([cache.size, cache.bytes], [0, 0]);
});

test('once the cache has been full, what comes once pushes nothing out', () => {
  const cache = new ShapeCache<number>({ maxEntries: 200, maxBytes: 1_000_000 });
  const popular = Array.from({ length: 50 }, (_, i) => `popular ${i}`);
  for (const [i, text] of popular.entries()) cache.set(...key(text), 0, i);
  // Not one of them is asked for meanwhile: an order by recency alone would have lost them after 200.
  for (let i = 0; i < 20_000; i++) {
    const flood = key(`flood ${i}`);
    assert.equal(cache.get(...flood, 0), undefined);
    cache.set(...flood, 0, i);
  }
  for (const [i, text] of popular.entries()) assert.equal(cache.get(...key(text), 0), i, text);
  assert.ok(cache.size <= 200);
  assert.ok(cache.refused > 19_000);
  // What comes again is let in.
  const late = key('late');
  cache.set(...late, 0, 1);
  assert.equal(cache.get(...late, 0), undefined);
  cache.set(...late, 0, 2);
  assert.equal(cache.get(...late, 0), 2);
});

test('long keys and large values push nothing out either', () => {
  const cache = new ShapeCache<number>({ maxEntries: 10_000, maxBytes: 1_000_000 });
  cache.set(...key('popular'), 0, 1, 600);
  for (let i = 0; i < 2_000; i++) cache.set(...key(`${i} ${'x'.repeat(30_000)}`), 0, i, 2_000);
  assert.equal(cache.get(...key('popular'), 0), 1);
  assert.ok(cache.bytes <= 1_000_000);
  // The value alone is over the bound.
  cache.set(...key('large'), 0, 1, 600_000);
  assert.equal(cache.get(...key('large'), 0), undefined);
});

test('texts are remembered as they are, once they recur', () => {
  const cache = new TextCache<string>();
  const text = (n: number) => Buffer.from(`SELECT a FROM t WHERE b = ${n}`);
  for (let i = 0; i < 20; i++) if (cache.get(text(1), 1) === null) cache.offer(text(1), 1, 'one');
  assert.equal(cache.get(text(1), 1), 'one');
  assert.equal(cache.get(text(1), 2), null);
  assert.equal(cache.get(text(2), 1), null);
  const changed = text(1);
  changed[changed.length - 3] = 0x58;
  assert.equal(cache.get(changed, 1), null);
  // Bounded, whatever comes; a text that is too long is not kept.
  for (let i = 0; i < 100_000; i++) {
    const long = Buffer.from(`${i % 3_000} ${'y'.repeat(1_990)}`);
    if (cache.get(long, 1) === null) cache.offer(long, 1, 'y');
    if (i % 1_000 === 0) assert.ok(cache.bytes <= 1024 * 1024);
  }
  const huge = Buffer.alloc(3_000, 0x61);
  for (let i = 0; i < 20; i++) if (cache.get(huge, 1) === null) cache.offer(huge, 1, 'huge');
  assert.equal(cache.get(huge, 1), null);
  cache.clear();
  assert.deepEqual([cache.bytes, cache.get(text(1), 1)], [0, null]);
});

function statement(route: StatementClass['route'], more: Partial<StatementClass> = {}): StatementClass {
  return { ...emptyStatement, reasons: [], statements: 1, verb: 'X', ...more, route };
}

test('several statements: the strictest decides', () => {
  const set = statement('session', { session: [{ kind: 'reset', name: 'a' }] });
  const begin = statement('primary', {
    transaction: { kind: 'begin', readOnly: null, isolation: null, snapshot: false },
  });
  const rollback = statement('last', { transaction: { kind: 'rollback', chain: false } });
  const write = statement('primary', {
    reasons: ['writes'],
    ddl: true,
    pin: 'temporary-table',
    verb: 'CREATE',
  });
  const read = statement('replica');

  assert.equal(mergeClasses([]).statements, 0);
  assert.equal(mergeClasses([emptyStatement, read]), read);
  assert.equal(mergeClasses([read, read]).route, 'replica');
  assert.equal(mergeClasses([read, read]).statements, 2);
  const mixed = mergeClasses([read, write]);
  assert.deepEqual(
    [mixed.route, mixed.pin, mixed.ddl, mixed.verb],
    ['primary', 'temporary-table', true, 'X'],
  );
  assert.deepEqual(mergeClasses([set, set]).session.length, 2);
  assert.equal(mergeClasses([set, set]).route, 'session');
  assert.equal(mergeClasses([set, read]).route, 'primary');
  assert.equal(mergeClasses([set, read]).pin, null);
  // Who knows what a rollback takes back.
  const undone = mergeClasses([begin, set, rollback]);
  assert.deepEqual(
    [undone.pin, undone.session, undone.transaction?.kind],
    ['untracked-setting', [], 'rollback'],
  );
  assert.equal(mergeClasses([statement('last'), statement('last')]).route, 'last');
  assert.equal(
    mergeClasses([statement('last', { prepared: { kind: 'execute', name: 'p' } }), read]).pin,
    'sql-prepare',
  );
});
