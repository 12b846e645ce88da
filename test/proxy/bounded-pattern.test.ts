// Patterns that would take minutes are ended, and then not tried any more; what they were to deny is denied.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuleConfig } from '../../src/config/schema.js';
import { boundedPatternTest } from '../../src/proxy/bounded-pattern.js';

const rule = (name: string, deny: string | null) => ({ name, action: { deny } }) as RuleConfig;

test('a pattern finds what it finds', () => {
  const check = boundedPatternTest(() => assert.fail('it is fast'));
  assert.equal(check(rule('a', null), /from t\b/i, 'select ? from t where a = ?'), true);
  assert.equal(check(rule('a', null), /from u\b/i, 'select ? from t where a = ?'), false);
});

test('a pattern that takes too long is ended and given up', () => {
  const heard: string[] = [];
  const check = boundedPatternTest((name, givenUp) => heard.push(`${name} ${givenUp}`));
  const shape = 'ab'.repeat(1000);
  const slow = /.*a.*b.*a.*b.*c/;
  for (let i = 0; i < 5; i++) {
    assert.equal(check(rule('route', null), slow, shape), false);
    assert.equal(check(rule('deny', 'no'), slow, shape), true);
  }
  assert.deepEqual(heard, [
    'route false',
    'deny false',
    'route false',
    'deny false',
    'route true',
    'deny true',
  ]);
  // Others are tried as before.
  assert.equal(check(rule('other', null), /ab$/, shape), true);
});

test('a pattern that had no turn of the processor is tried again', () => {
  const heard: string[] = [];
  let tries = 0;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const waiting = Object.assign(/a/, {
    test: () => {
      // Three times as long as it may take, and nothing of the processor.
      if (tries++ < 2) Atomics.wait(cell, 0, 0, 60);
      return false;
    },
  });
  const check = boundedPatternTest((name) => heard.push(name));
  assert.equal(check(rule('deny', 'no'), waiting, 'select ?'), false);
  assert.ok(tries > 2, String(tries));
  assert.deepEqual(heard, []);
});

test('one that never has a turn is ended all the same', () => {
  const heard: string[] = [];
  const check = boundedPatternTest(
    (name) => heard.push(name),
    () => 0,
  );
  assert.equal(check(rule('deny', 'no'), /.*a.*b.*a.*b.*c/, 'ab'.repeat(1000)), true);
  assert.deepEqual(heard, ['deny']);
});
