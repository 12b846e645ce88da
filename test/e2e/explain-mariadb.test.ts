// Explain and the list of sessions, on MariaDB.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { explainTests } from './explain.js';
import { Stage } from './stage.js';

test('mariadb: explain and sessions', { skip: skipWithout(available('mariadb')) }, async (t) => {
  await explainTests(t, await Stage.open(t, 'mariadb'));
});
