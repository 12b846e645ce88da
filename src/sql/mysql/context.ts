// What the judgement of one statement may ask for, and the draft that it fills; no rule of its own.

import type {
  MysqlLexSettings,
  PinReason,
  PreparedEffect,
  Route,
  SessionEffect,
  StatementClass,
  TransactionEffect,
} from '../statement.js';
import type { MysqlCatalog } from './picture.js';
import type { Span } from './split.js';
import type { Tokens } from './tokens.js';

export interface MysqlOverrides {
  /** Functions that only read, and functions that write, whatever the catalog says: `name` or `schema.name`. */
  readonly readFunctions?: readonly string[];
  readonly writeFunctions?: readonly string[];
}

/** Everything outside the text that a judgement depends on. */
export interface Rules {
  readonly catalog: MysqlCatalog | null;
  readonly reads: ReadonlySet<string>;
  readonly writes: ReadonlySet<string>;
}

export interface Context {
  readonly tokens: Tokens;
  readonly settings: MysqlLexSettings;
  readonly rules: Rules;
  /** The class of another text (the body of a PREPARE), or null when it may not go deeper. */
  readonly inner: (text: string) => StatementClass | null;
}

export const maxReasons = 8;

/** A class in the making. It begins as what nobody understands. */
export class Draft {
  route: Route = 'primary';
  readonly reasons: string[] = [];
  pin: PinReason | null = null;
  #pinsMore = false;
  transaction: TransactionEffect | null = null;
  session: SessionEffect[] = [];
  prepared: PreparedEffect | null = null;
  ddl = false;
  verb: string;
  afterWrite = false;
  runsPrograms = false;
  changesLogins = false;
  #tells = false;
  /** It is more than a question how one server is. */
  doesMore = false;
  /** Literals decide here: the class holds for this text only, not for its shape. */
  byLiterals = false;

  constructor(verb: string) {
    this.verb = verb;
  }

  because(reason: string): void {
    if (this.reasons.length < maxReasons && !this.reasons.includes(reason)) this.reasons.push(reason);
  }

  primary(reason: string): void {
    this.doesMore = true;
    this.route = 'primary';
    this.because(reason);
  }

  /** It is asked of the primary unless somebody names another server. */
  tells(reason: string): void {
    this.#tells = true;
    this.route = 'primary';
    this.because(reason);
  }

  /** What is left in a server connection is left on the primary, where writes may need it. */
  pinned(pin: PinReason, reason: string): void {
    if (this.pin !== null) this.#pinsMore = true;
    this.pin ??= pin;
    this.primary(reason);
  }

  build(): StatementClass {
    const statement: StatementClass = {
      route: this.route,
      reasons: this.reasons,
      pin: this.pin,
      transaction: this.transaction,
      session: this.session,
      prepared: this.prepared,
      ddl: this.ddl,
      statements: 1,
      verb: this.verb,
    };
    const { afterWrite, runsPrograms, changesLogins } = this;
    const tellsOfNode = this.#tells && !this.doesMore && this.route === 'primary' && this.pin === null;
    const pinsMore = this.#pinsMore;
    if (!afterWrite && !runsPrograms && !changesLogins && !tellsOfNode && !pinsMore) return statement;
    return {
      ...statement,
      ...(afterWrite ? { afterWrite } : {}),
      ...(runsPrograms ? { runsPrograms } : {}),
      ...(changesLogins ? { changesLogins } : {}),
      ...(tellsOfNode ? { tellsOfNode } : {}),
      ...(pinsMore ? { pinsMore } : {}),
    };
  }
}

/** Judges one statement; the span's first token is its first word or bracket. */
export type Judge = (context: Context, span: Span) => Draft;
