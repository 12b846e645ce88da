// One run of one unit on a server connection: how it is answered, where the answer goes, and what was learnt from it.
// It knows no socket; the server connection feeds it replies in order.

import type { ProxyError } from '../lib/errors.js';
import type { ExecuteOptions, Outcome } from '../protocol/unit.js';
import type { Gate } from './gate.js';
import type { PreparedText } from './prepared-statements.js';
import type { ReplyKind } from './reply.js';
import type { ShownTracking } from './visible-tracking.js';
import type { Capabilities } from './wire/capabilities.js';
import type { PrepareOk } from './wire/result-set.js';
import type { SessionChange } from './wire/session-track.js';

/** Where replies go. */
export interface ReplySink {
  /** False: the client does not keep up; reading from the server pauses until `resumeReading`. */
  writeAll(slices: readonly Buffer[]): boolean;
  /** Nothing that was written is kept here: its memory may be used again. */
  readonly isWritten: boolean;
  /** Whether the client asked to be told of such a change. */
  sees(change: SessionChange): boolean;
  /** The server waits for the content of a file from the client. */
  infileRequested(): void;
  /** An error of ours: nothing more comes. */
  terminate(error: ProxyError): void;
}

export interface Run {
  readonly sink: ReplySink;
  readonly reply: ReplyKind;
  /** What the client speaks: its OK packets are built anew where it knows less than the server connection. */
  readonly capabilities: Capabilities;
  /** It may run again: errors that another try may cure are kept back while nothing was forwarded. */
  readonly withhold: boolean;
  /** Among these, those that only a replica gives. */
  readonly onReplica: boolean;
  /** Other clients' runs are queued before and behind it. */
  readonly isShared: boolean;
  /** It tells what is tracked: the server tells what the client has asked for. */
  readonly tracking: ShownTracking | null;
  /** Of the client, before it. */
  readonly isInTransaction: boolean;
  /** Null: the answer counts whatever the node has. */
  readonly gate: Gate | null;
  /** An error packet says nothing of the transaction: the server is asked before the outcome is given. */
  readonly verifyAfterError: boolean;
  /** A program of the node's runs in it (CALL, a block): it may have changed session state before it failed. */
  readonly runsProgram: boolean;
  /** A syntax error is that of its text as a whole, of which nothing has run then. */
  readonly isOwnSyntax: boolean;
  /** Behind its rows the server is asked what has changed: an EOF packet would not tell what a function in it did. */
  readonly asksBehindRows: boolean;
  /** Its text says what it changes of the session: what the server reports is all that it has changed. */
  readonly namesChanges: boolean;
  /** Variables that hold for this statement alone (SET STATEMENT): what is reported of them is over with it. */
  readonly ownVariables: ReadonlySet<string> | null;
  /** Variables that it sets in words that MariaDB does not report (SET @@name): the server is asked to. */
  readonly unreported: readonly string[] | null;
  /** The reply is the proxy's business only. */
  readonly drop: boolean;
  /** COM_STMT_PREPARE: the text. */
  readonly text: PreparedText | null;
  /** Answers the id that the client gets in place of the server's. */
  readonly prepared: (prepared: PrepareOk) => number;
  /** A cancel was sent for it: its error 1317 is the client's. */
  cancelled: boolean;
  /** As the session gave them: it may become late. */
  readonly options: Pick<ExecuteOptions, 'late'>;
  /** The sequence id behind the last forwarded packet. */
  sequence: number;
  /** The last forwarded packet was cut off by the end of the connection. */
  cut: boolean;
  /** Of the last OK or EOF. */
  status: number;
  /** A transaction was open before it, or at any time in it. */
  sawTransaction: boolean;
  /** The last id that an INSERT made, in decimal; null: none. */
  insertId: string | null;
  /** The server reported a change of session state that it did not name. */
  unnamedChange: boolean;
  /** Called once, behind the last forwarded byte. */
  readonly done: (outcome: Outcome) => void;
}
