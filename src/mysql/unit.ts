// A MySQL unit: one command of a client, and what the proxy needs to run it on any server connection.
// It knows no connection; how it is written for one is in client-connection.ts and execute-statement.ts.

import type { RuledStatement, Unit } from '../protocol/unit.js';
import {
  asRead,
  type Classified,
  type Hint,
  onPrimary,
  type Route,
  type SessionEffect,
  type StatementClass,
} from '../sql/statement.js';
import type { ClientStatement } from './client-statements.js';
import type { ReplyKind } from './reply.js';
import { showsTracking } from './visible-tracking.js';
import type { Capabilities } from './wire/capabilities.js';
import { type BulkExecute, type Execute, parseExecute } from './wire/execute.js';
import { payloadOf } from './wire/framer.js';

/**
 * - `command`: the frame goes as it came
 * - `query`: a text
 * - `prepare`, `execute`, `bulk-execute`, `fetch`, `reset-statement`: COM_STMT_*
 * - `set-option`, `reset-connection`: they change what the connection is
 * - `clear`: COM_RESET_CONNECTION of our own, before another user takes over
 */
export type UnitKind =
  | 'command'
  | 'query'
  | 'prepare'
  | 'execute'
  | 'bulk-execute'
  | 'fetch'
  | 'reset-statement'
  | 'set-option'
  | 'reset-connection'
  | 'clear';

const NO_TEXT: readonly RuledStatement[] = [];

export class MysqlUnit implements Unit {
  readonly open = false;
  readonly kind: UnitKind;
  statement: StatementClass;
  readonly hint: Hint | null;
  readonly shape: string;
  readonly reply: ReplyKind;
  /** Null: it is `#kept`, byte by byte. */
  #frame: Buffer | null;
  #kept = '';
  #execute: Execute | null = null;
  #readBy: { readonly parameters: number; readonly capabilities: Capabilities } | null = null;
  /** COM_STMT_*: the statement that it is about. */
  prepared: ClientStatement | null = null;
  bulk: BulkExecute | null = null;
  startsTransaction = false;
  /** It only reads: the BEGIN that no server knows of yet may be sent together with it. */
  onlyReads = false;
  /** An execution that needs its statement in another state than the session's, a cursor or long data. */
  needsOwnStatement = false;
  /** Known once it has been answered. */
  pinsOnce = false;
  /** It has been answered with an error. */
  hasFailed = false;
  /** What its text is, whatever the session makes of it; null for what has none. */
  text: RuledStatement | null = null;

  constructor(kind: UnitKind, reply: ReplyKind, classified: Classified, frame: Buffer) {
    this.kind = kind;
    this.reply = reply;
    this.statement = classified.statement;
    this.hint = classified.hint;
    this.shape = classified.shape;
    this.#frame = frame;
  }

  /** It is the first in its client's transaction, of which no server knows: that is the primary's to begin. */
  begins(): void {
    const { route, pin, transaction, session, prepared, statements } = this.statement;
    const isPlain = pin === null && transaction === null && session.length === 0 && prepared === null;
    this.onlyReads = route === 'replica' && isPlain && statements === 1 && this.kind !== 'prepare';
    this.startsTransaction = true;
    this.statement = onPrimary(this.statement);
  }

  becomeRead(): void {
    this.statement = asRead(this.statement);
  }

  get bytes(): number {
    return this.#frame?.length ?? this.#kept.length;
  }

  /** As it came from the client, headers included. */
  get frame(): Buffer {
    return this.#frame ?? Buffer.from(this.#kept, 'latin1');
  }

  /** Of COM_STMT_EXECUTE; null: it is none. */
  get execute(): Execute | null {
    if (this.#readBy === null) return null;
    const { parameters, capabilities } = this.#readBy;
    return this.#execute ?? parseExecute(payloadOf(this.frame), parameters, capabilities);
  }

  /** `readBy`: what `execute` was parsed with. */
  executes(execute: Execute, readBy: { parameters: number; capabilities: Capabilities }): void {
    this.#execute = execute;
    this.#readBy = readBy;
  }

  keep(): void {
    if (this.#frame === null) return;
    this.#kept = this.#frame.toString('latin1');
    this.#frame = null;
    this.#execute = null;
  }

  holdOnce(held: Map<string, string>): void {
    // What is longer is hardly ever the same.
    if (this.#frame !== null || this.#kept.length > MAX_HELD_ONCE_BYTES) return;
    const same = held.get(this.#kept);
    if (same === undefined) held.set(this.#kept, this.#kept);
    else this.#kept = same;
  }

  get ruled(): readonly RuledStatement[] {
    return this.text === null ? NO_TEXT : [this.text];
  }

  get onlyPrepares(): boolean {
    return this.kind === 'prepare';
  }

  get shareable(): boolean {
    return this.#weight === 'light';
  }

  get leavesAgain(): boolean {
    return this.#weight !== 'heavy';
  }

  get #weight(): Weight {
    switch (this.kind) {
      case 'query':
        break;
      case 'prepare':
        if (this.hasFailed) return 'heavy';
        break;
      case 'execute':
        if (this.needsOwnStatement) return 'heavy';
        break;
      default:
        return 'heavy';
    }
    return this.frame.length > MAX_SHARED_BYTES ? 'heavy' : weightOf(this.statement, this.shape);
  }

  /** A preparation leaves the answers about the statement before it as they are, unless it fails. */
  get leavesLast(): boolean {
    return this.kind === 'prepare' && !this.hasFailed;
  }

  /** Of MySQL and MariaDB FOUND_ROWS(), too, is behind SHOW WARNINGS what it was before. */
  get keepsLast(): boolean {
    return (
      this.kind === 'query' &&
      this.statement.statements === 1 &&
      /^show (?:warnings|errors)\b/i.test(this.shape)
    );
  }

  /** LAST_INSERT_ID() is set where it is asked; COMMIT and its like are answered anywhere. */
  get asksLast(): boolean {
    return asksLast(this.statement);
  }
}

export function asksLast({ route, transaction, afterWrite }: StatementClass): boolean {
  return route === 'last' && transaction === null && afterWrite !== true;
}

const MAX_HELD_ONCE_BYTES = 256;

/** What is longer has a server connection to itself. */
const MAX_SHARED_BYTES = 16_384;

/**
 * - `light`: it may share a server connection
 * - `apart`: it has one to itself, for whoever writes it asks for FOUND_ROWS() next
 * - `heavy`: so has this, and it is not done again for what may be asked about it
 */
type Weight = 'light' | 'apart' | 'heavy';

/** Classes are cached by shape: so is this. */
const weights = new WeakMap<StatementClass, Weight>();

function weightOf(statement: StatementClass, shape: string): Weight {
  if (statement.route !== 'replica') return 'heavy';
  let weight = weights.get(statement);
  if (weight === undefined) {
    const isPlain =
      statement.pin === null &&
      statement.transaction === null &&
      statement.session.length === 0 &&
      statement.prepared === null &&
      statement.statements === 1 &&
      !showsTracking(statement, shape);
    weight = !isPlain ? 'heavy' : /\bsql_calc_found_rows\b/i.test(shape) ? 'apart' : 'light';
    weights.set(statement, weight);
  }
  return weight;
}

/** The class of a command that has no text. */
export function commandClass(route: Route, verb: string, session: readonly SessionEffect[] = []): Classified {
  return {
    hint: null,
    shape: verb,
    statement: {
      route,
      reasons: [verb],
      pin: null,
      transaction: null,
      session,
      prepared: null,
      ddl: false,
      statements: 1,
      verb,
    },
  };
}

/** A text that is not looked at. */
export const UNCLASSIFIED = commandClass('primary', 'UNKNOWN');

/**
 * What the class of a text means here, where the server reports the values of all variables: SET to an expression is
 * tracked like SET to a constant, and a statement prepared by text stays on its server connection.
 */
export function trackedClass(classified: Classified): Classified {
  const { statement } = classified;
  if (statement.pin === 'untracked-setting' && isPlainSet(statement))
    return { ...classified, statement: { ...statement, pin: null } };
  if (statement.prepared?.kind === 'prepare' && statement.pin === null)
    return { ...classified, statement: { ...statement, route: 'primary', pin: 'sql-prepare' } };
  return classified;
}

function isPlainSet(statement: StatementClass): boolean {
  return (
    statement.verb === 'SET' &&
    statement.statements === 1 &&
    statement.transaction === null &&
    statement.session.length > 0 &&
    statement.session.every((effect) => effect.kind === 'set' && effect.name !== 'role')
  );
}

/** Preparing a text only reads its tables, whatever it does when it is executed. */
export function prepareClass(classified: Classified): Classified {
  const { statement } = classified;
  return {
    ...classified,
    // It costs something else than its execution.
    shape: `PREPARE ${classified.shape}`,
    statement: {
      ...statement,
      route: statement.route === 'replica' ? 'replica' : 'primary',
      pin: null,
      transaction: null,
      session: [],
      prepared: null,
      ddl: false,
    },
  };
}

/** Where autocommit is off, or reads lock, a read is part of what the primary has to do. */
export function classOnPrimary(classified: Classified): Classified {
  return { ...classified, statement: onPrimary(classified.statement) };
}
