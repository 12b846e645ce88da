// A PostgreSQL server connection: writes runs to a node and gives each reply to the run at the head of its queue.
// It knows neither pool nor session; every end carries a reason.

import type { Socket } from 'node:net';
import { BatchedWriter } from '../lib/batched-writer.js';
import { monotonicMs } from '../lib/clock.js';
import { describeError, ProxyError } from '../lib/errors.js';
import { ownServerSocket } from '../lib/server-socket.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type { ExecuteOptions, ServerError, TransactionStatus, Unit } from '../protocol/unit.js';
import { hearNotice, isHealable } from './auto-heal.js';
import { requestCancel } from './cancel-request.js';
import type { Drawer } from './drawn-sequences.js';
import { isOurs, toldAs } from './error-cause.js';
import type { Established } from './established.js';
import { Expectation, isHeader, isThrough, type RowReader } from './expectation.js';
import { forgetUnprepared } from './forget-unprepared.js';
import { GATE_QUERY, type Gate, GateQuery } from './gate.js';
import { ISOLATION_QUERY } from './isolation-check.js';
import { tellLost } from './lost-expectations.js';
import { nameNotifier } from './own-notifications.js';
import { Parameters } from './parameters.js';
import { PreparedOnServer, type PreparedText } from './prepared-statements.js';
import { refusedParse } from './refused-parse.js';
import { isRollback, retryOf } from './replica-errors.js';
import { ReplySlices } from './reply-slices.js';
import { advance, giveFakes } from './reply-steps.js';
import type { Run } from './run.js';
import { muteMovable, SyncGroup, takeFailed } from './sync-group.js';
import { isDescription, noteDescription } from './told-descriptions.js';
import { mayFailAtCommit, TrackedState } from './tracked-state.js';
import {
  BACKEND,
  type BackendKey,
  parseCommandComplete,
  parseErrorResponse,
  parseParameterStatus,
  parseReadyForQuery,
} from './wire/backend.js';
import { readyForQuery } from './wire/backend-messages.js';
import type { Framer } from './wire/framer.js';
import { buildClose, buildQuery, SYNC, TERMINATE } from './wire/frontend.js';

const READY = readyForQuery('idle');
let nextId = 1;

export class PostgresServerConnection implements ServerConnection {
  readonly id = nextId++;
  readonly node: string;
  readonly key: PoolKey;
  readonly openedAtMs = monotonicMs();
  onClosed: ((reason: string) => void) | null = null;
  onDrained: (() => void) | null = null;
  /** As the node reports them. */
  parameters: Parameters;
  readonly prepared = new PreparedOnServer();
  /** The unnamed statement that it holds; null: none that we know. */
  unnamed: PreparedText | null = null;
  /** Whose currval() and lastval() it has. */
  drawer: Drawer = null;

  readonly #host: string;
  readonly #port: number;
  readonly #socket: Socket;
  readonly #framer: Framer;
  readonly #out: BatchedWriter;
  readonly #reading: ReturnType<typeof ownServerSocket>;
  readonly #backendKey: BackendKey | null;
  #state = TrackedState.empty;
  #expectations: Expectation[] = [];
  /** Since when the head is the head. */
  #headSinceMs = 0;
  #isRowsOnly = false;
  /** A cancel has been sent: whom it hits is the node's to say, so nobody new comes here. */
  #cancelled = false;
  #transaction: TransactionStatus = 'idle';
  #closedReason: string | null = null;
  #gate: GateQuery | null = null;
  readonly #group = new SyncGroup();
  /** The sink of the last run: where a notification goes that comes between units. */
  #lastRun: Run | null = null;
  /** FATAL: the node says why it closes. */
  #farewell: string | null = null;
  /** They go to the head's client. */
  readonly #slices = new ReplySlices();

  constructor(established: Established) {
    this.node = established.node;
    this.key = established.key;
    this.parameters = Parameters.of(established.parameters);
    this.#host = established.host;
    this.#port = established.port;
    this.#socket = established.socket;
    this.#framer = established.framer;
    this.#backendKey = established.backendKey;
    this.#out = new BatchedWriter(this.#socket, () => this.#groupEnd());
    const lost = (why: string | null) => this.close(why ?? this.#farewell ?? 'closed by the node');
    this.#reading = ownServerSocket(this.#socket, (chunk) => this.#onData(chunk), lost);
  }

  get state(): TrackedState {
    return this.#state;
  }

  get stateDigest(): string {
    return this.#state.digest;
  }

  get transaction(): TransactionStatus {
    return this.#transaction;
  }

  get bytesReceived(): number {
    return this.#socket.bytesRead;
  }

  get bytesSent(): number {
    return this.#socket.bytesWritten;
  }

  get closed(): boolean {
    return this.#closedReason !== null;
  }

  get depth(): number {
    return this.#expectations.length;
  }

  headAgeMs(nowMs: number): number {
    return this.#expectations.length === 0 ? 0 : nowMs - this.#headSinceMs;
  }

  get acceptsMore(): boolean {
    return !this.closed && !this.#reading.isPaused && !this.#cancelled && this.#transaction === 'idle';
  }

  get reusable(): boolean {
    if (this.closed || this.#transaction !== 'idle' || this.#cancelled) return false;
    // What we tidy up by ourselves, nobody waits for.
    return this.#expectations.every(({ run, ownDone }) => run === null && ownDone === null);
  }

  /** The client's settings have changed by what it ran here. */
  set state(state: TrackedState) {
    this.#state = state;
  }

  // --- writing ----------------------------------------------------------------------------------------------

  /**
   * Brings the connection to `state`. True: it is there. False: `done` is called when it is, or with the node's error.
   * (The unit waits for the answer: behind a failed SET search_path it would run on the wrong tables.)
   */
  bringTo(state: TrackedState, done: (error: ServerError | null) => void): boolean {
    const sql = state.statementsFrom(this.#state);
    if (sql === '') {
      this.#state = state;
      return true;
    }
    this.own(sql, (error) => {
      // The text is one implicit transaction: after an error nothing of it stands.
      if (error === null) this.#state = state;
      done(error);
    });
    return false;
  }

  /** A statement of our own. */
  own(sql: string, done: (error: ServerError | null) => void): void {
    this.unnamed = null;
    this.#expect(null, done);
    this.#write(buildQuery(sql));
  }

  run(run: Run, messages: readonly Buffer[]): void {
    if (this.#closedReason !== null) {
      // It has ended while its holder was told of the unit before.
      run.done({ kind: 'lost', reason: this.#closedReason, forwarded: false }, '');
      return;
    }
    if (run.isSimple) this.unnamed = null;
    const joins = this.#transaction === 'idle' && this.#group.admits(run.maxGroup, this.#state);
    this.#expect(run, null, null, joins);
    this.#lastRun = run;
    // The last of them is its Sync.
    const count = joins ? messages.length - 1 : messages.length;
    for (let i = 0; i < count; i++) this.#write(messages[i]!);
    if (joins && this.#group.endMember(run.maxGroup)) this.#endGroup();
    if (run.maxGroup > 1 && this.#group.isolation.isDue) this.#askIsolation();
    // Nothing else will be written here in this turn, and others may wait for the locks that its transaction holds.
    if (!run.isShared) this.#out.flush();
  }

  /** More of an open run, or CopyData. False: wait for `drain`. */
  feed(message: Buffer): boolean {
    return this.#write(message);
  }

  whenDrained(callback: () => void): void {
    this.#socket.once('drain', callback);
  }

  /** Before anything of the unit is written; null: it needs none. */
  gateFor(unit: Unit, { gate: want }: ExecuteOptions): Gate | null {
    if (want === null) return null;
    const begins = unit.statement.transaction?.kind === 'begin';
    if (this.#gate?.servesNow === true) return { query: this.#gate, want, begins };
    const query = new GateQuery();
    this.#gate = query;
    this.unnamed = null;
    this.#expect(null, (error) => this.#onGate(query, error), query);
    this.#write(GATE_QUERY);
    return { query, want, begins };
  }

  /** Those that need more than the node has are not waited for; what they are answered is dropped. */
  #onGate(query: GateQuery, error: ServerError | null): void {
    query.ended(error !== null);
    const refused = this.#expectations.flatMap((expectation) => expectation.refuse(query) ?? []);
    for (const run of refused) {
      if (run.gate?.begins === true) this.own('ROLLBACK', () => {});
      run.done({ kind: 'refused', have: query.have }, '');
    }
  }

  #expect(
    run: Run | null,
    ownDone: ((error: ServerError | null) => void) | null,
    reader: RowReader | null = null,
    joins = false,
  ): void {
    if (joins) this.#group.beginMember();
    else this.#endGroup();
    if (this.#expectations.length === 0) this.#headSinceMs = monotonicMs();
    this.#expectations.push(new Expectation(run, ownDone, reader, joins));
  }

  /** Nobody waits for it. */
  #askIsolation(): void {
    if (mayFailAtCommit(this.#state)) return;
    this.#group.isolation.asked();
    this.unnamed = null;
    this.#expect(null, null, this.#group.isolation);
    this.#write(ISOLATION_QUERY);
  }

  /**
   * Cheap reads that leave in one turn are one implicit transaction: the server begins, commits and answers once for all of
   * them (protocol-flow, pipelining). Each still has a snapshot of its own, and its client is told nothing before all of it has
   * ended well: where it does not, each runs again by itself. What one takes is seen where it is not in a group.
   */
  #endGroup(): void {
    const sync = this.#groupEnd();
    if (sync !== null) this.#write(sync);
  }

  /** What ends the group that is being gathered; null: none is. */
  #groupEnd(): Buffer | null {
    const size = this.#group.close();
    if (size === 0) return null;
    if (size === 1) this.#expectations.at(-1)!.grouped = false;
    else this.#expectations.push(new Expectation(null, null));
    return SYNC;
  }

  #write(bytes: Buffer): boolean {
    return this.closed || this.#out.write(bytes);
  }

  // --- reading ----------------------------------------------------------------------------------------------

  /** True: it was rows only, and all of them have been written. */
  #onData(chunk: Buffer): boolean {
    this.#isRowsOnly = true;
    try {
      this.#framer.push(chunk);
      while (this.#framer.next() === 'ready') {
        this.#onMessage();
        if (this.closed) return false;
      }
      if (this.#framer.error !== null) throw this.#framer.error;
      const head = this.#expectations[0];
      this.#flush(head);
      if (!this.#isRowsOnly) this.#reading.interrupted();
      return this.#isRowsOnly && this.#slices.isEmpty && head?.run?.sink.isWritten === true;
    } catch (cause) {
      const detail = describeError(cause);
      this.close(new ProxyError('server-garbage', { node: this.node, detail }).message);
      return false;
    }
  }

  #onMessage(): void {
    const { type, buffer, start, isFirst, isLast } = this.#framer;
    const isRow = type === BACKEND.dataRow || type === BACKEND.copyData;
    const joined = isRow ? this.#framer.joinSame() : 0;
    if (!isRow) this.#isRowsOnly = false;
    const end = this.#framer.end;
    const head = this.#expectations[0];
    switch (type) {
      case BACKEND.parameterStatus: {
        const { name, value } = parseParameterStatus(buffer, start, end);
        this.parameters = this.parameters.with(name, value);
        if (head?.run != null && !head.muted) {
          this.#flush(head);
          head.run.sink.tellParameter(name, value);
        }
        for (const { run, muted } of this.#group.answered) if (!muted) run!.sink.tellParameter(name, value);
        return;
      }
      case BACKEND.noticeResponse:
        if (head?.run != null && hearNotice(head.run, head.step)) this.#forward(head, buffer, start, end);
        return;
      case BACKEND.notificationResponse:
        nameNotifier(buffer, start, this.#backendKey, head?.run ?? this.#lastRun);
        if (head?.run != null) this.#forward(head, buffer, start, end);
        else this.#lastRun?.sink.write(Buffer.from(buffer.subarray(start, end)));
        return;
      case BACKEND.errorResponse:
        this.#onError(head, buffer, start, end);
        if (head?.grouped === true && head.failed) this.#onGroupFailed(head);
        return;
    }
    if (head === undefined) throw new Error(`message ${String.fromCharCode(type)} that nothing asked for`);
    if (!head.hasTold && head.run !== null && !head.muted) {
      head.hasTold = true;
      head.run.sink.tellParameters(this.parameters);
    }
    if (type === BACKEND.readyForQuery) {
      this.#onReady(head, buffer, start, end);
      return;
    }
    if (type === BACKEND.dataRow) {
      head.untaggedRows += joined + (isFirst ? 1 : 0);
    } else if (type === BACKEND.commandComplete) {
      if (isFirst) head.complete(parseCommandComplete(buffer, start, end), this.prepared);
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
      this.#forward(head, buffer, start, end);
      head.committed = true;
      this.#flush(head);
      run.sink.events.copyInStarted();
      return;
    }
    const verb =
      run.steps === null ? 'forward' : advance(head, run.steps, type, isLast, this.#slices, this.prepared);
    if (isDescription(type) && isFirst && isLast) noteDescription(head, type, buffer, start, end);
    if (verb === 'forward') {
      this.#forward(head, buffer, start, end);
      head.cut = !isLast;
      // Until something but headers comes, an error can still be kept from the client.
      if (!isHeader(type)) head.committed = true;
    }
    if (head.grouped && isLast && isThrough(head)) this.#keep(head);
  }

  /** It has all its answers but ReadyForQuery, which the server gives the whole group. */
  #keep(member: Expectation): void {
    this.#expectations.shift();
    this.#group.keep(member, this.#slices.take());
  }

  /** `error`: its end has failed, and it is as if it had never been. */
  #onGroupEnd(error: ServerError | null, serviceMs: number): void {
    const members = this.#group.takeAnswered();
    if (error !== null) this.#group.isolation.doubt();
    for (const member of members) {
      if (error === null) {
        this.#slices.restore(member.kept);
        this.#end(member, serviceMs / members.length, READY, 0, READY.length);
      } else if (!member.muted) member.run!.done({ kind: 'moved', because: 'neighbour-failed' }, '');
    }
  }

  /**
   * The server skips the rest of the group. The one that has failed runs again too: what others hold, or how long they took, may
   * be why, and by itself it meets what it would without us.
   */
  #onGroupFailed(head: Expectation): void {
    const skipped = takeFailed(this.#expectations);
    for (let i = skipped.length - 1; i >= 0; i--) forgetUnprepared(skipped[i]!, this);
    if (head.stale !== null) this.#closeStale(head.stale);
    if (isRollback(head.error!.code)) this.#group.isolation.doubt();
    this.#slices.discard();
    for (const { run, muted } of skipped)
      if (!muted) run!.done({ kind: 'moved', because: 'neighbour-failed' }, '');
  }

  #onError(head: Expectation | undefined, buffer: Buffer, start: number, end: number): void {
    const fields = parseErrorResponse(buffer, start, end);
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC' || head === undefined) {
      // The node ends the connection; the client's one goes on, so it learns of it by its session.
      this.#farewell = `${fields.code} ${fields.message}`;
      return;
    }
    const error: ServerError = { code: fields.code, message: fields.message };
    head.error = error;
    head.failed = true;
    const run = head.run;
    if (run === null) return;
    const ours = isOurs(head, run, error, this.prepared);
    const heals = !head.committed && isHealable(run, head.step, error.code);
    if (head.grouped) return;
    if (heals) {
      head.withheld = 'again';
      this.#slices.discard();
      return;
    }
    if (run.withhold && !head.committed) {
      const fromReplica = run.onReplica ? retryOf(error.code, error.message) : null;
      const retryOn = ours ? 'elsewhere' : fromReplica;
      if (retryOn !== null) {
        head.withheld = retryOn;
        this.#slices.discard();
        return;
      }
    }
    if (run.steps !== null) {
      giveFakes(head, run.steps, this.#slices, refusedParse(run.steps, head.step, error.code));
      if (!head.muted) run.steps[head.step]?.failed?.();
    }
    const told = toldAs(head, run, error.code, buffer, start, end);
    if (told === null) this.#forward(head, buffer, start, end);
    else this.#slices.push(told);
    head.committed = true;
  }

  /** Behind ReadyForQuery, where it works in a failed transaction too, and before anything binds it again. */
  #closeStale(texts: readonly PreparedText[]): void {
    this.#expect(null, null);
    for (const text of texts) {
      this.prepared.delete(text);
      this.#write(buildClose('statement', text.serverName));
    }
    this.#write(SYNC);
  }

  #onReady(head: Expectation, buffer: Buffer, start: number, end: number): void {
    this.#transaction = parseReadyForQuery(buffer, start, end);
    const now = monotonicMs();
    const serviceMs = now - this.#headSinceMs;
    this.#headSinceMs = now;
    // While these are told, it is not drained yet.
    if (this.#group.answered.length > 0) this.#onGroupEnd(head.error, serviceMs);
    this.#expectations.shift();
    this.#end(head, serviceMs, buffer, start, end);
    if (this.#expectations.length === 0) this.onDrained?.();
  }

  #end(head: Expectation, serviceMs: number, buffer: Buffer, start: number, end: number): void {
    const run = head.run;
    if (run === null) {
      head.ownDone?.(head.error);
      return;
    }
    const isShare = head.grouped;
    run.serviceMs = isShare ? null : serviceMs;
    // Of an open batch more may have been skipped since the error came.
    if (head.failed) forgetUnprepared(head, this);
    if (head.stale !== null) this.#closeStale(head.stale);
    if (head.muted) {
      this.#slices.discard();
      return;
    }
    if (head.withheld === 'again') {
      this.#slices.discard();
      run.heal(head.error!);
      return;
    }
    if (head.withheld !== null) {
      this.#slices.discard();
      run.done({ kind: 'withheld', error: head.error!, retryOn: head.withheld }, head.tag);
      return;
    }
    if (run.steps !== null && !head.failed) giveFakes(head, run.steps, this.#slices);
    if (head.failed && run.isBehindBegin && this.#transaction === 'idle') {
      // The BEGIN fell with it; for the client it had long been done.
      this.#slices.push(readyForQuery('failed'));
    } else if (run.isEndOurs !== true) this.#forward(head, buffer, start, end);
    head.committed = true;
    this.#flush(head);
    // However slowly this client reads what has been handed over: the next run may be another's.
    this.resumeReading();
    const { error, replyBytes, rows, tag } = head;
    const outcome = {
      kind: 'answered',
      transaction: this.#transaction,
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

  // --- forwarding -------------------------------------------------------------------------------------------

  /** Messages that follow each other in one chunk become one slice. */
  #forward(head: Expectation, buffer: Buffer, start: number, end: number): void {
    if (head.withheld !== null || head.muted) return;
    head.replyBytes += end - start;
    this.#slices.add(buffer, start, end);
  }

  #flush(head: Expectation | undefined): void {
    if (head === undefined || head.run === null || head.muted) return;
    if (head.grouped && head === this.#expectations[0]) {
      if (this.#group.isTooLong(head.replyBytes)) this.evacuate();
      return;
    }
    if (head.run.withhold && !head.committed) return;
    if (head.step <= head.run.healUntil && !head.committed) return;
    const slices = this.#slices.take();
    if (slices.length === 0) return;
    head.forwarded = true;
    if (head.run.sink.writeAll(slices) || head !== this.#expectations[0]) return;
    // Whoever waits behind a client that does not keep up would wait for it.
    this.pauseReading();
    this.evacuate();
  }

  pauseReading(): void {
    this.#reading.pause();
  }

  resumeReading(): void {
    this.#reading.resume();
  }

  // --- sharing ----------------------------------------------------------------------------------------------

  evacuate(): void {
    const moved = muteMovable(this.#group.answered, this.#expectations);
    if (moved.includes(this.#expectations[0]!)) this.#slices.discard();
    for (const { run, grouped } of moved)
      run!.done({ kind: 'moved', because: grouped ? 'slow-group' : 'slow-head' }, '');
  }

  hasBegun(run: Run): boolean {
    const head = this.#expectations[0];
    return head !== undefined && head.run === run && head.forwarded;
  }

  get headIsAbandoned(): boolean {
    return this.#expectations[0]?.muted === true;
  }

  /** Nothing more of this run goes to its client, and its `done` is not called. True: it was at the head. */
  abandon(run: Run): boolean {
    const at = this.#expectations.findIndex((expectation) => expectation.run === run);
    if (at < 0) {
      this.#group.mute(run);
      return false;
    }
    this.#expectations[at]!.muted = true;
    if (at > 0) return false;
    this.#slices.discard();
    this.resumeReading();
    return true;
  }

  // --- ending -----------------------------------------------------------------------------------------------

  cancel(): Promise<void> {
    this.#cancelled = true;
    const key = this.#backendKey;
    if (key === null || this.closed) return Promise.resolve();
    return requestCancel({ host: this.#host, port: this.#port }, key);
  }

  close(reason: string): void {
    if (this.#closedReason !== null) return;
    this.#closedReason = reason;
    if (this.#socket.writable) this.#socket.end(TERMINATE);
    this.#socket.destroySoon();
    const expectations = [...this.#group.takeAnswered(), ...this.#expectations];
    this.#expectations = [];
    this.#group.forgetGathered();
    // What has been read of the head's replies is the client's, unless it can still be run elsewhere.
    if (expectations[0]?.grouped === false) this.#flush(expectations[0]);
    tellLost(expectations, reason);
    this.#slices.discard();
    const onClosed = this.onClosed;
    this.onClosed = null;
    onClosed?.(reason);
  }
}
