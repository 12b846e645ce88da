// What stories are played on: a cluster with a replica, a proxy with few server connections, and a second pair of databases on
// the primary that is the same as the proxied one. It knows no story.

import { type ProxyUnderTest, startProxyFor } from '../../proxy/proxy-under-test.js';
import { startCluster, type TestCluster } from '../../servers/cluster.js';
import { type Flavor, schema } from './material.js';
import { DATABASES, NOISE, SLOTS, type Stand } from './play.js';

const USER = 'app_empty';
const SETTINGS = {
  mysql: { 'local-infile': 'ON', 'log-bin-trust-function-creators': 'ON' },
  mariadb: { 'local-infile': 'ON', 'log-bin-trust-function-creators': 'ON' },
} as const;

export interface Scene extends Stand {
  readonly cluster: TestCluster;
  readonly proxy: ProxyUnderTest;
  stop(): Promise<void>;
}

export async function openScene(flavor: Flavor): Promise<Scene> {
  const cluster = await startCluster(flavor, { replicas: 1, settings: SETTINGS[flavor] });
  const { primary, superuser } = cluster;
  const { createConnection } = await import('mysql2/promise');
  const admin = await createConnection({ host: primary.host, port: primary.port, ...superuser });
  for (const role of ['first_role', 'second_role']) {
    await admin.query(`CREATE ROLE ${role}`);
    await admin.query(`GRANT ${role} TO ${USER}`);
  }
  for (const database of Object.values(DATABASES))
    for (const name of [database, `${database}2`]) {
      await admin.query(`CREATE DATABASE IF NOT EXISTS ${name}`);
      await admin.query(`GRANT ALL ON ${name}.* TO ${USER}`);
      await admin.query(`USE ${name}`);
      for (let n = 1; n <= SLOTS; n++) for (const sql of schema(n)) await admin.query(sql);
      await admin.query(`CREATE TABLE a${NOISE} (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(5))`);
      await admin.query(`INSERT INTO a${NOISE} (v) VALUES (1), (2), (3), (4), (5), (6), (7), (8)`);
      await admin.query(`CREATE DATABASE IF NOT EXISTS hid${database}`);
    }
  for (const database of Object.values(DATABASES)) {
    const secret = `hid${database}.secret`;
    await admin.query(`CREATE TABLE ${secret} (id INT)`);
    await admin.query(`GRANT SELECT ON ${secret} TO first_role`);
  }
  await admin.end();
  await cluster.waitCaughtUp();
  const proxy = await startProxyFor(
    cluster,
    { pool: { maxServerConnections: 4, waitTimeoutMs: 60_000 }, sharing: { maxConnections: 1 } },
    { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, auth: 'trust' }] },
  );
  return {
    flavor,
    user: USER,
    proxied: { host: proxy.host, port: proxy.port },
    bare: { host: primary.host, port: primary.port },
    cluster,
    proxy,
    stop: async () => {
      await proxy.stop();
      await cluster.stop();
    },
  };
}
