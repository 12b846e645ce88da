// Large results through a proxy before MySQL and MariaDB: as text and by a prepared statement.

import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import type { TestCluster } from '../servers/cluster.js';
import type { StormProxy } from '../storm/proxy.js';
import { largeResults, ROW_BYTES, ROWS } from './large-results.js';
import { command, MysqlWire } from './mysql-wire.js';

const SQL = `SELECT REPEAT('x', ${ROW_BYTES}) FROM many a, many b LIMIT ${ROWS}`;
const THOUSANDS = Math.ceil(Math.sqrt(ROWS));

async function open(t: TestContext, proxy: StormProxy, { user }: TestCluster): Promise<MysqlWire> {
  return MysqlWire.open(t, proxy, user.user, user.database);
}

/** From here on its bytes are not its own. */
function takeSocket(wire: MysqlWire): Socket {
  wire.socket.removeAllListeners('data');
  wire.socket.pause();
  return wire.socket;
}

const NUMBERS = {
  mysql: `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${THOUSANDS}) SELECT /*+ SET_VAR(cte_max_recursion_depth = ${THOUSANDS}) */ i FROM n`,
  mariadb: `SELECT seq AS i FROM seq_1_to_${THOUSANDS}`,
} as const;

for (const kind of ['mysql', 'mariadb'] as const)
  test(`${kind}: large results`, { skip: skipWithout(available(kind)) }, (t) =>
    largeResults(t, {
      kind,
      prepare: async ({ primary }) => {
        await primary.admin(`CREATE TABLE app.many AS ${NUMBERS[kind]}`);
      },
      ask: {
        text: async (t, proxy, cluster) => {
          const wire = await open(t, proxy, cluster);
          const socket = takeSocket(wire);
          wire.write(command.query(SQL));
          return socket;
        },
        prepared: async (t, proxy, cluster) => {
          const wire = await open(t, proxy, cluster);
          wire.write(command.stmtPrepare(SQL));
          const answer = await wire.packet();
          assert.equal(answer?.[0], 0);
          // The column's definition, and what ends it.
          await wire.packet();
          await wire.packet();
          const socket = takeSocket(wire);
          wire.write(command.stmtExecute(answer!.readUInt32LE(1)));
          return socket;
        },
      },
      // EOF_Packet: five bytes that begin with 0xfe.
      isEnd: (tail) => tail.readUIntLE(tail.length - 9, 3) === 5 && tail[tail.length - 5] === 0xfe,
    }),
  );
