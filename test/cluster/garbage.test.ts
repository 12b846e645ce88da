// A node that breaks its protocol: the probe fails with a type, in time, and the process lives.

import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { MysqlNodeControl } from '../../src/mysql/node-control.js';
import { PostgresNodeControl } from '../../src/postgres/node-control.js';

/** A real MySQL greeting up to its scramble; what follows it is up to the case. */
const greeting = (() => {
  const body = Buffer.concat([
    Buffer.from([10]),
    Buffer.from('9.7.0\0'),
    Buffer.from([1, 0, 0, 0]),
    Buffer.alloc(8, 0x41),
    Buffer.from([0, 0xff, 0xf7, 0xff, 2, 0, 0xff, 0xdf, 21]),
    Buffer.alloc(10),
    Buffer.alloc(12, 0x42),
    Buffer.from([0]),
    Buffer.from('mysql_native_password\0'),
  ]);
  return Buffer.concat([Buffer.from([body.length, 0, 0, 0]), body]);
})();
const ok = (sequence: number) => Buffer.from([7, 0, 0, sequence, 0, 0, 0, 2, 0, 0, 0]);
const authenticated = Buffer.concat([
  Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]),
  Buffer.from([0x5a, 0, 0, 0, 5, 0x49]),
]);

const noise = (length: number): Buffer => {
  const bytes = Buffer.alloc(length);
  let state = 12345;
  for (let i = 0; i < length; i++) {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    bytes[i] = state >>> 24;
  }
  return bytes;
};

type Behaviour = (socket: Socket) => void;

const behaviours: Record<string, Behaviour> = {
  'noise at once': (socket) => socket.write(noise(10_000)),
  'an HTTP answer': (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'a length of 4 GiB': (socket) => socket.write(Buffer.from([0x52, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
  'a length of nothing': (socket) => socket.write(Buffer.from([0x52, 0, 0, 0, 0, 0, 0, 0, 0])),
  'closes at once': (socket) => socket.destroy(),
  resets: (socket) => socket.resetAndDestroy(),
  silence: () => {},
  'half a greeting': (socket) => socket.write(greeting.subarray(0, 30)),
  'noise after a login': (socket) => {
    socket.write(greeting);
    socket.once('data', () => {
      socket.write(ok(2));
      socket.on('data', () => socket.write(noise(5_000)));
    });
  },
  'noise after authentication': (socket) => {
    socket.once('data', () => {
      socket.write(authenticated);
      socket.on('data', () => socket.write(noise(5_000)));
    });
  },
  'stalls in an answer': (socket) => {
    socket.once('data', () => {
      socket.write(authenticated);
      socket.on('data', () => socket.write(Buffer.from([0x54, 0, 0, 1, 0, 0])));
    });
  },
};

const options = { user: 'u', password: 'p', database: 'd', applicationName: 'test' };
const controls = { postgres: PostgresNodeControl, mysql: MysqlNodeControl };

for (const [protocol, Control] of Object.entries(controls))
  for (const [name, behave] of Object.entries(behaviours))
    test(`${protocol}: ${name}`, async (t) => {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
        behave(socket);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      const control = new Control({ host: '127.0.0.1', port }, options);
      t.after(async () => {
        await control.close();
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      });
      for (let round = 0; round < 3; round++)
        await assert.rejects(control.probe(300), (error: Error) => {
          assert.equal(error.name, 'ProbeFailure', String(error.stack));
          return true;
        });
    });
