// Large results through a proxy before PostgreSQL: by simple query and by extended batch.

import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { available, skipWithout } from '../servers/available.js';
import type { TestCluster } from '../servers/cluster.js';
import type { StormProxy } from '../storm/proxy.js';
import { largeResults, ROW_BYTES, ROWS } from './large-results.js';
import { say, startupMessage } from './postgres-wire.js';

const SQL = `SELECT repeat('x', ${ROW_BYTES}) FROM generate_series(1, ${ROWS})`;
const READY = Buffer.from('Z\0\0\0\u0005I');

const asking =
  (question: Buffer) =>
  async (t: TestContext, { host, port }: StormProxy, { user: { user, database } }: TestCluster) => {
    const socket = connect(port, host);
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(Buffer.concat([startupMessage({ user, database }), question]));
    return socket;
  };

test('postgres: large results', { skip: skipWithout(available('postgres')) }, (t) =>
  largeResults(t, {
    kind: 'postgres',
    ask: { simple: asking(say.query(SQL)), extended: asking(say.run(SQL)) },
    isEnd: (tail) => tail.subarray(-READY.length).equals(READY),
  }),
);
