// What a session says of its pins, to whom, and when the server connection is asked about them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PinsTold } from '../../src/protocol/client-connection.js';
import type { ServerConnection } from '../../src/protocol/server-connection.js';
import { Pins } from '../../src/proxy/pins.js';
import type { PinReason } from '../../src/sql/statement.js';
import { clusterCounters, createCounters } from '../../src/telemetry/counters.js';
import { openLog } from '../../src/telemetry/log.js';

function scene() {
  const counters = clusterCounters(createCounters(), 'main');
  const lines: { level: string; reason: string }[] = [];
  const { log } = openLog({ level: 'debug', format: 'json' }, (text) => lines.push(JSON.parse(text)));
  const pins = new Pins({ counters, log });
  const asked: PinsTold[] = [];
  const client = {
    askedPins: new Set<PinReason>(['listen', 'session-lock']),
    askPins: (_: ServerConnection, done: PinsTold) => asked.push(done),
  };
  const state = { freed: 0 };
  const ask = (isInside = false, asksPinsAtOnce = false): void =>
    pins.ask({ ...client, asksPinsAtOnce }, {} as ServerConnection, isInside, () => state.freed++);
  const add = (reason: PinReason, goes = true): void => {
    pins.add(reason, goes);
    pins.mayBeGone();
  };
  return { counters, lines, log, pins, add, asked, ask, state };
}

test('each reason is counted and logged once, the first of a cluster louder', () => {
  const { counters, lines, log, pins } = scene();
  pins.add('listen');
  pins.add('listen');
  pins.add('session-lock');
  const another = new Pins({ counters, log });
  another.add('listen');
  assert.deepEqual(counters.pins, { listen: 2, 'session-lock': 1 });
  assert.deepEqual(counters.pinned, { listen: 2, 'session-lock': 1 });
  assert.deepEqual(
    lines.map(({ level, reason }) => [level, reason]),
    [
      ['info', 'listen'],
      ['info', 'session-lock'],
      ['debug', 'listen'],
    ],
  );
  pins.remove('listen');
  another.leave();
  another.leave();
  // What its last unit has left, told late.
  another.add('session-lock');
  assert.deepEqual(another.lose(), ['listen', 'session-lock']);
  assert.deepEqual(counters.pinned, { listen: 0, 'session-lock': 1 });
  pins.remove('all');
  assert.deepEqual(counters.pinned, { listen: 0, 'session-lock': 0 });
  assert.equal(pins.any, false);
});

test('what may have left more than it says goes with all the rest only', () => {
  const { pins, add, ask, asked } = scene();
  add('listen', false);
  add('listen', true);
  pins.remove('listen');
  ask();
  assert.deepEqual([pins.reasons, asked.length], [['listen'], 0]);
  pins.remove('all');
  add('listen');
  ask();
  assert.equal(asked.length, 1);
});

test('asked once for each change, outside of a transaction, and not beside what cannot be asked about', () => {
  const { pins, add, ask, asked, state } = scene();
  ask();
  add('listen');
  add('load');
  ask();
  assert.equal(asked.length, 0);
  pins.remove('load');
  ask(true);
  assert.equal(asked.length, 0);
  ask();
  ask();
  assert.equal(asked.length, 1);
  asked[0]!(new Set(['listen']));
  ask();
  assert.deepEqual([asked.length, state.freed], [1, 0]);
  pins.mayBeGone();
  ask();
  asked[1]!(new Set());
  assert.deepEqual([pins.any, state.freed], [false, 1]);
});

test('where only the moment behind a change will do it is asked then, also in a transaction, or not at all', () => {
  const { pins, add, ask, asked } = scene();
  add('listen');
  ask(true, true);
  assert.equal(asked.length, 1);
  add('load');
  ask(false, true);
  pins.remove('load');
  ask(false, true);
  assert.equal(asked.length, 1);
});

test('an answer says all that there is, an error nothing', () => {
  const { pins, add, ask, asked, state } = scene();
  add('listen');
  ask();
  asked[0]!(new Set(['session-lock']));
  assert.deepEqual([pins.reasons, state.freed], [['session-lock'], 0]);
  pins.mayBeGone();
  ask();
  asked[1]!(null);
  assert.deepEqual([pins.reasons, state.freed], [['session-lock'], 0]);
});
