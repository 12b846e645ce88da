// A TCP relay that makes one node seem far away: each answer comes so much later.

import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface SlowRelay {
  readonly port: number;
  /** Of each answer; from now on. */
  delayMs: number;
}

export async function slowRelay(
  t: TestContext,
  target: { readonly host: string; readonly port: number },
): Promise<SlowRelay> {
  const sockets = new Set<Socket>();
  const relay = { port: 0, delayMs: 0 };
  const server = createServer((client) => {
    const node = connect(target.port, target.host);
    for (const [socket, other] of [
      [client, node],
      [node, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (bytes) => node.write(bytes));
    let lastMs = 0;
    node.on('data', (bytes) => {
      if (relay.delayMs === 0 && performance.now() >= lastMs) {
        client.write(bytes);
        return;
      }
      // Nothing overtakes.
      lastMs = Math.max(lastMs, performance.now() + relay.delayMs);
      setTimeout(() => client.write(bytes), lastMs - performance.now());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address !== null && typeof address === 'object') relay.port = address.port;
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return relay;
}
