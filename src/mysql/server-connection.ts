// A MySQL or MariaDB server connection: writes runs to a node and gives each reply to the run at the head of its queue.
// It knows neither pool nor session; every end carries a reason.

import type { Socket } from 'node:net';
import { BatchedWriter, hangUp } from '../lib/batched-writer.js';
import { monotonicMs } from '../lib/clock.js';
import { ProxyError, serverGarbage } from '../lib/errors.js';
import { ownServerSocket } from '../lib/server-socket.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type { TransactionStatus } from '../protocol/unit.js';
import type { ReportBug } from '../telemetry/bug.js';
import { endTransaction } from './aftermath.js';
import { AnswerEnd } from './answer-end.js';
import type { Established } from './established.js';
import {
  Expectation,
  GONE_RESULT,
  type MysqlServerError,
  NOT_PREPARED,
  type OwnResult,
  Preparation,
  type PreparedCallback,
} from './expectation.js';
import { ExpectationQueue } from './expectation-queue.js';
import { Forwarding } from './forwarding.js';
import { GATE_SQL, GateQuery } from './gate.js';
import { tellLost } from './lost-expectations.js';
import { PreparedOnServer, type PreparedText, type ServerStatement } from './prepared-statements.js';
import { Replies } from './replies.js';
import { Reply, type ReplyKind } from './reply.js';
import type { ReplySink, Run } from './run.js';
import { stateFrame, trackingCommand } from './state-changes.js';
import { tell, tellPrepared, tellRest } from './telling.js';
import { TrackedState } from './tracked-state.js';
import type { Capabilities } from './wire/capabilities.js';
import { buildCommand, buildQuery, buildStatementClose, COM } from './wire/command.js';
import { type Greeting, isMariadb } from './wire/greeting.js';
import { STATUS } from './wire/ok.js';
import type { PrepareOk } from './wire/result-set.js';

const COM_QUIT_PACKET = buildCommand(COM.QUIT);
let nextId = 1;

export class MysqlServerConnection implements ServerConnection {
  readonly id = nextId++;
  readonly node: string;
  key: PoolKey;
  readonly openedAtMs = monotonicMs();
  readonly greeting: Greeting;
  readonly capabilities: Capabilities;
  readonly prepared = new PreparedOnServer();
  onClosed: ((reason: string, bug: ProxyError | null) => void) | null = null;
  onDrained: (() => void) | null = null;
  /** Variables after the login that were asked for; `wayBack`: and others that were set then. */
  loginValues: ReadonlyMap<string, string> = new Map();
  wayBack: ReadonlyMap<string, string> = this.loginValues;
  /** The SET that makes the server report what we track; run again when somebody has changed it. */
  trackingSql = '';
  trackingLost = false;
  /** A transaction may have left its characteristics to the next one. */
  lingering = false;
  /** Something is left here that nothing leads back from. */
  tainted = false;
  /** Who ran here last: what the last statement left is his. */
  lastUser: object | null = null;
  /** LAST_INSERT_ID() here; null: of somebody else. */
  lastInsertId: string | null = '0';

  readonly #socket: Socket;
  readonly #kill: (threadId: number) => Promise<void>;
  readonly #out: BatchedWriter;
  readonly #reading: ReturnType<typeof ownServerSocket>;
  readonly #queue = new ExpectationQueue();
  readonly #forwarding: Forwarding;
  readonly #replies: Replies;
  #state = TrackedState.empty;
  /** A cancel has been sent: whom it hits is the node's to say, so nobody new comes here. */
  #cancelled = false;
  #closedReason: string | null = null;
  readonly #reportBug: ReportBug;
  /** An error of ours, by which it ends. */
  #bug: ProxyError | null = null;
  #gate: GateQuery | null = null;
  #onInfileDrain: (() => void) | null = null;

  constructor(established: Established) {
    this.node = established.node;
    this.key = established.key;
    this.greeting = established.greeting;
    this.capabilities = established.capabilities;
    this.#socket = established.socket;
    this.#kill = established.kill;
    this.#reportBug = established.bug;
    const broke = (cause: unknown): void => this.broke(cause, null);
    this.#out = new BatchedWriter(this.#socket, broke);
    this.#forwarding = new Forwarding(this, established.framer);
    const answerEnd = new AnswerEnd(this, this.#queue, this.#forwarding);
    this.#replies = new Replies(this, established, this.#queue, this.#forwarding, answerEnd);
    const lost = (why: string | null) => this.close(why ?? this.#replies.farewell ?? 'closed by the node');
    this.#reading = ownServerSocket(this.#socket, (chunk) => this.#onData(chunk), lost);
    this.#socket.on('drain', () => this.#takesMore());
  }

  get state(): TrackedState {
    return this.#state;
  }

  set state(state: TrackedState) {
    this.#state = state;
  }

  get depth(): number {
    return this.#queue.length;
  }

  headAgeMs(nowMs: number): number {
    return this.#queue.headAgeMs(nowMs);
  }

  get headIsAbandoned(): boolean {
    return this.#queue.head?.isAbandoned === true;
  }

  get acceptsMore(): boolean {
    return !this.closed && !this.#reading.isPaused && this.#isClean;
  }

  /** Nothing is left of what was run here that is not tracked. */
  get #isClean(): boolean {
    return !this.tainted && !this.#cancelled && (this.#replies.status & STATUS.IN_TRANS) === 0;
  }

  get isMariadb(): boolean {
    return isMariadb(this.greeting.serverVersion);
  }

  get stateDigest(): string {
    // No client's state: whoever uses it has to set it right first.
    return this.trackingLost || this.lingering ? `${this.#state.digest}\0not-as-told` : this.#state.digest;
  }

  get status(): number {
    return this.#replies.status;
  }

  get transaction(): TransactionStatus {
    return (this.#replies.status & STATUS.IN_TRANS) !== 0 ? 'transaction' : 'idle';
  }

  get closed(): boolean {
    return this.#closedReason !== null;
  }

  get bytesReceived(): number {
    return this.#socket.bytesRead;
  }

  get bytesSent(): number {
    return this.#socket.bytesWritten;
  }

  get reusable(): boolean {
    if (this.closed || !this.#isClean || this.#queue.length > 0) return false;
    // Nothing leads from a database back to none.
    return this.key.database !== '' || this.#state.database === null;
  }

  // --- writing ----------------------------------------------------------------------------------------------

  /** It has this state, and nothing has to be written before a unit. */
  isIn(state: TrackedState): boolean {
    if (this.lingering || this.trackingLost || state.digest !== this.#state.digest) return false;
    this.#state = state;
    return true;
  }

  /**
   * Brings the connection to `state`. True: it is there. False: `done` is called when it is, or with the node's error,
   * after which nobody else can have the connection. `leavesLast`: the answers about the last statement are asked for next.
   */
  bringTo(state: TrackedState, done: (error: MysqlServerError | null) => void, leavesLast = false): boolean {
    if (this.lingering && !leavesLast) endTransaction(this);
    const commands = state.commandsFrom(this.#state, this.wayBack, this.key.database);
    if (this.trackingLost) commands.unshift(trackingCommand(this.trackingSql, this.transaction));
    if (commands.length === 0) {
      this.#state = state;
      return true;
    }
    this.trackingLost = false;
    let left = commands.length;
    let failure: MysqlServerError | null = null;
    for (const command of commands) {
      this.own(stateFrame(command, this.capabilities), 'results', ({ error }) => {
        failure ??= error;
        left--;
        if (left > 0) return;
        if (failure === null) this.#state = state;
        else this.tainted = true;
        done(failure);
      });
    }
    return false;
  }

  /** A command of our own. What it changes in the session is not taken for the client's. */
  own(frame: Buffer, kind: ReplyKind, done: (result: OwnResult) => void, keepRows = false): void {
    if (this.closed) {
      done(GONE_RESULT);
      return;
    }
    this.expect(new Expectation(new Reply(kind, this.capabilities), null, done, keepRows, null), frame);
  }

  expect(expectation: Expectation, frame: Buffer): void {
    this.#queue.push(expectation);
    this.write(frame);
  }

  query(sql: string, done: (result: OwnResult) => void): void {
    this.own(buildQuery(sql, this.capabilities), 'results', done, true);
  }

  /** Prepares a text by itself; null when the server refused. */
  prepare(text: PreparedText, done: PreparedCallback): void {
    this.own(buildCommand(COM.STMT_PREPARE, text.sql), 'prepare', (result) => this.#held(text, result, done));
  }

  #held(text: PreparedText, { error, prepared }: OwnResult, done: PreparedCallback): void {
    if (prepared === null || error !== null) done(null, error ?? NOT_PREPARED);
    else done(this.hold(text, prepared), null);
  }

  /**
   * On a shared connection: the run stands in the queue with the preparation of its text, until `done` writes it. Others
   * are not held up. `done` is not called when the run is moved or abandoned meanwhile.
   */
  prepareFor(run: Run, text: PreparedText, done: PreparedCallback): void {
    const under = this.#queue.preparationOf(text);
    if (under !== null) {
      under.add(run, done);
      return;
    }
    const preparation = new Preparation(text);
    preparation.add(run, done);
    const ownDone = (result: OwnResult): void =>
      this.#held(text, result, (statement, error) => {
        for (const pending of preparation.takeAll()) tellPrepared(this, pending, statement, error);
      });
    const reply = new Reply('prepare', this.capabilities);
    this.#queue.push(new Expectation(reply, null, ownDone, false, preparation));
    this.write(buildCommand(COM.STMT_PREPARE, text.sql));
  }

  /** The server has prepared a text: it is kept, and what falls out is closed. */
  hold(text: PreparedText, { statementId, parameters }: PrepareOk): ServerStatement {
    const statement: ServerStatement = { id: statementId, parameters, boundTypes: null };
    for (const closed of this.prepared.add(text, statement)) this.write(buildStatementClose(closed.id));
    return statement;
  }

  release(text: PreparedText): void {
    const statement = this.prepared.remove(text);
    if (statement !== undefined) this.write(buildStatementClose(statement.id));
  }

  run(run: Run, frames: readonly Buffer[]): void {
    if (this.closed) {
      // It has ended while its holder was told of the unit before.
      tell(this, run, { kind: 'lost', reason: this.#closedReason!, forwarded: false });
      return;
    }
    run.tracking?.showOn(this, run.isInTransaction);
    if (run.gate !== null) run.gate.query = this.#gateQuery();
    this.#queue.push(new Expectation(new Reply(run.reply, this.capabilities), run, null, false, null));
    for (const frame of frames) this.write(frame);
    // Nothing else will be written here in this turn, and others may wait for the locks that its transaction holds.
    if (!run.isShared) this.#out.flush();
  }

  #gateQuery(): GateQuery {
    if (this.#gate?.servesNow === true) return this.#gate;
    const query = new GateQuery();
    this.#gate = query;
    this.query(GATE_SQL[this.isMariadb ? 'mariadb' : 'mysql'], (result) => this.#onGate(query, result));
    return query;
  }

  /** Those that need more than the node has are not waited for; what they are answered is dropped. */
  #onGate(query: GateQuery, result: OwnResult): void {
    query.answered(result);
    for (const run of this.#queue.refuse(query)) {
      if (run.gate!.begins) this.query('ROLLBACK', () => {});
      tell(this, run, { kind: 'refused', have: query.have });
    }
  }

  /** False: wait for `whenDrained`. */
  write(bytes: Buffer): boolean {
    return this.closed || this.#out.write(bytes);
  }

  /** Also once it has ended. */
  whenDrained(callback: () => void): void {
    this.#onInfileDrain = callback;
  }

  #takesMore(): void {
    const onDrain = this.#onInfileDrain;
    this.#onInfileDrain = null;
    onDrain?.();
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
    for (const run of this.#queue.takeMovable()) tell(this, run, { kind: 'moved', because: 'slow-head' });
  }

  /** Nothing more of this run goes to its client, and its `done` is not called. True: it was at the head. */
  abandon(run: Run): boolean {
    if (this.#queue.mute(run) === 'behind') return false;
    run.cut = this.#queue.head?.forwarded === true && !this.#forwarding.isBetweenPackets;
    this.#forwarding.discard();
    this.resumeReading();
    return true;
  }

  // --- ending -----------------------------------------------------------------------------------------------

  async cancel(): Promise<void> {
    const { head } = this.#queue;
    if (this.closed || head === undefined) return;
    this.#cancelled = true;
    this.#queue.cancelled();
    await this.#kill(this.greeting.connectionId);
  }

  /** Something of ours has thrown when it was told something. `client`: whose turn it was; null: of whoever has the connection. */
  broke(cause: unknown, client: Pick<ReplySink, 'terminate'> | null): void {
    const error = this.#reportBug(cause);
    this.#bug ??= error;
    // What is tracked of it may be wrong: nobody new comes.
    this.tainted = true;
    // Whoever is telling others reckons with no end of it in between.
    queueMicrotask(() => {
      this.close(error.message);
      client?.terminate(error);
    });
  }

  close(reason: string): void {
    if (this.#closedReason !== null) return;
    this.#closedReason = reason;
    hangUp(this.#socket, COM_QUIT_PACKET);
    const isCut = !this.#forwarding.isBetweenPackets;
    const { head } = this.#queue;
    // What has been read of the head's reply is the client's, unless it can still be run elsewhere.
    if (head !== undefined) tellRest(this, this.#forwarding, head);
    tellLost(this, this.#queue.takeAll(), reason, isCut);
    this.#takesMore();
    const onClosed = this.onClosed;
    this.onClosed = null;
    onClosed?.(reason, this.#bug);
  }
}
