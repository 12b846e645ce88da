// A PostgreSQL server connection: writes runs to a node and gives each reply to the run at the head of its queue.
// It knows neither pool nor session; every end carries a reason.

import type { Socket } from 'node:net';
import { BatchedWriter, hangUp } from '../lib/batched-writer.js';
import { monotonicMs } from '../lib/clock.js';
import { ProxyError, serverGarbage } from '../lib/errors.js';
import { ownServerSocket } from '../lib/server-socket.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type { ExecuteOptions, ServerError, TransactionStatus, Unit } from '../protocol/unit.js';
import type { ReportBug } from '../telemetry/bug.js';
import { AnswerEnd } from './answer-end.js';
import { requestCancel } from './cancel-request.js';
import type { Drawer } from './drawn-sequences.js';
import type { Established } from './established.js';
import { Expectation, type RowReader } from './expectation.js';
import { ExpectationQueue } from './expectation-queue.js';
import { Forwarding } from './forwarding.js';
import { GATE_QUERY, type Gate, GateQuery } from './gate.js';
import { ISOLATION_QUERY } from './isolation-check.js';
import { CONNECTION_LOST, tellLost } from './lost-expectations.js';
import { Parameters } from './parameters.js';
import { PreparedOnServer, type PreparedText } from './prepared-statements.js';
import { Replies } from './replies.js';
import type { ReplyEvents, Run } from './run.js';
import { SyncGroup } from './sync-group.js';
import { tell, tellRest } from './telling.js';
import { mayFailAtCommit, RESET_EVERYTHING, TrackedState } from './tracked-state.js';
import type { BackendKey } from './wire/backend.js';
import { buildClose, buildQuery, SYNC, TERMINATE } from './wire/frontend.js';

let nextId = 1;

export class PostgresServerConnection implements ServerConnection {
  readonly id = nextId++;
  readonly node: string;
  readonly key: PoolKey;
  readonly openedAtMs = monotonicMs();
  onClosed: ((reason: string, bug: ProxyError | null) => void) | null = null;
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
  readonly #out: BatchedWriter;
  readonly #reading: ReturnType<typeof ownServerSocket>;
  readonly #backendKey: BackendKey | null;
  #state = TrackedState.empty;
  readonly #queue = new ExpectationQueue();
  readonly #group = new SyncGroup();
  readonly #forwarding = new Forwarding(this, this.#queue, this.#group);
  readonly #answerEnd = new AnswerEnd(this, this.#queue, this.#group, this.#forwarding);
  readonly #replies: Replies;
  /** Nobody new comes here: a cancel has been sent, and whom it hits is the node's to say; or it is about to be closed. */
  #isLeft = false;
  #closedReason: string | null = null;
  readonly #reportBug: ReportBug;
  /** An error of ours, by which it ends. */
  #bug: ProxyError | null = null;
  #gate: GateQuery | null = null;

  constructor(established: Established) {
    this.node = established.node;
    this.key = established.key;
    this.parameters = Parameters.of(established.parameters);
    this.#host = established.host;
    this.#port = established.port;
    this.#socket = established.socket;
    this.#backendKey = established.backendKey;
    this.#reportBug = established.bug;
    const broke = (cause: unknown): void => this.broke(cause, null);
    this.#out = new BatchedWriter(this.#socket, broke, () => this.#groupEnd());
    this.#replies = new Replies(
      this,
      established,
      this.#queue,
      this.#group,
      this.#forwarding,
      this.#answerEnd,
    );
    const lost = (why: string | null) => this.close(why ?? this.#replies.farewell ?? 'closed by the node');
    this.#reading = ownServerSocket(this.#socket, (chunk) => this.#onData(chunk), lost);
  }

  get state(): TrackedState {
    return this.#state;
  }

  get stateDigest(): string {
    return this.#state.digest;
  }

  get transaction(): TransactionStatus {
    return this.#answerEnd.transaction;
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
    return this.#queue.length;
  }

  headAgeMs(nowMs: number): number {
    return this.#queue.headAgeMs(nowMs);
  }

  get acceptsMore(): boolean {
    return !this.closed && !this.#reading.isPaused && !this.#isLeft && this.transaction === 'idle';
  }

  get reusable(): boolean {
    return !this.closed && this.transaction === 'idle' && !this.#isLeft && this.#queue.isTidying;
  }

  /** The client's settings have changed by what it ran here. */
  set state(state: TrackedState) {
    this.#state = state;
  }

  // --- writing ----------------------------------------------------------------------------------------------

  /**
   * Brings the connection to `state`. True: it is there. False: `done` is called when it is, or with the node's error.
   * (The unit waits for the answer: behind a failed SET search_path it would run on the wrong tables.) What another client has left
   * may stand in the way (what his role could set and this one cannot reset; a standby refuses all else where he was
   * SERIALIZABLE): it is tried without that once more.
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
      if (error === null || this.closed || this.#state.size === 0) done(error);
      else this.#bringAfresh(state, done);
    });
    return false;
  }

  #bringAfresh(state: TrackedState, done: (error: ServerError | null) => void): void {
    this.own(RESET_EVERYTHING, (error) => {
      if (error === null) this.#state = TrackedState.empty;
      if (error !== null || this.bringTo(state, done)) done(error);
    });
  }

  /** A statement of our own. */
  own(sql: string, done: (error: ServerError | null) => void): void {
    this.ask(buildQuery(sql), null, done);
  }

  /** A question of our own, behind what is under way; `reader` gets its row. */
  ask(query: Buffer, reader: RowReader | null, done: (error: ServerError | null) => void): void {
    if (this.#closedReason !== null) {
      done({ code: CONNECTION_LOST, message: this.#closedReason });
      return;
    }
    this.unnamed = null;
    this.#expect(null, done, reader);
    this.#write(query);
  }

  run(run: Run, messages: readonly Buffer[]): void {
    if (this.#closedReason !== null) {
      // It has ended while its holder was told of the unit before.
      tell(this, run, { kind: 'lost', reason: this.#closedReason, forwarded: false });
      return;
    }
    if (run.isSimple) this.unnamed = null;
    const joins = this.transaction === 'idle' && this.#group.admits(run.maxGroup, this.#state);
    this.#expect(run, null, null, joins);
    this.#replies.lastSink = run.sink;
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
    for (const run of this.#queue.refuse(query)) {
      if (run.gate?.begins === true) this.own('ROLLBACK', () => {});
      tell(this, run, { kind: 'refused', have: query.have });
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
    this.#queue.push(new Expectation(run, ownDone, reader, joins));
  }

  /** Their plans no longer fit. Nobody waits for it. */
  closeStatements(texts: readonly PreparedText[]): void {
    this.#expect(null, null);
    for (const text of texts) {
      this.prepared.delete(text);
      this.#write(buildClose('statement', text.serverName));
    }
    this.#write(SYNC);
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
    if (size === 1) this.#queue.last!.grouped = false;
    else this.#queue.push(new Expectation(null, null));
    return SYNC;
  }

  #write(bytes: Buffer): boolean {
    return this.closed || this.#out.write(bytes);
  }

  // --- reading ----------------------------------------------------------------------------------------------

  /** True: it was rows only, and all of them have been written. */
  #onData(chunk: Buffer): boolean {
    try {
      const isGone = this.#replies.read(chunk);
      if (!this.#replies.isRowsOnly) this.#reading.interrupted();
      return isGone;
    } catch (cause) {
      if (!(cause instanceof ProxyError)) this.#bug = this.#reportBug(cause);
      this.close((this.#bug ?? serverGarbage(this.node, cause as ProxyError)).message);
      return false;
    }
  }

  pauseReading(): void {
    this.#reading.pause();
  }

  resumeReading(): void {
    this.#reading.resume();
  }

  // --- sharing ----------------------------------------------------------------------------------------------

  evacuate(): void {
    const moved = this.#queue.muteMovable(this.#group.answered);
    if (moved.includes(this.#queue.head!)) this.#forwarding.slices.discard();
    for (const { run, grouped } of moved)
      tell(this, run!, { kind: 'moved', because: grouped ? 'slow-group' : 'slow-head' });
  }

  hasBegun(run: Run): boolean {
    const { head } = this.#queue;
    return head !== undefined && head.run === run && head.forwarded;
  }

  get headIsAbandoned(): boolean {
    return this.#queue.head?.muted === true;
  }

  /** Nothing more of this run goes to its client, and its `done` is not called. True: it was at the head. */
  abandon(run: Run): boolean {
    const was = this.#queue.mute(run);
    if (was === null) this.#group.mute(run);
    if (was !== 'head') return false;
    this.#forwarding.slices.discard();
    this.resumeReading();
    return true;
  }

  // --- ending -----------------------------------------------------------------------------------------------

  cancel(): Promise<void> {
    this.#isLeft = true;
    const key = this.#backendKey;
    if (key === null || this.closed) return Promise.resolve();
    return requestCancel({ host: this.#host, port: this.#port }, key);
  }

  /** Something of ours has thrown when it was told something. `client`: whose turn it was; null: of whoever has the connection. */
  broke(cause: unknown, client: Pick<ReplyEvents, 'terminate'> | null): void {
    const error = this.#reportBug(cause);
    this.#bug ??= error;
    // What is tracked of it may be wrong.
    this.#isLeft = true;
    // Whoever is telling others reckons with no end of it in between.
    queueMicrotask(() => {
      this.close(error.message);
      client?.terminate(error);
    });
  }

  close(reason: string): void {
    if (this.#closedReason !== null) return;
    this.#closedReason = reason;
    hangUp(this.#socket, TERMINATE);
    const expectations = [...this.#group.takeAnswered(), ...this.#queue.takeAll()];
    this.#group.forgetGathered();
    // What has been read of the head's replies is the client's, unless it can still be run elsewhere.
    if (expectations[0]?.grouped === false) tellRest(this, this.#forwarding, expectations[0]);
    tellLost(this, expectations, reason);
    this.#forwarding.slices.discard();
    const onClosed = this.onClosed;
    this.onClosed = null;
    onClosed?.(reason, this.#bug);
  }
}
