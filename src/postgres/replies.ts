// What a node sends on a server connection, message by message: each is the run's at the head of the queue, forwarded, dropped or kept
// back. It writes nothing to the node, and does not know who the clients are.

import type { ServerError } from '../protocol/unit.js';
import type { AnswerEnd } from './answer-end.js';
import { hearNotice, isHealable } from './auto-heal.js';
import { isOurs, toldAs } from './error-cause.js';
import type { Established } from './established.js';
import { type Expectation, isHeader, isThrough } from './expectation.js';
import type { ExpectationQueue } from './expectation-queue.js';
import type { Forwarding } from './forwarding.js';
import { nameNotifier } from './own-notifications.js';
import { refusedParse } from './refused-parse.js';
import { retryOf } from './replica-errors.js';
import { advance, giveFakes } from './reply-steps.js';
import type { ReplySink } from './run.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { SyncGroup } from './sync-group.js';
import { isDescription, noteDescription } from './told-descriptions.js';
import {
  BACKEND,
  type BackendKey,
  parseCommandComplete,
  parseErrorResponse,
  parseParameterStatus,
} from './wire/backend.js';
import { malformed } from './wire/bytes.js';
import type { Framer } from './wire/framer.js';

type Server = Pick<PostgresServerConnection, 'closed' | 'parameters' | 'prepared'>;

export class Replies {
  /** Of the last run: where a notification goes that comes between units. */
  lastSink: ReplySink | null = null;
  /** FATAL: the node says why it closes. */
  farewell: string | null = null;
  /** Of the last chunk. */
  isRowsOnly = false;
  readonly #server: Server;
  readonly #framer: Framer;
  readonly #backendKey: BackendKey | null;
  readonly #queue: ExpectationQueue;
  readonly #group: SyncGroup;
  readonly #forwarding: Forwarding;
  readonly #answerEnd: AnswerEnd;

  constructor(
    server: Server,
    { framer, backendKey }: Established,
    queue: ExpectationQueue,
    group: SyncGroup,
    forwarding: Forwarding,
    answerEnd: AnswerEnd,
  ) {
    this.#server = server;
    this.#framer = framer;
    this.#backendKey = backendKey;
    this.#queue = queue;
    this.#group = group;
    this.#forwarding = forwarding;
    this.#answerEnd = answerEnd;
  }

  /** True: it was rows only, and all of them have been written. Throws what the framer cannot go on from. */
  read(chunk: Buffer): boolean {
    this.isRowsOnly = true;
    this.#framer.push(chunk);
    while (this.#framer.next() === 'ready') {
      this.#onMessage();
      if (this.#server.closed) return false;
    }
    if (this.#framer.error !== null) throw this.#framer.error;
    const { head } = this.#queue;
    this.#forwarding.flush(head);
    return this.isRowsOnly && this.#forwarding.slices.isEmpty && head?.run?.sink.isWritten === true;
  }

  #onMessage(): void {
    const { type, buffer, start, isFirst, isLast } = this.#framer;
    const isRow = type === BACKEND.dataRow || type === BACKEND.copyData;
    const joined = isRow ? this.#framer.joinSame() : 0;
    if (!isRow) this.isRowsOnly = false;
    const end = this.#framer.end;
    const { head } = this.#queue;
    switch (type) {
      case BACKEND.parameterStatus:
        this.#onParameterStatus(head, buffer, start, end);
        return;
      case BACKEND.noticeResponse:
        if (head?.run != null && hearNotice(head.run, head.step))
          this.#forwarding.forward(head, buffer, start, end);
        return;
      case BACKEND.notificationResponse:
        nameNotifier(buffer, start, this.#backendKey, head?.run?.sink ?? this.lastSink);
        if (head?.run != null) this.#forwarding.forward(head, buffer, start, end);
        else this.lastSink?.write(Buffer.from(buffer.subarray(start, end)));
        return;
      case BACKEND.errorResponse:
        this.#onError(head, buffer, start, end);
        if (head?.grouped === true && head.failed) this.#answerEnd.groupFailed(head);
        return;
    }
    if (head === undefined) throw malformed(`message ${String.fromCharCode(type)} that nothing asked for`);
    if (!head.hasTold && head.run !== null && !head.muted) {
      head.hasTold = true;
      head.run.sink.tellParameters(this.#server.parameters);
    }
    if (type === BACKEND.readyForQuery) {
      this.#answerEnd.ready(head, buffer, start, end);
      return;
    }
    if (type === BACKEND.dataRow) {
      head.untaggedRows += joined + (isFirst ? 1 : 0);
    } else if (type === BACKEND.commandComplete) {
      if (isFirst) head.complete(parseCommandComplete(buffer, start, end), this.#server.prepared);
    } else if (type === BACKEND.portalSuspended) head.suspend();
    const run = head.run;
    if (run === null) {
      if (type === BACKEND.dataRow) head.reader?.row(buffer, start, end);
      return;
    }
    if (head.beginPending && type === BACKEND.commandComplete) {
      head.beginPending = false;
      return;
    }
    if (isFirst && type === BACKEND.copyInResponse && !head.muted) {
      this.#forwarding.forward(head, buffer, start, end);
      head.committed = true;
      this.#forwarding.flush(head);
      run.sink.events.copyInStarted();
      return;
    }
    const { slices } = this.#forwarding;
    const verb =
      run.steps === null ? 'forward' : advance(head, run.steps, type, isLast, slices, this.#server.prepared);
    if (isDescription(type) && isFirst && isLast) noteDescription(head, type, buffer, start, end);
    if (verb === 'forward') {
      this.#forwarding.forward(head, buffer, start, end);
      head.cut = !isLast;
      // Until something but headers comes, an error can still be kept from the client.
      if (!isHeader(type)) head.committed = true;
    }
    if (head.grouped && isLast && isThrough(head)) this.#answerEnd.keep(head);
  }

  #onParameterStatus(head: Expectation | undefined, buffer: Buffer, start: number, end: number): void {
    const { name, value } = parseParameterStatus(buffer, start, end);
    this.#server.parameters = this.#server.parameters.with(name, value);
    if (head?.run != null && !head.muted) {
      this.#forwarding.flush(head);
      head.run.sink.tellParameter(name, value);
    }
    for (const { run, muted } of this.#group.answered) if (!muted) run!.sink.tellParameter(name, value);
  }

  #onError(head: Expectation | undefined, buffer: Buffer, start: number, end: number): void {
    const fields = parseErrorResponse(buffer, start, end);
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC' || head === undefined) {
      // The node ends the connection; the client's one goes on, so it learns of it by its session.
      this.farewell = `${fields.code} ${fields.message}`;
      return;
    }
    const error: ServerError = {
      code: fields.code,
      message: fields.message,
      routine: fields.all.get('R') ?? '',
    };
    head.error = error;
    head.failed = true;
    const run = head.run;
    if (run === null) return;
    const ours = isOurs(head, run, fields, this.#server.prepared);
    const heals = !head.committed && isHealable(run, head.step, error.code);
    if (head.grouped) return;
    const { slices } = this.#forwarding;
    if (heals) {
      head.withheld = 'again';
      slices.discard();
      return;
    }
    if (run.withhold && !head.committed) {
      const fromReplica = run.onReplica ? retryOf(fields) : null;
      const retryOn = ours ? 'elsewhere' : fromReplica;
      if (retryOn !== null) {
        head.withheld = retryOn;
        slices.discard();
        return;
      }
    }
    if (run.steps !== null) {
      giveFakes(head, run.steps, slices, refusedParse(run.steps, head.step, error.code));
      if (!head.muted) run.steps[head.step]?.failed?.();
    }
    const told = toldAs(head, run, error.code, buffer, start, end);
    if (told === null) this.#forwarding.forward(head, buffer, start, end);
    else slices.push(told);
    head.committed = true;
  }
}
