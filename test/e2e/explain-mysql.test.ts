// Explain and the list of sessions, on MySQL.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { explainTests } from './explain.js';
import { Stage } from './stage.js';

test('mysql: explain and sessions', { skip: skipWithout(available('mysql')) }, async (t) => {
  await explainTests(t, await Stage.open(t, 'mysql'));
});
