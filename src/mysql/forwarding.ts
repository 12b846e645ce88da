// What has been read for the client of the head, on its way there: what is passed on as it came, what is built anew, and what is done
// when that client does not keep up. It looks into no packet and writes to no node.

import type { Expectation } from './expectation.js';
import type { Reply } from './reply.js';
import type { Run } from './run.js';
import type { MysqlServerConnection } from './server-connection.js';
import type { PacketFramer } from './wire/framer.js';

type Server = Pick<MysqlServerConnection, 'pauseReading' | 'evacuate'>;

export class Forwarding {
  readonly #server: Server;
  readonly #framer: PacketFramer;
  /** What of the current chunk goes to the head's client. */
  #slices: Buffer[] = [];

  constructor(server: Server, framer: PacketFramer) {
    this.#server = server;
    this.#framer = framer;
  }

  /** What comes next begins a packet. */
  get isBetweenPackets(): boolean {
    return this.#framer.isBetweenPackets;
  }

  /** The packet that waits in the framer, as it came. */
  pass(run: Run, reply: Reply): void {
    this.#framer.pass();
    if (reply.isAtRows) reply.rows += this.#framer.passRows();
    run.sequence = (this.#framer.sequence + 1) & 0xff;
  }

  /** The packet that waits in the framer, for nobody. */
  drop(): void {
    // The rest of a packet that has been passed on until its client went.
    this.#framer.takeRun();
    this.#framer.drop();
  }

  /** In place of the packet that waits in the framer (`peeked`), or has been taken from it. */
  replace(head: Expectation, frame: Buffer, peeked: boolean): void {
    this.#gather(head);
    if (peeked) this.#framer.drop();
    this.#forward(head, frame);
  }

  /** What has been passed on so far, before anything else is. */
  #gather(head: Expectation): void {
    const passed = this.#framer.takeRun();
    if (passed !== null && head.visibleRun !== null) this.#forward(head, passed);
  }

  #forward(head: Expectation, bytes: Buffer): void {
    head.forwarded = true;
    head.replyBytes += bytes.length;
    this.#slices.push(bytes);
  }

  flush(head: Expectation): void {
    this.#gather(head);
    const slices = this.#slices;
    if (slices.length === 0) return;
    this.#slices = [];
    if (head.visibleRun === null || head.visibleRun.sink.writeAll(slices)) return;
    // Whoever waits behind a client that does not keep up would wait for it.
    this.#server.pauseReading();
    this.#server.evacuate();
  }

  /** The head's client is gone, or runs it elsewhere. */
  discard(): void {
    this.#slices.length = 0;
    this.#framer.takeRun();
  }
}
