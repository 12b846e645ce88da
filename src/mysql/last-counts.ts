// FOUND_ROWS() and ROW_COUNT() of a session as far as replies tell them: behind a write the server connection that knows them
// may be another client's, and FOUND_ROWS() is that of a SELECT before it, which ran anywhere.
// It knows no server connection; behind a read the server is asked.

import type { Answered } from '../protocol/unit.js';
import type { StatementClass } from '../sql/statement.js';
import type { MysqlUnit } from './unit.js';

/**
 * - `counts`: it sets FOUND_ROWS() to the rows that it sends
 * - `keeps`: it leaves FOUND_ROWS() as it was
 * - `changes`: ROW_COUNT() is known of it, FOUND_ROWS() is not
 * - `other`: neither is
 */
type Effect = 'counts' | 'keeps' | 'changes' | 'other';

/** What is left out of it counts otherwise, or is not said alike by all versions. */
const ODD_SELECT = /\b(?:sql_calc_found_rows|limit|fetch|union|except|intersect|minus|into|procedure)\b/i;
const INNER_SELECT = /\b(?:select|table|with|from)\b/i;

const effects = new WeakMap<StatementClass, Effect>();

function effectOf({ statement, shape, kind }: MysqlUnit): Effect {
  if (kind !== 'query' && kind !== 'execute') return 'other';
  let effect = effects.get(statement);
  if (effect === undefined) {
    effect = judge(statement, shape);
    effects.set(statement, effect);
  }
  return effect;
}

function judge({ verb, statements, prepared }: StatementClass, shape: string): Effect {
  if (statements !== 1 || prepared !== null) return 'other';
  switch (verb) {
    case 'SELECT':
      return ODD_SELECT.test(shape) ? 'other' : 'counts';
    case 'INSERT':
    case 'REPLACE':
      return INNER_SELECT.test(shape) ? 'changes' : 'keeps';
    case 'UPDATE':
    case 'DELETE':
      return 'changes';
    default:
      return 'other';
  }
}

const QUESTION =
  /^\s*select\s+((found_rows|row_count)\s*\(\s*\))(?:\s+(?:as\s+)?([a-z_][a-z_0-9]*))?\s*;?\s*$/i;

export class LastCounts {
  #found: number | null = null;
  #rows: number | null = null;
  /** The last statement was a write. */
  #isBehindWrite = false;
  /** The last statement was such a question, behind a write. */
  #isOwn = false;
  /** What came last was a command that the proxy has answered with OK: to the servers one of which ROW_COUNT() is 0. */
  #isAcknowledged = false;

  learn(unit: MysqlUnit, outcome: Answered): void {
    if (unit.leavesLast) return;
    this.#isOwn = false;
    this.#isAcknowledged = false;
    const effect = effectOf(unit);
    const isPlain = outcome.error === null && !outcome.returnedRows;
    const isWrite = isPlain && (effect === 'keeps' || effect === 'changes');
    if (effect === 'counts')
      this.#found = outcome.error === null && outcome.returnedRows ? outcome.rows : null;
    else if (effect !== 'keeps' || !isPlain) this.#found = null;
    this.#rows = isWrite ? outcome.rows : null;
    this.#isBehindWrite = isWrite;
  }

  /** COM_PING, COM_STMT_RESET. */
  acknowledged(): void {
    this.#isAcknowledged = true;
  }

  forget(): void {
    this.#isAcknowledged = false;
    this.#found = null;
    this.#rows = null;
    this.#isBehindWrite = false;
  }

  /**
   * What the text asks for; null: something else, or what is not known. `isGone`: the server connection of the last statement is
   * another's by now. Before that it knows ROW_COUNT(); FOUND_ROWS() it knows of the last SELECT that ran on it, whoever's that was.
   */
  answer(sql: string, isGone: boolean): { readonly name: string; readonly value: string } | null {
    if (!this.#isBehindWrite && !this.#isAcknowledged) return null;
    const match = QUESTION.exec(sql);
    if (match === null) return null;
    const [, expression, what, alias] = match;
    const isFound = what!.toLowerCase() === 'found_rows';
    const isZero = !isFound && this.#isAcknowledged;
    if (!this.#isBehindWrite && !isZero) return null;
    const value = isFound ? this.#found : isZero ? 0 : this.#rows;
    if (value === null || !(isFound || isGone || isZero || this.#isOwn)) return null;
    // The question is a SELECT that sends one row, of which no server knows.
    this.#found = 1;
    this.#rows = -1;
    this.#isBehindWrite = true;
    this.#isOwn = true;
    this.#isAcknowledged = false;
    return { name: alias ?? expression!, value: String(value) };
  }
}
