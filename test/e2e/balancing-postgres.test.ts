// Balancing and node modes, on PostgreSQL.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { balancingTests } from './balancing.js';
import { Stage } from './stage.js';

test('postgres: balancing and node modes', { skip: skipWithout(available('postgres')) }, async (t) => {
  await balancingTests(t, await Stage.open(t, 'postgres'));
});
