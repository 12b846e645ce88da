// A socket for a connection that is kept between questions: it keeps the event loop alive only while one is open,
// so that a test which forgets to stop a cluster ends (and takes the servers with it) instead of hanging.

import { Socket } from 'node:net';

export class AdminSocket extends Socket {
  #open = 0;

  /** Runs the exchange with the event loop held. */
  async during<T>(exchange: () => Promise<T>): Promise<T> {
    if (this.#open++ === 0) this.ref();
    try {
      return await exchange();
    } finally {
      if (--this.#open === 0) this.unref();
    }
  }
}
