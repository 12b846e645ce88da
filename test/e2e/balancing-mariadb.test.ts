// Balancing and node modes, on MariaDB.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { balancingTests } from './balancing.js';
import { Stage } from './stage.js';

test('mariadb: balancing and node modes', { skip: skipWithout(available('mariadb')) }, async (t) => {
  await balancingTests(t, await Stage.open(t, 'mariadb'));
});
