// What is PostgreSQL's own, through real clients and bare sockets.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { authTests } from './postgres-auth.js';
import { driverTests } from './postgres-drivers.js';
import { faultTests } from './postgres-faults.js';
import { pgbenchTests, psqlTests } from './postgres-programs.js';
import { protocolTests } from './postgres-protocol.js';
import { sessionTests } from './postgres-session.js';
import { Stage } from './stage.js';

test('postgres: clients and protocol', { skip: skipWithout(available('postgres')) }, async (t) => {
  const stage = await Stage.open(t, 'postgres');
  const { psql, pgbench } = stage.cluster.binaries;
  const skip = skipWithout(
    psql !== undefined && pgbench !== undefined
      ? { available: true, program: psql }
      : { available: false, reason: 'psql and pgbench are not installed (run test/install)' },
  );
  await t.test('psql', { skip }, (t) => psqlTests(t, stage));
  await t.test('drivers', (t) => driverTests(t, stage));
  await t.test('logins', (t) => authTests(t, stage));
  await t.test('protocol', (t) => protocolTests(t, stage));
  await t.test('session', (t) => sessionTests(t, stage));
  await t.test('faults', (t) => faultTests(t, stage));
  await t.test('pgbench', { skip }, (t) => pgbenchTests(t, stage));
});
