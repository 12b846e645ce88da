// A MySQL client connection after its login: reads commands, writes them to the server connection that the session gives,
// keeps the client's state and prepared statements. It does not know how a unit is routed.

import type { Socket } from 'node:net';
import { describeError, ProxyError } from '../lib/errors.js';
import type { ClientConnection, SessionHost } from '../protocol/client-connection.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { ExecuteOptions, Outcome, ServerError, TransactionStatus, Unit } from '../protocol/unit.js';
import { type ProofStep, proofForChangeUser, type UserProof } from './auth/client-login.js';
import { ClientStartup, LOGIN_LIMIT_BYTES, type LoggedIn } from './client-startup.js';
import { ClientStatements } from './client-statements.js';
import { type CommandContext, readCommand } from './commands.js';
import type { Killable } from './connection-ids.js';
import { executionFrames, holdStatement, textOf } from './execute-statement.js';
import { MAX_REPLY_BYTES } from './prepared-statements.js';
import { retryOf } from './replica-errors.js';
import type { ReplySink, Run } from './run.js';
import type { MysqlRuntime } from './runtime.js';
import { CONNECTION_LOST, type MysqlServerConnection } from './server-connection.js';
import { TrackedState } from './tracked-state.js';
import { commandClass, MysqlUnit } from './unit.js';
import { variantText } from './variant.js';
import { isTrackingSetting, VisibleTracking } from './visible-tracking.js';
import { type Capabilities, keyedCapabilities } from './wire/capabilities.js';
import { buildCommand, type ChangeUser, COM } from './wire/command.js';
import { PacketFramer, payloadOf, sequenceAfter } from './wire/framer.js';
import { asProxyError, buildErr, buildPlainOk, buildProxyError, STATUS } from './wire/ok.js';
import type { PrepareOk } from './wire/result-set.js';
import type { SessionChange } from './wire/session-track.js';

/**
 * - `startup`: before the login is complete
 * - `ready`: reads the next command
 * - `waiting`: a unit is with the session
 * - `infile`: the running unit takes a file from the client
 * - `proving`: COM_CHANGE_USER, until the new user is in
 * - `closed`
 */
type Phase = 'startup' | 'ready' | 'waiting' | 'infile' | 'proving' | 'closed';

/** Bytes read ahead while a unit runs; then the socket is paused. */
const READ_AHEAD_BYTES = 65_536;
/** Of the status flags, those that hold beyond one reply. */
const LASTING_STATUS =
  STATUS.IN_TRANS |
  STATUS.AUTOCOMMIT |
  STATUS.NO_BACKSLASH_ESCAPES |
  STATUS.IN_TRANS_READONLY |
  STATUS.ANSI_QUOTES;
const RESET_FRAME = buildCommand(COM.RESET_CONNECTION);

export class MysqlClientConnection implements ClientConnection, ReplySink, Killable, CommandContext {
  readonly runtime: MysqlRuntime;
  readonly settings: ListenerSettings;
  readonly connectionId: number;
  readonly statements = new ClientStatements();
  readonly tracking = new VisibleTracking();
  user = '';
  capabilities: Capabilities = { flags: 0, mariadb: 0 };
  collation = 45;
  loginDatabase = '';
  loginValues: ReadonlyMap<string, string> = new Map();
  state = TrackedState.empty;
  status: number = STATUS.AUTOCOMMIT;
  /** The last id that an INSERT of this client made. */
  #insertId: string | null = null;

  readonly #socket: Socket;
  readonly #framer = new PacketFramer(LOGIN_LIMIT_BYTES);
  readonly #host: SessionHost;
  readonly #startup: ClientStartup;
  #phase: Phase = 'startup';
  #run: Run | null = null;
  #server: MysqlServerConnection | null = null;
  /** The client sends a file; also when nobody wants it any more. */
  #infileIsOpen = false;
  #sinkIsFull = false;
  /** The reply to a preparation, to be given to others; null: not kept. */
  #capture: Buffer[] | null = null;
  /** SET TRANSACTION: its server connection is kept for the transaction that begins next. */
  #holdsNextTransaction = false;
  #textStatements = new Set<string>();
  /** The transaction was lost with its server connection; the client learns it by its next command. */
  #lost: ProxyError | null = null;
  #proof: UserProof | null = null;
  #changeUser: ChangeUser | null = null;
  #afterClear: (() => void) | null = null;

  constructor(
    socket: Socket,
    settings: ListenerSettings,
    runtime: MysqlRuntime,
    createHost: (client: ClientConnection) => SessionHost,
  ) {
    this.#socket = socket;
    this.settings = settings;
    this.runtime = runtime;
    this.connectionId = runtime.ids.register(this);
    this.#host = createHost(this);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('drain', () => this.#server?.resumeReading());
    socket.on('error', (error) => this.#close(describeError(error)));
    socket.on('end', () => this.#close('the client closed the connection'));
    socket.on('close', () => this.#close('the client closed the connection'));
    this.#startup = new ClientStartup(
      socket,
      this.#framer,
      settings,
      runtime,
      this.#host,
      this.connectionId,
      {
        loggedIn: (login) => this.#onLoggedIn(login),
        ended: (reason) => this.#close(reason),
      },
    );
  }

  get stateDigest(): string {
    return this.state.digest;
  }

  #onLoggedIn(login: LoggedIn): void {
    this.user = login.user;
    this.capabilities = login.capabilities;
    this.collation = login.collation;
    this.loginDatabase = login.database;
    this.loginValues = login.loginValues;
    this.status = login.status & LASTING_STATUS;
    this.#framer.limitBytes = this.settings.maxUnitBytes;
    this.#phase = 'ready';
    this.#pump();
  }

  // --- reading ----------------------------------------------------------------------------------------------

  #onData(chunk: Buffer): void {
    if (this.#phase === 'closed') return;
    this.#framer.push(chunk);
    this.#pump();
  }

  /** Reads as many packets as the phase allows. A bug of ours ends this connection, not the process. */
  #pump(): void {
    try {
      if (this.#phase === 'startup') this.#startup.read();
      else this.#readPackets();
    } catch (cause) {
      this.terminate(asProxyError(cause));
    }
  }

  #readPackets(): void {
    while (this.#phase === 'ready' || this.#phase === 'infile' || this.#phase === 'proving') {
      if (this.#sinkIsFull) break;
      const verb = this.#framer.next();
      if (verb === 'more') break;
      if (verb === 'stop')
        throw this.#framer.failure ?? new ProxyError('protocol-violation', { detail: 'framing' });
      if (this.#infileIsOpen) {
        this.#onFilePacket();
        continue;
      }
      const frame = this.#framer.take();
      if (frame === null) continue;
      if (this.#phase === 'proving') this.#onProofPacket(frame);
      else this.#onCommand(frame);
    }
    if (this.#infileIsOpen) this.#flushFile();
    if (this.#phase === 'waiting' && this.#framer.waitingBytes > READ_AHEAD_BYTES) this.#socket.pause();
  }

  #onCommand(frame: Buffer): void {
    if (frame[3] !== 0)
      throw new ProxyError('protocol-violation', {
        detail: `command with sequence id ${frame[3]} instead of 0`,
      });
    try {
      readCommand(this, frame, payloadOf(frame));
    } catch (cause) {
      if (!(cause instanceof ProxyError) || cause.isFatal) throw cause;
      this.answer(buildProxyError(cause, sequenceAfter(frame)));
    }
  }

  // --- what commands ask for --------------------------------------------------------------------------------

  submit(unit: MysqlUnit): void {
    if (this.#lost !== null) {
      const error = this.#lost;
      this.#lost = null;
      const sequence = sequenceAfter(unit.frame);
      if (unit.statement.transaction?.kind === 'rollback')
        this.answer(buildPlainOk(this.status, this.capabilities, sequence));
      else this.answer(buildProxyError(error, sequence));
      return;
    }
    this.#phase = 'waiting';
    this.#host.submit(unit);
  }

  /** An answer of the proxy's own. */
  answer(bytes: Buffer): void {
    this.#write(bytes);
    this.#host.answeredLocally();
  }

  get heldServer(): MysqlServerConnection | null {
    return this.#host.server as MysqlServerConnection | null;
  }

  quit(): void {
    this.#close('the client said goodbye');
  }

  /** The cursor of a statement is gone. */
  cursorClosed(): void {
    if (!this.statements.hasOpenCursor) this.#host.unpin('open-cursor');
  }

  /** COM_RESET_CONNECTION: as after the login. */
  forgetSession(): void {
    this.state = TrackedState.empty;
    this.statements.clear();
    this.#textStatements.clear();
    this.#insertId = null;
    this.#holdsNextTransaction = false;
    this.status = (this.status & ~STATUS.IN_TRANS) | STATUS.AUTOCOMMIT;
  }

  changeUser(change: ChangeUser): void {
    this.#phase = 'proving';
    this.#changeUser = change;
    const context = this.runtime.loginContext(this.#host, this.settings);
    this.#proof = proofForChangeUser(change, this.capabilities, context);
    this.#follow(this.#proof.start('', null));
  }

  killQuery(): void {
    this.#host.cancelRunning();
  }

  killConnection(): void {
    this.#host.cancelRunning();
    this.terminate(new ProxyError('cancelled'));
  }

  // --- running ----------------------------------------------------------------------------------------------

  execute(unit: Unit, on: ServerConnection, options: ExecuteOptions, done: (outcome: Outcome) => void): void {
    const server = on as MysqlServerConnection;
    const start = (): void => this.#start(unit as MysqlUnit, server, options, done);
    const refused = (error: ServerError): void =>
      this.#onRefused(unit as MysqlUnit, server, error, options, done);
    const ready = server.bringTo(this.state, (error) => (error === null ? start() : refused(error)));
    if (ready) start();
  }

  #start(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    this.#server = server;
    const { statement } = unit;
    if (
      this.#insertId !== null &&
      (server.lastUser !== this || server.lastInsertId !== this.#insertId) &&
      (statement.route === 'last' || statement.afterWrite === true)
    ) {
      // LAST_INSERT_ID() belongs to the client, wherever it runs now.
      server.query(`SET SESSION last_insert_id=${this.#insertId}`, () => {});
    }
    server.lastUser = this;
    if (unit.prepared === null || unit.kind === 'prepare') {
      this.#send(unit, server, [unit.frame], options, done);
      return;
    }
    const held = holdStatement(server, textOf(unit), this.state, (late, error) => {
      if (late === null) this.#onRefused(unit, server, error!, options, done);
      else this.#send(unit, server, executionFrames(unit, late, server), options, done);
    });
    if (held !== null) this.#send(unit, server, executionFrames(unit, held, server), options, done);
  }

  #send(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    frames: readonly Buffer[],
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    const isPlainRead = unit.statement.route === 'replica' && (this.status & STATUS.IN_TRANS) === 0;
    const run: Run = {
      sink: this,
      reply: unit.reply,
      capabilities: this.capabilities,
      withhold: options.withholdRetryable,
      verifyAfterError: !isPlainRead,
      drop: unit.kind === 'clear',
      prepared: unit.kind === 'prepare' ? (prepared) => this.#onPrepared(unit, server, prepared) : null,
      cancelled: false,
      sequence: sequenceAfter(unit.frame),
      cut: false,
      status: server.status,
      insertId: null,
      unnamedChange: false,
      done: (outcome) => this.#onDone(unit, server, run, outcome, options, done),
    };
    this.#run = run;
    this.#capture = unit.kind === 'prepare' ? [] : null;
    server.run(run, frames);
  }

  #onPrepared(unit: MysqlUnit, server: MysqlServerConnection, prepared: PrepareOk): number {
    const { text } = unit.prepared!;
    text.parameters = prepared.parameters;
    server.hold(text, prepared);
    return this.statements.add(text).id;
  }

  /** The connection could not be brought to the client's state, or would not prepare its statement. */
  #onRefused(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    error: ServerError,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void {
    this.#server = null;
    if (error.code === CONNECTION_LOST && server.closed) {
      done({ kind: 'lost', reason: error.message, forwarded: false });
      return;
    }
    const retryOn = server.tainted && options.onReplica ? 'primary' : retryOf(Number(error.code));
    if (options.withholdRetryable && retryOn !== null) {
      done({ kind: 'withheld', error, retryOn });
      return;
    }
    this.#endUnit(unit);
    const err = { errno: Number(error.code) || 1105, sqlState: 'HY000', message: error.message };
    this.#write(buildErr(err, sequenceAfter(unit.frame)));
    done({ kind: 'answered', transaction: server.transaction, error, position: null });
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
      this.#learn(unit, server, run, outcome.error !== null, options.onReplica);
      this.#endUnit(unit);
    } else {
      this.#server = null;
      if (outcome.kind === 'withheld') this.#run = null;
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

  /** What the answer says of the session. */
  #learn(
    unit: MysqlUnit,
    server: MysqlServerConnection,
    run: Run,
    failed: boolean,
    onReplica: boolean,
  ): void {
    const { statement } = unit;
    this.status = server.status & LASTING_STATUS;
    if (run.insertId !== null) this.#insertId = run.insertId;
    server.lastInsertId = this.#insertId;
    switch (unit.kind) {
      case 'reset-connection':
      case 'clear':
        if (failed) break;
        this.forgetSession();
        server.state = TrackedState.empty;
        server.tainted = true;
        this.#host.unpin('all');
        return;
      case 'set-option':
        if (!failed) this.#learnOption(unit, server);
        break;
      case 'prepare':
        if (failed) this.statements.noLast();
        else this.#keepReply(unit);
        break;
      case 'execute':
      case 'fetch':
        this.#learnCursor(unit, run, failed);
        break;
      case 'reset-statement':
        unit.prepared!.cursorIsOpen = false;
        this.cursorClosed();
        break;
      default:
        break;
    }
    if (!failed) this.#learnText(unit, server);
    this.state = server.state;
    if (run.unnamedChange && statement.pin === null && !isNamedByText(unit)) {
      // A temporary table or a user variable out of a procedure, for instance.
      if (onReplica) server.tainted = true;
      else this.#host.pin('untracked-setting');
    }
    this.#learnNextTransaction(unit, server);
  }

  #learnText(unit: MysqlUnit, server: MysqlServerConnection): void {
    const { statement } = unit;
    for (const effect of statement.session) {
      if (effect.kind !== 'set') continue;
      if (isTrackingSetting(effect)) {
        this.tracking.apply(effect);
        server.trackingLost = true;
      } else if (effect.name === 'role') {
        // MariaDB has no way back to the role of the login.
        if (this.runtime.flavour.flavour === 'mariadb') this.#host.pin('untracked-setting');
        else server.state = server.state.withRole(effect.sql);
      }
    }
    const { prepared } = statement;
    if (prepared?.kind === 'prepare') this.#textStatements.add(prepared.name);
    else if (prepared?.kind === 'deallocate' && prepared.name !== null) {
      this.#textStatements.delete(prepared.name);
      if (this.#textStatements.size === 0) this.#host.unpin('sql-prepare');
    }
    if (statement.verb === 'UNLOCK') this.#host.unpin('lock-tables');
  }

  #learnOption(unit: MysqlUnit, server: MysqlServerConnection): void {
    const on = unit.frame.readUInt16LE(5) === 0;
    const atLogin = (this.capabilities.flags & (1 << 16)) !== 0;
    server.state = server.state.withMultiStatements(on, atLogin);
  }

  #learnCursor(unit: MysqlUnit, run: Run, failed: boolean): void {
    const statement = unit.prepared!;
    const wasOpen = statement.cursorIsOpen;
    if (unit.kind === 'execute')
      statement.cursorIsOpen = !failed && (run.status & STATUS.CURSOR_EXISTS) !== 0;
    if ((run.status & STATUS.LAST_ROW_SENT) !== 0) statement.cursorIsOpen = false;
    if (statement.cursorIsOpen) this.#host.pin('open-cursor');
    else if (wasOpen) this.cursorClosed();
  }

  #learnNextTransaction(unit: MysqlUnit, server: MysqlServerConnection): void {
    if (unit.statement.transaction?.kind === 'set-transaction') this.#holdsNextTransaction = true;
    else if (this.#holdsNextTransaction && server.transaction === 'idle') {
      this.#holdsNextTransaction = false;
      this.#host.unpin('untracked-setting');
    }
  }

  #keepReply(unit: MysqlUnit): void {
    const capture = this.#capture;
    if (capture === null) return;
    const reply = Buffer.concat(capture);
    if (reply.length <= MAX_REPLY_BYTES) unit.prepared!.text.reply = reply;
  }

  next(): void {
    if (this.#phase === 'closed') return;
    const afterClear = this.#afterClear;
    if (afterClear !== null) {
      this.#afterClear = null;
      afterClear();
      return;
    }
    this.#phase = 'ready';
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#framer.waitingBytes > 0) this.#pump();
  }

  fail(unit: Unit, error: ProxyError, _transaction: TransactionStatus): void {
    const run = this.#run;
    const sequence = run?.sequence ?? sequenceAfter((unit as MysqlUnit).frame);
    this.#endUnit(unit as MysqlUnit);
    this.status &= ~(STATUS.IN_TRANS | STATUS.IN_TRANS_READONLY);
    if (error.isFatal || run?.cut === true) this.#terminateAt(error, sequence);
    else if ((unit as MysqlUnit).kind !== 'clear') this.#write(buildProxyError(error, sequence));
  }

  transactionLost(error: ProxyError): void {
    // Nothing can be said before the client's next command; that one learns it.
    this.status &= ~(STATUS.IN_TRANS | STATUS.IN_TRANS_READONLY);
    this.#lost = error;
  }

  terminate(error: ProxyError): void {
    // A client that waits for an answer, or sends the next command and then reads, expects the id 1.
    this.#terminateAt(error, this.#run?.sequence ?? 1);
  }

  #terminateAt(error: ProxyError, sequence: number): void {
    if (this.#phase === 'closed') return;
    if (this.#phase === 'startup') {
      this.#startup.fail(error);
      return;
    }
    this.#write(buildProxyError(error, sequence));
    this.#close(error.message);
  }

  // --- COM_CHANGE_USER --------------------------------------------------------------------------------------

  #follow(step: Promise<ProofStep>): void {
    step.then(
      (next) => {
        if (this.#phase !== 'proving') return;
        if (next.kind === 'send') this.#write(next.bytes);
        else this.#onProved(next);
      },
      (cause: unknown) => this.#terminateAt(asProxyError(cause), this.#proof?.sequence ?? 1),
    );
  }

  #onProofPacket(frame: Buffer): void {
    this.#follow(this.#proof!.receive(Buffer.from(payloadOf(frame)), frame[3]!));
  }

  #onProved(step: ProofStep & { kind: 'done' }): void {
    if (step.bytes !== null) this.#write(step.bytes);
    const logIn = (): void => this.#logInAgain(step);
    if (this.#host.server === null) {
      this.forgetSession();
      logIn();
      return;
    }
    // What the former user left there goes with him.
    this.#afterClear = logIn;
    const unit = new MysqlUnit('clear', 'results', commandClass('primary', 'RESET'), RESET_FRAME);
    this.#phase = 'waiting';
    this.#host.submit(unit);
  }

  #logInAgain(step: ProofStep & { kind: 'done' }): void {
    const change = this.#changeUser!;
    this.#phase = 'proving';
    const collation = change.collation ?? this.collation;
    const database = change.database ?? '';
    const variant = variantText({ keyed: keyedCapabilities(this.capabilities), collation });
    this.#host.login(
      { key: { user: change.user, database, variant }, credential: step.credential, applicationName: '' },
      (loan, error) => {
        if (this.#phase !== 'proving') {
          loan?.release();
          return;
        }
        if (loan === null) {
          this.#terminateAt(error!, step.sequence);
          return;
        }
        this.loginValues = (loan.server as MysqlServerConnection).loginValues;
        loan.release();
        this.#proof = null;
        this.#changeUser = null;
        this.user = change.user;
        this.collation = collation;
        this.loginDatabase = database;
        this.#write(buildPlainOk(this.status, this.capabilities, step.sequence));
        this.#phase = 'ready';
        this.#pump();
      },
    );
  }

  // --- LOAD DATA LOCAL INFILE -------------------------------------------------------------------------------

  infileRequested(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'infile';
    this.#infileIsOpen = true;
    this.#pump();
  }

  /** A piece of the file, or the empty packet behind it. */
  #onFilePacket(): void {
    if (this.#framer.length === 0) this.#infileIsOpen = false;
    if (this.#phase === 'infile') this.#framer.pass();
    else this.#framer.drop();
    if (this.#infileIsOpen) return;
    this.#flushFile();
    if (this.#phase === 'infile') this.#phase = 'waiting';
  }

  #flushFile(): void {
    const bytes = this.#framer.takeRun();
    const server = this.#server;
    if (bytes === null || server === null || server.write(bytes)) return;
    this.#sinkIsFull = true;
    this.#socket.pause();
    server.whenDrained(() => {
      this.#sinkIsFull = false;
      this.#socket.resume();
      if (this.#phase !== 'closed') this.#pump();
    });
  }

  // --- writing ----------------------------------------------------------------------------------------------

  write(bytes: Buffer): boolean {
    this.#capture?.push(Buffer.from(bytes));
    return this.#write(bytes);
  }

  sees(change: SessionChange): boolean {
    return this.tracking.sees(change);
  }

  #write(bytes: Buffer): boolean {
    if (this.#phase === 'closed' || !this.#socket.writable) return true;
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(uncork, this.#socket);
    }
    this.#socket.write(bytes);
    return this.#socket.writableLength < this.settings.maxClientBufferBytes;
  }

  #close(reason: string): void {
    if (this.#phase === 'closed') return;
    const wasInfile = this.#phase === 'infile';
    this.#phase = 'closed';
    this.#startup.stop();
    this.runtime.ids.forget(this.connectionId);
    this.#socket.end();
    this.#socket.destroySoon();
    // Half a file must fail, not be taken for a whole one.
    if (wasInfile) this.#server?.close(`its client is gone in the middle of a file: ${reason}`);
    else this.#server?.resumeReading();
    this.#host.clientClosed(reason);
  }
}

function uncork(socket: Socket): void {
  socket.uncork();
}

/** Changes that the server reports without a name, and that are known by the statement's text. */
function isNamedByText({ statement, kind }: MysqlUnit): boolean {
  return (
    kind === 'set-option' ||
    statement.prepared !== null ||
    statement.transaction !== null ||
    statement.session.some(
      (effect) => effect.kind === 'use' || (effect.kind === 'set' && effect.name === 'role'),
    ) ||
    statement.session.some(isTrackingSetting)
  );
}
