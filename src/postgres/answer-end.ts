// How the end of an answer is told: to a run, to a group that ends with one Sync, to a statement of our own; and what the node said
// of the transaction there. It reads no other message and opens no socket.

import type { ServerError, TransactionStatus } from '../protocol/unit.js';
import type { Expectation } from './expectation.js';
import type { ExpectationQueue } from './expectation-queue.js';
import { forgetUnprepared } from './forget-unprepared.js';
import type { Forwarding } from './forwarding.js';
import { isRollback } from './replica-errors.js';
import { giveFakes } from './reply-steps.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { SyncGroup } from './sync-group.js';
import { tell } from './telling.js';
import { parseReadyForQuery } from './wire/backend.js';
import { readyForQuery } from './wire/backend-messages.js';

const READY = readyForQuery('idle');

type Server = Pick<
  PostgresServerConnection,
  'broke' | 'prepared' | 'unnamed' | 'onDrained' | 'resumeReading' | 'closeStatements'
>;

export class AnswerEnd {
  /** As the last ReadyForQuery said. */
  transaction: TransactionStatus = 'idle';
  readonly #server: Server;
  readonly #queue: ExpectationQueue;
  readonly #group: SyncGroup;
  readonly #forwarding: Forwarding;

  constructor(server: Server, queue: ExpectationQueue, group: SyncGroup, forwarding: Forwarding) {
    this.#server = server;
    this.#queue = queue;
    this.#group = group;
    this.#forwarding = forwarding;
  }

  /** ReadyForQuery has come. */
  ready(head: Expectation, buffer: Buffer, start: number, end: number): void {
    this.transaction = parseReadyForQuery(buffer, start, end);
    const serviceMs = this.#queue.ready();
    // While these are told, it is not drained yet.
    if (this.#group.answered.length > 0) this.#endGroup(head.error, serviceMs);
    this.#queue.shift();
    this.#end(head, serviceMs, buffer, start, end);
    if (this.#queue.length === 0) this.#server.onDrained?.();
  }

  /** The head has all its answers but ReadyForQuery, which the server gives the whole group. */
  keep(head: Expectation): void {
    this.#queue.shift();
    this.#group.keep(head, this.#forwarding.slices.take());
  }

  /** `error`: its end has failed, and it is as if it had never been. */
  #endGroup(error: ServerError | null, serviceMs: number): void {
    const members = this.#group.takeAnswered();
    if (error !== null) this.#group.isolation.doubt();
    for (const member of members) {
      if (error === null) {
        this.#forwarding.slices.restore(member.kept);
        this.#end(member, serviceMs / members.length, READY, 0, READY.length);
      } else if (!member.muted)
        tell(this.#server, member.run!, { kind: 'moved', because: 'neighbour-failed' });
    }
  }

  /**
   * The server skips the rest of the head's group. The one that has failed runs again too: what others hold, or how long they took,
   * may be why, and by itself it meets what it would without us.
   */
  groupFailed(head: Expectation): void {
    const skipped = this.#queue.takeFailed();
    try {
      for (let i = skipped.length - 1; i >= 0; i--) forgetUnprepared(skipped[i]!, this.#server);
      if (head.stale !== null) this.#server.closeStatements(head.stale);
    } catch (cause) {
      // They have left the queue: nobody else would tell them.
      this.#server.broke(cause, null);
    }
    if (isRollback(head.error!.code)) this.#group.isolation.doubt();
    this.#forwarding.slices.discard();
    for (const { run, muted } of skipped)
      if (!muted) tell(this.#server, run!, { kind: 'moved', because: 'neighbour-failed' });
  }

  /** It has left the queue: nobody would tell its client that this has thrown. */
  #end(head: Expectation, serviceMs: number, buffer: Buffer, start: number, end: number): void {
    try {
      this.#tell(head, serviceMs, buffer, start, end);
    } catch (cause) {
      this.#server.broke(cause, head.run?.sink.events ?? null);
    }
  }

  #tell(head: Expectation, serviceMs: number, buffer: Buffer, start: number, end: number): void {
    const run = head.run;
    if (run === null) {
      head.ownDone?.(head.error);
      return;
    }
    const { slices } = this.#forwarding;
    const isShare = head.grouped;
    run.serviceMs = isShare ? null : serviceMs;
    // Of an open batch more may have been skipped since the error came.
    if (head.failed) forgetUnprepared(head, this.#server);
    // Behind ReadyForQuery, where it works in a failed transaction too, and before anything binds it again.
    if (head.stale !== null) this.#server.closeStatements(head.stale);
    if (head.muted) {
      slices.discard();
      return;
    }
    if (head.withheld === 'again') {
      slices.discard();
      run.heal(head.error!);
      return;
    }
    if (head.withheld !== null) {
      slices.discard();
      run.done({ kind: 'withheld', error: head.error!, retryOn: head.withheld }, head.tag);
      return;
    }
    if (run.steps !== null && !head.failed) giveFakes(head, run.steps, slices);
    if (run.isEndOurs !== true) {
      // The BEGIN fell with it; for the client it had long been done.
      const fell = head.failed && run.isBehindBegin && this.transaction === 'idle';
      if (fell) slices.push(readyForQuery('failed'));
      else this.#forwarding.forward(head, buffer, start, end);
    }
    head.committed = true;
    this.#forwarding.flush(head);
    // However slowly this client reads what has been handed over: the next run may be another's.
    this.#server.resumeReading();
    const { error, replyBytes, rows, tag } = head;
    const outcome = {
      kind: 'answered',
      transaction: this.transaction,
      error,
      position: null,
      returnedRows: true,
      gatedAt: run.gate?.query.have ?? null,
      serviceMs,
      isShare,
      replyBytes,
      rows,
    } as const;
    run.done(outcome, tag);
  }
}
