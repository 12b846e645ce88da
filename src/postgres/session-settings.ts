// A client's settings over its life: what it started with, what holds, and what will hold if its transaction commits.
// It knows no message; what a statement does to settings comes from classification, how it ended from the server's replies.

import type { ConsistencyLevel } from '../config/schema.js';
import type { SessionLevel } from '../protocol/client-connection.js';
import type { Outcome, TransactionStatus } from '../protocol/unit.js';
import { type Classified, isChained, type SessionEffect, type StatementClass } from '../sql/statement.js';
import { mayBeOwn, OwnSettings } from './own-settings.js';
import { refusesSerializable } from './replica-errors.js';
import type { PostgresServerConnection } from './server-connection.js';
import { TrackedState } from './tracked-state.js';

interface OpenTransaction {
  /** If it commits. */
  state: TrackedState;
  /** What the server connection's were: it goes back to them by itself. */
  serverBefore: TrackedState;
  /** Something was set in it, or set back: what a savepoint would bring again is not in `state`. */
  hasSet: boolean;
  failed: boolean;
}

/** A transaction that is to go on where it has not begun. */
export interface LeftTransaction {
  readonly outside: TrackedState;
  /** Null: it has failed. */
  readonly inside: TrackedState | null;
}

export interface UnitEnd {
  readonly transaction: TransactionStatus;
  readonly failed: boolean;
  /** Of the last CommandComplete. */
  readonly tag: string;
}

export class SessionSettings {
  /** Startup parameters: what RESET goes back to. */
  #base = TrackedState.empty;
  #committed = TrackedState.empty;
  #open: OpenTransaction | null = null;
  /** A standby has refused it as SERIALIZABLE, which its client has not said: its role, its database or the configuration does. */
  #isRefused = false;

  /** Those that are the proxy's; null: the client has said nothing that may be about them. */
  #own: OwnSettings | null = null;
  readonly #level: SessionLevel;

  constructor(level: SessionLevel) {
    this.#level = level;
  }

  start(base: TrackedState, level: ConsistencyLevel | null): void {
    if (level !== null) {
      this.#own = new OwnSettings(this.#level);
      this.#own.start(level);
    }
    this.#base = base;
    this.#commit(base);
  }

  /** What holds outside transactions. */
  #commit(state: TrackedState): void {
    if (state === this.#committed) return;
    this.#committed = state;
    this.#level.needsPrimary = state.isSerializable ?? this.#isRefused;
  }

  /** What a unit was told, or what was kept from its client. */
  hear(outcome: Outcome): void {
    const error = outcome.kind === 'answered' || outcome.kind === 'withheld' ? outcome.error : null;
    if (error === null || !refusesSerializable(error)) return;
    this.#isRefused = true;
    this.#level.needsPrimary = this.#committed.isSerializable ?? true;
  }

  /** What a server connection must carry for the next unit. */
  get current(): TrackedState {
    return this.#open?.state ?? this.#committed;
  }

  /** Null: the statement is not about the proxy's settings, nor was any before. */
  ownFor({ statement }: Classified): OwnSettings | null {
    if (this.#own === null && mayBeOwn(statement)) this.#own = new OwnSettings(this.#level);
    return this.#own;
  }

  /** The same of a batch. */
  ownForAll(statements: readonly Classified[]): OwnSettings | null {
    for (const each of statements) this.ownFor(each);
    return this.#own;
  }

  /** The transaction is gone, and its settings with it. */
  forgetTransaction(): void {
    this.#open = null;
    this.#own?.transactionEnded(false);
  }

  /** The transaction that is open, if this server connection does not know of it: it was begun on another node. */
  leftBefore(server: PostgresServerConnection): LeftTransaction | null {
    if (this.#open === null || server.transaction !== 'idle') return null;
    this.#open.serverBefore = this.#committed;
    return { outside: this.#committed, inside: this.#open.failed ? null : this.#open.state };
  }

  /** The transaction has ended, and no server knew of it. */
  endedLocally(statement: StatementClass): void {
    this.#own?.transactionEnded(endingOf(statement) === 'commit');
  }

  /** DISCARD ALL has been done, and stays done whatever becomes of the rest of its unit: it cannot be in a transaction. */
  discarded(server: PostgresServerConnection): void {
    const effects: readonly SessionEffect[] = [{ kind: 'discard', what: 'all' }];
    this.#own?.discarded();
    this.#commit(this.#committed.apply(effects, this.#base));
    server.state = server.state.apply(effects, TrackedState.empty);
  }

  /**
   * SET and RESET outside a transaction hold at once, inside one when it commits. False: what holds now is only known to
   * the server connection.
   */
  unitEnded(statement: StatementClass, server: PostgresServerConnection, end: UnitEnd): boolean {
    this.#own?.unitEnded(end.failed ? null : statement, end.transaction, end.tag);
    const before = this.current;
    const isAmbiguous = this.#endsSomewhere(statement, end);
    let serverBefore = this.#open?.serverBefore ?? server.state;
    let after = before;
    if (!end.failed && statement.session.length > 0) {
      after = before.apply(statement.session, this.#base);
      server.state = server.state.apply(statement.session, TrackedState.empty);
    }
    const ended = endingOf(statement) !== null && !end.failed;
    if (this.#open !== null && (ended || end.transaction === 'idle')) {
      // A COMMIT of a failed transaction is answered by ROLLBACK.
      // PREPARE TRANSACTION keeps them as COMMIT does.
      const byTag = end.tag === 'COMMIT' || end.tag === 'PREPARE TRANSACTION';
      // In COMMIT; INSERT the last tag tells nothing of the COMMIT; but it went through, or the text had failed there.
      if (byTag || (!end.failed && !this.#open.failed && commitsFirst(statement))) this.#commit(after);
      else server.state = serverBefore;
      this.#open = null;
      after = this.#committed;
      // The next one of a chain goes back to what this one has left.
      serverBefore = server.state;
    }
    if (end.transaction === 'idle') {
      this.#commit(after);
      return !isAmbiguous;
    }
    // What a text has set before its BEGIN is undone with the transaction too.
    this.#open ??= { state: this.#committed, serverBefore, hasSet: false, failed: false };
    this.#open.hasSet ||= !end.failed && statement.session.length > 0;
    this.#open.state = after;
    this.#open.failed = end.transaction === 'failed';
    // Which of the settings a savepoint undoes is the server's to know; one that is not there undoes none.
    if (isAmbiguous) return false;
    return end.failed || statement.transaction?.kind !== 'rollback-to' || !this.#open.hasSet;
  }

  /**
   * Settings are open, and a unit of several statements may have committed them or not: only what is in force at the server
   * knows. A text that goes through and leaves no transaction behind tells by its first ending.
   */
  #endsSomewhere({ statements, transaction }: StatementClass, end: UnitEnd): boolean {
    if (this.#open === null || this.#open.state === this.#committed) return false;
    return statements > 1 && transaction !== null && (end.failed || end.transaction !== 'idle');
  }
}

/** Of several statements the first that ends the transaction is a COMMIT. */
function commitsFirst({ statements, verb, transaction }: StatementClass): boolean {
  return statements > 1 && (verb === 'COMMIT' || (verb !== 'ROLLBACK' && transaction?.kind === 'commit'));
}

/** The same where it does nothing else, and begins no other one. */
export function plainEndingOf(statement: StatementClass): 'commit' | 'rollback' | null {
  return statement.statements === 1 && !isChained(statement) ? endingOf(statement) : null;
}

/** How the statement ends a transaction, if it does. */
export function endingOf(statement: StatementClass): 'commit' | 'rollback' | null {
  const kind = statement.transaction?.kind;
  return kind === 'commit' || kind === 'rollback' ? kind : null;
}
