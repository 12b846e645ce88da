// What a story may not be told alike in: the README's table of limits, and what the servers' manuals call undefined. It compares
// nothing by itself.

import type { Step } from './steps.js';

const REFUSED = /is not supported by the proxy|session state \(.*\) was lost/;
const GONE = /has been used by another client since/;
const ASKS_MESSAGES = /SHOW (WARNINGS|ERRORS|COUNT)|@@(warning|error)_count/;
const USES_TABLE = /\b(FROM|INTO|UPDATE|TABLE|TABLES|DESCRIBE|SHOW|LIKE)\b/;
const OWN_ERROR = /Unknown prepared statement handler|has no open cursor/;
const ERROR = /^\d+ \xff/;
/** FOUND_ROWS() and ids behind these are in the table. */
const HIDES_ID = /LOAD|CALL|insert_id =|ON DUPLICATE|RETURNING/;
const ASKS_ID = /last_insert_id|@@identity|id IS NULL/i;

/** A text of several in a READ ONLY transaction on a replica, that ends it further on and then writes. */
const ENDED_INSIDE = /Cannot execute statement in a READ ONLY transaction/;

/** The proxy has said that it does not do this: there is nothing more to compare. */
export function isRefused(step: Step, lines: readonly string[], expected: readonly string[]): boolean {
  // MySQL lets READ ONLY go on to hold behind a BEGIN that ends such a transaction.
  if ((step.kind !== 'query' || /^(BEGIN|START)/.test(step.sql)) && isReadOnly(expected)) return true;
  const isSeveral = step.kind === 'query' && step.sql.includes('; ');
  return lines.some((line) => REFUSED.test(line) || (isSeveral && ENDED_INSIDE.test(line)));
}

/** By the status of an OK without counts; the autocommit flag may be there. */
function isReadOnly([first]: readonly string[]): boolean {
  return (
    first !== undefined &&
    ['\x01', '\x03', '\x09', '\x0b'].some((status) => first.includes(`\0\0\0${status} `))
  );
}

/** What is asked about the last statement is lost, and the proxy has said so. */
export function isGone(lines: readonly string[]): boolean {
  return lines.some((line) => GONE.test(line));
}

export class Limits {
  #idIsUnknown = false;
  #foundIsUnknown = false;
  /** The proxy has answered by itself: no server knows of a last statement. */
  #isOwn = false;
  /** It used no table and had nothing to say: the messages are of what was before it. */
  #keepsMessages = false;
  /** Of prepared statements. */
  readonly #texts = new Map<string, string>();

  /** Before the step is judged. `expected`: the server's own reply. */
  sees(step: Step, expected: readonly string[]): void {
    if (step.kind === 'prepare') this.#texts.set(step.name, step.sql);
    const text = this.#textOf(step);
    if (text === null) return;
    if (expected.some((line) => ERROR.test(line))) this.#idIsUnknown = true;
    else if ((step.kind === 'query' || expected.length === 1) && expected.some(madeId))
      this.#idIsUnknown = false;
    if (HIDES_ID.test(text)) this.#idIsUnknown = true;
  }

  /** A question of this kind would have changed what the next one finds. */
  isGone(): void {
    this.#isOwn = true;
  }

  excuses(step: Step): boolean {
    const text = this.#textOf(step);
    if (text === null) return false;
    if (this.#keepsMessages && /WARNING|ERRORS|error_count/i.test(text)) return true;
    if (this.#isOwn && /ROW_COUNT|FOUND_ROWS|WARNING|ERRORS|error_count/i.test(text)) return true;
    return (this.#idIsUnknown && ASKS_ID.test(text)) || (this.#foundIsUnknown && /FOUND_ROWS/.test(text));
  }

  /** Behind it: FOUND_ROWS() is of the last statement only where that had rows. */
  judged(step: Step, expected: readonly string[]): void {
    this.#isOwn =
      step.kind === 'ping' || step.kind === 'reset' || expected.some((line) => OWN_ERROR.test(line));
    const text = this.#textOf(step);
    if (text === null) return;
    // A replica's own reason is in its messages.
    const isReadOnlyError = expected.some((line) => ENDED_INSIDE.test(line));
    const isSilent = !expected.some(
      (line) => ERROR.test(line) || /^\d+ \xfe(\0\0..[^\0]\0|[^\0]\0..)$/s.test(line),
    );
    if (!ASKS_MESSAGES.test(text))
      this.#keepsMessages = (isSilent && !USES_TABLE.test(text)) || isReadOnlyError;
    if (/FOUND_ROWS|ROW_COUNT/.test(text)) this.#keepsMessages = true;
    const isRead = /^\W*(SELECT|TABLE|VALUES)/.test(text) && !text.includes('; ');
    if (/FOUND_ROWS/.test(text)) this.#isOwn = true;
    this.#foundIsUnknown = !isRead || expected.some((line) => ERROR.test(line));
  }

  #textOf(step: Step): string | null {
    if (step.kind === 'query') return step.sql;
    return step.kind === 'execute' ? (this.#texts.get(step.name) ?? '') : null;
  }
}

/** An OK with an id that an INSERT made. */
function madeId(line: string): boolean {
  const at = line.indexOf(' ') + 1;
  return line.charCodeAt(at) === 0 && line.length > at + 6 && line.charCodeAt(at + 2) !== 0;
}
