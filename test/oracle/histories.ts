// The histories as a test: seconds of them, with another seed every time; a failure is printed so that it can be played again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { lineOf, playHistories } from './histories/run.js';

export function shortHistories(kind: Kind): void {
  test(`${kind}: no history sends a write to a replica or splits a transaction`, {
    skip: skipWithout(available(kind)),
  }, async (t) => {
    const report = await playHistories({ kind, seed: Date.now() % 1_000_000, histories: 60, seconds: 8 });
    t.diagnostic(lineOf(report));
    assert.equal(report.violations.length, 0, report.violations.join('\n'));
    assert.ok(report.onReplicas > 0, 'no read went to a replica');
  });
}
