// What a client may say while the running COPY FROM STDIN takes its data, and what is done with it.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import { FRONTEND } from './wire/frontend.js';

export class CopyIn {
  /** An extended batch began it. */
  readonly #inBatch: boolean;
  /** CopyDone or CopyFail has come. */
  #isOver = false;

  constructor(inBatch: boolean) {
    this.#inBatch = inBatch;
  }

  /** `last`: it goes to the server too, and nothing more does. */
  verb(type: number): 'feed' | 'last' | 'skip' {
    switch (type) {
      case FRONTEND.copyData:
        return 'feed';
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        this.#isOver = true;
        return this.#inBatch ? 'feed' : 'last';
      case FRONTEND.flush:
        return 'skip';
      case FRONTEND.sync:
        // Between the data a server throws it away (protocol-flow, COPY operations).
        return this.#inBatch && this.#isOver ? 'last' : 'skip';
      default:
        throw new ProxyError('protocol-violation', {
          detail: `message "${String.fromCharCode(type)}" during COPY FROM STDIN`,
        });
    }
  }
}
