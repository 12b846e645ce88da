// A PostgreSQL unit: a simple query, a function call, or an extended batch through Sync.
// It knows no connection; how it is written for one is in client-connection.ts and extended-batch.ts.

import type { Unit } from '../protocol/unit.js';
import { mergeClasses } from '../sql/merge.js';
import type { Classified, Hint, StatementClass } from '../sql/statement.js';
import type { ExtendedBatch } from './extended-batch.js';

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
  readonly statement: StatementClass;
  readonly hint: Hint | null;
  readonly shape: string;
  readonly message: Buffer;

  constructor(classified: Classified, message: Buffer) {
    this.statement = withPin(classified.statement);
    this.hint = classified.hint;
    this.shape = classified.shape;
    this.message = message;
  }

  get bytes(): number {
    return this.message.length;
  }
}

export class BatchUnit implements Unit {
  readonly kind = 'batch';
  readonly asksLast = false;
  statement: StatementClass;
  readonly hint: Hint | null;
  readonly shape: string;
  readonly batch: ExtendedBatch;
  /** Flush came before Sync: more messages follow. */
  open: boolean;
  readonly #wasOpen: boolean;

  constructor(batch: ExtendedBatch, open: boolean) {
    this.batch = batch;
    this.open = open;
    this.#wasOpen = open;
    const first = batch.classified[0];
    this.hint = first?.hint ?? null;
    this.shape = first?.shape ?? '';
    this.statement = this.#merge();
  }

  /** More messages have come behind a Flush: what they do counts too. */
  extended(): void {
    this.statement = this.#merge();
  }

  #merge(): StatementClass {
    const merged = withPin(mergeClasses(this.batch.classified.map(({ statement }) => statement)));
    return this.#wasOpen ? { ...merged, route: 'primary' } : merged;
  }

  get bytes(): number {
    return this.batch.bytes;
  }
}

/** A statement prepared by SQL text stays on its server connection, and the client with it. */
function withPin(statement: StatementClass): StatementClass {
  if (statement.prepared?.kind !== 'prepare' || statement.pin !== null) return statement;
  return { ...statement, route: 'primary', pin: 'sql-prepare' };
}
