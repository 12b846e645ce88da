// Prepared statements as text: one object for each distinct text and state, whoever prepares it; and what a server connection holds.
// It knows no connection; ids are given by whoever answers.

import type { Classified } from '../sql/statement.js';
import type { TrackedState } from './tracked-state.js';
import { HEADER_BYTES } from './wire/framer.js';
import { PREPARE_OK_BYTES } from './wire/result-set.js';

/** One text that was prepared in one state. */
export interface PreparedText {
  readonly sql: Buffer;
  /** What the session had when it prepared it (`forPreparing`): sql_mode, character sets and database are part of its meaning. */
  readonly state: TrackedState;
  classified: Classified;
  /** The catalog by which it was classified. */
  catalogVersion: number;
  /** As the first preparation told. */
  parameters: number;
  /** The whole reply to a preparation, with a sequence that starts at 1; null: not kept. */
  reply: Buffer | null;
  /** The same for each list of parameter types that it is executed with (MySQL). */
  byTypes: Map<string, PreparedText> | null;
  /** Of one for a list of types: what it was made of. */
  readonly base: PreparedText | null;
  /** Of one that is a single client's: whose cursor ends when the server closes it. */
  readonly owner?: { readonly cursorIsOpen: boolean };
}

/** A larger reply is asked for again. */
const MAX_REPLY_BYTES = 16_384;

/** Whether the reply to a preparation may answer others; an OK without a statement is for the one who asked. */
export function isKept(reply: Buffer): boolean {
  return reply.length >= HEADER_BYTES + PREPARE_OK_BYTES && reply.length <= MAX_REPLY_BYTES;
}

/** Interns texts; what falls out of the bound is only shared less. */
export class PreparedTexts {
  readonly #byKey = new Map<string, PreparedText>();
  readonly #maxEntries: number;

  constructor(maxEntries = 10_000) {
    this.#maxEntries = maxEntries;
  }

  /** `variant`: what else the answer to a preparation depends on. */
  intern(variant: string, sql: Buffer, state: TrackedState, create: () => PreparedText): PreparedText {
    const key = `${variant}\0\0${state.digest}\0\0${sql.toString('latin1')}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.#byKey.delete(key);
      this.#byKey.set(key, known);
      return known;
    }
    const text = create();
    if (this.#byKey.size >= this.#maxEntries) this.#byKey.delete(this.#byKey.keys().next().value!);
    this.#byKey.set(key, text);
    return text;
  }

  /** Tables may have changed: what preparations told of them is forgotten. */
  forgetReplies(): void {
    for (const text of this.#byKey.values()) text.reply = null;
  }
}

/** A statement that a server connection holds. */
export interface ServerStatement {
  readonly id: number;
  readonly parameters: number;
  /** Parameter types that the server knows from the last execution. */
  boundTypes: Buffer | null;
}

/** What one server connection holds; the least recently used falls out. */
export class PreparedOnServer {
  readonly #held = new Map<PreparedText, ServerStatement>();
  readonly #maxHeld: number;

  /** The bound is low because max_prepared_stmt_count (16,382) is for all connections of a server together. */
  constructor(maxHeld = 100) {
    this.#maxHeld = maxHeld;
  }

  get(text: PreparedText): ServerStatement | undefined {
    const statement = this.#held.get(text) ?? this.#adopt(text);
    if (statement === undefined) return undefined;
    this.#held.delete(text);
    this.#held.set(text, statement);
    return statement;
  }

  /** What has been prepared and not executed is for any types. */
  #adopt({ base }: PreparedText): ServerStatement | undefined {
    const statement = base === null ? undefined : this.#held.get(base);
    if (statement === undefined || statement.boundTypes !== null) return undefined;
    this.#held.delete(base!);
    return statement;
  }

  /** Answers those that have to be closed on the server. */
  add(text: PreparedText, statement: ServerStatement): ServerStatement[] {
    const closed: ServerStatement[] = [];
    const before = this.#held.get(text);
    if (before !== undefined) closed.push(before);
    this.#held.delete(text);
    this.#held.set(text, statement);
    if (this.#held.size > this.#maxHeld) {
      const oldest = this.#leastRecentlyUsed(text);
      if (oldest !== null) closed.push(this.remove(oldest)!);
    }
    return closed;
  }

  /** Null: all but the new one have a cursor that its client has not read to its end. */
  #leastRecentlyUsed(added: PreparedText): PreparedText | null {
    for (const text of this.#held.keys())
      if (text !== added && text.owner?.cursorIsOpen !== true) return text;
    return null;
  }

  /** Answers what has to be closed on the server. */
  remove(text: PreparedText): ServerStatement | undefined {
    const statement = this.#held.get(text);
    this.#held.delete(text);
    return statement;
  }
}
