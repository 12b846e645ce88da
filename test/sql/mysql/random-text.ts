// Makes up statement texts out of what lexers trip over; from a seed, so that a failure can be made again.

/** Mulberry32: small, fast, good enough for tests. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Whole pieces: each is an item of a select list, or white space, in some mode of some server. */
const items = [
  "'a'",
  '"b"',
  "'it''s'",
  "'it\\'s'",
  "'a\\\\'",
  '"a\\"b"',
  '"a""b"',
  "'\\'",
  "'\"'",
  '"\'"',
  "'a' 'b'",
  "'`'",
  "n'x'",
  "N'\\'y'",
  "x'41'",
  "b'01'",
  '0x41',
  '0b1',
  '1.5e3',
  '.5',
  '1.',
  '1e5',
  '-1',
  '1--1',
  '1- -1',
  "_latin1'x'",
  "_utf8mb4 'x'",
  "_gbk'\\''",
  'NULL',
  '@@version',
  '1 AS `a``b`',
  "1 AS `it's`",
  '1 AS "q"',
  "'/*'",
  "'*/'",
  "'-- '",
  "'#'",
  "';'",
  '1<=>1',
  '1<<1',
  'CONCAT(\'a\',"b")',
  '(SELECT 1)',
];

const gaps = [
  ' ',
  '\t',
  '\n',
  ' /* c */ ',
  "/* it's */",
  '/* " */',
  '/* ` */',
  '-- x\n',
  "-- it's\n",
  '--\n',
  '--\tx\n',
  '# x\n',
  '# it\'s " `\n',
  '/**/',
  '/***/',
  '/* /* */',
  '/* -- */',
  '-- /*\n',
  '# */\n',
];

/** Pieces that open what others close. */
const edges = [
  "'",
  '"',
  '`',
  '\\',
  "\\'",
  '/*',
  '*/',
  '/*!',
  '/*!40000 ',
  '/*!80000 ',
  '/*!99999 ',
  '/*!050000 ',
  '/*!100000 ',
  '/*!500000',
  '/*M!',
  '/*M!100100 ',
  '/*M!999999 ',
  '/*+ x */',
  '-- ',
  '--',
  '--x',
  '#',
  '\n',
  ';',
  '$$',
  '$x$',
  '\u0000',
  '\\N',
];

/** Bytes that are halves of characters somewhere, and ASCII that can be a second half. */
const bytes = [
  '\u0081',
  '\u00a0',
  '\u00a1',
  '\u00bf',
  '\u00e9',
  '\u00fe',
  '\u00ff',
  '\\',
  '`',
  '|',
  '0',
  '\u0081\u0030\u0081\u0030',
  'A',
];

/**
 * A select list in which `canary()` stands somewhere: in the open, in a comment, in a literal, nobody knows before it
 * is read. Characters stand for bytes.
 */
export function canaryText(random: Random): string {
  const parts: string[] = ['SELECT '];
  const count = 1 + random.below(6);
  const at = random.below(count + 1);
  for (let i = 0; i <= count; i++) {
    if (i > 0) parts.push(random.of([',', ', ', ' , ']));
    if (i === at) {
      const before = random.below(4) === 0 ? random.of(edges) : '';
      const after = random.below(4) === 0 ? random.of(edges) : '';
      parts.push(before, random.of(["1,canary(),'1'", 'canary()', ' canary() ', "'x',canary(),'x'"]), after);
    } else parts.push(random.of(items));
    const more = random.below(10);
    if (more < 3) parts.push(random.of(gaps));
    else if (more === 3) parts.push(random.of(edges));
    else if (more === 4) parts.push("'", random.of(bytes), random.of(bytes), "'");
    else if (more === 5) parts.push(random.of(gaps), random.of(gaps));
  }
  return parts.join('');
}

/** Anything at all: pieces of every kind, and single bytes. */
export function soup(random: Random, words: readonly string[]): string {
  const parts: string[] = [];
  for (let i = random.below(24); i >= 0; i--) {
    const kind = random.below(12);
    if (kind < 4) parts.push(random.of(words), ' ');
    else if (kind < 6) parts.push(random.of(items), ' ');
    else if (kind < 7) parts.push(random.of(gaps));
    else if (kind < 8) parts.push(random.of(edges));
    else if (kind < 9) parts.push(random.of(bytes));
    else if (kind < 11) parts.push(random.of(['(', ')', ',', '.', ';', '=', ':=', '@', '@@', '?', '*', '-']));
    else parts.push(String.fromCharCode(random.below(256)));
  }
  return parts.join('');
}

/** Calls of a function that does not exist, in the forms that an expression, a list or a clause may take. */
const calls = [
  'canary()',
  'canary (1)',
  'CANARY\n(1)',
  '`canary`(1)',
  'shop.canary(1)',
  '(canary(1))',
  ', canary(1)',
  ', canary(1) AS x',
  ', (canary(1)) x',
  'canary(1),',
  'canary(1) =',
  '= canary()',
  '+ canary(1)',
  '- canary()',
  'AND canary()',
  'OR canary(1)',
  'NOT canary()',
  'ABS(canary(1))',
  '(SELECT canary(1))',
  'DISTINCT canary(1)',
  'INTERVAL canary(1) DAY',
  'CASE canary(1) WHEN 1 THEN 2 END',
  'OVER (ORDER BY canary(1))',
  'AS x (canary(1))',
];

/** A statement with one or two such calls put between its words, or in place of one. */
export function withCall(random: Random, sql: string): string {
  let text = sql;
  for (let i = random.below(2); i >= 0; i--) {
    const parts = text.split(/(\s+|[(),=])/);
    const at = random.below(parts.length + 1);
    parts.splice(at, random.below(3) === 0 ? 1 : 0, ` ${random.of(calls)} `);
    text = parts.join('');
  }
  return text;
}
