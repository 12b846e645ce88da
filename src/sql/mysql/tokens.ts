// The tokens of one text as words and operators, for classification on a cache miss; it reads them, and decides nothing.

import { type MysqlLexer, tokenKind } from './lexer.js';

/** Names end at 64 characters; a longer one is an error, and is looked up by no list. */
const maxNameBytes = 1024;
const tooLong = '...';

export class Tokens {
  readonly #sql: Buffer;
  readonly #encoding: BufferEncoding;
  readonly #kinds: Uint8Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  readonly #texts: (string | undefined)[];
  readonly count: number;
  /** There were more tokens than are kept. */
  readonly cut: boolean;
  readonly malformed: boolean;

  /** Copies what the lexer knows: it may be used again (for the body of a PREPARE) while this is read. */
  constructor(lexer: MysqlLexer, sql: Buffer, characterSet: string) {
    this.#sql = sql;
    this.#encoding = characterSet.startsWith('utf8') ? 'utf8' : 'latin1';
    this.count = lexer.count;
    this.#kinds = lexer.kinds.slice(0, lexer.count);
    this.#starts = lexer.starts.slice(0, lexer.count);
    this.#ends = lexer.ends.slice(0, lexer.count);
    this.#texts = new Array(lexer.count);
    this.cut = lexer.tokensCut;
    this.malformed = lexer.malformed;
  }

  kind(i: number): number {
    return this.#kinds[i] ?? 0;
  }

  /** Words in lower case, operators as they are, quoted names without quotes and in lower case; "" for literals. */
  text(i: number): string {
    if (i < 0 || i >= this.count) return '';
    const known = this.#texts[i];
    if (known !== undefined) return known;
    let text = '';
    const cut = this.#ends[i]! - this.#starts[i]! > maxNameBytes;
    switch (this.kind(i)) {
      case tokenKind.string:
      case tokenKind.number:
      case tokenKind.parameter:
        break;
      case tokenKind.quoted:
        text = cut ? tooLong : this.unquoted(i).toLowerCase();
        break;
      default:
        text = cut ? tooLong : this.raw(i, i + 1).toLowerCase();
    }
    this.#texts[i] = text;
    return text;
  }

  /** The word at `i` where it can be a keyword, else "": a part of a qualified name is none. */
  word(i: number): string {
    if (this.kind(i) !== tokenKind.word) return '';
    if (this.kind(i - 1) === tokenKind.dot || this.kind(i + 1) === tokenKind.dot) return '';
    return this.text(i);
  }

  is(i: number, word: string): boolean {
    return this.kind(i) === tokenKind.word && this.word(i) === word;
  }

  /** Whether the words from `i` on are these. */
  are(i: number, ...words: string[]): boolean {
    return words.every((word, offset) => this.is(i + offset, word));
  }

  /** The name at `i` in lower case (a word or a quoted name), else "". */
  name(i: number): string {
    const kind = this.kind(i);
    return kind === tokenKind.word || kind === tokenKind.quoted ? this.text(i) : '';
  }

  isName(i: number): boolean {
    const kind = this.kind(i);
    return kind === tokenKind.word || kind === tokenKind.quoted;
  }

  isLiteral(i: number): boolean {
    const kind = this.kind(i);
    return kind === tokenKind.string || kind === tokenKind.number || kind === tokenKind.parameter;
  }

  /** The text from token `from` up to, not including, token `to`, as it was written. */
  raw(from: number, to: number): string {
    if (from >= to) return '';
    return this.#sql.toString(this.#encoding, this.#starts[from], this.#ends[to - 1]);
  }

  /** Bytes from token `from` up to, not including, token `to`. */
  size(from: number, to: number): number {
    return from >= to ? 0 : this.#ends[to - 1]! - this.#starts[from]!;
  }

  start(i: number): number {
    return this.#starts[i] ?? 0;
  }

  end(i: number): number {
    return this.#ends[i] ?? 0;
  }

  /** Whether white space or a comment stands between `i` and the token before it. */
  spaceBefore(i: number): boolean {
    return i > 0 && this.end(i - 1) !== this.start(i);
  }

  /** A quoted name or string without its quotes, doubled quotes undone; `escapes`: backslashes too. */
  unquoted(i: number, escapes = false): string {
    return unquote(this.raw(i, i + 1), escapes);
  }

  /** The position behind the bracket that closes the one at `open`, or `to`. */
  afterBrackets(open: number, to: number): number {
    let depth = 0;
    for (let i = open; i < to; i++) {
      const kind = this.kind(i);
      if (kind === tokenKind.open) depth++;
      else if (kind === tokenKind.close && --depth === 0) return i + 1;
    }
    return to;
  }
}

const escaped = new Map([
  ['0', '\0'],
  ['b', '\b'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['Z', '\x1a'],
]);

export function unquote(text: string, escapes: boolean): string {
  const at = /^[a-z]?(?=['"`])/i.exec(text)?.[0].length ?? 0;
  const quote = text[at];
  if (quote !== "'" && quote !== '"' && quote !== '`') return text;
  const inside = text.slice(at + 1, text.endsWith(quote) && text.length > at + 1 ? -1 : undefined);
  if (!escapes || !inside.includes('\\')) return inside.replaceAll(quote + quote, quote);
  let out = '';
  for (let i = 0; i < inside.length; i++) {
    const c = inside[i]!;
    if (c === '\\') {
      const next = inside[++i] ?? '';
      // \% and \_ keep their backslash (manual, "String Literals").
      out += next === '%' || next === '_' ? `\\${next}` : (escaped.get(next) ?? next);
    } else if (c === quote && inside[i + 1] === quote) {
      out += quote;
      i++;
    } else out += c;
  }
  return out;
}
