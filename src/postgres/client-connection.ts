// A PostgreSQL client connection after its login: reads units, writes them to the server connection that the session gives, keeps
// the client's settings and prepared statements, answers what the proxy answers by itself. It does not know how a unit is routed.

import type { Socket } from 'node:net';
import { asProxyError, ProxyError } from '../lib/errors.js';
import { ownSocket, type SocketOwner } from '../lib/socket-events.js';
import type { ClientConnection, PinsTold, SessionHost } from '../protocol/client-connection.js';
import type { ClientFacts, Inspection } from '../protocol/inspection.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { ExecuteOptions, Outcome, ServerError, TransactionStatus, Unit } from '../protocol/unit.js';
import type { Classified } from '../sql/statement.js';
import { ASKED_PINS, askPins, notePins } from './asked-pins.js';
import { AutoPrepareSession } from './auto-prepare-session.js';
import { BehindBatch, closesAlone, endsBeforeQuery } from './before-query.js';
import type { CancelKey } from './cancel-keys.js';
import { ClientOutput } from './client-output.js';
import type { Phase } from './client-phase.js';
import { ClientStartup, greet, type LoggedIn } from './client-startup.js';
import { ClientTransaction } from './client-transaction.js';
import { CopyIn } from './copy-in.js';
import { DrawnSequences } from './drawn-sequences.js';
import { ExtendedBatch, readExtended, SYNC_MESSAGE } from './extended-batch.js';
import type { HeldBegin } from './held-begin.js';
import { classifyText, clientFacts } from './inspect.js';
import { unseenByClient } from './lost-expectations.js';
import { makeReady, type Placed } from './make-ready.js';
import { newRun } from './new-run.js';
import { ClientStatements, type PreparedText, type TextReader } from './prepared-statements.js';
import { answeredByUs, type ReplyEvents, type Run } from './run.js';
import type { DatabaseClassifier, PostgresRuntime } from './runtime.js';
import type { PostgresServerConnection } from './server-connection.js';
import { type LeftTransaction, SessionSettings } from './session-settings.js';
import { type StandIn, standInFor } from './stand-in.js';
import { BatchUnit, type PostgresUnit, SimpleUnit, UNCLASSIFIED } from './unit.js';
import { isPlain } from './verified-rows.js';
import { CLOSE_COMPLETE, errorResponse, proxyErrorResponse, readyForQuery } from './wire/backend-messages.js';
import { Framer, frontendLimits, loginFrontendLimits } from './wire/framer.js';
import { FRONTEND, parseQuery, unexpectedMessage } from './wire/frontend.js';
import { writeUnit } from './write-unit.js';

/** Read ahead while a unit runs; then the socket is paused. */
const READ_AHEAD_BYTES = 65_536;
export class PostgresClientConnection implements ClientConnection, ReplyEvents, SocketOwner, TextReader {
  readonly mayAskBack = false;
  readonly askedPins = ASKED_PINS;
  readonly asksBack = false;
  readonly #socket: Socket;
  readonly #runtime: PostgresRuntime;
  readonly #settings: ListenerSettings;
  readonly #framer = new Framer({ limits: loginFrontendLimits(), startup: true });
  readonly #host: SessionHost;
  /** Null behind the login. */
  #startup: ClientStartup | null;
  #phase: Phase = 'startup';
  #cancelKey: CancelKey | null = null;
  readonly #behind = new BehindBatch();
  #database: DatabaseClassifier | null = null;

  /** The messages of the batch that is being collected, or that runs open. */
  #batch: ExtendedBatch | null = null;
  #unit: PostgresUnit | null = null;
  #run: Run | null = null;
  #server: PostgresServerConnection | null = null;
  /** Of the open batch: messages that have been written. */
  #written = 0;
  /** After an error in an open batch: everything up to Sync is skipped, as a server does. */
  #skipping = false;
  #copyIn: CopyIn | null = null;

  readonly #names = new ClientStatements(this);
  readonly #transaction = new ClientTransaction();
  readonly #session: SessionSettings;
  readonly #auto: AutoPrepareSession;
  #drawn: DrawnSequences | null = null;
  readonly #out: ClientOutput;
  /** Of the running unit. */
  #holdsReply = false;

  constructor(
    socket: Socket,
    settings: ListenerSettings,
    runtime: PostgresRuntime,
    createHost: (client: ClientConnection) => SessionHost,
  ) {
    this.#socket = socket;
    this.#settings = settings;
    this.#out = new ClientOutput(socket, settings.maxClientBufferBytes, this);
    this.#runtime = runtime;
    this.#host = createHost(this);
    this.#session = new SessionSettings(this.#host.level);
    this.#auto = new AutoPrepareSession(runtime.autoPrepare, this.#host);
    this.#startup = new ClientStartup(socket, this.#framer, settings, runtime, this.#host, {
      loggedIn: (login) => this.#onLoggedIn(login),
      failed: (error) => this.terminate(error),
      ended: (reason) => this.close(reason),
    });
    socket.setNoDelay(true);
    ownSocket(socket, this);
  }

  get isInTransaction(): boolean {
    return this.#transaction.status !== 'idle';
  }

  get stateDigest(): string {
    return this.#session.current.digest;
  }

  cancel(): Promise<void> | null {
    return this.#host.cancelRunning();
  }

  #onLoggedIn(login: LoggedIn): void {
    this.#session.start(login.base, login.consistency);
    this.#database = this.#runtime.classifierOf(login.database);
    this.#out.told = login.parameters;
    this.#cancelKey = this.#runtime.cancelKeys.register(this, login.cancelKeyBytes);
    this.#out.processId = this.#cancelKey.processId;
    this.#framer.expectMessages();
    this.#framer.setLimits(frontendLimits(this.#settings.maxUnitBytes));
    greet(this.#socket, login.parameters, this.#cancelKey);
    this.#startup = null;
    this.#phase = 'collecting';
    this.#readOn();
  }

  // --- reading ----------------------------------------------------------------------------------------------

  received(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#framer.push(chunk);
    this.#pump();
  }

  #readOn(): void {
    this.#socket.resume();
    if (this.#phase !== 'closed') this.#pump();
  }

  /** Reads as many messages as the phase allows. A bug of ours ends this connection, not the process. */
  #pump(): void {
    try {
      if (this.#phase === 'startup') this.#startup!.read();
      else this.#readMessages();
      // Beyond a little, what cannot be read now stays in the kernel.
      if (this.#framer.pendingBytes > READ_AHEAD_BYTES && !this.#mayRead()) this.#socket.pause();
    } catch (cause) {
      this.terminate(asProxyError(cause, this.#runtime.bug));
    }
  }

  #readMessages(): void {
    const behind = this.#phase === 'collecting' ? this.#behind.take() : null;
    if (behind !== null) this.#onMessage(behind[0]!, behind, 0, behind.length);
    while (this.#mayRead()) {
      const answer = this.#framer.next();
      if (answer === 'more') break;
      if (answer === 'stop')
        throw this.#framer.error ?? new ProxyError('protocol-violation', { detail: 'framing' });
      this.#onMessage(this.#framer.type, this.#framer.buffer, this.#framer.start, this.#framer.end);
    }
  }

  #mayRead(): boolean {
    // A client that does not read what it is answered is not read from either.
    if (this.#phase === 'collecting') return this.#out.keepsUp;
    if (this.#phase === 'copying') return !this.#copyIn!.isFull;
    return this.#phase === 'waiting' && this.#unit?.open === true && this.#run !== null;
  }

  #onMessage(type: number, buffer: Buffer, start: number, end: number): void {
    if (type === FRONTEND.terminate) {
      this.close('the client said goodbye');
      return;
    }
    if (this.#phase === 'copying') {
      this.#onCopyMessage(type, buffer.subarray(start, end));
      return;
    }
    if (this.#skipping && type !== FRONTEND.sync) return;
    switch (type) {
      case FRONTEND.query:
        if (!this.#waitsForBatch(buffer.subarray(start, end))) this.#onQuery(buffer, start, end);
        return;
      case FRONTEND.parse:
      case FRONTEND.bind:
      case FRONTEND.describe:
      case FRONTEND.close:
      case FRONTEND.execute:
        this.#openBatch().add(readExtended(type, buffer, start, end, this));
        return;
      case FRONTEND.flush:
        this.#onFlush(buffer.subarray(start, end));
        return;
      case FRONTEND.sync:
        this.#onSync();
        return;
      case FRONTEND.functionCall:
        if (this.#waitsForBatch(buffer.subarray(start, end))) return;
        this.#submitSimple(UNCLASSIFIED, [...this.#closesBefore(), buffer.subarray(start, end)], null);
        return;
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        // Of a COPY that has failed meanwhile: thrown away, as a server does. In a batch it may be ahead of CopyInResponse.
        this.#batch?.add(readExtended(type, buffer, start, end, this));
        return;
      default:
        throw unexpectedMessage(type, '');
    }
  }

  #onQuery(buffer: Buffer, start: number, end: number): void {
    const { textStart, textEnd } = parseQuery(buffer, start, end);
    const closes = this.#closesBefore();
    const sql = buffer.subarray(textStart, textEnd);
    const classified = this.classify(sql);
    const isAlone = closes.length === 0 && !this.isInTransaction;
    const standIn = isAlone
      ? standInFor(this.#database!, this.#auto, classified, sql, this.stateDigest)
      : null;
    const { status } = this.#transaction;
    // A simple query ends the unnamed statement (protocol-flow, extended query).
    this.#names.delete('');
    const own =
      this.#names.answer(classified, status) ??
      this.#session.ownFor(classified)?.answerQuery(classified, status);
    if (own) {
      this.#answerLocally([...closes.map(() => CLOSE_COMPLETE), ...own]);
      return;
    }
    this.#submitSimple(classified, [...closes, buffer.subarray(start, end)], standIn);
  }

  #submitSimple(classified: Classified, messages: readonly Buffer[], standIn: StandIn | null): void {
    const answers = this.#transaction.answer(classified, this.#host);
    if (answers !== null) {
      if (!this.isInTransaction) this.#session.endedLocally(classified.statement);
      this.#answerLocally(answers);
      return;
    }
    const message = messages.length === 1 ? messages[0]! : Buffer.concat(messages);
    this.#submit(new SimpleUnit(classified, message, this.#transaction.takeBegin(), standIn));
  }

  #openBatch(): ExtendedBatch {
    this.#batch ??= new ExtendedBatch(this.#names, this, this.#settings.maxUnitBytes);
    return this.#batch;
  }

  intern(name: string, body: Buffer): PreparedText {
    return (name === '' ? this.#auto : this.#runtime.texts).intern(body, this.stateDigest);
  }

  #onFlush(bytes: Buffer): void {
    const isBehindCopy = this.#copyIn !== null;
    this.#copyIn = null;
    if (this.#batch === null || (this.#batch.messages.length === this.#written && !isBehindCopy)) return;
    this.#batch.add({ kind: 'flush', bytes });
    if (this.#unit === null) {
      if (this.#answersOpen(this.#batch)) return;
      this.#submit(new BatchUnit(this.#batch, true, this.#transaction.takeBegin()));
    } else this.#writeMore();
  }

  #onSync(): void {
    if (this.#skipping) {
      this.#skipping = false;
      this.#batch = null;
      this.#out.write(readyForQuery(this.#transaction.status));
      return;
    }
    const batch = this.#openBatch();
    batch.add(SYNC_MESSAGE);
    if (this.#unit !== null) {
      // The end of an open batch: nothing more is read until its final reply.
      (this.#unit as BatchUnit).open = false;
      this.#run!.isOpen = false;
      if (this.#holdsReply) this.#out.hold();
      this.#writeMore();
      return;
    }
    this.#batch = null;
    if (!this.#transaction.isLost && this.#answerOwn(batch)) return;
    const answers = this.#transaction.answerBatch(batch, this.#names);
    if (answers !== null) {
      this.#answerLocally(answers);
      return;
    }
    this.#batch = batch;
    this.#submit(new BatchUnit(batch, false, this.#transaction.takeBegin()));
  }

  /** True: the batch, as far as it has come, was for the proxy. */
  #answerOwn(batch: ExtendedBatch): boolean {
    const { status } = this.#transaction;
    const own = this.#session.ownForAll(batch.classified)?.answerBatch(batch, this.#names, this, status);
    if (!own) return false;
    this.#batch = null;
    this.#skipping = own.skips;
    this.#answerLocally(own.replies);
    return true;
  }

  #onCopyMessage(type: number, bytes: Buffer): void {
    const verb = this.#copyIn!.verb(type);
    if (verb !== 'skip' && !this.#server!.feed(bytes)) {
      this.#socket.pause();
      this.#copyIn!.pausedFor(this.#server!, () => this.#readOn());
    }
    if (verb === 'last') this.#phase = 'waiting';
  }

  /** Drivers send Close without Sync in front of what comes next. */
  #closesBefore(): readonly Buffer[] {
    const batch = this.#batch;
    if (batch === null) return [];
    this.#batch = null;
    return closesAlone(batch, this.#unit !== null, this.#transaction, this.#names, this.#out);
  }

  /** A Query or FunctionCall in the middle of a batch: where that makes no difference a Sync of ours comes first. */
  #waitsForBatch(message: Buffer): boolean {
    const batch = this.#batch;
    const isOpen = this.#unit !== null;
    if (batch === null || !endsBeforeQuery(batch, isOpen, this.isInTransaction)) return false;
    if (!isOpen && this.#answersOpen(batch)) return this.#skipping;
    if (isOpen) this.#run!.isEndOurs = true;
    this.#behind.put(message);
    if (isOpen) this.#onSync();
    else {
      batch.add(SYNC_MESSAGE);
      this.#submit(new BatchUnit(batch, false, this.#transaction.takeBegin()));
    }
    return true;
  }

  /** True: the batch needs no server as far as it has come. Behind an error nothing more is read up to Sync. */
  #answersOpen(batch: ExtendedBatch): boolean {
    if (!this.#transaction.isLost) return this.#answerOwn(batch);
    this.#skipping = true;
    this.#answerLocally([this.#transaction.refuse()]);
    return true;
  }

  classify(sql: Buffer, recurs = false): Classified {
    return classifyText(this.#database!, this.#settings, sql, this.#out.told.lexSettings, recurs);
  }

  get facts(): ClientFacts {
    return clientFacts(this.#cancelKey?.processId ?? 0, this.#socket, this.#out.told, this.#session.current);
  }

  inspect(sql: Buffer): Inspection {
    return this.#auto.inspect(this, this.#database!.classifier, sql, this.#transaction.begin);
  }

  // --- running ----------------------------------------------------------------------------------------------

  #submit(unit: PostgresUnit): void {
    this.#unit = unit;
    this.#phase = 'waiting';
    this.#host.submit(unit);
  }

  leftOn(unit: Unit): ServerConnection | null {
    return this.#drawn?.askedOn(unit as PostgresUnit) ?? null;
  }

  execute(unit: Unit, on: ServerConnection, options: ExecuteOptions, done: (outcome: Outcome) => void): void {
    const server = on as PostgresServerConnection;
    const own = unit as PostgresUnit;
    const placed = { server, options, done };
    const left = this.#session.leftBefore(server);
    const isDenied = options.denial !== null;
    if (own.mayDraw) this.#drawn ??= new DrawnSequences();
    const forgets = this.#drawn?.comesTo(server, own, this.#database!.asked, isDenied) === true;
    const isReady = left === null && server.state === this.#session.current && !isDenied && !forgets;
    if (isReady && isPlain(own)) this.#start(own, placed, null);
    else this.#makeReady(own, placed, left, forgets);
  }

  #makeReady(own: PostgresUnit, placed: Placed, left: LeftTransaction | null, forgets: boolean): void {
    const drawn = forgets ? this.#drawn : null;
    const { current } = this.#session;
    const ready = { left, current, autoPrepare: this.#runtime.autoPrepare, drawn, client: this };
    const begun = (begin: HeldBegin | null): void => this.#start(own, placed, begin);
    const refused = (error: ServerError): void => this.#onRefused(own, placed, error);
    makeReady(own, placed.server, { ...placed.options, ...ready }, begun, refused);
  }

  #start(unit: PostgresUnit, placed: Placed, begin: HeldBegin | null, isAgain = false): void {
    const { server, options, done } = placed;
    this.#server = server;
    this.#holdsReply = options.holdReply;
    if (options.holdReply && !unit.open) this.#out.hold();
    const gate = isAgain ? null : server.gateFor(unit, options);
    const auto = this.#auto.begin(unit, server, options.onReplica, isAgain, options.autoPrepare);
    const written = writeUnit(unit, server, auto, begin);
    const isApart = auto?.isSample === true || !this.#database!.readsMayJoin;
    const run = newRun(this.#out, unit, options, written, begin, gate, isApart, {
      heal: (error) => {
        if (this.#phase !== 'closed') this.#start(unit, placed, begin, true);
        else done(answeredByUs(server.transaction, error));
      },
      done: (outcome, tag) => this.#onDone(unit, server, outcome, tag, run, done),
    });
    this.#run = run;
    if (this.#behind.waits) run.isEndOurs = true;
    if (unit.kind === 'batch') this.#written = unit.batch.messages.length;
    server.run(run, written.messages);
    if (!unit.open) return;
    this.#socket.resume();
    queueMicrotask(() => this.#pump());
  }

  /** More of an open batch, up to a Flush or its Sync. */
  #writeMore(): void {
    const batch = this.#batch!;
    const denial = this.#host.denial((this.#unit as BatchUnit).extended());
    // What came before has run, and its transaction is open: nothing but the end takes that back.
    if (denial !== null) {
      this.terminate(denial);
      return;
    }
    const written = batch.writeFor(this.#server!, this.#written);
    this.#written = batch.messages.length;
    this.#run!.steps?.push(...written.steps);
    for (const message of written.messages) this.#server!.feed(message);
  }

  /** The connection could not be brought to the client's state, or the unit is denied. */
  #onRefused(unit: PostgresUnit, { server, options, done }: Placed, error: ServerError): void {
    const unseen = unseenByClient(error, server.closed, options);
    if (unseen !== null) {
      this.#session.hear(unseen);
      done(unseen);
      return;
    }
    const skips = this.#behind.failsWith(unit);
    if (unit.begin !== null) this.#transaction.lose(null);
    else this.#transaction.becomes(server.transaction);
    this.#endUnit();
    const own = options.denial ?? options.late;
    this.#out.write(own === null ? errorResponse({ severity: 'ERROR', ...error }) : proxyErrorResponse(own));
    if (skips) this.#skipping = true;
    else this.#out.write(readyForQuery(this.#transaction.status));
    done(answeredByUs(server.transaction, error));
  }

  #onDone(
    unit: PostgresUnit,
    server: PostgresServerConnection,
    outcome: Outcome,
    tag: string,
    { serviceMs, isBehindBegin }: Run,
    done: (outcome: Outcome) => void,
  ): void {
    if (outcome.kind === 'answered') {
      this.#endUnit();
      const { transaction } = outcome;
      const failed = outcome.error !== null;
      // As a server skips it, up to the client's Sync.
      if (failed && this.#behind.take() !== null) this.#skipping = true;
      const { effects } = unit;
      const known = this.#session.unitEnded(effects, server, { transaction, failed, tag });
      if (!known) this.#host.pins.add('untracked-setting');
      if (unit.mayDraw && this.#database!.asked.has(unit.shape)) this.#host.pins.add('sequence-state');
      this.#transaction.becomes(transaction);
      // It fell before its BEGIN was through: the client, who was told of that one, goes on in a failed transaction.
      if (isBehindBegin && failed && transaction === 'idle') this.#transaction.lose(null);
      notePins(unit, failed, this.#database!.classifier, this.#host.pins);
      if (transaction === 'idle') this.#names.endPortals();
      this.#auto.ended(unit, { transaction, failed, known, serviceMs });
    } else {
      this.#endRun();
      if (outcome.kind === 'lost') this.#session.forgetTransaction();
    }
    this.#session.hear(outcome);
    done(outcome);
  }

  #endRun(): void {
    this.#run = null;
    this.#server = null;
    if (this.#phase === 'copying') this.#phase = 'waiting';
  }

  #endUnit(): void {
    this.#endRun();
    this.#unit = null;
    this.#batch = null;
    this.#written = 0;
  }

  askPins(server: ServerConnection, done: PinsTold): void {
    askPins(server as PostgresServerConnection, done);
  }

  abandon(): boolean {
    const wasHead = this.#run !== null && this.#server?.abandon(this.#run) === true;
    this.#endUnit();
    return wasHead;
  }

  get hasBegun(): boolean {
    return this.#run !== null && this.#server?.hasBegun(this.#run) === true;
  }

  next(): void {
    if (this.#phase === 'closed') return;
    this.#out.release();
    this.#phase = 'collecting';
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#framer.pendingBytes > 0 || this.#behind.waits) this.#pump();
    else this.#framer.letGo();
  }

  // --- answers of the proxy's own ---------------------------------------------------------------------------

  fail(unit: Unit, error: ProxyError, transaction: TransactionStatus): void {
    this.#endUnit();
    const skips = this.#behind.failsWith(unit);
    this.#session.forgetTransaction();
    if (transaction === 'failed') this.#transaction.lose(null);
    else this.#transaction.becomes('idle');
    if (error.isFatal) {
      this.terminate(error);
      return;
    }
    this.#out.write(proxyErrorResponse(error));
    if (skips) this.#skipping = true;
    else this.#out.write(readyForQuery(this.#transaction.status));
  }

  transactionLost(error: ProxyError): void {
    // Nothing can be said before the client's next unit; that one learns it.
    this.#session.forgetTransaction();
    this.#transaction.lose(error);
  }

  #answerLocally(messages: readonly Buffer[]): void {
    for (const message of messages) this.#out.write(message);
    this.#host.answeredLocally();
  }

  terminate(error: ProxyError): void {
    if (this.#phase === 'closed') return;
    this.#out.drop();
    this.#out.write(proxyErrorResponse(error, 'FATAL'));
    this.close(error.message);
  }

  // --- writing ----------------------------------------------------------------------------------------------

  drained(): void {
    this.#server?.resumeReading();
    if (this.#phase === 'collecting') this.#readOn();
  }

  deallocated(discarded: boolean): void {
    this.#names.clearNamed();
    if (discarded && this.#server !== null) this.#session.discarded(this.#server);
  }

  messageCut(): void {
    // Nothing that we could say would be read as what it is.
    this.close('its server connection was lost in the middle of a message');
  }

  copyInStarted(): void {
    if (this.#phase === 'closed') {
      // The server would wait for its data, with whatever it has locked.
      this.#server?.close('its client is gone, whose data COPY wants');
      return;
    }
    this.#out.pass();
    const batch = this.#unit?.kind === 'batch' ? this.#unit.batch : null;
    // The client has not waited to be asked.
    if (batch !== null && batch.messages.length > this.#written) this.#writeMore();
    if (batch?.hasCopied === true) return;
    this.#phase = 'copying';
    this.#copyIn = new CopyIn(batch !== null && !this.#unit!.open);
    this.#readOn();
  }

  close(reason: string): void {
    if (this.#phase === 'closed') return;
    const wasCopying = this.#phase === 'copying';
    this.#phase = 'closed';
    this.#startup?.stop();
    if (this.#cancelKey !== null) this.#runtime.cancelKeys.forget(this.#cancelKey);
    this.#out.hangUp();
    // Half a COPY must fail, not be taken for a whole one.
    if (wasCopying) this.#server?.close(`its client is gone in the middle of COPY: ${reason}`);
    else this.#server?.resumeReading();
    this.#host.clientClosed(reason);
  }
}
