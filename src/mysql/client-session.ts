// What the proxy knows of one client's session: who it is, its tracked state, its statements, and what each answer teaches of them.
// It owns no socket and routes nothing.

import type { ConsistencyLevel } from '../config/schema.js';
import type { ProxyError } from '../lib/errors.js';
import type { SessionHost } from '../protocol/client-connection.js';
import { hidesNodeTables } from '../sql/mysql/variables.js';
import type { MysqlLexSettings, SessionEffect } from '../sql/statement.js';
import type { LoggedIn } from './client-startup.js';
import { ClientStatements } from './client-statements.js';
import { LastCounts } from './last-counts.js';
import { NextTransaction } from './next-transaction.js';
import { noteReleased } from './released.js';
import type { Run } from './run.js';
import type { MysqlServerConnection } from './server-connection.js';
import { LOGIN_ROLE, readsTheSame, TrackedState } from './tracked-state.js';
import type { MysqlUnit, UnitKind } from './unit.js';
import {
  blindsTracking,
  isTrackingSetting,
  type ShownTracking,
  VisibleTracking,
} from './visible-tracking.js';
import { CAPABILITY, type Capabilities, hasCapability } from './wire/capabilities.js';
import { STATUS } from './wire/ok.js';

/** Of the status flags, those that hold beyond one reply. */
const LASTING_STATUS =
  STATUS.IN_TRANS |
  STATUS.AUTOCOMMIT |
  STATUS.NO_BACKSLASH_ESCAPES |
  STATUS.IN_TRANS_READONLY |
  STATUS.ANSI_QUOTES;

/** What may be, or end, a transaction. */
const RUNS: ReadonlySet<UnitKind> = new Set(['query', 'execute', 'bulk-execute']);

const NO_VALUES: ReadonlyMap<string, string> = new Map();
/** Of all clients that have set nothing of it. */
const UNTOUCHED: ShownTracking = new VisibleTracking();
const NO_CAPABILITIES: Capabilities = { flags: 0, mariadb: 0 };

/** How the client's texts are read, and what that follows from. */
export interface LexedBy {
  readonly state: TrackedState;
  readonly loginValues: ReadonlyMap<string, string>;
  readonly settings: MysqlLexSettings;
}

export class ClientSession {
  readonly statements = new ClientStatements();
  readonly counts = new LastCounts();
  #tracking: VisibleTracking | null = null;
  user = '';
  capabilities: Capabilities = NO_CAPABILITIES;
  collation = 45;
  /** What its proofs answer to, as latin1. */
  challenge = '';
  #loginDatabase = '';
  /** Variables after the login, as far as the proxy asks for them. */
  loginValues: ReadonlyMap<string, string> = NO_VALUES;
  #state = TrackedState.empty;
  /** Kept by who reads them (commands.ts); null: none has come. */
  lex: LexedBy | null = null;
  status: number = STATUS.AUTOCOMMIT;
  /** The client has been told that a transaction is open; no server has. */
  beginIsHeld = false;
  /** The transaction was lost with its server connection; the client learns it by its next command. */
  lost: ProxyError | null = null;
  /** LAST_INSERT_ID(). */
  insertId = '0';
  /** @scheelite_consistency. */
  consistency: ConsistencyLevel | null = null;
  #loginStatus: number = STATUS.AUTOCOMMIT;
  readonly #host: SessionHost;
  readonly #next: NextTransaction;
  /** Of PREPARE by text. */
  #textStatements: Set<string> | null = null;
  lockNames: Set<string> | null = null;

  constructor(host: SessionHost) {
    this.#host = host;
    this.#next = new NextTransaction(host);
  }

  get state(): TrackedState {
    return this.#state;
  }

  set state(state: TrackedState) {
    if (state === this.#state) return;
    this.#state = state;
    this.#moved();
  }

  get loginDatabase(): string {
    return this.#loginDatabase;
  }

  set loginDatabase(database: string) {
    this.#loginDatabase = database;
    this.#moved();
  }

  #moved(): void {
    this.#host.level.needsPrimary = hidesNodeTables(this.#state.database ?? this.#loginDatabase);
  }

  get tracking(): ShownTracking {
    return this.#tracking ?? UNTOUCHED;
  }

  /** The client has set one of its session_track_* variables. */
  setTracking(effect: SessionEffect): void {
    this.#tracking ??= new VisibleTracking();
    this.#tracking.apply(effect);
  }

  get isInTransaction(): boolean {
    return (this.status & STATUS.IN_TRANS) !== 0;
  }

  /**
   * The reply to a preparation may be given to others, and theirs to this client: a table may be a temporary one of whoever is
   * pinned, and EOF packets in it have status flags.
   */
  get sharesReplies(): boolean {
    if (this.#host.pins.any) return false;
    if (hasCapability(this.capabilities, CAPABILITY.DEPRECATE_EOF)) return true;
    return this.status === STATUS.AUTOCOMMIT;
  }

  logIn(login: LoggedIn): void {
    this.user = login.user;
    this.capabilities = login.capabilities;
    this.collation = login.collation;
    this.challenge = login.challenge;
    this.loginDatabase = login.database;
    this.loginValues = login.loginValues;
    this.status = login.status & LASTING_STATUS;
    this.#loginStatus = this.status;
  }

  /** COM_RESET_CONNECTION: as after the login, but for role and database, which the servers leave as they are. */
  reset(): void {
    const state = this.state.behindReset(this.loginValues);
    this.forget();
    this.state = state;
  }

  /** COM_CHANGE_USER: as after the login, but for whether texts of several statements are taken. */
  forget(): void {
    this.state = this.state.ofChanges;
    this.#tracking = null;
    this.statements.clear();
    this.counts.forget();
    this.#textStatements = null;
    this.insertId = '0';
    this.lost = null;
    this.setConsistency(null);
    this.#next.forget();
    this.transactionEnded();
    this.status = this.#loginStatus;
  }

  setConsistency(level: ConsistencyLevel | null): void {
    this.consistency = level;
    this.#host.level.setConsistency(level);
  }

  /** `status` says it to the client. */
  holdBegin(): void {
    this.beginIsHeld = true;
    this.status |= STATUS.IN_TRANS;
  }

  /** True: the next unit is the first in that transaction. */
  takeBegin(): boolean {
    const { beginIsHeld } = this;
    this.beginIsHeld = false;
    return beginIsHeld;
  }

  dropBegin(): void {
    if (this.beginIsHeld) this.transactionEnded();
  }

  transactionEnded(): void {
    this.beginIsHeld = false;
    this.status &= ~(STATUS.IN_TRANS | STATUS.IN_TRANS_READONLY);
  }

  /** The cursor of a statement is gone. */
  cursorClosed(): void {
    if (!this.statements.hasOpenCursor) this.#host.pins.remove('open-cursor');
  }

  /** What an answer says of the session. Before the outcome is given. */
  learn(unit: MysqlUnit, server: MysqlServerConnection, run: Run, failed: boolean, onReplica: boolean): void {
    this.status = server.status & LASTING_STATUS;
    if (run.insertId !== null) {
      this.insertId = run.insertId;
      server.lastInsertId = run.insertId;
    }
    switch (unit.kind) {
      case 'reset-connection':
      case 'clear':
        if (failed) break;
        if (unit.kind === 'clear') this.forget();
        else this.reset();
        server.state = TrackedState.empty;
        server.tainted = true;
        this.#host.pins.remove('all');
        return;
      case 'set-option':
        if (!failed) this.#learnOption(unit, server);
        break;
      case 'prepare':
        if (failed) this.statements.noLast();
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
    if (blindsTracking(unit.statement)) {
      // What else it has set the server has not told, also before it failed.
      server.trackingLost = true;
      this.#pinForGood();
    }
    if (!failed) this.#learnText(unit, server);
    noteReleased(this, unit, failed, this.#host.pins);
    this.state = server.state;
    if (this.loginDatabase === '' && server.key.database !== '') {
      // Nothing leads back from a database to none: both are as if they had logged in with it.
      this.loginDatabase = server.key.database;
      this.#host.movedTo(this.loginDatabase);
    }
    // Of several statements one may be a program, whatever the text names besides.
    const isNamed = isNamedByText(unit) && (unit.statement.statements <= 1 || run.namesChanges);
    if (run.unnamedChange && unit.statement.pin === null && !isNamed) {
      // A temporary table or a user variable out of a procedure, for instance.
      if (onReplica || run.isShared) server.tainted = true;
      else this.#pinForGood();
    }
    if (!RUNS.has(unit.kind)) return;
    const autocommits = (server.status & STATUS.AUTOCOMMIT) !== 0;
    if (this.#next.learn(unit, server.transaction, failed, run.sawTransaction, autocommits))
      server.lingering = true;
    // A procedure may have said SET TRANSACTION, for a next one that is not this client's alone.
    if (unit.statement.verb === 'CALL' && autocommits && server.transaction === 'idle')
      server.lingering = true;
  }

  #learnText(unit: MysqlUnit, server: MysqlServerConnection): void {
    const { statement } = unit;
    for (const effect of statement.session) {
      if (effect.kind !== 'set') continue;
      if (isTrackingSetting(effect)) {
        this.setTracking(effect);
        server.trackingLost = true;
      } else if (isRole(effect)) {
        const leadsBack = !server.isMariadb || server.loginValues.has(LOGIN_ROLE);
        if (leadsBack && readsTheSame(effect.sql))
          server.state = server.state.withRole(effect.sql, server.loginValues);
        else this.#pinForGood();
      }
    }
    const { prepared } = statement;
    if (prepared?.kind === 'prepare') {
      this.#textStatements ??= new Set();
      this.#textStatements.add(prepared.name);
    } else if (prepared?.kind === 'deallocate' && prepared.name !== null) {
      this.#textStatements?.delete(prepared.name);
      if ((this.#textStatements?.size ?? 0) === 0) this.#host.pins.remove('sql-prepare');
    }
  }

  #pinForGood(): void {
    this.#host.pins.add('untracked-setting');
    this.#next.pinnedForGood();
  }

  #learnOption(unit: MysqlUnit, server: MysqlServerConnection): void {
    // A server takes what is missing for nothing.
    const on = ((unit.frame[5] ?? 0) | (unit.frame[6] ?? 0)) === 0;
    const atLogin = hasCapability(this.capabilities, CAPABILITY.MULTI_STATEMENTS);
    server.state = server.state.withMultiStatements(on, atLogin);
  }

  #learnCursor(unit: MysqlUnit, run: Run, failed: boolean): void {
    const statement = unit.prepared!;
    const wasOpen = statement.cursorIsOpen;
    if (unit.kind === 'execute')
      statement.cursorIsOpen =
        !failed && unit.reply === 'cursor' && (run.status & STATUS.CURSOR_EXISTS) !== 0;
    if ((run.status & STATUS.LAST_ROW_SENT) !== 0) statement.cursorIsOpen = false;
    if (statement.cursorIsOpen) this.#host.pins.add('open-cursor');
    else if (wasOpen) this.cursorClosed();
  }
}

/** Changes that the server reports without a name, and that are known by the statement's text. */
function isNamedByText({ statement, kind }: MysqlUnit): boolean {
  if (kind === 'set-option' || statement.prepared !== null || statement.transaction !== null) return true;
  return statement.session.some(
    (effect) => effect.kind === 'use' || isRole(effect) || isTrackingSetting(effect),
  );
}

function isRole(effect: SessionEffect): boolean {
  return effect.kind === 'set' && effect.name === 'role';
}
