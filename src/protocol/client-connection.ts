// The two sides of a client connection: what a protocol gives to the session, and what the session gives to the protocol.
// Types only.

import type { ConsistencyLevel } from '../config/schema.js';
import type { ProxyError } from '../lib/errors.js';
import type { PinReason } from '../sql/statement.js';
import type { Credential } from './credential.js';
import type { ClientFacts, Inspection } from './inspection.js';
import type { StoredVerifier } from './node-control.js';
import type { PoolKey, ServerConnection } from './server-connection.js';
import type { ExecuteOptions, Outcome, RuledStatement, TransactionStatus, Unit } from './unit.js';

/** Of the pins that can be asked about, those that still hold; null: it has not told. */
export type PinsTold = (still: ReadonlySet<PinReason> | null) => void;

/** The protocol's half: it owns the client's socket, reads units from it and writes replies to it. */
export interface ClientConnection {
  /** Runs the unit on a server connection and forwards its replies; `done` is called exactly once. */
  execute(
    unit: Unit,
    server: ServerConnection,
    options: ExecuteOptions,
    done: (outcome: Outcome) => void,
  ): void;
  /**
   * Gives the unit a final reply that is an error. `transaction` is what the client shall believe afterwards;
   * `failed`: the protocol itself answers until the client rolls back (PostgreSQL).
   */
  fail(unit: Unit, error: ProxyError, transaction: TransactionStatus): void;
  /** The unit has been answered; what was kept back of its reply goes out, and the next one is read. */
  next(): void;
  /**
   * What is still answered to the running unit, on a shared server connection, is of no interest any more: it is
   * dropped and `done` is not called. True: it was at the head.
   */
  abandon(): boolean;
  /** Something of the running unit's reply has been forwarded: only the rest of that reply may follow. */
  readonly hasBegun: boolean;
  /** Says why, by the protocol's own means, and closes. */
  terminate(error: ProxyError): void;
  /** Clients of this protocol may ask about their last statement (SHOW WARNINGS, ROW_COUNT). */
  readonly mayAskBack: boolean;
  /** This one has done so. */
  readonly asksBack: boolean;
  /** The server connection that alone has what this unit asks about, if nobody else has used it; null, or left out: any. */
  leftOn?(unit: Unit): ServerConnection | null;
  /** Pins of which a server connection can tell whether they are gone; left out: it cannot. */
  readonly askedPins?: ReadonlySet<PinReason>;
  /** No transaction takes them back; and only right behind what may have ended one does asking change nothing for the client. */
  readonly asksPinsAtOnce?: boolean;
  /** Asks it for all of these; whatever the client runs next there comes behind. `done` is called once. */
  askPins?(server: ServerConnection, done: PinsTold): void;
  /** It has been told that a transaction is open of which no node, and no session, knows yet. */
  readonly isInTransaction: boolean;
  /** Digest of the session state that a server connection must carry; changes with the client's SETs. */
  readonly stateDigest: string;
  /**
   * The session's server connection has broken while idle: inside a transaction or pinned. What the client
   * learns of it, and when, is the protocol's business; `transactionLost` units are answered by itself.
   */
  transactionLost(error: ProxyError): void;
  /** For an operator. */
  readonly facts: ClientFacts;
  /** What this text would be if the client sent it now; nothing is sent, and nothing counted. */
  inspect(sql: Buffer): Inspection;
}

export interface LoginRequest {
  readonly key: PoolKey;
  readonly credential: Credential;
  /** application_name, or the connection attribute program_name; "" when unknown. */
  readonly applicationName: string;
  /** Startup parameters; connection attributes. */
  readonly attributes: ReadonlyMap<string, string>;
}

export type LoginCallback = (
  loan: { readonly server: ServerConnection; release(): void } | null,
  error: ProxyError | null,
) => void;

/** What the proxy knows of a user before login. */
export type UserLookup =
  /** From the configuration. */
  | { readonly kind: 'password'; readonly password: string }
  /** From the configuration, or read from the primary. */
  | { readonly kind: 'verifier'; readonly verifier: StoredVerifier }
  /** No such user: the login must fail exactly like one with a wrong password. */
  | { readonly kind: 'unknown' };

export interface SessionLevel {
  /** What the client has set; null: nothing. */
  setConsistency(level: ConsistencyLevel | null): void;
  /** What holds for its units, but for what rules and hints say of one. */
  readonly consistency: ConsistencyLevel;
  /** With its settings no replica can serve it. */
  needsPrimary: boolean;
}

/** Why the session keeps its server connection, beside an open transaction. */
export interface SessionPins {
  /** It has session state that nobody else has. */
  readonly any: boolean;
  /** Something that only the protocol sees. `goes`, else left out: it may be gone later, and nothing else came with it. */
  add(reason: PinReason, goes?: boolean): void;
  /** It is gone, unless it came by something that may have left more; `all`: all that there is. Before the outcome is given. */
  remove(reason: PinReason | 'all'): void;
  /** What there is may leave more from now on than it says. */
  mayBeMore(): void;
  /** What was run may have ended some, or not have begun it: the server connection is asked (`askPins`). */
  mayBeGone(): void;
}

/** The session's half: it routes units, holds server connections and remembers what the client has seen. */
export interface SessionHost {
  /**
   * Who comes, and for which database. Rejects with ProxyError `authentication-unavailable` when the primary cannot be asked.
   */
  lookUpUser(user: string, database: string): Promise<UserLookup>;
  /**
   * The client has proved who it is. Calls back with a server connection that carries the state after login,
   * from which the protocol takes what it tells the client (parameters, or only that the database exists), and
   * which it gives back by `release`. An error is the client's final reply.
   */
  login(request: LoginRequest, callback: LoginCallback): void;
  /** Somebody could not prove to be who he said. */
  loginFailed(): void;
  /** A complete unit; the next one is submitted only after `next()`. */
  submit(unit: Unit): void;
  readonly pins: SessionPins;
  /** Logged in without a database it has one now: its server connections are those of this one from here on. */
  movedTo(database: string): void;
  /** The consistency level of the session. */
  readonly level: SessionLevel;
  /** The protocol answered a unit by itself; nothing ran. */
  answeredLocally(): void;
  /**
   * The client asked to cancel what it runs (the key has been checked). Resolves, or is null, when no cancel is on its way any more
   * that could hit what the client runs next. Never rejects.
   */
  cancelRunning(): Promise<void> | null;
  /** The socket has ended, by the client or by an error; `reason` goes to the log. */
  clientClosed(reason: string): void;
  /** Why these statements must not run; null: they may. For what the protocol answers by itself. */
  denial(ruled: readonly RuledStatement[]): ProxyError | null;
  /** How often a text has come, at least, when one of its units may have it prepared; Infinity: none of them may. */
  readonly autoPrepareThreshold: number;
  /** For the position-independent parts: what runs now, if anything, for backpressure. */
  readonly server: ServerConnection | null;
}
