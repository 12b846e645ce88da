// Where a literal, a quoted name, a number or a comment ends; the rules of the servers' lexers (sql_lex.cc).
// It knows bytes only: no tokens, no shape.

import type { MysqlLexSettings } from '../statement.js';
import type { CharacterTables } from './characters.js';

type Multibyte = CharacterTables['multibyte'];

/** `i` is behind the opening quote. Position behind the closing one, or -1 when it is unclosed. */
export function endOfString(
  sql: Buffer,
  i: number,
  quote: number,
  escapes: boolean,
  multibyte: Multibyte,
): number {
  const end = sql.length;
  let at = i;
  while (at < end) {
    const b = sql[at]!;
    if (b === quote) {
      if (sql[at + 1] !== quote) return at + 1;
      at += 2;
    } else if (b === 0x5c && escapes) {
      // One byte, even where it begins a character: the servers skip no more.
      at += 2;
    } else if (b >= 0x80 && multibyte !== null) {
      at += multibyte(sql, at) || 1;
    } else at++;
  }
  return -1;
}

/**
 * As `endOfString`; no escapes here but the doubled quote. A zero byte is an error, and so is half a character:
 * older servers skip its missing bytes blindly, newer ones do not.
 */
export function endOfQuotedName(sql: Buffer, i: number, quote: number, names: Multibyte): number {
  const end = sql.length;
  let at = i;
  while (at < end) {
    const b = sql[at]!;
    if (b === quote) {
      if (sql[at + 1] !== quote) return at + 1;
      at += 2;
    } else if (b === 0) {
      return -1;
    } else if (b >= 0x80) {
      const length = names === null ? 1 : names(sql, at);
      if (length === 0) return -1;
      at += length;
    } else at++;
  }
  return -1;
}

/** x'..' and b'..': `i` is behind the quote; -1 when anything but digits stands inside. */
export function endOfBinaryLiteral(sql: Buffer, i: number): number {
  let at = i;
  while (isHexDigit(sql[at])) at++;
  return sql[at] === 0x27 ? at + 1 : -1;
}

const isDigit = (b: number | undefined) => b !== undefined && b >= 0x30 && b <= 0x39;
const isHexDigit = (b: number | undefined) =>
  isDigit(b) || (b !== undefined && (b | 0x20) >= 0x61 && (b | 0x20) <= 0x66);

/**
 * Position behind the number that begins at `i`; negative: it is a name, whose bytes up to the absolute value have been
 * seen (1abc, 0xzz); 0: an error in every server (1.5e).
 */
export function endOfNumber(sql: Buffer, i: number, word: Uint8Array): number {
  const inWord = (at: number) => at < sql.length && word[sql[at]!] !== 0;
  let at = i;
  if (sql[at] === 0x30 && (sql[at + 1] === 0x78 || sql[at + 1] === 0x62)) {
    const hex = sql[at + 1] === 0x78;
    at += 2;
    while (hex ? isHexDigit(sql[at]) : sql[at] === 0x30 || sql[at] === 0x31) at++;
    return at - i >= 3 && !inWord(at) ? at : -at;
  }
  while (isDigit(sql[at])) at++;
  if (sql[at] !== 0x2e) {
    if (!inWord(at)) return at;
    if ((sql[at]! | 0x20) === 0x65) {
      let exponent = at + 1;
      if (sql[exponent] === 0x2b || sql[exponent] === 0x2d) exponent++;
      if (isDigit(sql[exponent])) {
        while (isDigit(sql[exponent])) exponent++;
        return exponent;
      }
    }
    return -at;
  }
  at++;
  while (isDigit(sql[at])) at++;
  if (sql[at] === 0x65 || sql[at] === 0x45) {
    at++;
    if (sql[at] === 0x2b || sql[at] === 0x2d) at++;
    if (!isDigit(sql[at])) return 0;
    while (isDigit(sql[at])) at++;
  }
  return at;
}

/** $tag$ ... $tag$ at `i`: position behind it; 0: no such quote begins here; -1: it is unclosed. */
export function endOfDollarQuoted(sql: Buffer, i: number, word: Uint8Array): number {
  let at = i + 1;
  while (at < sql.length && sql[at] !== 0x24 && word[sql[at]!] !== 0) at++;
  if (sql[at] !== 0x24) return 0;
  const tag = sql.subarray(i, at + 1);
  const close = sql.indexOf(tag, at + 1);
  return close < 0 ? -1 : close + tag.length;
}

/** A comment from `i` (its slash): position behind it, or -1. `nested`: comments inside it count, one level deep. */
export function endOfComment(sql: Buffer, i: number, nested: boolean): number {
  let at = i + 2;
  for (;;) {
    const close = sql.indexOf('*/', at, 'latin1');
    if (close < 0) return -1;
    if (!nested) return close + 2;
    const open = sql.indexOf('/*', at, 'latin1');
    if (open < 0 || open > close) return close + 2;
    const inner = sql.indexOf('*/', open + 2, 'latin1');
    if (inner < 0) return -1;
    at = inner + 2;
  }
}

/**
 * For a comment at `i`: position of the code inside when the server runs it; 0: an ordinary comment; -1: a versioned
 * one that this server skips.
 */
export function executableComment(sql: Buffer, i: number, settings: MysqlLexSettings): number {
  let at = i + 2;
  const own = settings.flavour === 'mariadb' && sql[at] === 0x4d && sql[at + 1] === 0x21;
  if (own) at++;
  else if (sql[at] !== 0x21) return 0;
  at++;
  let digits = 0;
  while (digits < 7 && isDigit(sql[at + digits])) digits++;
  if (digits < 5) return at;
  let length = 5;
  if (digits > 5) {
    // MariaDB takes a sixth digit as it comes; MySQL 8.0.34 and later only when white space follows it.
    const behind = sql[at + 6];
    const space = behind === 0x20 || (behind !== undefined && behind >= 0x09 && behind <= 0x0d);
    if (settings.flavour === 'mariadb' || space) length = 6;
  }
  const version = Number(sql.toString('latin1', at, at + length));
  if (version > settings.versionNumber) return -1;
  // MariaDB ignores what is meant for MySQL 5.7 and later, unless it is written as its own.
  if (settings.flavour === 'mariadb' && !own && version >= 50_700 && version <= 99_999) return -1;
  return at + length;
}

/** A quote that is open at the end of an optimizer hint would hide the end of the comment from one of two readers. */
export function hintQuotesBalance(sql: Buffer, from: number, to: number): boolean {
  let open = 0;
  for (let i = from; i < to; i++) {
    const b = sql[i];
    if (open !== 0) {
      if (b === open) open = 0;
    } else if (b === 0x60 || b === 0x22 || b === 0x27) open = b;
  }
  return open === 0;
}
