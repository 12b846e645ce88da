// What a byte may be in statement text, by the client's character set; it knows no tokens and no SQL.

/** Classes of bytes at the start of a token (the lexer's `state_map`, sql_lex.cc of both servers). */
export const byteClass = {
  other: 0,
  space: 1,
  word: 2,
  digit: 3,
  quote: 4,
  doubleQuote: 5,
  backtick: 6,
  minus: 7,
  hash: 8,
  slash: 9,
  at: 10,
  semicolon: 11,
  open: 12,
  close: 13,
  comma: 14,
  dot: 15,
  star: 16,
  comparison: 17,
  colon: 18,
  bar: 19,
  plus: 20,
  dollar: 21,
  backslash: 22,
  /** First byte of a character whose later bytes may be ASCII. */
  lead: 23,
  /** Cannot stand outside quotes in a statement that is understood. */
  invalid: 24,
  parameter: 25,
} as const;

type Multibyte = ((bytes: Uint8Array, i: number) => number) | null;

export interface CharacterTables {
  readonly start: Uint8Array;
  /** 0 where a byte cannot continue an unquoted word, else the byte in lower case. */
  readonly word: Uint8Array;
  /** Length in bytes of the character at `i` when it is a well-formed one of several bytes, else 0; null: never matters. */
  readonly multibyte: Multibyte;
  /** The same inside quoted names, where older servers trust the first byte. */
  readonly names: Multibyte;
  /** Whether statements in this character set can be read at all. */
  readonly supported: boolean;
}

type High = 'word' | 'latin1' | 'invalid' | ((byte: number) => number);

function build(high: High, multibyte: Multibyte, names = multibyte, supported = true): CharacterTables {
  const c = byteClass;
  const start = new Uint8Array(256);
  const word = new Uint8Array(256);
  const put = (characters: string, value: number) => {
    for (const character of characters) start[character.charCodeAt(0)] = value;
  };
  for (let b = 0; b < 0x20; b++) start[b] = c.invalid;
  start[0x7f] = c.invalid;
  for (const b of [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20]) start[b] = c.space;
  for (let b = 0x30; b <= 0x39; b++) {
    start[b] = c.digit;
    word[b] = b;
  }
  for (let b = 0x61; b <= 0x7a; b++) {
    start[b] = start[b - 32] = c.word;
    word[b] = word[b - 32] = b;
  }
  start[0x5f] = c.word;
  word[0x5f] = 0x5f;
  start[0x24] = c.dollar;
  word[0x24] = 0x24;
  put("'", c.quote);
  put('"', c.doubleQuote);
  put('`', c.backtick);
  put('-', c.minus);
  put('#', c.hash);
  put('/', c.slash);
  put('@', c.at);
  put(';', c.semicolon);
  put('(', c.open);
  put(')', c.close);
  put(',', c.comma);
  put('.', c.dot);
  put('*', c.star);
  put('<>=!', c.comparison);
  put(':', c.colon);
  put('|&', c.bar);
  put('+', c.plus);
  put('\\', c.backslash);
  put('?', c.parameter);
  for (let b = 0x80; b <= 0xff; b++) {
    let value: number = c.word;
    if (typeof high === 'function') value = high(b);
    else if (high === 'invalid') value = c.invalid;
    // ctype of latin1: the no-break space is white space.
    else if (high === 'latin1' && b === 0xa0) value = c.space;
    start[b] = value;
    if (value === c.word) word[b] = b;
  }
  return { start, word, multibyte, names, supported };
}

const within = (byte: number | undefined, low: number, high: number) =>
  byte !== undefined && byte >= low && byte <= high;

// Heads and tails: strings/ctype-{gbk,sjis,cp932,big5,gb18030}.c of both servers.

const gbkLength = (bytes: Uint8Array, i: number) =>
  within(bytes[i], 0x81, 0xfe) && (within(bytes[i + 1], 0x40, 0x7e) || within(bytes[i + 1], 0x80, 0xfe))
    ? 2
    : 0;

const isSjisHead = (byte: number | undefined) => within(byte, 0x81, 0x9f) || within(byte, 0xe0, 0xfc);
const sjisLength = (bytes: Uint8Array, i: number) =>
  isSjisHead(bytes[i]) && (within(bytes[i + 1], 0x40, 0x7e) || within(bytes[i + 1], 0x80, 0xfc)) ? 2 : 0;

const big5Length = (bytes: Uint8Array, i: number) =>
  within(bytes[i], 0xa1, 0xf9) && (within(bytes[i + 1], 0x40, 0x7e) || within(bytes[i + 1], 0xa1, 0xfe))
    ? 2
    : 0;

function gb18030Length(bytes: Uint8Array, i: number): number {
  const two = gbkLength(bytes, i);
  if (two !== 0) return two;
  const four =
    within(bytes[i], 0x81, 0xfe) &&
    within(bytes[i + 1], 0x30, 0x39) &&
    within(bytes[i + 2], 0x81, 0xfe) &&
    within(bytes[i + 3], 0x30, 0x39);
  return four ? 4 : 0;
}

function utf8Length(bytes: Uint8Array, i: number): number {
  const lead = bytes[i]!;
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
  for (let k = 1; k < length; k++) if (!within(bytes[i + k], 0x80, 0xbf)) return 0;
  return length;
}

const leadBetween = (low: number, high: number) => (byte: number) =>
  byte >= low && byte <= high ? byteClass.lead : byteClass.invalid;

const gbk = build(leadBetween(0x81, 0xfe), gbkLength);
const gb18030 = build(leadBetween(0x81, 0xfe), gb18030Length);
const big5 = build(leadBetween(0xa1, 0xf9), big5Length);
const sjis = build((byte) => {
  if (isSjisHead(byte)) return byteClass.lead;
  return within(byte, 0xa1, 0xdf) ? byteClass.word : byteClass.invalid;
}, sjisLength);
/** Every later byte of a character is above 0x7f (or a letter): none can look like a quote or a backslash. */
const transparent = build('word', null);
const utf8 = build('word', null, utf8Length);
const latin1 = build('latin1', null);
/** Single-byte sets whose white space above 0x7f is not known here: such a byte outside quotes is not understood. */
const unknownSingleByte = build('invalid', null);
/** Letters stand where others have the backslash and the backtick; the servers' own lexer is at odds with itself. */
const unsupported = build('invalid', null, null, false);

const tables = new Map<string, CharacterTables>([
  ...['utf8', 'utf8mb3', 'utf8mb4'].map((name) => [name, utf8] as const),
  ...['ascii', 'binary', 'ujis', 'eucjpms', 'euckr', 'gb2312'].map((name) => [name, transparent] as const),
  ['latin1', latin1],
  ['gbk', gbk],
  ['gb18030', gb18030],
  ['big5', big5],
  ['sjis', sjis],
  ['cp932', sjis],
  ...['swe7', 'ucs2', 'utf16', 'utf16le', 'utf32'].map((name) => [name, unsupported] as const),
]);

export function charactersOf(characterSet: string): CharacterTables {
  return tables.get(characterSet) ?? unknownSingleByte;
}

/** The names that may follow an underscore before a literal. */
export const characterSets: ReadonlySet<string> = new Set(
  (
    'armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb18030 ' +
    'gb2312 gbk geostd8 greek hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 ' +
    'tis620 ucs2 ujis utf16 utf16le utf32 utf8 utf8mb3 utf8mb4'
  ).split(' '),
);
