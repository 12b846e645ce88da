// Balancing and node modes, on MySQL.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { balancingTests } from './balancing.js';
import { Stage } from './stage.js';

test('mysql: balancing and node modes', { skip: skipWithout(available('mysql')) }, async (t) => {
  await balancingTests(t, await Stage.open(t, 'mysql'));
});
