// The prepared statements of one client: ids, parameter types, long data and cursors, as the client knows them.
// It knows no server connection.

import { copyOf } from '../lib/chunk-copies.js';
import { ProxyError } from '../lib/errors.js';
import type { PreparedText } from './prepared-statements.js';
import { parseLongData } from './wire/command.js';
import { LAST_PREPARED_ID } from './wire/execute.js';

const MAX_STATEMENTS = 10_000;

export class ClientStatement {
  readonly id: number;
  readonly text: PreparedText;
  /** From the last execution that brought them; a client does not repeat them. */
  types: Buffer | null = null;
  /** The text for these types, as it was found last. */
  typed: { readonly types: Buffer; readonly text: PreparedText } | null = null;
  /** COM_STMT_SEND_LONG_DATA as it came, until the next execution. */
  readonly longData: Buffer[] = [];
  longDataBytes = 0;
  cursorIsOpen = false;
  #cursorText: PreparedText | null = null;

  constructor(id: number, text: PreparedText) {
    this.id = id;
    this.text = text;
  }

  /** What a cursor, or long data, belongs to on the server: it is not shared with others of the same text. */
  get cursorText(): PreparedText {
    this.#cursorText ??= { ...this.text, owner: this };
    return this.#cursorText;
  }

  get hasCursorText(): boolean {
    return this.#cursorText !== null;
  }

  forgetLongData(): void {
    this.longData.length = 0;
    this.longDataBytes = 0;
  }
}

export class ClientStatements {
  /** Null: none yet; many clients never have any. */
  #byId: Map<number, ClientStatement> | null = null;
  #next = 1;
  #last: ClientStatement | null = null;

  /** Throws `too-many-prepared-statements`. */
  checkRoom(): void {
    if (this.#byId !== null && this.#byId.size >= MAX_STATEMENTS)
      throw new ProxyError('too-many-prepared-statements', { limit: MAX_STATEMENTS });
  }

  add(text: PreparedText): ClientStatement {
    const statement = new ClientStatement(this.#next, text);
    // Ids are 32 bits, of which the highest value has a meaning of its own.
    this.#next = this.#next >= LAST_PREPARED_ID - 1 ? 1 : this.#next + 1;
    this.#byId ??= new Map();
    this.#byId.set(statement.id, statement);
    this.#last = statement;
    return statement;
  }

  /** A preparation failed: there is no last one. */
  noLast(): void {
    this.#last = null;
  }

  find(id: number): ClientStatement | undefined {
    return id === LAST_PREPARED_ID ? (this.#last ?? undefined) : this.#byId?.get(id);
  }

  remove(statement: ClientStatement): void {
    this.#byId?.delete(statement.id);
    if (this.#last === statement) this.#last = null;
  }

  get hasOpenCursor(): boolean {
    if (this.#byId === null) return false;
    for (const statement of this.#byId.values()) if (statement.cursorIsOpen) return true;
    return false;
  }

  clear(): void {
    this.#byId = null;
    this.#last = null;
  }

  /** Keeps a piece of long data; an unknown id is ignored, for there is no reply in which to say so. */
  addLongData(frame: Buffer, payload: Buffer, limitBytes: number): void {
    const { statementId } = parseLongData(payload);
    const statement = this.find(statementId);
    if (statement === undefined) return;
    const bytes = statement.longDataBytes + frame.length;
    if (bytes > limitBytes) throw new ProxyError('message-too-large', { bytes, limit: limitBytes });
    statement.longDataBytes = bytes;
    statement.longData.push(copyOf(frame));
  }
}
