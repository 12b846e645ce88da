// Together or spread, against servers in a few lines: one whose reads wait, and one whose processors are short.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SpreadTrial } from '../../src/pool/spread-trial.js';

interface Node {
  /** Milliseconds that a unit takes with so many clients, queue and all. */
  unitMs(clients: number, spreads: boolean): number;
}

/** Reads of 1 ms that wait: four connections, or twenty. */
const waits: Node = {
  unitMs: (clients, spreads) => Math.max(1, clients / (spreads ? 20 : 4)),
};
/** Two processors, and a little for each connection in use. */
const works: Node = {
  unitMs: (clients, spreads) => Math.max(1, clients / 2) * (spreads ? 1.1 : 1),
};

/** Clients that ask again as soon as they are answered. Answers which part of the units was spread, in the second half. */
function run(trial: SpreadTrial, node: Node, clients: number, ms: number, from = 0): number {
  let spread = 0;
  let units = 0;
  for (let now = from; now < from + ms; ) {
    now += node.unitMs(clients, trial.spreads) / clients;
    trial.note(clients - 1, now);
    if (now < from + ms / 2) continue;
    units++;
    if (trial.spreads) spread++;
  }
  return spread / units;
}

test('reads that wait spread; they come together when processors are short, and the other way round', () => {
  const trial = new SpreadTrial();
  assert.equal(trial.spreads, false);
  assert.ok(run(trial, waits, 64, 60_000) > 0.98);
  assert.ok(run(trial, works, 64, 120_000, 60_000) < 0.05);
  assert.ok(run(trial, waits, 64, 120_000, 180_000) > 0.98);
});

test('where both are alike they stay together', () => {
  assert.ok(run(new SpreadTrial(), waits, 1, 60_000) < 0.05);
  assert.ok(run(new SpreadTrial(), works, 64, 60_000) < 0.05);
});

test('a pause in the middle of a trial is no measurement', () => {
  const trial = new SpreadTrial();
  let now = 0;
  while (!trial.spreads) {
    now += 1;
    trial.note(8, now);
    assert.ok(now < 10_000);
  }
  trial.note(0, now + 60_000);
  assert.equal(trial.spreads, false);
});
