// The suite that every kind of cluster must pass; one test file a kind runs it on one cluster.

import { test } from 'node:test';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { consistencyTests } from './consistency.js';
import { failoverTests } from './failover.js';
import { operationTests } from './operations.js';
import { poolingTests } from './pooling.js';
import { replicaTests } from './replicas.js';
import { routingTests } from './routing.js';
import { Stage } from './stage.js';
import { statementTests } from './statements.js';

export function commonSuite(kind: Kind, version?: number): void {
  const label = version === undefined ? kind : `${kind} ${version}`;
  const skip = skipWithout(available(kind, version));
  test(`${label}: reads and writes through the proxy`, { skip }, async (t) => {
    // MariaDB counts reads by table only when it is told to.
    const settings = kind === 'mariadb' ? { userstat: 1 } : {};
    const stage = await Stage.open(t, kind, { settings, ...(version === undefined ? {} : { version }) });
    await t.test('routing', (t) => routingTests(t, stage));
    await t.test('consistency', (t) => consistencyTests(t, stage));
    await t.test('pooling', (t) => poolingTests(t, stage));
    await t.test('replicas', (t) => replicaTests(t, stage));
    await t.test('statements', (t) => statementTests(t, stage));
    await t.test('operations', (t) => operationTests(t, stage));
    // Last: the cluster is another one afterwards.
    await t.test('failover', (t) => failoverTests(t, stage));
  });
}
