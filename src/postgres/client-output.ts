// What goes to one client: answers of the proxy's own, gathered until the stack is empty, replies as they came, and what it has
// been told of parameters. It knows no unit and no server connection.

import type { Socket } from 'node:net';
import { ReplyWriter } from '../lib/reply-writer.js';
import { Parameters } from './parameters.js';
import type { ReplyEvents, ReplySink } from './run.js';
import { parameterStatus } from './wire/backend-messages.js';

export class ClientOutput extends ReplyWriter implements ReplySink {
  readonly events: ReplyEvents;
  processId = 0;
  /** Whichever server connection it came from. */
  told = Parameters.none;
  /** What a server connection had when `told` was last compared with it; null: `told` has changed since. */
  #compared: Parameters | null = null;

  constructor(socket: Socket, limitBytes: number, events: ReplyEvents) {
    super(socket, limitBytes);
    this.events = events;
  }

  tellParameters(parameters: Parameters): void {
    const told = this.told;
    if (told === parameters || parameters === this.#compared) return;
    for (const [name, value] of parameters)
      if (told.get(name) !== value) this.write(parameterStatus(name, value));
    this.told = told.overlaid(parameters);
    this.#compared = parameters;
  }

  tellParameter(name: string, value: string): void {
    const told = this.told.with(name, value);
    if (told === this.told) return;
    this.write(parameterStatus(name, told.get(name)!));
    this.told = told;
    this.#compared = null;
  }
}
