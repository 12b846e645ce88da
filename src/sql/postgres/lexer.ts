// Reads a PostgreSQL statement once, byte by byte, and gives its shape, its leading hint comment and its statement boundaries.
// It decides nothing and keeps no statement: its results stand in reused buffers until the next call.

import { looksLikeHint } from '../hint.js';
import type { PostgresLexSettings } from '../statement.js';
import { ValueRows } from '../value-rows.js';
import {
  blockCommentEnd,
  dollarQuoteEnd,
  lineCommentEnd,
  notDollarQuoted,
  numberEnd,
  quotedIdentifierEnd,
  stringEnd,
  stringMode,
  unterminated,
} from './literals.js';

/**
 * In a shape a literal is one of these bytes, by its kind, so that shapes of different grammar never share a cache entry
 * and a shape can be turned back into text that the parser reads. None of them can stand in a valid statement.
 */
export const placeholder = { string: 1, number: 2, bits: 3, parameter: 4 } as const;

/** A shape longer than this is not kept: its statement is classified by its first words alone. */
export const maxShapeBytes = 32 * 1024;
/** When a shape is longer, this much of its beginning is kept. */
export const keptPrefixBytes = 4096;
/** Numbers whose places are told. */
export const maxNumbers = 16;
/** A text of more statements counts as overlong. */
export const maxStatements = 1024;

// Classes of bytes at the beginning of a token.
const space = 1;
const word = 2;
const digit = 3;
const operator = 4;
const singleQuote = 5;
const doubleQuote = 6;
const dollar = 7;
const open = 8;
const close = 9;
const comma = 10;
const point = 11;
const colon = 12;
const semicolon = 13;

/** 0: a byte that begins no token. */
const classOf = new Uint8Array(256);
/** Lower case of a byte that may continue an identifier, 0 for any other. */
const fold = new Uint8Array(256);

for (let byte = 0; byte < 256; byte++) {
  const letter =
    (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || byte === 0x5f || byte >= 0x80;
  const number = byte >= 0x30 && byte <= 0x39;
  if (letter) classOf[byte] = word;
  if (number) classOf[byte] = digit;
  if (letter || number || byte === 0x24) fold[byte] = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}
for (const byte of [0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]) classOf[byte] = space;
for (const character of '~!@#^&|`?+-*/%<>=') classOf[character.charCodeAt(0)] = operator;
for (const [character, kind] of [
  ["'", singleQuote],
  ['"', doubleQuote],
  ['$', dollar],
  ['(', open],
  ['[', open],
  [')', close],
  [']', close],
  [',', comma],
  ['.', point],
  [':', colon],
  [';', semicolon],
] as const) {
  classOf[character.charCodeAt(0)] = kind;
}

/** An operator of several characters may end in + or - only when it has one of these in it (scan.l). */
const special = new Uint8Array(256);
for (const character of '~!@#^&|`?%') special[character.charCodeAt(0)] = 1;

// What the shape ends with; it decides whether a space comes before the next token.
const afterNothing = 0;
const afterWord = 1;
const afterOpen = 2;
const afterPoint = 3;
const afterClose = 4;
const afterComma = 5;
const afterOperator = 6;
const afterCast = 7;

/** Words that the lexer itself must know; the rest is the classifier's. */
const words = {
  atomic: Buffer.from('atomic'),
  begin: Buffer.from('begin'),
  case: Buffer.from('case'),
  create: Buffer.from('create'),
  end: Buffer.from('end'),
  function: Buffer.from('function'),
  procedure: Buffer.from('procedure'),
  uescape: Buffer.from('uescape'),
} as const;

/** Whether the shape has these bytes from `start` to its end `length`. */
function endsAs(shape: Uint8Array, start: number, length: number, text: Uint8Array): boolean {
  if (length - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (shape[start + i] !== text[i]) return false;
  return true;
}

/** Whether the shape ends with "(?," or "[?,": the next literal then adds nothing. */
function inLiteralList(shape: Uint8Array, length: number): boolean {
  if (length < 3 || shape[length - 2]! > placeholder.parameter) return false;
  const opening = shape[length - 3];
  return opening === 0x28 || opening === 0x5b;
}

/** "(?), (?" before its closing bracket is "(?": the length to go on with. */
function collapsedRows(shape: Uint8Array, length: number): number {
  if (length < 7 || shape[length - 1]! > placeholder.parameter || shape[length - 2] !== 0x28) return length;
  const repeated =
    shape[length - 3] === 0x20 &&
    shape[length - 4] === 0x2c &&
    shape[length - 5] === 0x29 &&
    shape[length - 6]! <= placeholder.parameter &&
    shape[length - 7] === 0x28;
  return repeated ? length - 5 : length;
}

/** NULL, TRUE, FALSE and DEFAULT are items of a list as literals are. */
const valueWords = ['null', 'true', 'false', 'default'].map((text) => Buffer.from(text));

/** Whether the word from `wordAt` is one of these, and a whole item of the list that it stands in. */
function isValueItem(
  shape: Uint8Array,
  wordAt: number,
  length: number,
  sql: Buffer,
  behind: number,
): boolean {
  let i = behind;
  while (classOf[sql[i] ?? 0] === space) i++;
  const kind = classOf[sql[i] ?? 0];
  if (kind !== comma && kind !== close) return false;
  for (const value of valueWords) if (endsAs(shape, wordAt, length, value)) return true;
  return false;
}

const plainWords = ['select', 'insert', 'update', 'delete'].map((text) => Buffer.from(text));

/** Whether the text at `from` begins with one of the words of everyday scripts, which leave no state behind. */
function beginsPlainly(sql: Buffer, from: number): boolean {
  for (const plain of plainWords) {
    let i = 0;
    while (i < plain.length && fold[sql[from + i] ?? 0] === plain[i]) i++;
    if (i === plain.length && fold[sql[from + i] ?? 0] === 0) return true;
  }
  return false;
}

export class PostgresLexer {
  /** The shape with placeholders, `length` bytes of it. */
  readonly shape: Uint8Array = new Uint8Array(maxShapeBytes + 256);
  length = 0;
  /** Statements that are not empty. */
  statements = 0;
  /** By statement: its range in the shape, and in the text (first byte of its first token to the byte behind its last). */
  readonly shapeStarts = new Int32Array(maxStatements);
  readonly shapeEnds = new Int32Array(maxStatements);
  readonly textStarts = new Float64Array(maxStatements);
  readonly textEnds = new Float64Array(maxStatements);
  /** The inside of the first leading comment that looks like a hint; -1 when there is none. */
  hintStart = -1;
  hintEnd = -1;
  /** A literal, comment or identifier has no end, or a byte stands where no token can have it. */
  malformed = false;
  /** The shape or the number of statements is over its bound; the shape holds its first `keptPrefixBytes` only. */
  overlong = false;
  /** Behind the last statement that is listed there is one that is no plain SELECT, INSERT, UPDATE or DELETE. */
  unlisted = false;
  /** The deepest nesting of brackets. */
  depth = 0;
  /** Numbers in the text, without their signs, those included that the shape has only once for a list of them. */
  numbers = 0;
  /** Where the first `maxNumbers` of them begin and end. */
  readonly numberStarts = new Float64Array(maxNumbers);
  readonly numberEnds = new Float64Array(maxNumbers);
  hasParameters = false;
  readonly #rows = new ValueRows();

  run(sql: Buffer, settings: PostgresLexSettings): void {
    const end = sql.length;
    const shape = this.shape;
    const rows = this.#rows;
    const plain = settings.standardConformingStrings ? stringMode.standard : stringMode.escape;
    let length = 0;
    let i = 0;
    let last = afterNothing;
    let depth = 0;
    let deepest = 0;
    let statements = 0;
    let inStatement = false;
    let tokenEnd = 0;
    let shapeEnd = 0;
    this.hintStart = -1;
    this.hintEnd = -1;
    this.malformed = false;
    this.overlong = false;
    this.unlisted = false;
    this.hasParameters = false;
    let numbers = 0;

    // CREATE FUNCTION ... BEGIN ATOMIC ...; ...; END holds semicolons that end no statement.
    let wordCount = 0;
    let creating = false;
    let routine = false;
    let afterBegin = false;
    let atomicDepth = 0;
    // U&'...' UESCAPE '!' is one literal.
    let unicodeEscaped = false;
    let uescape = false;
    // A sign that stands where only an operand may follow belongs to its number: where the shape ended before it.
    let signAt = -1;
    let lastBeforeSign = afterNothing;

    while (i < end) {
      const byte = sql[i]!;
      const kind = classOf[byte]!;
      if (kind === space) {
        i++;
        continue;
      }
      if (byte === 0x2d && sql[i + 1] === 0x2d) {
        i = lineCommentEnd(sql, i + 2, end);
        continue;
      }
      if (byte === 0x2f && sql[i + 1] === 0x2a) {
        const behind = blockCommentEnd(sql, i + 2, end);
        if (behind === unterminated) {
          this.malformed = true;
          i = end;
          break;
        }
        if (statements === 0 && this.hintStart < 0 && looksLikeHint(sql, i + 2, behind - 2)) {
          this.hintStart = i + 2;
          this.hintEnd = behind - 2;
        }
        i = behind;
        continue;
      }
      if (kind === semicolon && depth <= 0 && atomicDepth === 0) {
        if (inStatement) {
          inStatement = false;
          if (statements <= maxStatements) {
            this.textEnds[statements - 1] = tokenEnd;
            this.shapeEnds[statements - 1] = shapeEnd;
          }
        }
        i++;
        continue;
      }
      if (length > maxShapeBytes) {
        this.overlong = true;
        length = keptPrefixBytes;
      }
      if (!inStatement) {
        inStatement = true;
        if (statements > 0) {
          shape[length++] = 0x3b;
          shape[length++] = 0x20;
        }
        if (statements < maxStatements) {
          this.textStarts[statements] = i;
          this.shapeStarts[statements] = length;
        } else {
          this.overlong = true;
          this.unlisted ||= !beginsPlainly(sql, i);
        }
        statements++;
        last = afterNothing;
        depth = 0;
        wordCount = 0;
        creating = false;
        routine = false;
        afterBegin = false;
        signAt = -1;
        unicodeEscaped = false;
        uescape = false;
      }
      const start = i;
      let literal = 0;
      const sign = signAt;
      signAt = -1;
      const behindUnicode = unicodeEscaped;
      unicodeEscaped = false;
      const swallow = uescape;
      uescape = false;
      switch (kind) {
        case word: {
          const next = sql[i + 1];
          if (next === 0x27) {
            const lower = byte | 0x20;
            if (lower === 0x65) {
              literal = placeholder.string;
              i = stringEnd(sql, i + 2, end, stringMode.escape);
              break;
            }
            if (lower === 0x62 || lower === 0x78) {
              literal = placeholder.bits;
              i = stringEnd(sql, i + 2, end, stringMode.bits);
              break;
            }
            if (lower === 0x6e) {
              literal = placeholder.string;
              i = stringEnd(sql, i + 2, end, plain);
              break;
            }
          } else if (next === 0x26 && (byte | 0x20) === 0x75) {
            if (sql[i + 2] === 0x27) {
              literal = placeholder.string;
              i = stringEnd(sql, i + 3, end, stringMode.standard);
              unicodeEscaped = true;
              break;
            }
            if (sql[i + 2] === 0x22) {
              i = quotedIdentifierEnd(sql, i + 3, end);
              if (i !== unterminated) {
                if (
                  last !== afterNothing &&
                  last !== afterOpen &&
                  last !== afterPoint &&
                  last !== afterCast
                ) {
                  shape[length++] = 0x20;
                }
                length = this.#copy(sql, start, i, length);
                last = afterWord;
              }
              break;
            }
          }
          if (last !== afterNothing && last !== afterOpen && last !== afterPoint && last !== afterCast) {
            shape[length++] = 0x20;
          }
          const wordAt = length;
          const inList = (last === afterOpen || last === afterComma) && rows.isList(depth);
          // Past its end a typed array ignores what is written; the next token notices.
          for (let lower = fold[byte]!; lower !== 0; lower = i < end ? fold[sql[i]!]! : 0) {
            shape[length++] = lower;
            i++;
          }
          if (inList && length - wordAt <= 7 && isValueItem(shape, wordAt, length, sql, i)) {
            length = last === afterComma ? wordAt - 1 : wordAt;
            literal = placeholder.string;
            break;
          }
          last = afterWord;
          wordCount++;
          if (behindUnicode && endsAs(shape, wordAt, length, words.uescape)) {
            // Neither the word nor the string behind it goes into the shape.
            uescape = true;
            length = wordAt - 1;
            break;
          }
          if (wordCount === 1) creating = endsAs(shape, wordAt, length, words.create);
          else if (creating) {
            if (wordCount <= 4 && !routine) {
              routine =
                endsAs(shape, wordAt, length, words.function) ||
                endsAs(shape, wordAt, length, words.procedure);
            } else if (routine) {
              if (afterBegin && atomicDepth === 0 && endsAs(shape, wordAt, length, words.atomic))
                atomicDepth = 1;
              else if (atomicDepth > 0) {
                if (endsAs(shape, wordAt, length, words.case)) atomicDepth++;
                else if (endsAs(shape, wordAt, length, words.end)) atomicDepth--;
              }
              afterBegin = endsAs(shape, wordAt, length, words.begin);
            }
          }
          break;
        }
        case digit:
          literal = placeholder.number;
          i = numberEnd(sql, i, end);
          break;
        case singleQuote:
          i = stringEnd(sql, i + 1, end, plain);
          if (!swallow) literal = placeholder.string;
          break;
        case dollar: {
          const next = sql[i + 1];
          if (next !== undefined && next >= 0x30 && next <= 0x39) {
            literal = placeholder.parameter;
            i += 2;
            while (i < end && sql[i]! >= 0x30 && sql[i]! <= 0x39) i++;
            break;
          }
          i = dollarQuoteEnd(sql, i, end);
          if (i === notDollarQuoted) {
            this.malformed = true;
            i = start + 1;
          } else literal = placeholder.string;
          break;
        }
        case operator: {
          let behind = i + 1;
          let specials = special[byte]!;
          while (behind < end && classOf[sql[behind]!] === operator) {
            const next = sql[behind]!;
            // A comment may begin right behind an operator.
            if (next === 0x2f && sql[behind + 1] === 0x2a) break;
            if (next === 0x2d && sql[behind + 1] === 0x2d) break;
            specials |= special[next]!;
            behind++;
          }
          while (behind - i > 1 && specials === 0 && (sql[behind - 1] === 0x2b || sql[behind - 1] === 0x2d))
            behind--;
          if (
            behind - i === 1 &&
            (byte === 0x2d || byte === 0x2b) &&
            (last === afterOpen || last === afterComma || last === afterOperator)
          ) {
            signAt = length;
            lastBeforeSign = last;
          }
          if (last !== afterNothing && last !== afterOpen && last !== afterPoint) shape[length++] = 0x20;
          length = this.#copy(sql, i, behind, length);
          i = behind;
          last = afterOperator;
          break;
        }
        case doubleQuote:
          i = quotedIdentifierEnd(sql, i + 1, end);
          if (i !== unterminated) {
            if (last !== afterNothing && last !== afterOpen && last !== afterPoint && last !== afterCast) {
              shape[length++] = 0x20;
            }
            length = this.#copy(sql, start, i, length);
            last = afterWord;
          }
          break;
        case open:
          depth++;
          if (depth > deepest) deepest = depth;
          if (
            last === afterOperator ||
            last === afterComma ||
            ((last === afterWord || last === afterClose) && byte === 0x28 && start > tokenEnd)
          ) {
            shape[length++] = 0x20;
          }
          rows.open(shape, length, depth, byte === 0x28);
          shape[length++] = byte;
          last = afterOpen;
          i++;
          break;
        case close:
          if (byte === 0x29) {
            const collapsed = collapsedRows(shape, length);
            if (collapsed < length) rows.merged(depth);
            const cut = collapsed < length || this.overlong ? -1 : rows.close(shape, length, depth);
            length = cut < 0 ? collapsed : cut;
          }
          depth--;
          shape[length++] = byte;
          last = afterClose;
          i++;
          break;
        case comma:
          shape[length++] = byte;
          last = afterComma;
          i++;
          break;
        case point: {
          const next = sql[i + 1];
          if (next !== undefined && next >= 0x30 && next <= 0x39 && i + 1 < end) {
            literal = placeholder.number;
            i = numberEnd(sql, i, end);
            break;
          }
          // No grammar has a point behind these, but the shape must not make another token of the two.
          if (
            next === 0x2e ||
            last === afterPoint ||
            (last === afterWord && shape[length - 1] === placeholder.number)
          ) {
            shape[length++] = 0x20;
          }
          if (next === 0x2e) {
            shape[length++] = byte;
            i++;
            last = afterOperator;
          } else last = afterPoint;
          shape[length++] = byte;
          i++;
          break;
        }
        case colon:
          if (sql[i + 1] === 0x3a) {
            if (last === afterOperator || last === afterCast) shape[length++] = 0x20;
            shape[length++] = byte;
            shape[length++] = byte;
            i += 2;
            last = afterCast;
          } else {
            if (last !== afterNothing && last !== afterOpen) shape[length++] = 0x20;
            shape[length++] = byte;
            i++;
            if (sql[i] === 0x3d) {
              shape[length++] = 0x3d;
              i++;
            }
            last = afterOperator;
          }
          break;
        case semicolon:
          // Inside brackets or a routine's body: no boundary.
          shape[length++] = byte;
          last = afterWord;
          i++;
          break;
        default:
          // A byte that begins no token: the server refuses the text.
          this.malformed = true;
          i++;
      }
      if (i === unterminated) {
        this.malformed = true;
        i = end;
      }
      if (literal !== 0) {
        if (literal === placeholder.number) {
          // Past their ends typed arrays ignore what is written.
          this.numberStarts[numbers] = start;
          this.numberEnds[numbers++] = i;
        } else if (literal === placeholder.parameter) this.hasParameters = true;
        if (sign >= 0 && literal === placeholder.number) {
          length = sign;
          last = lastBeforeSign;
        }
        if (last === afterComma && inLiteralList(shape, length)) length--;
        else {
          if (last !== afterNothing && last !== afterOpen && last !== afterCast) {
            shape[length++] = 0x20;
          }
          shape[length++] = literal;
        }
        last = afterWord;
      }
      tokenEnd = i;
      shapeEnd = length;
    }
    if (inStatement && statements <= maxStatements) {
      this.textEnds[statements - 1] = tokenEnd;
      this.shapeEnds[statements - 1] = shapeEnd;
    }
    if (length > maxShapeBytes) this.overlong = true;
    this.length = this.overlong ? Math.min(length, keptPrefixBytes) : length;
    this.statements = statements;
    this.depth = deepest;
    this.numbers = numbers;
  }

  /** Copies text as it is, as far as there is room, and returns the length that it would have had. */
  #copy(sql: Buffer, from: number, to: number, length: number): number {
    const shape = this.shape;
    const room = Math.min(to, from + shape.length - length);
    for (let i = from, at = length; i < room; i++, at++) {
      const byte = sql[i]!;
      // A control byte in an identifier could pass for a placeholder.
      if (byte < 0x09) this.malformed = true;
      shape[at] = byte;
    }
    return length + to - from;
  }
}
