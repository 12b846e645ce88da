// The shape of the text that a MySQL lexer has just scanned, as people see it and as rules compare it.
// It knows no classification.

import type { MysqlLexSettings } from '../statement.js';
import { MysqlLexer } from './lexer.js';
import { splitStatements } from './split.js';
import { Tokens } from './tokens.js';

/** A shape is shown and counted under this much of it. */
const maxShown = 2048;
/** In place of the shape of what no server would accept, or what servers read differently. */
const UNREADABLE = '(not readable)';
/** 'user'@'host', and variables whose names are strings, which look alike: a name in the shape, a literal to people. */
const hosts = /@(['"])(?:\\[\s\S]|\1\1|(?!\1)[\s\S])*(?:\1|$)/g;

export function shownShape(
  { shape, shapeLength, shapeCut, malformed }: MysqlLexer,
  { characterSet }: Pick<MysqlLexSettings, 'characterSet'>,
): string {
  // What is a literal in it nobody can say.
  if (malformed) return UNREADABLE;
  const encoding = characterSet.startsWith('utf8') ? 'utf8' : 'latin1';
  const whole = Buffer.from(shape.buffer, shape.byteOffset, shapeLength).toString(encoding);
  const text = whole.includes('@') ? whole.replace(hosts, '@?') : whole;
  return shapeCut || text.length > maxShown ? `${text.slice(0, maxShown)}...` : text;
}

/** Of a statement that nobody sends now. `statements`: 0 where its quoting is wrong. */
export function shapeOfText(text: string, settings: MysqlLexSettings): { shape: string; statements: number } {
  const lexer = new MysqlLexer();
  const sql = Buffer.from(text);
  lexer.scan(sql, settings);
  const spans = splitStatements(new Tokens(lexer, sql, settings.characterSet), settings);
  return { shape: shownShape(lexer, settings), statements: lexer.malformed ? 0 : spans.length };
}
