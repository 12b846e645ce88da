// A MySQL or MariaDB server connection: writes runs to a node and gives each reply to the run at the head of its queue.
// It knows neither pool nor session; every end carries a reason.

import type { Socket } from 'node:net';
import { BatchedWriter } from '../lib/batched-writer.js';
import { monotonicMs } from '../lib/clock.js';
import { describeError, ProxyError } from '../lib/errors.js';
import { ownServerSocket } from '../lib/server-socket.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type { TransactionStatus } from '../protocol/unit.js';
import { endTransaction, settle } from './aftermath.js';
import type { Established } from './established.js';
import {
  changedRowsOf,
  Expectation,
  ExpectationQueue,
  GONE_RESULT,
  insertIdOf,
  type MysqlServerError,
  NOT_PREPARED,
  type OwnResult,
  Preparation,
  type PreparedCallback,
} from './expectation.js';
import { GATE_SQL, GateQuery } from './gate.js';
import { PreparedOnServer, type PreparedText, type ServerStatement } from './prepared-statements.js';
import { asPrimarySays, ER_QUERY_INTERRUPTED, retryOf } from './replica-errors.js';
import { Reply, type ReplyKind } from './reply.js';
import type { Run } from './run.js';
import { learnChanges, settleDatabase, stateFrame, trackingCommand } from './state-changes.js';
import { TrackedState } from './tracked-state.js';
import { CAPABILITY, type Capabilities, hasCapability } from './wire/capabilities.js';
import { buildCommand, buildQuery, buildStatementClose, COM } from './wire/command.js';
import { type PacketFramer, payloadOf } from './wire/framer.js';
import { type Greeting, isMariadb } from './wire/greeting.js';
import { buildOk, ERR_BYTE, type ErrPacket, type OkPacket, parseErr, STATUS, withStatus } from './wire/ok.js';
import { buildPrepareOk, type PrepareOk } from './wire/result-set.js';
import { buildSessionChanges, parseSessionChanges } from './wire/session-track.js';

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
  onClosed: ((reason: string) => void) | null = null;
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
  readonly #framer: PacketFramer;
  readonly #kill: (threadId: number) => Promise<void>;
  readonly #out: BatchedWriter;
  readonly #reading: ReturnType<typeof ownServerSocket>;
  readonly #expectations = new ExpectationQueue();
  #state = TrackedState.empty;
  #status: number;
  /** The chunk that is being read has had nothing else so far. */
  #isRowsOnly = false;
  /** A cancel has been sent: whom it hits is the node's to say, so nobody new comes here. */
  #cancelled = false;
  #closedReason: string | null = null;
  /** An error that came unasked: why the node closes. */
  #farewell: string | null = null;
  #gate: GateQuery | null = null;
  #onInfileDrain: (() => void) | null = null;
  /** What of the current chunk goes to the head's client. */
  #slices: Buffer[] = [];

  constructor(established: Established) {
    this.node = established.node;
    this.key = established.key;
    this.greeting = established.greeting;
    this.capabilities = established.capabilities;
    this.#status = established.status;
    this.#socket = established.socket;
    this.#framer = established.framer;
    this.#kill = established.kill;
    this.#out = new BatchedWriter(this.#socket);
    const lost = (why: string | null) => this.close(why ?? this.#farewell ?? 'closed by the node');
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
    return this.#expectations.length;
  }

  headAgeMs(nowMs: number): number {
    return this.#expectations.headAgeMs(nowMs);
  }

  get headIsAbandoned(): boolean {
    return this.#expectations.head?.isAbandoned === true;
  }

  get acceptsMore(): boolean {
    return !this.closed && !this.#reading.isPaused && this.#isClean;
  }

  /** Nothing is left of what was run here that is not tracked. */
  get #isClean(): boolean {
    return !this.tainted && !this.#cancelled && (this.#status & STATUS.IN_TRANS) === 0;
  }

  get isMariadb(): boolean {
    return isMariadb(this.greeting.serverVersion);
  }

  get stateDigest(): string {
    // No client's state: whoever uses it has to set it right first.
    return this.trackingLost || this.lingering ? `${this.#state.digest}\0not-as-told` : this.#state.digest;
  }

  get status(): number {
    return this.#status;
  }

  get transaction(): TransactionStatus {
    return (this.#status & STATUS.IN_TRANS) !== 0 ? 'transaction' : 'idle';
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
    if (this.closed || !this.#isClean || this.#expectations.length > 0) return false;
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
    this.#expectations.push(expectation);
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
    const under = this.#expectations.preparationOf(text);
    if (under !== null) {
      under.add(run, done);
      return;
    }
    const preparation = new Preparation(text);
    preparation.add(run, done);
    const ownDone = (result: OwnResult): void =>
      this.#held(text, result, (statement, error) => preparation.ended(statement, error));
    const reply = new Reply('prepare', this.capabilities);
    this.#expectations.push(new Expectation(reply, null, ownDone, false, preparation));
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
      run.done({ kind: 'lost', reason: this.#closedReason!, forwarded: false });
      return;
    }
    run.tracking?.showOn(this, run.isInTransaction);
    if (run.gate !== null) run.gate.query = this.#gateQuery();
    this.#expectations.push(new Expectation(new Reply(run.reply, this.capabilities), run, null, false, null));
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
    for (const run of this.#expectations.refuse(query)) {
      if (run.gate!.begins) this.query('ROLLBACK', () => {});
      run.done({ kind: 'refused', have: query.have });
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
    this.#isRowsOnly = true;
    try {
      this.#framer.push(chunk);
      this.readPackets();
      const sink = this.#expectations.head?.visibleRun?.sink;
      if (!this.#isRowsOnly) this.#reading.interrupted();
      return this.#isRowsOnly && this.#framer.waitingBytes === 0 && sink?.isWritten === true;
    } catch (cause) {
      const detail = cause instanceof ProxyError ? String(cause.details.detail) : describeError(cause);
      this.close(new ProxyError('server-garbage', { node: this.node, detail }).message);
      return false;
    }
  }

  /** What the framer still holds; also right after the login. */
  readPackets(): void {
    while (this.#framer.next() === 'ready') {
      this.#onPacket();
      if (this.closed) return;
    }
    if (this.#framer.failure !== null) throw this.#framer.failure;
    const { head } = this.#expectations;
    if (head !== undefined) this.#flush(head);
  }

  #onPacket(): void {
    const { head } = this.#expectations;
    const { firstByte, length } = this.#framer;
    const isPlain = head !== undefined && head.rows === null && !head.reply.wants(firstByte, length);
    if (!isPlain || !head.reply.isAtRows) this.#isRowsOnly = false;
    if (head === undefined) {
      this.#unasked();
      return;
    }
    if (isPlain) {
      head.reply.passed();
      if (head.visibleRun !== null) this.#pass(head.visibleRun, head.reply);
      else this.#drop();
      if (head.reply.isDone) this.#finish(head);
      return;
    }
    if (head.rows === null && this.#glance(head)) return;
    const peeked = this.#framer.peek();
    const frame = peeked ?? this.#framer.take();
    if (frame === null) return;
    if (head.rows !== null && !head.reply.wants(firstByte, length)) {
      if (head.reply.isAtRows) head.rows.push(Buffer.from(payloadOf(frame)));
      head.reply.passed();
      if (peeked !== null) this.#drop();
      return;
    }
    this.#onWhole(head, frame, peeked !== null);
    if (head.reply.isDone) this.#finish(head);
  }

  /** True: it was a plain packet, and has gone on. */
  #glance(head: Expectation): boolean {
    const { wholeAt, chunk, length } = this.#framer;
    const status = wholeAt < 0 ? -1 : head.reply.glance(chunk, wholeAt, length, this.#status);
    if (status < 0) return false;
    head.sees(this.#status);
    this.#status = status;
    if (head.run !== null) head.run.status = status;
    if (head.visibleRun !== null) this.#pass(head.visibleRun, head.reply);
    else this.#drop();
    if (head.reply.isDone) this.#finish(head);
    return true;
  }

  #drop(): void {
    // The rest of a packet that has been passed on until its client went.
    this.#framer.takeRun();
    this.#framer.drop();
  }

  #pass(run: Run, reply: Reply): void {
    this.#framer.pass();
    if (reply.isAtRows) reply.rows += this.#framer.passRows();
    run.sequence = (this.#framer.sequence + 1) & 0xff;
  }

  /** A packet that has to be looked at. `peeked`: it still waits in the framer. */
  #onWhole(head: Expectation, frame: Buffer, peeked: boolean): void {
    const wasAtFirst = head.reply.isAtFirst;
    head.sees(this.#status);
    const event = head.reply.see(payloadOf(frame));
    const { run } = head;
    const visible = head.visibleRun;
    let forward: Buffer | null = frame;
    switch (event.kind) {
      case 'ok':
        forward = this.#onOk(head, event.ok, frame);
        break;
      case 'eof':
        this.#status = event.status & ~STATUS.SESSION_STATE_CHANGED;
        if (run !== null) run.status = this.#status;
        if (this.#status === event.status) break;
        head.owesChanges = true;
        forward = withStatus(frame, this.#status);
        break;
      case 'err':
        if (this.#onErr(head, event.err, wasAtFirst)) forward = null;
        else if (run !== null) forward = asPrimarySays(event.err, run, frame, this.#status, this.isMariadb);
        break;
      case 'prepared':
        head.prepared = event.prepared;
        if (run?.text != null) {
          const held = this.hold(run.text, event.prepared);
          const statementId = visible?.prepared(event.prepared) ?? held.id;
          forward = buildPrepareOk({ ...event.prepared, statementId }, this.capabilities, frame[3]!);
        }
        break;
    }
    if (visible === null || forward === null) {
      if (peeked) this.#drop();
    } else if (forward === frame && peeked) {
      this.#pass(visible, head.reply);
    } else {
      this.#gather(head);
      if (peeked) this.#framer.drop();
      this.#forward(head, forward);
      visible.sequence = (frame[3]! + 1) & 0xff;
    }
    if (event.kind === 'infile' && visible !== null) {
      this.#flush(head);
      visible.sink.infileRequested();
    }
  }

  /** What the client gets: the frame as it came, or one built anew. */
  #onOk(head: Expectation, ok: OkPacket, frame: Buffer): Buffer {
    this.#status = ok.status;
    const { run } = head;
    if (run !== null) {
      run.status = ok.status;
      const insertId = insertIdOf(ok.counts);
      if (insertId !== null) run.insertId = insertId;
      head.changedRows += changedRowsOf(ok.counts);
    }
    const tracks = run !== null && hasCapability(run.capabilities, CAPABILITY.SESSION_TRACK);
    const changer = run ?? head.learnsFor;
    if (ok.changes === null || changer === null) return frame;
    const changes = parseSessionChanges(ok.changes);
    const before = this.#state;
    const learnt = learnChanges(changes, before, this.loginValues, this.key.database, changer);
    this.#state = learnt.state;
    if (run?.isShared !== true) [this.key, this.#state] = settleDatabase(this.key, this.#state);
    head.position = learnt.position ?? head.position;
    if (learnt.asksCollation) head.asksCollation = true;
    if (learnt.isUnnamed) changer.unnamedChange = true;
    if (run === null) return frame;
    if (run.isShared && (run.unnamedChange || this.#state.digest !== before.digest)) {
      // A read that was no read: whoever is queued here with the state of before goes, and nobody else comes.
      this.tainted = true;
      this.evacuate();
    }
    const seen = tracks ? changes.filter((change) => run.sink.sees(change)) : [];
    if (tracks && seen.length === changes.length) return frame;
    const kept = seen.length === 0 ? null : buildSessionChanges(seen);
    return buildOk({ ...ok, changes: kept }, run.capabilities, frame[3]!);
  }

  /** True: the client does not get it. */
  #onErr(head: Expectation, err: ErrPacket, wasAtFirst: boolean): boolean {
    head.error = { code: String(err.errno), message: err.message, sqlState: err.sqlState };
    const { run } = head;
    if (run === null) return false;
    // Earlier results in the same chunk have passed, and are the client's.
    this.#flush(head);
    if (!run.withhold || head.forwarded || head.muted || !wasAtFirst) return false;
    if (err.errno === ER_QUERY_INTERRUPTED && run.cancelled) return false;
    const retryOn = retryOf(err.errno);
    // The primary's own errors are the client's; but what ends a neighbour may hit it on a shared connection.
    if (run.onReplica || (run.isShared && retryOn === 'elsewhere')) head.withheld = retryOn;
    return head.withheld !== null;
  }

  #unasked(): void {
    const frame = this.#framer.take();
    if (frame === null) return;
    const payload = payloadOf(frame);
    if (payload[0] !== ERR_BYTE) throw new Error('a packet that nothing asked for');
    const { errno, message } = parseErr(payload);
    this.#farewell = `${errno}: ${message}`;
    this.close(this.#farewell);
  }

  #finish(head: Expectation): void {
    this.#flush(head);
    this.#expectations.shift();
    this.#end(head);
    if (this.#expectations.length === 0) this.onDrained?.();
  }

  #end(head: Expectation): void {
    // However slowly this client reads what has been handed over: the next run may be another's.
    this.resumeReading();
    const { run } = head;
    if (run === null) {
      head.ownDone?.({ error: head.error, rows: head.rows ?? [], prepared: head.prepared });
      return;
    }
    if (head.muted) return;
    settle(this, head, () => this.#conclude(head, run));
  }

  #conclude(head: Expectation, run: Run): void {
    if (head.withheld !== null) run.done({ kind: 'withheld', error: head.error!, retryOn: head.withheld });
    else run.done(head.answered(run, this.transaction));
  }

  // --- forwarding -------------------------------------------------------------------------------------------

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

  #flush(head: Expectation): void {
    this.#gather(head);
    const slices = this.#slices;
    if (slices.length === 0) return;
    this.#slices = [];
    if (head.visibleRun === null || head.visibleRun.sink.writeAll(slices)) return;
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
    for (const run of this.#expectations.takeMovable()) run.done({ kind: 'moved', because: 'slow-head' });
  }

  /** Nothing more of this run goes to its client, and its `done` is not called. True: it was at the head. */
  abandon(run: Run): boolean {
    if (this.#expectations.mute(run) === 'behind') return false;
    run.cut = this.#expectations.head?.forwarded === true && !this.#framer.isBetweenPackets;
    this.#slices.length = 0;
    this.#framer.takeRun();
    this.resumeReading();
    return true;
  }

  // --- ending -----------------------------------------------------------------------------------------------

  async cancel(): Promise<void> {
    const { head } = this.#expectations;
    if (this.closed || head === undefined) return;
    this.#cancelled = true;
    this.#expectations.cancelled();
    await this.#kill(this.greeting.connectionId);
  }

  close(reason: string): void {
    if (this.#closedReason !== null) return;
    this.#closedReason = reason;
    if (this.#socket.writable) this.#socket.end(COM_QUIT_PACKET);
    this.#socket.destroySoon();
    const isCut = !this.#framer.isBetweenPackets;
    const { head } = this.#expectations;
    // What has been read of the head's reply is the client's, unless it can still be run elsewhere.
    if (head !== undefined) this.#flush(head);
    this.#expectations.endAll(reason, isCut);
    this.#takesMore();
    const onClosed = this.onClosed;
    this.onClosed = null;
    onClosed?.(reason);
  }
}
