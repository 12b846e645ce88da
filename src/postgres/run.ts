// One run of one unit on a server connection: what is written, which replies are expected, and what becomes of each.
// It knows no socket; the server connection feeds it replies in order.

import type { ProxyError } from '../lib/errors.js';
import type { ExecuteOptions, Outcome, ServerError, TransactionStatus } from '../protocol/unit.js';
import type { Gate } from './gate.js';
import type { Parameters } from './parameters.js';
import type { PreparedText } from './prepared-statements.js';

/** What a reply is answered to; the words of the protocol. */
export type StepKind = 'parse' | 'bind' | 'describe-statement' | 'describe-portal' | 'execute' | 'close';

/**
 * - `forward`: the reply goes to the client
 * - `drop`: the proxy asked for it by itself
 * - `fake`: the server was not asked; the client gets the reply all the same
 */
export type StepVerb = 'forward' | 'drop' | 'fake';

export interface Step {
  readonly kind: StepKind;
  readonly verb: StepVerb;
  /** Parse, Close, Execute of a DEALLOCATE: the statement that the server connection has afterwards, or has no longer. */
  readonly text: PreparedText | null;
  /** How an error of this step names the statement, and how the client does; null: alike. */
  readonly alias: { readonly server: string; readonly client: string } | null;
  /** Called when the reply has come (or has been faked): the client's names change then, not before. */
  readonly completed: (() => void) | null;
  /** Called when the server has answered with an error instead. */
  readonly failed: (() => void) | null;
}

/** What replies mean beyond their bytes. */
export interface ReplyEvents {
  /** The last bytes written end inside a message that will never be complete. */
  messageCut(): void;
  /** CopyInResponse: the client's CopyData may go to the server now. */
  copyInStarted(): void;
  /** DEALLOCATE ALL or, where all is `discarded`, DISCARD ALL has been done: at this place, whatever becomes of the rest. */
  deallocated(discarded: boolean): void;
  /** An error of ours: nothing more comes. */
  terminate(error: ProxyError): void;
}

/** Where replies go. */
export interface ReplySink {
  readonly events: ReplyEvents;
  /** As the client was told of itself; 0: nobody was. */
  readonly processId: number;
  /** False: the client does not keep up; reading from the server pauses until `resumeReading`. */
  write(bytes: Buffer): boolean;
  /** The same, for several slices at once. */
  writeAll(slices: readonly Buffer[]): boolean;
  /** Nothing that was written is kept here: its memory may be used again. */
  readonly isWritten: boolean;
  /** What the server connection reports to be set; differences to what the client was told are told. */
  tellParameters(parameters: Parameters): void;
  tellParameter(name: string, value: string): void;
}

export interface Run {
  readonly sink: ReplySink;
  /** Null: a simple query, or a batch in which every reply is forwarded. */
  readonly steps: Step[] | null;
  /** Errors that another try may cure are kept back while nothing was forwarded. */
  readonly withhold: boolean;
  /** Among these, those that only a replica gives. */
  readonly onReplica: boolean;
  /** Characters of a BEGIN of ours in front of the text: its reply is dropped, an error tells its place without them. 0: none. */
  readonly beginLength: number;
  /** The client's transaction starts with it, by a BEGIN that has been answered already. */
  readonly isBehindBegin: boolean;
  /** Units of others are under way beside it: what is written in one turn of the event loop leaves together. */
  readonly isShared: boolean;
  /** So many may leave with one Sync; 1: it has its own. */
  readonly maxGroup: number;
  /** Null: the answer counts whatever the node has. */
  readonly gate: Gate | null;
  /** A simple query ends the server's unnamed statement; a batch may leave another one. */
  readonly isSimple: boolean;
  /** A prepared statement in place of a simple query: of it the client must not learn. */
  readonly isStandIn: boolean;
  /** More messages follow before Sync. */
  isOpen: boolean;
  /** The Sync was the proxy's: the client is not told of it. */
  isEndOurs?: boolean;
  /**
   * An error of a Bind up to this step may come from a statement that was prepared for an unnamed one and is outdated; of a
   * stand-in, any error up to it is the query's to tell, until a row has come. Nothing is forwarded before, and `heal` is called
   * at the end in place of `done`, to run the unit again without. -1: none.
   */
  readonly healUntil: number;
  readonly heal: (error: ServerError) => void;
  /** As the session gave them: it may become late. */
  readonly options: Pick<ExecuteOptions, 'late'>;
  /** Milliseconds that the node took, not counting those in which it was busy with what stands before it here; null: with others. */
  serviceMs: number | null;
  /** Called once, behind the last forwarded byte. `tag`: of the last CommandComplete. */
  readonly done: (outcome: Outcome, tag: string) => void;
}

export function answeredByUs(transaction: TransactionStatus, error: ServerError): Outcome {
  return {
    kind: 'answered',
    transaction,
    error,
    position: null,
    returnedRows: true,
    gatedAt: null,
    serviceMs: 0,
    replyBytes: 0,
    rows: 0,
  };
}
