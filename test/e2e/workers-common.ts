// What clients see of protocols, of their sessions and of operations is the same with several workers; a test file for each kind of
// server runs it. The rest of the end-to-end tests runs so by itself only (npm run test:workers).

import { test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import * as mysqlDrivers from './mysql-drivers.js';
import * as mysqlProtocol from './mysql-protocol.js';
import * as mysqlSession from './mysql-session.js';
import { operationTests } from './operations.js';
import * as postgresDrivers from './postgres-drivers.js';
import * as postgresProtocol from './postgres-protocol.js';
import * as postgresSession from './postgres-session.js';
import { Stage } from './stage.js';
import { WORKERS } from './workers-stage.js';

const POSTGRES = { ...postgresDrivers, ...postgresProtocol, ...postgresSession };
const MYSQL = { ...mysqlDrivers, ...mysqlProtocol, ...mysqlSession };

export function workersCommonSuite(kind: Kind): void {
  const { driverTests, sessionTests, protocolTests } = kind === 'postgres' ? POSTGRES : MYSQL;
  test(`${kind}: clients of several workers`, { skip: skipWithout(available(kind)) }, async (t) => {
    const settings = kind === 'postgres' ? {} : { 'local-infile': 1 };
    const stage = await Stage.open(t, kind, { settings, workers: WORKERS });
    await t.test('drivers', (t) => driverTests(t, stage));
    await t.test('session', (t) => sessionTests(t, stage));
    await t.test('protocol', (t) => protocolTests(t, stage));
    await t.test('operations', (t) => operationTests(t, stage));
  });
}
