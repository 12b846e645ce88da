// The oracle as a test: seconds of it, with another seed every time. It fails on what is wrong and on an oracle that has
// hardly been asked, never on slowness.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Availability, skipWithout } from '../servers/available.js';
import { findings, summary, type Tally } from './tally.js';

export const SECONDS = 12;
export const AT_LEAST = 300;

export function shortOracle(
  name: string,
  available: Availability,
  ask: (seed: number) => Promise<Tally>,
): void {
  test(`${name}: what is classed a read is one`, { skip: skipWithout(available) }, async (t) => {
    const seed = Date.now() % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const tally = await ask(seed);
    for (const line of summary([tally])) t.diagnostic(line);
    assert.deepEqual(findings(tally), [], `seed ${seed}`);
    assert.ok(tally.reads > 500 && tally.proved > 100, `${tally.reads} reads, ${tally.proved} proved`);
    // What goes to the primary without a reason costs the primary; the tables leave room for little of that.
    const net = tally.readsAsWrites - tally.onPurpose;
    assert.ok(
      net < 0.05 * tally.proved,
      `${net} of ${tally.proved}: ${tally.stricter.slice(0, 20).join('\n')}`,
    );
  });
}
