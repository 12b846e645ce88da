// Explain and the list of sessions, on PostgreSQL.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { explainTests } from './explain.js';
import { Stage } from './stage.js';

test('postgres: explain and sessions', { skip: skipWithout(available('postgres')) }, async (t) => {
  await explainTests(t, await Stage.open(t, 'postgres'));
});
