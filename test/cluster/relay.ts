// A TCP relay in front of one node, to cut the monitor off from it while everybody else reaches it.

import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from '../../src/cli/demo/port.js';
import type { NodeAddress } from '../../src/protocol/node-control.js';

export class Relay {
  #target: NodeAddress;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #mode: 'open' | 'silent' = 'open';
  #stalled: (() => void)[] | null = null;
  port = 0;

  constructor(target: NodeAddress) {
    this.#target = target;
  }

  get address(): NodeAddress {
    return { host: '127.0.0.1', port: this.port };
  }

  /** At each call on the same port, which nobody else takes meanwhile. */
  async listen(): Promise<void> {
    this.port ||= await freePort();
    const server = createServer((client) => this.#accept(client));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
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
        if (this.#stalled !== null) this.#stalled.push(() => to.write(bytes));
        else if (this.#mode === 'open') to.write(bytes);
      });
  }

  /** Connections stay and are made, but no byte passes: a network that drops packets. */
  silence(): void {
    this.#mode = 'silent';
  }

  /** Everything is kept, and passed on by `flow`: a network that is slow. */
  stall(): void {
    this.#stalled = [];
  }

  flow(): void {
    const kept = this.#stalled ?? [];
    this.#stalled = null;
    for (const pass of kept) pass();
  }

  /** From now on another one is behind it; connections end. */
  retarget(target: NodeAddress): void {
    this.#target = target;
    for (const socket of this.#sockets) socket.destroy();
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
