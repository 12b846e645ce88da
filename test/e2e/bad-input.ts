// What clients do to a listener that they should not, and that nobody else may notice: the parts that are the same for every
// protocol, with the protocol's own bytes as parameters.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { until } from '../servers/poll.js';
import type { Address } from './driver.js';
import type { Front, Stage } from './stage.js';

/** Everything that came until the other side closed. */
export interface Answer {
  readonly bytes: Buffer;
}

/** Writes bytes to a new connection and waits until the proxy has ended it. */
export async function answerTo(t: TestContext, at: Address, ...writes: readonly Buffer[]): Promise<Answer> {
  const { socket, received } = await dial(t, at);
  for (const bytes of writes) if (!socket.destroyed) socket.write(bytes);
  await until('the proxy to end the connection', () => socket.closed);
  return { bytes: received() };
}

export async function dial(t: TestContext, at: Address): Promise<{ socket: Socket; received(): Buffer }> {
  const chunks: Buffer[] = [];
  const socket = connect(at.port, at.host);
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (chunk) => chunks.push(chunk));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return { socket, received: () => Buffer.concat(chunks) };
}

/** Somebody who works all the while; every answer is checked. */
export async function bystander(t: TestContext, front: Front): Promise<{ end(): Promise<number> }> {
  const client = await front.connect(t);
  let ended = false;
  let answers = 0;
  const working = (async () => {
    while (!ended) {
      const [row] = await client.query('SELECT name FROM items WHERE id = ?', [1]);
      assert.equal(row?.name, 'one');
      answers++;
    }
  })();
  working.catch(() => {});
  return {
    async end() {
      ended = true;
      await working;
      assert.equal(client.broken, null);
      assert.ok(answers > 0);
      return answers;
    },
  };
}

/** What was held for clients that are gone has been given back. */
export async function nothingLeft(front: Front): Promise<void> {
  await until('all server connections to be free', () =>
    front.status().nodes.every((node) => node.pool.leased === 0 && node.pool.waiting === 0),
  );
}

export async function manyWithoutLogin(
  t: TestContext,
  stage: Stage,
  options: {
    /** What each of them sends: less than a login. */
    readonly bytes: Buffer;
    /** What each is told at the deadline, as it stands on the wire. */
    readonly farewell: RegExp;
  },
): Promise<void> {
  const count = 2000;
  const front = await stage.front(
    t,
    {},
    { listeners: [{ name: 'test', host: '127.0.0.1', port: 0, loginTimeoutMs: 5000 }] },
  );
  const worker = await bystander(t, front);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const idlers: { socket: Socket; received(): Buffer }[] = [];
  for (let i = 0; i < count; i++) {
    const idler = await dial(t, front.proxy);
    idler.socket.write(options.bytes);
    idlers.push(idler);
  }
  await until('all to be there', () => front.proxy.proxy.admin.status().listeners[0]!.clients > 1);
  const grown = process.memoryUsage();
  const each = (grown.rss - before.rss) / count;
  // Both ends live in this process.
  assert.ok(each < 64 * 1024, `${Math.round(each)} bytes for each`);
  await until('the deadline to end them', () => idlers.every(({ socket }) => socket.closed));
  for (const { received } of idlers) assert.match(received().toString('latin1'), options.farewell);
  const clients = () => front.proxy.proxy.admin.status().listeners[0]!.clients;
  await until('the listener to have forgotten them', () => clients() === 1);
  const answers = await worker.end();
  t.diagnostic(
    `${Math.round(each)} bytes for each of ${count}; ${answers} answers for somebody else meanwhile`,
  );
}
