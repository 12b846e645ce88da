// What is MySQL's and MariaDB's own, through real clients and bare sockets; a test file for each kind of server runs it.

import { test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import { driverTests } from './mysql-drivers.js';
import { programTests } from './mysql-programs.js';
import { protocolTests } from './mysql-protocol.js';
import { sessionTests } from './mysql-session.js';
import { Stage } from './stage.js';

export function mysqlSuite(kind: 'mysql' | 'mariadb'): void {
  test(`${kind}: clients and protocol`, { skip: skipWithout(available(kind)) }, async (t) => {
    const stage = await Stage.open(t, kind, { settings: { 'local-infile': 1 } });
    await t.test('drivers', (t) => driverTests(t, stage));
    await t.test('session', (t) => sessionTests(t, stage));
    await t.test('protocol', (t) => protocolTests(t, stage));
    await t.test('programs', (t) => programTests(t, stage));
  });
}
