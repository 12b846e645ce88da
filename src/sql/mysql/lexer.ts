// Reads a MySQL or MariaDB text once, byte by byte: tokens, shape and leading hint of the last text scanned.
// It decodes nothing, knows no keyword's meaning and finds no statement boundaries inside program bodies.

import { looksLikeHint } from '../hint.js';
import type { MysqlLexSettings } from '../statement.js';
import { ValueRows } from '../value-rows.js';
import { byteClass, characterSets, charactersOf } from './characters.js';
import {
  beginsLiteral,
  dollarQuotes,
  endsItem,
  isValueWord,
  lastWord,
  takesHints,
  writeHint,
} from './lookahead.js';
import { spacing, spacingBySlot, wordSlot } from './spacing.js';
import {
  endOfBinaryLiteral,
  endOfComment,
  endOfDollarQuoted,
  endOfNumber,
  endOfQuotedName,
  endOfString,
  executableComment,
  hintQuotesBalance,
} from './spans.js';

export const tokenKind = {
  word: 1,
  /** A name in backticks, or in double quotes under ANSI_QUOTES. */
  quoted: 2,
  string: 3,
  number: 4,
  parameter: 5,
  /** The at sign and its name in one token; also the host part of an account. */
  userVariable: 6,
  /** The two at signs only. */
  systemVariable: 7,
  operator: 8,
  comparison: 9,
  open: 10,
  close: 11,
  comma: 12,
  dot: 13,
  semicolon: 14,
} as const;

/** A longer shape is not cached; its text is classified each time. */
const maxShapeBytes = 8192;
/** Room for what one token may write beyond the bound before it is checked. */
const slackBytes = 64;
/** After lists of literals are collapsed; a text of more tokens is classified by its beginning. */
export const maxTokens = 32_768;

/** What a list of literals looks like so far: lists are collapsed while they are read. */
const list = { none: 0, opened: 1, literal: 2, comma: 3, closed: 4, commaAfter: 5 } as const;

export class MysqlLexer {
  /** The shape's bytes, `shapeLength` of them. */
  readonly shape = new Uint8Array(maxShapeBytes + slackBytes);
  shapeLength = 0;
  /** The shape is longer than what is kept of it. */
  shapeCut = false;

  kinds = new Uint8Array(256);
  starts = new Int32Array(256);
  ends = new Int32Array(256);
  count = 0;
  /** Tokens beyond the bound were read but not kept. */
  tokensCut = false;

  /** Inside of the first leading comment with a hint's marker; -1: none. */
  hintStart = -1;
  hintEnd = -1;
  /** Something no server would accept, or that servers read differently: unclosed quotes, stray bytes. */
  malformed = false;

  readonly #rows = new ValueRows();
  /** By depth of brackets: the token that the last one is. */
  readonly #openTokens = new Int32Array(64);

  scan(sql: Buffer, settings: MysqlLexSettings): void {
    const characters = charactersOf(settings.characterSet);
    const classes = characters.start;
    const wordBytes = characters.word;
    const multibyte = characters.multibyte;
    const names = characters.names;
    const escapes = !settings.noBackslashEscapes;
    const ansi = settings.ansiQuotes;
    const out = this.shape;
    const end = sql.length;
    const hard = maxShapeBytes + slackBytes;
    const k = tokenKind;
    const rows = this.#rows;
    const openTokens = this.#openTokens;
    let depth = 0;
    let kinds = this.kinds;
    let starts = this.starts;
    let ends = this.ends;
    let capacity = kinds.length;

    let i = 0;
    let o = 0;
    let t = 0;
    let prev = 0;
    let state: number = list.none;
    let commaOut = 0;
    let commaToken = 0;
    let rowOut = 0;
    let rowToken = 0;
    let row = false;
    let semicolon = -1;
    let inExecutable = false;
    let malformed = !characters.supported;
    let shapeCut = false;
    let tokensCut = false;
    this.hintStart = -1;
    this.hintEnd = -1;

    while (i < end) {
      const c = sql[i]!;
      let cls = classes[c]!;
      if (cls === byteClass.space) {
        i++;
        continue;
      }
      const from = i;
      let kind = 0;

      // Comments, and what looks like the beginning of one.
      if (cls === byteClass.slash) {
        if (sql[i + 1] === 0x2a) {
          const executable = executableComment(sql, i, settings);
          if (executable > 0) {
            inExecutable = true;
            i = executable;
            continue;
          }
          const close = endOfComment(sql, i, executable < 0);
          if (close < 0) {
            malformed = true;
            i = end;
            continue;
          }
          if (t === 0 && semicolon < 0 && this.hintStart < 0 && looksLikeHint(sql, i + 2, close - 2)) {
            this.hintStart = i + 2;
            this.hintEnd = close - 2;
          }
          if (sql[i + 2] === 0x2b && prev === k.word && takesHints(sql, starts[t - 1]!, ends[t - 1]!)) {
            if (!hintQuotesBalance(sql, i + 3, close - 2)) malformed = true;
            o = writeHint(sql, i, close, out, o, maxShapeBytes);
            if (o > maxShapeBytes) {
              o = maxShapeBytes;
              shapeCut = true;
            }
          }
          i = close;
          continue;
        }
      } else if (cls === byteClass.minus) {
        // "--" needs white space or a control character behind it; the end of the text counts as one.
        if (sql[i + 1] === 0x2d) {
          const behind = sql[i + 2];
          if (
            behind === undefined ||
            behind < 0x20 ||
            behind === 0x7f ||
            classes[behind] === byteClass.space
          ) {
            cls = byteClass.hash;
          }
        }
      } else if (cls === byteClass.star && inExecutable && sql[i + 1] === 0x2f) {
        inExecutable = false;
        i += 2;
        continue;
      }
      if (cls === byteClass.hash) {
        const line = sql.indexOf(0x0a, i);
        const close = line < 0 ? end : line;
        // The servers end such a comment at a zero byte, and then fail on it.
        if (sql.subarray(i, close).includes(0)) malformed = true;
        i = close;
        continue;
      }
      if (cls === byteClass.semicolon) {
        if (t > 0) semicolon = i;
        i++;
        continue;
      }

      if (semicolon >= 0) {
        // Written only now: a trailing semicolon, or two of them, leave no trace.
        out[o++] = 0x3b;
        prev = k.semicolon;
        state = list.none;
        depth = 0;
        if (t === capacity && capacity < maxTokens) {
          capacity = this.#grow();
          kinds = this.kinds;
          starts = this.starts;
          ends = this.ends;
        }
        if (t < capacity) {
          kinds[t] = k.semicolon;
          starts[t] = semicolon;
          ends[t] = semicolon + 1;
          t++;
        } else tokensCut = true;
        semicolon = -1;
      }

      // A sign in a list or behind a comparison belongs to the number: -1 and 1 have one shape.
      if (
        (cls === byteClass.minus || cls === byteClass.plus) &&
        (prev === k.comparison || state === list.opened || state === list.comma)
      ) {
        const behind = classes[sql[i + 1] ?? 0]!;
        if (
          behind === byteClass.digit ||
          (behind === byteClass.dot && classes[sql[i + 2] ?? 0] === byteClass.digit)
        ) {
          i++;
          cls = behind;
        }
      }

      let wordFrom = i;
      switch (cls) {
        case byteClass.digit: {
          const stop = endOfNumber(sql, i, wordBytes);
          if (stop > 0) {
            kind = k.number;
            i = stop;
          } else if (stop === 0) {
            malformed = true;
            kind = k.number;
            i = end;
          } else {
            // 1abc is a name.
            cls = byteClass.word;
            wordFrom = -stop;
          }
          break;
        }
        case byteClass.dot:
          if (
            classes[sql[i + 1] ?? 0] === byteClass.digit &&
            !(prev === k.word && t > 0 && ends[t - 1] === i)
          ) {
            const stop = endOfNumber(sql, i, wordBytes);
            kind = k.number;
            i = stop > 0 ? stop : end;
            if (stop <= 0) malformed = true;
          } else {
            kind = k.dot;
            i++;
          }
          break;
        case byteClass.word:
          // x'..', b'..' and n'..'
          if (sql[i + 1] === 0x27) {
            const letter = c | 0x20;
            if (letter === 0x78 || letter === 0x62) {
              kind = k.number;
              i = endOfBinaryLiteral(sql, i + 2);
            } else if (letter === 0x6e) {
              kind = k.string;
              i = endOfString(sql, i + 2, 0x27, escapes, multibyte);
            }
            if (i < 0) {
              malformed = true;
              i = end;
            }
          }
          break;
        case byteClass.dollar: {
          const close = dollarQuotes(settings) ? endOfDollarQuoted(sql, i, wordBytes) : 0;
          if (close > 0) {
            kind = k.string;
            i = close;
          } else if (close < 0) {
            malformed = true;
            i = end;
            kind = k.string;
          } else cls = byteClass.word;
          break;
        }
        case byteClass.lead:
          cls = byteClass.word;
          break;
        case byteClass.doubleQuote:
        case byteClass.quote:
        case byteClass.backtick: {
          const name = cls === byteClass.backtick || (ansi && cls === byteClass.doubleQuote);
          kind = name ? k.quoted : k.string;
          i = name ? endOfQuotedName(sql, i + 1, c, names) : endOfString(sql, i + 1, c, escapes, multibyte);
          if (i < 0) {
            malformed = true;
            i = end;
          }
          break;
        }
        case byteClass.at: {
          const next = sql[i + 1];
          if (next === 0x40) {
            kind = k.systemVariable;
            i += 2;
            break;
          }
          kind = k.userVariable;
          i++;
          if (next === 0x60 || (ansi && next === 0x22)) i = endOfQuotedName(sql, i + 1, next, names);
          else if (next === 0x27 || next === 0x22) i = endOfString(sql, i + 1, next, escapes, multibyte);
          else while (i < end && (wordBytes[sql[i]!] !== 0 || sql[i] === 0x2e)) i++;
          if (i < 0) {
            malformed = true;
            i = end;
          }
          break;
        }
        case byteClass.parameter:
          kind = k.parameter;
          i++;
          break;
        case byteClass.open:
          kind = k.open;
          i++;
          break;
        case byteClass.close:
          kind = k.close;
          i++;
          break;
        case byteClass.comma:
          kind = k.comma;
          i++;
          break;
        case byteClass.comparison:
          kind = k.comparison;
          i++;
          if (classes[sql[i] ?? 0] === byteClass.comparison) {
            i++;
            if (c === 0x3c && classes[sql[i] ?? 0] === byteClass.comparison) i++;
          }
          break;
        case byteClass.colon:
          kind = k.operator;
          i += sql[i + 1] === 0x3d ? 2 : 1;
          break;
        case byteClass.bar:
          kind = k.operator;
          i += sql[i + 1] === c ? 2 : 1;
          break;
        case byteClass.minus:
          kind = k.operator;
          i++;
          if (sql[i] === 0x3e) {
            i++;
            if (sql[i] === 0x3e) i++;
          }
          break;
        case byteClass.backslash:
          // \N is NULL in MariaDB and in older MySQL.
          kind = k.number;
          if (sql[i + 1] !== 0x4e) malformed = true;
          i = Math.min(end, i + 2);
          break;
        case byteClass.invalid:
          malformed = true;
          kind = k.operator;
          i++;
          break;
        default:
          kind = k.operator;
          i++;
      }

      const beforeOut = o;
      if (kind === 0) {
        // A word: written in lower case as it is read.
        kind = k.word;
        if (prev !== 0 && prev !== k.open && prev !== k.dot && prev !== k.systemVariable) out[o++] = 0x20;
        const wordOut = o;
        for (; i < wordFrom; i++) if (o < hard) out[o++] = wordBytes[sql[i]!]!;
        for (;;) {
          for (; i < end; i++) {
            const b = wordBytes[sql[i]!]!;
            if (b === 0) break;
            if (o < hard) out[o++] = b;
          }
          if (multibyte === null || i >= end || classes[sql[i]!] !== byteClass.lead) break;
          let length = multibyte(sql, i);
          if (length === 0) {
            malformed = true;
            length = 1;
          }
          for (; length > 0; length--, i++) if (o < hard) out[o++] = sql[i]!;
        }
        if (state === list.opened || state === list.comma || (prev === k.comma && rows.isList(depth))) {
          if (isValueWord(out, wordOut, o) && endsItem(sql, i, classes)) kind = k.number;
        }
        if (out[wordOut] === 0x5f && kind === k.word && beginsLiteral(sql, i, classes)) {
          // _utf8mb4'...' is one literal; it is written when its string comes.
          if (
            characterSets.has(
              Buffer.from(out.buffer, wordOut, o - wordOut)
                .toString('latin1')
                .slice(1),
            )
          ) {
            o = beforeOut;
            continue;
          }
        }
        if (kind === k.number) o = beforeOut;
      }

      switch (kind) {
        case k.word:
          state = list.none;
          break;
        case k.string:
        case k.number:
        case k.parameter:
          if (state === list.comma) {
            o = commaOut;
            t = commaToken;
            state = list.literal;
            prev = kind;
            continue;
          }
          state = state === list.opened ? list.literal : list.none;
          if (prev !== 0 && prev !== k.open && prev !== k.dot) out[o++] = 0x20;
          out[o++] = 0x3f;
          break;
        case k.comma:
          if (state === list.literal) {
            commaOut = o;
            commaToken = t;
            state = list.comma;
          } else if (state === list.closed) {
            rowOut = o;
            rowToken = t;
            state = list.commaAfter;
          } else state = list.none;
          out[o++] = 0x2c;
          break;
        case k.open:
          row = state === list.commaAfter;
          state = list.opened;
          if (prev === k.word) {
            const rule = spacingBySlot[wordSlot(out, lastWord(out, o), o)];
            if (rule === spacing.always || (rule === spacing.asWritten && ends[t - 1] !== from))
              out[o++] = 0x20;
          } else if (prev !== 0 && prev !== k.open && prev !== k.quoted) out[o++] = 0x20;
          depth++;
          rows.open(out, o, depth, true);
          openTokens[depth] = t;
          out[o++] = 0x28;
          break;
        case k.close:
          if (state === list.literal && row) {
            o = rowOut;
            t = rowToken;
            row = false;
            state = list.closed;
            prev = kind;
            rows.merged(depth);
            depth--;
            continue;
          }
          if (rows.isList(depth) && !shapeCut && !tokensCut) {
            const cut = rows.close(out, o, depth);
            if (cut >= 0) {
              // The bracket of the row before stays.
              o = cut + 1;
              t = openTokens[depth]! - 1;
              depth--;
              state = list.none;
              prev = kind;
              continue;
            }
          }
          depth--;
          state = state === list.literal ? list.closed : list.none;
          out[o++] = 0x29;
          break;
        case k.dot:
          state = list.none;
          out[o++] = 0x2e;
          break;
        case k.quoted:
        case k.userVariable: {
          state = list.none;
          if (prev !== 0 && prev !== k.open && prev !== k.dot && prev !== k.systemVariable) out[o++] = 0x20;
          let at = from;
          let stop = i;
          if (kind === k.userVariable) {
            out[o++] = 0x40;
            at++;
          }
          const quote = sql[at];
          const quoted = quote === 0x60 || quote === 0x22 || quote === 0x27;
          if (quoted) {
            at++;
            if (stop > at) stop--;
            out[o++] = quote;
          }
          for (; at < stop && o < hard - 1; at++) {
            const b = sql[at]!;
            out[o++] = quoted ? b : wordBytes[b] || b;
          }
          if (quoted) out[o++] = quote;
          break;
        }
        default:
          state = list.none;
          if (prev !== 0 && prev !== k.open) out[o++] = 0x20;
          for (let at = from; at < i && at < from + 3; at++) out[o++] = sql[at]!;
      }

      if (t === capacity && capacity < maxTokens) {
        capacity = this.#grow();
        kinds = this.kinds;
        starts = this.starts;
        ends = this.ends;
      }
      if (t < capacity) {
        kinds[t] = kind;
        starts[t] = from;
        ends[t] = i;
        t++;
      } else tokensCut = true;
      prev = kind;
      if (o > maxShapeBytes) {
        o = maxShapeBytes;
        shapeCut = true;
      }
    }

    this.shapeLength = o;
    this.shapeCut = shapeCut;
    this.count = t;
    this.tokensCut = tokensCut;
    this.malformed = malformed || inExecutable;
  }

  #grow(): number {
    const capacity = Math.min(maxTokens, this.kinds.length * 4);
    const kinds = new Uint8Array(capacity);
    kinds.set(this.kinds);
    this.kinds = kinds;
    const starts = new Int32Array(capacity);
    starts.set(this.starts);
    this.starts = starts;
    const ends = new Int32Array(capacity);
    ends.set(this.ends);
    this.ends = ends;
    return capacity;
  }
}
