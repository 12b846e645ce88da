// Finds where PostgreSQL's literals and comments end, byte by byte, as src/backend/parser/scan.l does.
// It knows no statement and keeps nothing.

/** How the inside of a quoted literal reads. */
export const stringMode = {
  /** '...' with standard_conforming_strings, U&'...': only a doubled quote is special. */
  standard: 0,
  /** E'...', and '...' without standard_conforming_strings: a backslash takes the next byte with it. */
  escape: 1,
  /** B'...' and X'...': nothing is special; a doubled quote is an end and a new beginning. */
  bits: 2,
} as const;

const quote = 0x27;
const backslash = 0x5c;

/** Returned when a literal or comment has no end. */
export const unterminated = -1;

/** The index of a byte, scanned in place for the short strings of everyday and by the native search for long ones. */
function find(sql: Buffer, byte: number, from: number, end: number): number {
  const near = Math.min(end, from + 48);
  for (let i = from; i < near; i++) if (sql[i] === byte) return i;
  if (near >= end) return unterminated;
  const found = sql.indexOf(byte, near);
  return found >= end ? unterminated : found;
}

/**
 * The index behind a literal whose opening quote stands before `from`, its continuations included: literals that are
 * separated by white space with at least one newline are one literal ("quotecontinue" in scan.l).
 */
export function stringEnd(sql: Buffer, from: number, end: number, mode: number): number {
  let i = from;
  for (;;) {
    let close: number;
    if (mode === stringMode.escape) {
      close = i;
      for (;;) {
        if (close >= end) return unterminated;
        const byte = sql[close];
        if (byte === quote) break;
        close += byte === backslash ? 2 : 1;
      }
    } else {
      close = find(sql, quote, i, end);
      if (close === unterminated) return unterminated;
    }
    if (mode !== stringMode.bits && sql[close + 1] === quote && close + 1 < end) {
      i = close + 2;
      continue;
    }
    const next = continuation(sql, close + 1, end);
    if (next === unterminated) return close + 1;
    i = next + 1;
  }
}

/** The index of the quote that continues a literal which closed just before `from`, or -1. */
function continuation(sql: Buffer, from: number, end: number): number {
  let newline = false;
  let i = from;
  while (i < end) {
    const byte = sql[i]!;
    if (byte === 0x0a || byte === 0x0d) {
      newline = true;
      i++;
    } else if (byte === 0x20 || byte === 0x09 || byte === 0x0b || byte === 0x0c) i++;
    else if (byte === 0x2d && sql[i + 1] === 0x2d) i = lineCommentEnd(sql, i + 2, end);
    else return newline && byte === quote ? i : unterminated;
  }
  return unterminated;
}

/** The index of the newline that ends a `--` comment, or `end`. */
export function lineCommentEnd(sql: Buffer, from: number, end: number): number {
  let i = from;
  while (i < end && sql[i] !== 0x0a && sql[i] !== 0x0d) i++;
  return i;
}

/** The index behind a block comment whose opening stands before `from`; block comments nest. */
export function blockCommentEnd(sql: Buffer, from: number, end: number): number {
  let depth = 1;
  let i = from;
  while (i + 1 < end) {
    const byte = sql[i];
    if (byte === 0x2a && sql[i + 1] === 0x2f) {
      i += 2;
      if (--depth === 0) return i;
    } else if (byte === 0x2f && sql[i + 1] === 0x2a) {
      depth++;
      i += 2;
    } else i++;
  }
  return unterminated;
}

/** The index behind a quoted identifier whose opening quote stands before `from`; only a doubled quote is special. */
export function quotedIdentifierEnd(sql: Buffer, from: number, end: number): number {
  let i = from;
  while (i < end) {
    if (sql[i] === 0x22) {
      if (sql[i + 1] !== 0x22 || i + 1 >= end) return i + 1;
      i++;
    }
    i++;
  }
  return unterminated;
}

function isTagStart(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || byte === 0x5f || byte >= 0x80;
}

/** A dollar sign at `from` opens no dollar quote. */
export const notDollarQuoted = -2;

/** The index behind a dollar-quoted literal that begins at `from`, `unterminated`, or `notDollarQuoted`. */
export function dollarQuoteEnd(sql: Buffer, from: number, end: number): number {
  let tag = from + 1;
  while (tag < end && sql[tag] !== 0x24) {
    const byte = sql[tag]!;
    if (!isTagStart(byte) && !(tag > from + 1 && byte >= 0x30 && byte <= 0x39)) return notDollarQuoted;
    tag++;
  }
  if (tag >= end) return notDollarQuoted;
  const delimiter = sql.subarray(from, tag + 1);
  const close = sql.indexOf(delimiter, tag + 1);
  return close < 0 || close + delimiter.length > end ? unterminated : close + delimiter.length;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function digits(sql: Buffer, from: number, end: number): number {
  let i = from;
  // Underscores between digits are PostgreSQL 16's.
  while (i < end && (isDigit(sql[i]) || (sql[i] === 0x5f && isDigit(sql[i + 1]) && i > from))) i++;
  return i;
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66);
}

/** The index behind a number that begins at `from` with a digit, or with a point and a digit. */
export function numberEnd(sql: Buffer, from: number, end: number): number {
  let i = from;
  if (sql[i] === 0x30 && i + 2 < end) {
    const base = sql[i + 1]! | 0x20;
    // 0x1F, 0o17, 0b11 are PostgreSQL 16's; before it they read as 0 with an alias, which is as harmless.
    if ((base === 0x78 || base === 0x6f || base === 0x62) && isHexDigit(sql[i + 2])) {
      i += 2;
      while (i < end && (isHexDigit(sql[i]) || sql[i] === 0x5f)) i++;
      return i;
    }
  }
  i = digits(sql, i, end);
  // "1..2" is two numbers and a range, not "1." and ".2".
  if (i < end && sql[i] === 0x2e && sql[i + 1] !== 0x2e) i = digits(sql, i + 1, end);
  if (i < end && (sql[i]! | 0x20) === 0x65) {
    const signed = sql[i + 1] === 0x2b || sql[i + 1] === 0x2d ? 1 : 0;
    if (isDigit(sql[i + 1 + signed]) && i + 1 + signed < end) i = digits(sql, i + 1 + signed, end);
  }
  return i;
}
