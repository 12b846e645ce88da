// What a client may say while the running COPY FROM STDIN takes its data, and what is done with it.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import { FRONTEND } from './wire/frontend.js';

export class CopyIn {
  /** The Sync of its batch came before its data, and was thrown away: another one ends the batch. */
  readonly #owesSync: boolean;
  /** CopyDone or CopyFail has come. */
  #isOver = false;
  #isFull = false;

  constructor(owesSync: boolean) {
    this.#owesSync = owesSync;
  }

  /** The server takes no more for now. */
  get isFull(): boolean {
    return this.#isFull;
  }

  pausedFor(server: { whenDrained(callback: () => void): void }, drained: () => void): void {
    this.#isFull = true;
    server.whenDrained(() => {
      this.#isFull = false;
      drained();
    });
  }

  /** `last`: it goes to the server too, and is the end of it; of a batch that is open still, more messages may follow. */
  verb(type: number): 'feed' | 'last' | 'skip' {
    switch (type) {
      case FRONTEND.copyData:
        return 'feed';
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        this.#isOver = true;
        return this.#owesSync ? 'feed' : 'last';
      case FRONTEND.flush:
        return 'skip';
      case FRONTEND.sync:
        // Between the data a server throws it away (protocol-flow, COPY operations).
        return this.#owesSync && this.#isOver ? 'last' : 'skip';
      default:
        throw new ProxyError('protocol-violation', {
          detail: `message "${String.fromCharCode(type)}" during COPY FROM STDIN`,
        });
    }
  }
}
