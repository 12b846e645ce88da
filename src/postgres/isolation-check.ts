// Whether a server connection's transactions are SERIALIZABLE by role, database or configuration: what a session sets itself is
// tracked, this no message tells. It holds no socket; the server connection asks.

import { onlyValue } from './wire/backend.js';
import { buildQuery } from './wire/frontend.js';

export const ISOLATION_QUERY = buildQuery('SHOW default_transaction_isolation');

/** Asked again after so many units: a reload of the configuration changes it in running sessions. */
const ASKED_EVERY = 1024;

export class IsolationCheck {
  /** SERIALIZABLE is not: reads of one transaction could make others' fail, and its own end may. */
  mayGroup = false;
  #untilAsked = 0;

  /** Of each unit that might be one of a group. True: it is time to ask. */
  get isDue(): boolean {
    return this.#untilAsked-- <= 0;
  }

  asked(): void {
    this.#untilAsked = ASKED_EVERY;
  }

  /** A transaction has failed as only few do. */
  doubt(): void {
    this.mayGroup = false;
    this.#untilAsked = 0;
  }

  row(buffer: Buffer, start: number, end: number): void {
    this.mayGroup = onlyValue(buffer, start, end) !== 'serializable';
  }
}
