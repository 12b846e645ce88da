// How the end of an answer is told: to a run, once everything is known that its reply should have told, and to a command of our own.
// It reads no packet and opens no socket.

import { settle } from './aftermath.js';
import type { Expectation } from './expectation.js';
import type { ExpectationQueue } from './expectation-queue.js';
import type { Forwarding } from './forwarding.js';
import type { Run } from './run.js';
import type { MysqlServerConnection } from './server-connection.js';
import { tell } from './telling.js';

type Server = Parameters<typeof settle>[0] &
  Pick<MysqlServerConnection, 'broke' | 'onDrained' | 'resumeReading'>;

export class AnswerEnd {
  readonly #server: Server;
  readonly #queue: ExpectationQueue;
  readonly #forwarding: Forwarding;

  constructor(server: Server, queue: ExpectationQueue, forwarding: Forwarding) {
    this.#server = server;
    this.#queue = queue;
    this.#forwarding = forwarding;
  }

  /** The last packet of its answer has come. */
  finish(head: Expectation): void {
    this.#forwarding.flush(head);
    this.#queue.shift();
    try {
      this.#end(head);
    } catch (cause) {
      // It has left the queue: nobody else would tell its client.
      this.#server.broke(cause, head.run?.sink ?? null);
    }
    if (this.#queue.length === 0) this.#server.onDrained?.();
  }

  #end(head: Expectation): void {
    // However slowly this client reads what has been handed over: the next run may be another's.
    this.#server.resumeReading();
    const { run } = head;
    if (run === null) {
      head.ownDone?.({ error: head.error, rows: head.rows ?? [], prepared: head.prepared });
      return;
    }
    if (head.muted) return;
    settle(this.#server, head, () => this.#conclude(head, run));
  }

  #conclude(head: Expectation, run: Run): void {
    const { withheld } = head;
    if (withheld === null) tell(this.#server, run, head.answered(run, this.#server.transaction));
    else tell(this.#server, run, { kind: 'withheld', error: head.error!, retryOn: withheld });
  }
}
