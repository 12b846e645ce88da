// What pipeline histories are played on: a cluster with a replica, a proxy that shares and prepares readily, and a second
// database on the primary that is the same as the proxied one.

import { type ProxyUnderTest, startProxyFor } from '../../proxy/proxy-under-test.js';
import type { TestCluster } from '../../servers/cluster.js';
import type { Stand } from './play.js';

const TWIN = 'twin';
const SCHEMA = [
  'CREATE TABLE r (id int PRIMARY KEY, v text)',
  "INSERT INTO r SELECT i, 'v' || i FROM generate_series(1, 5) i",
  'CREATE TABLE w (c int, k int, v int, PRIMARY KEY (c, k))',
  'CREATE SCHEMA one',
  'CREATE SCHEMA two',
  'CREATE TABLE one.moved (a int, b text)',
  "INSERT INTO one.moved VALUES (1, 'one'), (2, 'two')",
  'CREATE TABLE two.moved (a text)',
  "INSERT INTO two.moved VALUES ('1')",
  'GRANT ALL ON SCHEMA public, one, two TO app_trust',
  'GRANT ALL ON ALL TABLES IN SCHEMA public, one, two TO app_trust',
];

export async function openStand(cluster: TestCluster): Promise<Stand & { readonly proxy: ProxyUnderTest }> {
  const { primary, user } = cluster;
  const { default: pg } = await import('pg');
  const make = async (database: string): Promise<void> => {
    const client = new pg.Client({ host: primary.host, port: primary.port, database, ...cluster.superuser });
    await client.connect();
    for (const sql of SCHEMA) await client.query(sql);
    await client.end();
  };
  await primary.admin(`CREATE DATABASE ${TWIN}`);
  await make(TWIN);
  await make(user.database);
  await cluster.waitCaughtUp();
  const proxy = await startProxyFor(
    cluster,
    { pool: { maxServerConnections: 12 }, autoPrepare: { threshold: 2 }, sharing: { maxConnections: 1 } },
    { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, auth: 'trust' }] },
  );
  return {
    proxied: { host: proxy.host, port: proxy.port, database: user.database },
    bare: { host: primary.host, port: primary.port, database: TWIN },
    user: 'app_trust',
    proxy,
  };
}
