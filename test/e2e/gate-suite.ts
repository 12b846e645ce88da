// What every kind of cluster must keep of the levels of consistency; one test file a kind runs it on one cluster.

import { test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { gateTests } from './gate.js';
import { gateCancelTests } from './gate-cancel.js';
import { levelTests } from './levels.js';
import { plantedTests } from './planted-gate.js';
import { Stage } from './stage.js';

export function gateSuite(kind: Kind, version?: number): void {
  const label = version === undefined ? kind : `${kind} ${version}`;
  const skip = skipWithout(available(kind, version));
  test(`${label}: reads that are gated`, { skip }, async (t) => {
    const stage = await Stage.open(t, kind, version === undefined ? {} : { version });
    await t.test('gate', (t) => gateTests(t, stage));
    await t.test('levels', (t) => levelTests(t, stage));
    await t.test('cancel', (t) => gateCancelTests(t, stage));
    await t.test('planted', (t) => plantedTests(t, stage));
  });
}
