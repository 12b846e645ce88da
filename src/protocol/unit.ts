// A unit and what became of it: the words in which sessions and protocols talk about one run of client messages.
// Types only; what the bytes are is the protocol's business.

import type { ProxyError } from '../lib/errors.js';
import type { Classified, Hint, StatementClass } from '../sql/statement.js';
import type { AutoPrepareChoice } from './auto-prepare-choice.js';
import type { Position } from './position.js';

/** The shortest run of client messages that ends in one final reply. */
export interface Unit {
  /** The strictest of all statements in it. */
  readonly statement: StatementClass;
  readonly hint: Hint | null;
  /** For statistics and rules; bounded. */
  readonly shape: string;
  /** The statements in it that routing rules look at; none: no rule is about it. Made when it is asked for. */
  readonly ruled: readonly RuledStatement[];
  /** Bytes held for it in the proxy. */
  readonly bytes: number;
  /**
   * More messages of the client may follow before its final reply (PostgreSQL: Flush before Sync): it needs a
   * server connection of the primary and is never run again.
   */
  readonly open: boolean;
  /** It asks about the last statement what only the server connection knows on which that ran. */
  readonly asksLast: boolean;
  /** It asks about the last statement, and what else may be asked about that is the same behind it. */
  readonly keepsLast?: boolean;
  /** What may be asked about the last statement is the same behind it as before. */
  readonly leavesLast: boolean;
  /**
   * For the client a transaction is open already, of which no node knows: it starts with this unit, and whatever happens to the
   * unit happens inside it.
   */
  readonly startsTransaction: boolean;
  /** With `startsTransaction`: it only reads, so that both may be done again elsewhere. */
  readonly onlyReads?: boolean;
  /** Its replies are short and end by themselves, as far as the messages tell: it may share a server connection. */
  readonly shareable: boolean;
  /** It is kept behind its end, for a client that may never ask about it: but none of the memory that it came in. */
  keep?(): void;
  /** Of one that is kept: equal bytes are held once, in `held`, which is forgotten afterwards. */
  holdOnce?(held: Map<string, string>): void;
  /** It can be done again, unseen, for what may be asked about it: also where it had a server connection to itself. */
  readonly leavesAgain?: boolean;
  /** What it leaves in its session is what `statement.pin` says, and no more. Absent: it may be more. */
  readonly pinsOnce?: boolean;
  /** It executes nothing: how long it takes tells nothing of its statements. */
  readonly onlyPrepares: boolean;
  /** It is said which node its `tellsOfNode` statement is about: that is a read from now on (`asRead`). */
  becomeRead(): void;
}

/** A statement as the rules see it: before the state of its session has been taken into account. */
export type RuledStatement = Pick<Classified, 'shape' | 'statement'>;

/** What the server says about the transaction after a reply (ReadyForQuery; SERVER_STATUS_IN_TRANS). */
export type TransactionStatus = 'idle' | 'transaction' | 'failed';

/** An error as the node worded it. */
export interface ServerError {
  /** SQLSTATE (PostgreSQL) or errno in decimal (MySQL). */
  readonly code: string;
  readonly message: string;
  /** PostgreSQL: where in the server it was raised. */
  readonly routine?: string;
}

export type Outcome =
  /** The final reply has been forwarded; `error`: it was, or contained, an error. */
  | {
      readonly kind: 'answered';
      readonly transaction: TransactionStatus;
      readonly error: ServerError | null;
      /** MySQL, MariaDB: what the unit has committed, as its reply told; null: nothing was told. */
      readonly position: Position | null;
      /** It may have shown what others have written: there was more to it than a count. Meant where `position` is told. */
      readonly returnedRows: boolean;
      /** With a gate: what the node had when the unit began there; else null. */
      readonly gatedAt: Position | null;
      /** For how long it was at the head of its server connection. */
      readonly serviceMs: number;
      /** That is its share of what several took together. */
      readonly isShare?: boolean;
      /** Forwarded to the client. */
      readonly replyBytes: number;
      /** Sent to the client, or changed; of all results together. */
      readonly rows: number;
    }
  /** The node answered with an error worth another try; not a byte of it was forwarded. */
  | { readonly kind: 'withheld'; readonly error: ServerError; readonly retryOn: 'elsewhere' | 'primary' }
  /** The node did not have what the unit's gate asks for; nothing was forwarded, and nothing will be. `have`: null: not told. */
  | { readonly kind: 'refused'; readonly have: Position | null }
  /** On a shared server connection; nothing was forwarded, and nothing will be. */
  | { readonly kind: 'moved'; readonly because: MoveReason }
  /** The server connection broke; the client has had no final reply. `unsent`: before anything of the unit was written. */
  | {
      readonly kind: 'lost';
      readonly reason: string;
      readonly forwarded: boolean;
      readonly unsent?: boolean;
    };

/**
 * - `slow-head`: it waited behind a unit that takes long
 * - `slow-group`: it, or another one under the same Sync, takes long
 * - `neighbour-failed`: it, or another one under the same Sync, has failed
 */
export type MoveReason = 'slow-head' | 'slow-group' | 'neighbour-failed';

export interface ExecuteOptions {
  /** An error from the list of `errors from replicas` is kept back as `withheld` while nothing was forwarded. */
  readonly withholdRetryable: boolean;
  /** It runs on a replica: a state that cannot be set there is `withheld` too. */
  readonly onReplica: boolean;
  /** Other clients' units are under way on the server connection. */
  readonly isShared: boolean;
  /** So many units may become one implicit transaction there, where the protocol has that; 1: this one stays by itself. */
  readonly maxGroup: number;
  /** The end of the reply is kept back until `next`: what it tells must be known elsewhere first. */
  readonly holdReply: boolean;
  /**
   * The node is asked for its position together with the unit: the answer counts only when it covers this. Null: no need.
   * Only for what may be repeated, and not with `after`.
   */
  readonly gate: Position | null;
  /** It asks about this unit, which the client has had its reply to from elsewhere: run that first, for nobody to see. */
  readonly after: Unit | null;
  /** Whether, and when, statements that recur run prepared. */
  readonly autoPrepare: AutoPrepareChoice;
  /**
   * It is not run: the client gets this error, and an open transaction becomes what the node's protocol makes of it after
   * an error. Null: it is run.
   */
  readonly denial: ProxyError | null;
  /** Set when the unit is cancelled at its deadline: the error that the client gets in place of the node's word for that. */
  late: ProxyError | null;
}

export type Answered = Outcome & { readonly kind: 'answered' };
export type Withheld = Outcome & { readonly kind: 'withheld' };
export type Lost = Outcome & { readonly kind: 'lost' };
