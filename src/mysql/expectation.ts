// What a server connection expects of the node, and how it ends for whoever waits for it.
// It holds no socket; expectation-queue.ts has them in their order.

import type { Position } from '../protocol/position.js';
import type { Answered, ServerError, TransactionStatus } from '../protocol/unit.js';
import type { GateQuery } from './gate.js';
import { mysqlPositions } from './position.js';
import type { PreparedText, ServerStatement } from './prepared-statements.js';
import type { Reply } from './reply.js';
import type { Run } from './run.js';
import { PacketReader } from './wire/bytes.js';
import { STATUS } from './wire/ok.js';
import type { PrepareOk } from './wire/result-set.js';

/** An error of the node, with what a client would need to be told of it. */
export interface MysqlServerError extends ServerError {
  readonly sqlState: string;
}

/** What a command of our own was answered. */
export interface OwnResult {
  readonly error: MysqlServerError | null;
  /** Payloads of rows, when they were asked for. */
  readonly rows: readonly Buffer[];
  readonly prepared: PrepareOk | null;
}

/** CR_SERVER_LOST: the number under which a command of our own learns that its connection is gone. */
export const CONNECTION_LOST = '2013';

export const GONE_RESULT: OwnResult = {
  error: lostError('the server connection is gone'),
  rows: [],
  prepared: null,
};

/** The answer to a preparation was an OK without a statement. */
export const NOT_PREPARED: MysqlServerError = {
  code: '1243',
  message: 'Unknown prepared statement handler (0) given to mysql_stmt_precheck',
  sqlState: 'HY000',
};

export function lostError(reason: string): MysqlServerError {
  return { code: CONNECTION_LOST, message: reason, sqlState: 'HY000' };
}

export type PreparedCallback = (statement: ServerStatement | null, error: MysqlServerError | null) => void;

/** A run that is written as soon as its text is prepared; until then its place in the queue is the preparation's. */
export interface Pending {
  readonly run: Run;
  readonly done: PreparedCallback;
}

/** A preparation on a shared server connection, and who waits for it. */
export class Preparation {
  readonly text: PreparedText;
  #pending: Pending[] = [];

  constructor(text: PreparedText) {
    this.text = text;
  }

  /** Whoever wanted it runs elsewhere, or is gone. */
  get isAbandoned(): boolean {
    return this.#pending.length === 0;
  }

  add(run: Run, done: PreparedCallback): void {
    this.#pending.push({ run, done });
  }

  remove(run: Run): boolean {
    const before = this.#pending.length;
    this.#pending = this.#pending.filter((pending) => pending.run !== run);
    return this.#pending.length < before;
  }

  /** Those behind the first `kept` wait no longer. */
  takeBehind(kept: number): Run[] {
    return this.#pending.splice(kept).map(({ run }) => run);
  }

  /** It has been answered. */
  takeAll(): Pending[] {
    return this.#pending.splice(0);
  }
}

/** A run, or a command of our own, whose answer is not complete. */
export class Expectation {
  readonly reply: Reply;
  /** Null: a command of our own, nothing of it reaches a client. */
  readonly run: Run | null;
  readonly ownDone: ((result: OwnResult) => void) | null;
  /** Our own: rows are kept. */
  readonly rows: Buffer[] | null;
  readonly preparation: Preparation | null;
  prepared: PrepareOk | null = null;
  error: MysqlServerError | null = null;
  withheld: 'elsewhere' | 'primary' | null = null;
  /** Anything at all has been forwarded, or is about to be. */
  forwarded = false;
  /** Its client is gone, or runs it elsewhere: what is answered keeps our books only. */
  muted = false;
  replyBytes = 0;
  /** By the OK packets. */
  changedRows = 0;
  serviceMs = 0;
  position: string | null = null;
  asksCollation = false;
  /** The server has said that something has changed in the session, and not what. */
  owesChanges = false;
  /** Status flags of the server connection before it. */
  statusBefore: number | null = null;
  /** Our own: asked for what this run has changed, which an error does not tell. */
  learnsFor: Run | null = null;

  constructor(
    reply: Reply,
    run: Run | null,
    ownDone: ((result: OwnResult) => void) | null,
    keepsRows: boolean,
    preparation: Preparation | null,
  ) {
    this.reply = reply;
    this.run = run;
    this.ownDone = ownDone;
    this.rows = keepsRows ? [] : null;
    this.preparation = preparation;
  }

  /** Before each packet of the answer: the status as it has been so far. */
  sees(status: number): void {
    this.statusBefore ??= status;
    if (this.run !== null && (status & STATUS.IN_TRANS) !== 0) this.run.sawTransaction = true;
  }

  /** Sent or changed. */
  get rowCount(): number {
    return this.reply.rows + this.changedRows;
  }

  answered(run: Run, transaction: TransactionStatus): Answered {
    return {
      kind: 'answered',
      transaction,
      error: this.error,
      position: this.position === null ? null : parsePosition(this.position),
      returnedRows: this.reply.hadRows,
      gatedAt: run.gate?.query?.have ?? null,
      serviceMs: this.serviceMs,
      replyBytes: this.replyBytes,
      rows: this.rowCount,
    };
  }

  /** Null: nobody sees what is answered. */
  get visibleRun(): Run | null {
    return this.run === null || this.run.drop || this.muted ? null : this.run;
  }

  /** A read of which nothing has been answered: it may run elsewhere. */
  get canMove(): boolean {
    return this.run?.withhold === true && !this.muted && !this.forwarded && this.error === null;
  }

  get isAbandoned(): boolean {
    return this.muted || this.preparation?.isAbandoned === true;
  }

  /** The query before it has been answered: null where this goes on, else the run that does not. */
  refuse(query: GateQuery): Run | null {
    const { run } = this;
    if (run === null || run.gate?.query !== query || this.muted || run.gate.passes) return null;
    this.muted = true;
    return run;
  }

  /** The runs that need not stay here; they are told by the caller, when all is as it will be. */
  takeMovable(isHead: boolean): Run[] {
    if (this.preparation !== null) return this.preparation.takeBehind(isHead ? 1 : 0);
    if (isHead || this.run === null || !this.canMove) return [];
    this.muted = true;
    return [this.run];
  }
}

/** The first of the two counts of an OK packet; what ends a result set has 0 there. */
export function changedRowsOf(counts: Buffer): number {
  // Eight bytes are no count but -1, "unknown".
  return counts[0] === 0 || counts[0] === 0xfe ? 0 : new PacketReader(counts).lenenc();
}

/** The second of the two counts of an OK packet; null when no id was made. */
export function insertIdOf(counts: Buffer): string | null {
  const reader = new PacketReader(counts);
  reader.skipLenenc();
  const first = counts[reader.offset];
  if (first === 0) return null;
  if (first === 0xfe) return counts.readBigUInt64LE(reader.offset + 1).toString();
  return String(reader.lenenc());
}

function parsePosition(text: string): Position | null {
  try {
    return mysqlPositions.parse(text);
  } catch {
    return null;
  }
}
