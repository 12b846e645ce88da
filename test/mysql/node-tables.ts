// Tables that tell of one server, named with their database or found in the one that the client is in: the primary answers for all.
// Run by node-tables-mysql.test.ts and node-tables-mariadb.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql from 'mysql2/promise';
import { startProxyFor } from '../proxy/proxy-under-test.js';
import { available, type Kind, skipWithout } from '../servers/available.js';
import { startCluster } from '../servers/cluster.js';
import { until } from '../servers/poll.js';

const LISTENER = { name: 'test', host: '127.0.0.1', port: 0 } as const;
/** The server's port, in a table of each. */
const PLACES = {
  mysql: { database: 'performance_schema', table: 'global_variables', names: ['performance_schema'] },
  mariadb: {
    database: 'information_schema',
    table: 'GLOBAL_VARIABLES',
    names: ['information_schema', 'INFORMATION_SCHEMA'],
  },
};

export function nodeTables(kind: Exclude<Kind, 'postgres'>): void {
  test(`${kind}: tables that tell of one server`, { skip: skipWithout(available(kind)) }, async (t) => {
    const cluster = await startCluster(kind, { replicas: 1 });
    t.after(() => cluster.stop());
    const { user, password } = cluster.superuser;
    const { database: home } = cluster.user;
    const users = [{ name: user, password }];
    const proxy = await startProxyFor(cluster, { users }, { listeners: [LISTENER] });
    t.after(() => proxy.stop());
    const open = async (database: string) => {
      const { host, port } = proxy;
      const client = await mysql.createConnection({ host, port, user, password, database });
      t.after(() => client.destroy());
      return client;
    };
    const onReplica = () =>
      proxy.proxy.counters().clusters.get('main')!.nodes.get(cluster.replicas[0]!.name)!.units.replica;
    const client = await open(home);
    await client.query('CREATE TABLE plain (v int)');
    const { database, table, names } = PLACES[kind];
    const asked = `SELECT variable_value AS port FROM ${table} WHERE variable_name = 'port'`;
    const readsOnReplica = (client: mysql.Connection) =>
      until('reads go to the replica', async () => {
        const before = onReplica();
        await client.query('SELECT v FROM plain');
        return onReplica() > before;
      });
    const isOfPrimary = async (client: mysql.Connection, sql: string): Promise<void> => {
      for (let i = 0; i < 4; i++) {
        const [rows] = await client.query(sql);
        assert.deepEqual(rows, [{ port: String(cluster.primary.port) }], sql);
        const [prepared] = await client.execute(sql);
        assert.deepEqual(prepared, rows, sql);
      }
    };
    await readsOnReplica(client);

    await t.test('in the database of the client, whichever way he came there', async () => {
      await isOfPrimary(client, asked.replace(table, `${database}.${table}`));
      await readsOnReplica(client);
      for (const name of names) {
        await client.query(`USE ${name}`);
        await isOfPrimary(client, asked);
        await client.query(`USE ${home}`);
        await readsOnReplica(client);
      }
      await client.changeUser({ database });
      await isOfPrimary(client, asked);
      await client.changeUser({ database: home });
      await readsOnReplica(client);
      await isOfPrimary(await open(database), asked);
    });

    await t.test('logs in tables', async () => {
      await cluster.primary.admin("SET GLOBAL log_output = 'TABLE'");
      await cluster.primary.admin('SET GLOBAL general_log = 1');
      try {
        await cluster.primary.admin("SELECT 'noticed'");
        const count = async (from: string): Promise<number> => {
          const [rows] = await client.query(
            `SELECT count(*) AS n FROM ${from} WHERE argument LIKE '%noticed%'`,
          );
          return Number((rows as { n: number }[])[0]!.n);
        };
        assert.ok((await count('mysql.general_log')) > 0);
        await client.query('USE mysql');
        assert.ok((await count('general_log')) > 0);
        await client.query(`USE ${home}`);
      } finally {
        await cluster.primary.admin('SET GLOBAL general_log = 0');
      }
      await readsOnReplica(client);
    });
  });
}
