// What a byte or a word means by what stands around it: small questions of the lexer to the text and to the shape so far.
// It keeps nothing.

import type { MysqlLexSettings } from '../statement.js';
import { byteClass } from './characters.js';

/** Dollar-quoted bodies came with programs in other languages; before, such a text was a name. */
export function dollarQuotes(settings: MysqlLexSettings): boolean {
  return settings.flavour === 'mysql' && settings.versionNumber >= 80_100;
}

/** Where the last word of a shape begins. */
export function lastWord(out: Uint8Array, o: number): number {
  let i = o;
  while (i > 0 && out[i - 1] !== 0x20 && out[i - 1] !== 0x28 && out[i - 1] !== 0x2e && out[i - 1] !== 0x40)
    i--;
  return i;
}

const hintVerbs = ['select', 'insert', 'replace', 'update', 'delete'];

/** Hints are read behind these words only; elsewhere the comment is a comment. */
export function takesHints(sql: Buffer, start: number, end: number): boolean {
  return end - start <= 7 && hintVerbs.includes(sql.toString('latin1', start, end).toLowerCase());
}

const valueWords = ['null', 'true', 'false', 'default'].map((word) => Buffer.from(word));

/** A word that stands for a value: an item of a list as literals are. */
export function isValueWord(out: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length < 4 || length > 7) return false;
  for (const word of valueWords) {
    if (word.length !== length) continue;
    let i = 0;
    while (i < length && out[start + i] === word[i]) i++;
    if (i === length) return true;
  }
  return false;
}

/** Whether a comma or the closing bracket comes next, so that a word before it is a whole item of a list. */
export function endsItem(sql: Buffer, at: number, classes: Uint8Array): boolean {
  let i = at;
  while (i < sql.length && classes[sql[i]!] === byteClass.space) i++;
  const cls = classes[sql[i] ?? 0];
  return cls === byteClass.comma || cls === byteClass.close;
}

/** Whether a string, x'..', b'..', 0x.. or 0b.. comes next. */
export function beginsLiteral(sql: Buffer, at: number, classes: Uint8Array): boolean {
  let i = at;
  while (i < sql.length && classes[sql[i]!] === byteClass.space) i++;
  const b = sql[i];
  const next = sql[i + 1];
  if (b === 0x27 || b === 0x22) return true;
  if (b === 0x30) return next === 0x78 || next === 0x62;
  return next === 0x27 && b !== undefined && ((b | 0x20) === 0x78 || (b | 0x20) === 0x62);
}

/**
 * Writes an optimizer hint (from its slash to the byte behind it) to the shape, since it changes what the server does: white
 * space folded, numbers and strings taken out. The length afterwards; above `max` when there was no room.
 */
export function writeHint(
  sql: Buffer,
  from: number,
  to: number,
  out: Uint8Array,
  length: number,
  max: number,
): number {
  let o = length;
  let space = true;
  let i = from;
  while (i < to && o < max) {
    const b = sql[i]!;
    if (b === 0x20 || (b >= 0x09 && b <= 0x0d)) {
      space = true;
      i++;
      continue;
    }
    if (space) out[o++] = 0x20;
    space = false;
    if (b === 0x27 || b === 0x22 || isDigit(b)) {
      out[o++] = 0x3f;
      i = isDigit(b) ? behindWord(sql, i, to) : behindQuote(sql, i, to);
      continue;
    }
    const stop = b === 0x60 ? behindQuote(sql, i, to) : Math.max(i + 1, behindWord(sql, i, to));
    while (i < stop && o < max) out[o++] = sql[i++]!;
  }
  return o < max ? o : max + 1;
}

const isDigit = (b: number) => b >= 0x30 && b <= 0x39;

/** Letters, digits, underscores, dollar signs, points between digits, and all that is not ASCII. */
function behindWord(sql: Buffer, from: number, to: number): number {
  let i = from;
  while (i < to) {
    const b = sql[i]!;
    const lower = b | 0x20;
    const isPoint = b === 0x2e && i > from && isDigit(sql[i - 1]!);
    if (!isDigit(b) && !(lower >= 0x61 && lower <= 0x7a) && b !== 0x5f && b !== 0x24 && b < 0x80 && !isPoint)
      break;
    i++;
  }
  return i;
}

function behindQuote(sql: Buffer, from: number, to: number): number {
  let i = from + 1;
  while (i < to && sql[i] !== sql[from]) i++;
  return Math.min(to, i + 1);
}
