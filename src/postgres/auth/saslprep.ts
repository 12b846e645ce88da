// Prepares a password for SCRAM: the SASLprep profile (RFC 4013) as PostgreSQL applies it.
// It must not know what the prepared bytes are used for.

import {
  contains,
  LEFT_TO_RIGHT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACE,
  PROHIBITED,
  RIGHT_TO_LEFT,
  UNASSIGNED,
} from './stringprep-tables.js';

/**
 * The bytes that a password is hashed by. What SASLprep refuses is used as it is, because PostgreSQL and libpq do so
 * on both sides ("if the password isn't valid UTF-8, or contains characters prohibited by the SASLprep profile, the
 * raw bytes are used").
 */
export function preparePassword(password: string): Buffer {
  return Buffer.from(saslprep(password) ?? password);
}

/** Null for a string that the profile refuses. */
export function saslprep(text: string): string | null {
  // PostgreSQL does not look at ASCII, control characters included.
  if (!/[^\0-\x7f]/.test(text)) return text;

  // RFC 4013, 2.1: mapping.
  const mapped: number[] = [];
  for (const character of text) {
    const codePoint = character.codePointAt(0)!;
    if (contains(NON_ASCII_SPACE, codePoint)) mapped.push(0x20);
    else if (!contains(MAPPED_TO_NOTHING, codePoint)) mapped.push(codePoint);
  }
  if (mapped.length === 0) return null;

  // 2.3 and 2.5, on the mapped string before it is normalized: so does PostgreSQL, and both sides must agree.
  for (const codePoint of mapped) {
    if (contains(PROHIBITED, codePoint) || contains(UNASSIGNED, codePoint)) return null;
  }
  // 2.4: RFC 3454, section 6.
  if (mapped.some((codePoint) => contains(RIGHT_TO_LEFT, codePoint))) {
    if (mapped.some((codePoint) => contains(LEFT_TO_RIGHT, codePoint))) return null;
    if (!contains(RIGHT_TO_LEFT, mapped[0]!) || !contains(RIGHT_TO_LEFT, mapped.at(-1)!)) return null;
  }
  // 2.2: normalization.
  return mapped
    .map((codePoint) => String.fromCodePoint(codePoint))
    .join('')
    .normalize('NFKC');
}
