// What the tests of auto-prepare stand on: a cluster, a proxy with few server connections, and twins before both.

import type { TestContext } from 'node:test';
import pg from 'pg';
import type { ConfigInput } from '../../src/config/schema.js';
import { type ProxyUnderTest, startProxyFor } from '../proxy/proxy-under-test.js';
import type { TestCluster } from '../servers/cluster.js';
import type { RawClient, Twin } from './twin.js';

const LISTENER = { name: 'test', host: '127.0.0.1', port: 0, auth: 'trust' } as const;

export async function front(
  t: TestContext,
  cluster: TestCluster,
  changes: Partial<ConfigInput['clusters'][number]> = {},
  listener: Partial<ConfigInput['listeners'][number]> = {},
): Promise<ProxyUnderTest> {
  // One server connection, so that what one client leaves there meets the next one.
  const one = { pool: { maxServerConnections: 1 }, ...changes };
  const proxy = await startProxyFor(cluster, one, { listeners: [{ ...LISTENER, ...listener }] });
  t.after(() => proxy.stop());
  return proxy;
}

export interface Scene {
  readonly cluster: TestCluster;
  readonly proxy: ProxyUnderTest;
  /** Straight to the primary. */
  readonly owner: RawClient;
  readonly twin: (t: TestContext) => Promise<Twin>;
}

export async function asSuperuser(t: TestContext, cluster: TestCluster) {
  const client = new pg.Client({
    host: cluster.primary.host,
    port: cluster.primary.port,
    database: cluster.user.database,
    ...cluster.superuser,
  });
  client.on('error', () => {});
  await client.connect();
  t.after(() => client.end());
  return { do: (sql: string) => client.query(sql) };
}
