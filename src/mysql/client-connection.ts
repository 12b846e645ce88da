// A MySQL client connection after its login: reads commands, writes them to the server connection that the session gives,
// keeps the client's state and prepared statements. It does not know how a unit is routed.

import type { Socket } from 'node:net';
import { asProxyError, ProxyError } from '../lib/errors.js';
import { ReplyWriter } from '../lib/reply-writer.js';
import { ownSocket, type SocketOwner } from '../lib/socket-events.js';
import type { ClientConnection, PinsTold, SessionHost } from '../protocol/client-connection.js';
import type { ClientFacts, Inspection } from '../protocol/inspection.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { ExecuteOptions, Outcome, RuledStatement, TransactionStatus, Unit } from '../protocol/unit.js';
import { bring } from './bring.js';
import { type ChangingClient, UserChange } from './change-user.js';
import type { Phase } from './client-phase.js';
import { ClientSession } from './client-session.js';
import { ClientStartup, LOGIN_LIMIT_BYTES, type LoggedIn } from './client-startup.js';
import { lastCount, readCommand } from './commands.js';
import type { Killable } from './connection-ids.js';
import { executionFrames, holdStatement, textOf } from './execute-statement.js';
import { CONNECTION_LOST, type MysqlServerError } from './expectation.js';
import { isBegin, isStillHeld, mayHold } from './held-begin.js';
import { clientFacts, inspectText } from './inspect.js';
import { LocalFile } from './local-file.js';
import { newRun } from './new-run.js';
import { isKept, type ServerStatement } from './prepared-statements.js';
import { ASKED_PINS, askPins } from './released.js';
import { setInsertId } from './repeat-last.js';
import { retryOf } from './replica-errors.js';
import type { ReplySink, Run } from './run.js';
import type { MysqlRuntime } from './runtime.js';
import type { MysqlServerConnection } from './server-connection.js';
import { statementTimeout } from './statement-timeout.js';
import { asksLast, type MysqlUnit } from './unit.js';
import type { ChangeUser } from './wire/command.js';
import { PacketFramer, payloadOf, sequenceAfter } from './wire/framer.js';
import { buildErr, buildLoginError, buildPlainOk, buildProxyError, type ErrPacket } from './wire/ok.js';
import type { SessionChange } from './wire/session-track.js';

/** Bytes read ahead while a unit runs; then the socket is paused. */
const READ_AHEAD_BYTES = 65_536;

export class MysqlClientConnection
  implements ClientConnection, SocketOwner, ReplySink, Killable, ChangingClient
{
  readonly runtime: MysqlRuntime;
  readonly settings: ListenerSettings;
  readonly connectionId: number;
  readonly session: ClientSession;

  readonly mayAskBack = true;
  readonly askedPins = ASKED_PINS;
  readonly asksPinsAtOnce = true;
  asksBack = false;
  readonly #socket: Socket;
  readonly #framer = new PacketFramer(LOGIN_LIMIT_BYTES);
  readonly #out: ReplyWriter;
  readonly #host: SessionHost;
  /** Null behind the login. */
  #startup: ClientStartup | null;
  #phase: Phase = 'startup';
  #run: Run | null = null;
  #server: MysqlServerConnection | null = null;
  /** Null: none has been asked for. */
  #file: LocalFile | null = null;
  /** The reply to a preparation, to be given to others; null: not kept. */
  #capture: Buffer[] | null = null;
  #userChange: UserChange | null = null;
  #afterClear: (() => void) | null = null;

  constructor(
    socket: Socket,
    settings: ListenerSettings,
    runtime: MysqlRuntime,
    createHost: (client: ClientConnection) => SessionHost,
  ) {
    this.#socket = socket;
    this.settings = settings;
    this.#out = new ReplyWriter(socket, settings.maxClientBufferBytes);
    this.runtime = runtime;
    this.connectionId = runtime.ids.register(this);
    this.#host = createHost(this);
    this.session = new ClientSession(this.#host);
    socket.setNoDelay(true);
    ownSocket(socket, this);
    this.#startup = new ClientStartup(
      socket,
      this.#framer,
      settings,
      runtime,
      this.#host,
      this.connectionId,
      {
        loggedIn: (login) => this.#onLoggedIn(login),
        ended: (reason) => this.close(reason),
      },
    );
  }

  get stateDigest(): string {
    return this.session.state.digest;
  }

  get facts(): ClientFacts {
    return clientFacts(this.connectionId, this.#socket, this.session);
  }

  inspect(sql: Buffer): Inspection {
    return inspectText(this, sql);
  }

  get isInTransaction(): boolean {
    return this.session.beginIsHeld;
  }

  get user(): string {
    return this.session.user;
  }

  #onLoggedIn(login: LoggedIn): void {
    this.session.logIn(login);
    this.#framer.limitBytes = this.settings.maxUnitBytes;
    this.#phase = 'ready';
    this.#startup = null;
    this.#pump();
  }

  // --- reading ----------------------------------------------------------------------------------------------

  received(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#framer.push(chunk);
    this.#pump();
  }

  /** Reads as many packets as the phase allows. A bug of ours ends this connection, not the process. */
  #pump(): void {
    try {
      if (this.#phase === 'startup') this.#startup!.read();
      else this.#readPackets();
      this.#framer.letGo();
    } catch (cause) {
      this.terminate(asProxyError(cause, this.runtime.bug));
    }
  }

  #readPackets(): void {
    while (this.#phase === 'ready' || this.#phase === 'infile' || this.#phase === 'proving') {
      if (this.#file?.isStuck === true || this.#isBehind) break;
      if (this.#framer.next() !== 'ready') break;
      if (this.#file?.isOpen === true) {
        this.#onFilePacket(this.#file);
        continue;
      }
      const frame = this.#framer.take();
      if (frame === null) continue;
      if (this.#phase === 'proving') this.#userChange!.receive(frame);
      else this.#onCommand(frame);
    }
    if (this.#framer.failure !== null) throw this.#framer.failure;
    if (this.#file?.isOpen === true) this.#flushFile();
    const mayNotRead = this.#phase === 'waiting' || this.#isBehind;
    if (mayNotRead && this.#framer.waitingBytes > READ_AHEAD_BYTES) this.#socket.pause();
  }

  /** A client that does not read what it is answered is not read from either. */
  get #isBehind(): boolean {
    return this.#phase === 'ready' && this.#socket.writableLength >= this.settings.maxClientBufferBytes;
  }

  drained(): void {
    this.#server?.resumeReading();
    if (this.#phase !== 'ready') return;
    this.#socket.resume();
    this.#pump();
  }

  #onCommand(frame: Buffer): void {
    if (frame[3] !== 0)
      throw new ProxyError('protocol-violation', { detail: `command with sequence id ${frame[3]}` });
    try {
      readCommand(this, frame, payloadOf(frame));
    } catch (cause) {
      if (!(cause instanceof ProxyError) || cause.isFatal) throw cause;
      this.answer(buildProxyError(cause, sequenceAfter(frame)));
    }
  }

  // --- what commands ask for --------------------------------------------------------------------------------

  submit(unit: MysqlUnit): void {
    const { lost: error } = this.session;
    if (error !== null) {
      this.session.lost = null;
      const sequence = sequenceAfter(unit.frame);
      if (unit.statement.transaction?.kind === 'rollback')
        this.answer(buildPlainOk(this.session.status, this.session.capabilities, sequence));
      else this.answer(buildProxyError(error, sequence));
      return;
    }
    // The one before it has begun nothing that it would end.
    if (isBegin(unit)) this.session.dropBegin();
    if (this.#holdsBegin(unit)) return;
    if (this.session.takeBegin()) unit.begins();
    this.#phase = 'waiting';
    this.#host.submit(unit);
    // Once is a habit: from now on its server connection is left to it after each statement.
    if (asksLast(unit.prepared?.text.classified.statement ?? unit.statement)) this.asksBack = true;
  }

  #holdsBegin(unit: MysqlUnit): boolean {
    if (this.#host.server !== null || !mayHold(unit, this.session)) return false;
    // It never comes to where else rules are asked.
    const denial = this.#host.denial(unit.ruled);
    if (denial !== null) throw denial;
    this.session.holdBegin();
    const { status, capabilities } = this.session;
    this.answer(buildPlainOk(status, capabilities, sequenceAfter(unit.frame)));
    return true;
  }

  /** An answer of the proxy's own. */
  answer(bytes: Buffer): void {
    this.write(bytes);
    this.#host.answeredLocally();
  }

  answerLater(bytes: Promise<Buffer>): void {
    this.#phase = 'waiting';
    bytes
      .then((answer) => {
        if (this.#phase !== 'waiting') return;
        this.answer(answer);
        this.next();
      })
      .catch((cause: unknown) => this.terminate(asProxyError(cause, this.runtime.bug)));
  }

  get heldServer(): MysqlServerConnection | null {
    return this.#host.server as MysqlServerConnection | null;
  }

  quit(): void {
    this.close('the client said goodbye');
  }

  killQuery(): void {
    void this.#host.cancelRunning();
  }

  killConnection(): void {
    void this.#host.cancelRunning();
    this.close('it was killed');
  }

  // --- running ----------------------------------------------------------------------------------------------

  execute(unit: Unit, on: ServerConnection, options: ExecuteOptions, done: (outcome: Outcome) => void): void {
    const server = on as MysqlServerConnection;
    const { denial, after } = options;
    const isPlain = denial === null && after === null && !unit.startsTransaction;
    if (isPlain && server.isIn(this.session.state)) this.#start(unit as MysqlUnit, server, options, done);
    else this.#bring(unit as MysqlUnit, server, options, done);
  }

  #bring(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    const start = (): void => this.#start(unit, server, options, done);
    const refused = (error: MysqlServerError): void => this.#onRefused(unit, server, error, options, done);
    bring(this, unit, server, options, start, refused);
  }

  #start(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    this.#server = server;
    if (options.holdReply) this.#out.hold();
    setInsertId(this, unit, server);
    const run = newRun(this, unit, server.status, options, unit.kind === 'clear', (outcome) =>
      this.#onDone(unit, server, run, outcome, options, done),
    );
    this.#run = run;
    this.#capture = unit.kind === 'prepare' ? [] : null;
    if (unit.prepared === null || unit.kind === 'prepare') {
      server.run(run, [unit.frame]);
      return;
    }
    const send = (statement: ServerStatement): void => {
      run.status = server.status;
      server.run(run, executionFrames(unit, statement, server, options.isShared));
    };
    const onHeld = (statement: ServerStatement | null, error: MysqlServerError | null): void => {
      if (statement === null) this.#onRefused(unit, server, error!, options, done);
      else send(statement);
    };
    const text = textOf(unit, server);
    const held = options.isShared
      ? (server.prepared.get(text) ?? null)
      : holdStatement(server, text, this.session.state, onHeld);
    if (held !== null) send(held);
    else if (options.isShared) server.prepareFor(run, text, onHeld);
  }

  /** The connection could not be brought to the client's state, or would not prepare its statement. */
  #onRefused(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    error: MysqlServerError,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    this.#server = null;
    this.#capture = null;
    if (error.code === CONNECTION_LOST && server.closed) {
      done({ kind: 'lost', reason: error.message, forwarded: false, unsent: true });
      return;
    }
    const retryOn = server.tainted && options.onReplica ? 'primary' : retryOf(Number(error.code));
    if (options.withholdRetryable && retryOn !== null) {
      done({ kind: 'withheld', error, retryOn });
      return;
    }
    this.#endUnit(unit);
    if (unit.startsTransaction && server.transaction === 'idle') this.session.holdBegin();
    const own = { errno: Number(error.code) || 1105, sqlState: error.sqlState, message: error.message };
    const err = options.late === null ? own : this.#timeout();
    this.write(buildErr(err, sequenceAfter(unit.frame)));
    done({
      kind: 'answered',
      transaction: server.transaction,
      error,
      position: null,
      returnedRows: true,
      gatedAt: null,
      serviceMs: 0,
      replyBytes: 0,
      rows: 0,
    });
  }

  #onDone(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    run: Run,
    outcome: Outcome,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    if (outcome.kind === 'answered') {
      unit.hasFailed = outcome.error !== null;
      this.session.learn(unit, server, run, outcome.error !== null, options.onReplica);
      this.session.counts.learn(unit, outcome);
      if (unit.kind === 'prepare' && outcome.error === null) this.#keepReply(unit);
      this.#endUnit(unit);
    } else {
      this.#server = null;
      if (outcome.kind !== 'lost') this.#run = null;
      if (this.#phase === 'infile') this.#phase = 'waiting';
    }
    this.#capture = null;
    done(outcome);
  }

  #endUnit(unit: MysqlUnit): void {
    if (unit.kind === 'execute' || unit.kind === 'bulk-execute') unit.prepared!.forgetLongData();
    this.#run = null;
    this.#server = null;
    if (this.#phase === 'infile') this.#phase = 'waiting';
  }

  #keepReply(unit: MysqlUnit): void {
    const capture = this.#capture;
    if (capture === null) return;
    const reply = Buffer.concat(capture);
    if (isKept(reply) && this.session.sharesReplies) unit.prepared!.text.reply = reply;
  }

  /** An error may stand behind what has been forwarded of a reply. */
  readonly hasBegun = false;

  /** The run is kept: an error of ours goes on behind what has been forwarded of its reply. */
  abandon(): boolean {
    const wasHead = this.#run !== null && this.#server?.abandon(this.#run) === true;
    this.#server = null;
    return wasHead;
  }

  next(): void {
    if (this.#phase === 'closed') return;
    this.#out.release();
    const afterClear = this.#afterClear;
    if (afterClear !== null) {
      this.#afterClear = null;
      this.#phase = 'proving';
      afterClear();
      return;
    }
    this.#phase = 'ready';
    if (this.#socket.isPaused()) this.#socket.resume();
    this.#pump();
  }

  fail(unit: Unit, error: ProxyError, _transaction: TransactionStatus): void {
    const run = this.#run;
    const { frame, kind } = unit as MysqlUnit;
    const sequence = run?.sequence ?? sequenceAfter(frame);
    this.#endUnit(unit as MysqlUnit);
    this.session.transactionEnded();
    if (isStillHeld(unit as MysqlUnit, error)) this.session.holdBegin();
    const asksCount = error.code === 'last-statement-gone' && kind === 'query';
    const count = asksCount ? lastCount(this, frame, true) : null;
    if (count !== null) this.write(count);
    // Whatever we said would be read as the rest of a row.
    else if (run?.cut === true) this.close(error.message);
    else if (error.isFatal) this.terminateAt(error, sequence);
    else if (this.#file?.isOpen === true) this.#file.answerBehind((behind) => this.#errorAt(error, behind));
    else if (kind !== 'clear') this.write(this.#errorAt(error, sequence));
  }

  #errorAt(error: ProxyError, sequence: number): Buffer {
    if (error.code === 'statement-timeout') return buildErr(this.#timeout(), sequence);
    return buildProxyError(error, sequence);
  }

  #timeout(): ErrPacket {
    return statementTimeout(this.runtime.flavour.flavour === 'mariadb');
  }

  denial(ruled: readonly RuledStatement[]): ProxyError | null {
    return this.#host.denial(ruled);
  }

  transactionLost(error: ProxyError): void {
    // Nothing can be said before the client's next command; that one learns it.
    this.session.transactionEnded();
    this.session.lost = error;
  }

  terminate(error: ProxyError): void {
    // A client that waits for an answer, or sends the next command and then reads, expects the id 1.
    if (this.#run?.cut === true) this.close(error.message);
    else this.terminateAt(error, this.#run?.sequence ?? 1);
  }

  terminateAt(error: ProxyError, sequence: number): void {
    if (this.#phase === 'closed') return;
    if (this.#phase === 'startup') {
      this.#startup!.fail(error);
      return;
    }
    this.#out.drop();
    this.write(buildLoginError(error, sequence, this.#socket.remoteAddress));
    this.close(error.message);
  }

  askPins(server: ServerConnection, done: PinsTold): void {
    askPins(this.session, server as MysqlServerConnection, done);
  }

  // --- COM_CHANGE_USER --------------------------------------------------------------------------------------

  changeUser(change: ChangeUser): void {
    this.#phase = 'proving';
    this.#userChange = new UserChange(this, this.#host, change);
  }

  get isChanging(): boolean {
    return this.#phase === 'proving';
  }

  clear(unit: MysqlUnit, cleared: () => void): void {
    this.#phase = 'waiting';
    this.#afterClear = cleared;
    this.#host.submit(unit);
  }

  changed(): void {
    this.#userChange = null;
    this.#phase = 'ready';
    this.#pump();
  }

  // --- LOAD DATA LOCAL INFILE -------------------------------------------------------------------------------

  infileRequested(): void {
    if (this.#phase === 'closed') {
      // The server would wait for it, with whatever it has locked.
      this.#server?.close('its client is gone, of whom it wants a file');
      return;
    }
    this.#out.pass();
    this.#phase = 'infile';
    this.#file ??= new LocalFile(this.#socket, this.#framer);
    this.#file.isOpen = true;
    this.#pump();
  }

  #onFilePacket(file: LocalFile): void {
    file.onPacket(this.#phase === 'infile');
    if (file.isOpen) return;
    this.#flushFile();
    if (this.#phase === 'infile') this.#phase = 'waiting';
    const answer = file.takeAnswer();
    if (answer !== null) this.write(answer);
  }

  #flushFile(): void {
    this.#file?.flush(this.#server, () => {
      if (this.#phase !== 'closed') this.#pump();
    });
  }

  // --- writing ----------------------------------------------------------------------------------------------

  writeAll(slices: readonly Buffer[]): boolean {
    if (this.#capture !== null) for (const slice of slices) this.#capture.push(Buffer.from(slice));
    return this.#phase === 'closed' || this.#out.writeAll(slices);
  }

  get isWritten(): boolean {
    return this.#out.isWritten;
  }

  sees(change: SessionChange): boolean {
    return this.session.tracking.sees(change);
  }

  write(bytes: Buffer): boolean {
    return this.#phase === 'closed' || this.#out.write(bytes);
  }

  close(reason: string): void {
    if (this.#phase === 'closed') return;
    const wasInfile = this.#phase === 'infile';
    this.#phase = 'closed';
    this.#startup?.stop();
    this.runtime.ids.forget(this.connectionId);
    this.#out.hangUp();
    // Half a file must fail, not be taken for a whole one.
    if (wasInfile) this.#server?.close(`its client is gone in the middle of a file: ${reason}`);
    else this.#server?.resumeReading();
    this.#host.clientClosed(reason);
  }
}
