// What has been read for the client of the head, on its way there: what of it may still be kept from it, and what is done when that
// client does not keep up. It reads no message and writes to no node.

import type { Expectation } from './expectation.js';
import type { ExpectationQueue } from './expectation-queue.js';
import { ReplySlices } from './reply-slices.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { SyncGroup } from './sync-group.js';

type Server = Pick<PostgresServerConnection, 'pauseReading' | 'evacuate'>;

export class Forwarding {
  readonly slices = new ReplySlices();
  readonly #server: Server;
  readonly #queue: ExpectationQueue;
  readonly #group: SyncGroup;

  constructor(server: Server, queue: ExpectationQueue, group: SyncGroup) {
    this.#server = server;
    this.#queue = queue;
    this.#group = group;
  }

  /** Messages that follow each other in one chunk become one slice. */
  forward(head: Expectation, buffer: Buffer, start: number, end: number): void {
    if (head.withheld !== null || head.muted) return;
    head.replyBytes += end - start;
    this.slices.add(buffer, start, end);
  }

  flush(head: Expectation | undefined): void {
    if (head === undefined || head.run === null || head.muted) return;
    if (head.grouped && head === this.#queue.head) {
      if (this.#group.isTooLong(head.replyBytes)) this.#server.evacuate();
      return;
    }
    if (head.run.withhold && !head.committed) return;
    if (head.step <= head.run.healUntil && !head.committed) return;
    const slices = this.slices.take();
    if (slices.length === 0) return;
    head.forwarded = true;
    if (head.run.sink.writeAll(slices) || head !== this.#queue.head) return;
    // Whoever waits behind a client that does not keep up would wait for it.
    this.#server.pauseReading();
    this.#server.evacuate();
  }
}
