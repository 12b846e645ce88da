// What goes to one client: answers of the proxy's own, gathered until the stack is empty, replies as they came, and what it has
// been told of parameters. It knows no unit and no server connection.

import type { Socket } from 'node:net';
import { uncork, writeTogether } from '../lib/batched-writer.js';
import { Parameters } from './parameters.js';
import { parameterStatus } from './wire/backend-messages.js';

export class ClientOutput {
  readonly #socket: Socket;
  readonly #maxBufferBytes: number;
  /** Whichever server connection it came from. */
  told = Parameters.none;

  constructor(socket: Socket, maxBufferBytes: number) {
    this.#socket = socket;
    this.#maxBufferBytes = maxBufferBytes;
  }

  /** False: the client does not read what it is answered. */
  get keepsUp(): boolean {
    return this.#socket.writableLength < this.#maxBufferBytes;
  }

  /** True: go on. So it is for a client that is gone. */
  write(bytes: Buffer): boolean {
    if (!this.#socket.writable) return true;
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(uncork, this.#socket);
    }
    this.#socket.write(bytes);
    return this.keepsUp;
  }

  writeAll(slices: readonly Buffer[]): boolean {
    if (!this.#socket.writable) return true;
    writeTogether(this.#socket, slices);
    return this.keepsUp;
  }

  tellParameters(parameters: Parameters): void {
    const told = this.told;
    if (told === parameters) return;
    for (const [name, value] of parameters)
      if (told.get(name) !== value) this.write(parameterStatus(name, value));
    this.told = told.overlaid(parameters);
  }

  tellParameter(name: string, value: string): void {
    const told = this.told.with(name, value);
    if (told !== this.told) this.write(parameterStatus(name, told.get(name)!));
    this.told = told;
  }
}
