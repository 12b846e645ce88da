// Both ends of connections within this process, for tests of what is done with a socket.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { until } from '../servers/poll.js';

export interface SocketPair {
  readonly connected: Socket;
  readonly accepted: Socket;
}

export class SocketPairs {
  readonly #server: Server;
  readonly #accepted: Socket[] = [];

  private constructor() {
    this.#server = createServer((socket) => this.#accepted.push(socket)).listen(0, '127.0.0.1');
  }

  static async listen(): Promise<SocketPairs> {
    const pairs = new SocketPairs();
    await once(pairs.#server, 'listening');
    return pairs;
  }

  /** One at a time: the last that was accepted is taken for the other end. */
  async open(): Promise<SocketPair> {
    const { port } = this.#server.address() as AddressInfo;
    const count = this.#accepted.length;
    const connected = connect(port, '127.0.0.1');
    await until('it is accepted', () => this.#accepted.length > count);
    return { connected, accepted: this.#accepted.at(-1)! };
  }

  close(): void {
    for (const socket of this.#accepted) socket.destroy();
    this.#server.close();
  }
}
