// A PostgreSQL unit: a simple query, a function call, or an extended batch through Sync.
// It knows no connection; how it is written for one is in client-connection.ts and extended-batch.ts.

import type { RuledStatement, Unit } from '../protocol/unit.js';
import { mergeClasses } from '../sql/merge.js';
import {
  asRead,
  type Classified,
  type Hint,
  isChained,
  onPrimary,
  type StatementClass,
} from '../sql/statement.js';
import type { ExtendedBatch } from './extended-batch.js';
import type { HeldBegin } from './held-begin.js';
import type { StandIn } from './stand-in.js';

export type PostgresUnit = SimpleUnit | BatchUnit;

/** What is not looked at: calls by number, and texts too long. */
export const UNCLASSIFIED: Classified = {
  hint: null,
  shape: '',
  statement: {
    route: 'primary',
    reasons: ['not classified'],
    pin: null,
    transaction: null,
    session: [],
    prepared: null,
    ddl: false,
    statements: 1,
    verb: 'UNKNOWN',
  },
};

export class SimpleUnit implements Unit {
  readonly kind = 'simple';
  readonly open = false;
  readonly asksLast = false;
  pinsOnce = false;
  readonly leavesLast = false;
  readonly mayDraw: boolean;
  readonly shareable: boolean;
  statement: StatementClass;
  readonly hint: Hint | null;
  readonly shape: string;
  readonly message: Buffer;
  /** No server knows of it yet; null: none. */
  readonly begin: HeldBegin | null;
  /** It may run as this one; null: it does not. */
  readonly standIn: StandIn | null;
  readonly #classified: Classified;

  constructor(
    classified: Classified,
    message: Buffer,
    begin: HeldBegin | null,
    standIn: StandIn | null = null,
  ) {
    this.standIn = standIn;
    this.#classified = classified;
    this.mayDraw = mayDraw(classified);
    this.begin = begin;
    this.statement = inTransaction(withPin(classified.statement), begin);
    this.hint = classified.hint;
    this.shape = classified.shape;
    this.message = message;
    this.shareable = isShareable(this.statement, message.length);
  }

  get bytes(): number {
    return this.message.length;
  }

  get onlyPrepares(): boolean {
    return false;
  }

  becomeRead(): void {
    this.statement = asRead(this.statement);
  }

  get startsTransaction(): boolean {
    return this.begin !== null;
  }

  /** What it does to session and transaction once it has run. */
  get effects(): StatementClass {
    return this.statement;
  }

  get ruled(): readonly RuledStatement[] {
    return [this.#classified];
  }
}

export class BatchUnit implements Unit {
  readonly kind = 'batch';
  readonly asksLast = false;
  pinsOnce = false;
  readonly leavesLast = false;
  readonly hint: Hint | null;
  readonly shape: string;
  readonly batch: ExtendedBatch;
  readonly shareable: boolean;
  /** Flush came before Sync: more messages follow. */
  open: boolean;
  readonly begin: HeldBegin | null;
  /** It may draw from a sequence, or ask what was drawn. */
  readonly mayDraw: boolean;
  readonly #wasOpen: boolean;
  /** Null: more has come, and nobody has asked since; there may be thousands of Flushes in it. */
  #statement: StatementClass | null;
  /** So many of its statements the rules have been asked about. */
  #ruled: number;

  constructor(batch: ExtendedBatch, open: boolean, begin: HeldBegin | null) {
    this.batch = batch;
    this.begin = begin;
    this.open = open;
    this.#wasOpen = open;
    this.mayDraw = open || batch.classified.some(mayDraw);
    this.#ruled = batch.classified.length;
    const first = batch.classified[0];
    this.hint = first?.hint ?? null;
    this.shape = shapeOf(batch.classified);
    this.#statement = this.#merge();
    this.shareable =
      !open &&
      batch.unsure === null &&
      batch.classified.length <= MAX_SHARED_STATEMENTS &&
      isShareable(this.#statement, batch.bytes);
  }

  get statement(): StatementClass {
    this.#statement ??= this.#merge();
    return this.#statement;
  }

  /** More messages have come behind a Flush: what they do counts too. Answers the statements that are new. */
  extended(): readonly RuledStatement[] {
    this.#statement = null;
    const more = this.batch.classified.slice(this.#ruled);
    this.#ruled += more.length;
    return more;
  }

  #merge(): StatementClass {
    const { classified, executed } = this.batch;
    let merged = withPin(mergedOf(classified));
    // What it is called by is not how it begins: no transaction ends with a COMMIT that is only prepared, or one AND CHAIN.
    if (merged.statements > 1 && (executed[0] !== classified[0] || isChained(executed[0]!.statement)))
      merged = { ...merged, verb: 'UNKNOWN' };
    return this.#wasOpen ? onPrimary(merged) : inTransaction(merged, this.begin);
  }

  becomeRead(): void {
    this.#statement = asRead(this.statement);
  }

  get onlyPrepares(): boolean {
    return this.batch.executed.length === 0;
  }

  get startsTransaction(): boolean {
    return this.begin !== null;
  }

  /** What is only parsed or bound does nothing yet. */
  get effects(): StatementClass {
    return mergedOf(this.batch.executed);
  }

  get bytes(): number {
    return this.batch.bytes;
  }

  get ruled(): readonly RuledStatement[] {
    return this.batch.classified;
  }
}

/** What a standby could do, or says nothing but SHOW, draws from no sequence. */
function mayDraw({ statement: { route, verb } }: Classified): boolean {
  return route === 'primary' && verb !== 'SHOW' && verb !== 'BEGIN' && verb !== 'START TRANSACTION';
}

function mergedOf(statements: readonly Classified[]): StatementClass {
  if (statements.length === 1 && statements[0]!.statement.statements > 0) return statements[0]!.statement;
  return mergeClasses(statements.map(({ statement }) => statement));
}

/** Drivers send BEGIN in one batch with the statement that it is for. */
function shapeOf(classified: readonly Classified[]): string {
  for (const { shape, statement } of classified) if (statement.transaction === null) return shape;
  return classified[0]?.shape ?? '';
}

/** What is longer, or streams, has a server connection to itself. */
const MAX_SHARED_BYTES = 16_384;
const MAX_SHARED_STATEMENTS = 8;

function isShareable(statement: StatementClass, bytes: number): boolean {
  return (
    statement.route === 'replica' &&
    statement.pin === null &&
    statement.transaction === null &&
    statement.prepared === null &&
    statement.verb !== 'COPY' &&
    bytes <= MAX_SHARED_BYTES
  );
}

function inTransaction(statement: StatementClass, begin: HeldBegin | null): StatementClass {
  return begin === null ? statement : onPrimary(statement);
}

/** A statement prepared by SQL text stays on its server connection, and the client with it. */
function withPin(statement: StatementClass): StatementClass {
  if (statement.prepared?.kind !== 'prepare' || statement.pin !== null) return statement;
  return { ...statement, route: 'primary', pin: 'sql-prepare' };
}
