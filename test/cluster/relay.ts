// A TCP relay in front of one node, to cut the monitor off from it while everybody else reaches it.

import { connect, createServer, type Server, type Socket } from 'node:net';
import type { NodeAddress } from '../../src/protocol/node-control.js';

export class Relay {
  readonly #target: NodeAddress;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #mode: 'open' | 'silent' = 'open';
  port = 0;

  constructor(target: NodeAddress) {
    this.#target = target;
  }

  get address(): NodeAddress {
    return { host: '127.0.0.1', port: this.port };
  }

  async listen(): Promise<void> {
    const server = createServer((client) => this.#accept(client));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    const address = server.address();
    if (address !== null && typeof address === 'object') this.port = address.port;
  }

  #accept(client: Socket): void {
    this.#sockets.add(client);
    client.on('error', () => client.destroy());
    client.on('close', () => this.#sockets.delete(client));
    const upstream = connect(this.#target.port, this.#target.host);
    this.#sockets.add(upstream);
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => {
      this.#sockets.delete(upstream);
      client.destroy();
    });
    client.on('close', () => upstream.destroy());
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      from.on('data', (bytes) => {
        if (this.#mode === 'open') to.write(bytes);
      });
  }

  /** Connections stay and are made, but no byte passes: a network that drops packets. */
  silence(): void {
    this.#mode = 'silent';
  }

  open(): void {
    this.#mode = 'open';
    // What was swallowed is missing in the streams.
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}
