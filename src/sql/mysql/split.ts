// Finds the statements of a text by its tokens; it knows where program bodies begin and end, and nothing else of SQL.

import type { MysqlLexSettings } from '../statement.js';
import { tokenKind } from './lexer.js';
import type { Tokens } from './tokens.js';

export interface Span {
  readonly from: number;
  readonly to: number;
  /** It is, or defines, a program: its body is not a list of statements. */
  readonly program: boolean;
}

const programObjects = new Set(['procedure', 'function', 'trigger', 'event', 'package']);
/** What may stand between CREATE and the object's kind. */
const beforeObject = new Set([
  'or',
  'replace',
  'definer',
  'aggregate',
  'current_user',
  'current_role',
  'body',
]);
/** Words after which a new statement begins inside a body. */
const beforeStatement = new Set([
  'begin',
  'then',
  'else',
  'do',
  'loop',
  'repeat',
  'exception',
  'row',
  'atomic',
]);
const openers = new Set(['if', 'loop', 'while', 'for', 'repeat']);
const afterEnd = new Set(['if', 'case', 'loop', 'while', 'for', 'repeat']);

export function splitStatements(tokens: Tokens, settings: MysqlLexSettings): Span[] {
  const spans: Span[] = [];
  let from = 0;
  while (from < tokens.count) {
    if (tokens.kind(from) === tokenKind.semicolon) {
      from++;
      continue;
    }
    const body = programBody(tokens, from, settings);
    const to = body < 0 ? nextSemicolon(tokens, from) : endOfProgram(tokens, from, body, settings.oracleMode);
    spans.push({ from, to, program: body >= 0 });
    from = to + 1;
  }
  return spans;
}

function nextSemicolon(tokens: Tokens, from: number): number {
  let i = from;
  while (i < tokens.count && tokens.kind(i) !== tokenKind.semicolon) i++;
  return i;
}

/** Where the header of a program ends (its object's kind, or its first word), or -1 when the statement is none. */
function programBody(tokens: Tokens, from: number, settings: MysqlLexSettings): number {
  const first = tokens.word(from);
  if (first === 'create') {
    for (let i = from + 1; i < tokens.count && i < from + 24; i++) {
      if (programObjects.has(tokens.word(i))) return i;
      // DEFINER = 'user'@'host', user@host, CURRENT_USER()
      if (tokens.kind(i) === tokenKind.word && !beforeObject.has(tokens.word(i)) && !ofDefiner(tokens, i))
        return -1;
    }
    return -1;
  }
  if (first === 'alter' && (tokens.is(from + 1, 'event') || tokens.is(from + 1, 'definer'))) return from + 1;
  if (settings.flavour !== 'mariadb') return -1;
  // MariaDB takes compound statements outside of programs, with a label too.
  const at = isLabel(tokens, from) ? from + 2 : from;
  const word = tokens.word(at);
  if (word === 'begin') {
    if (tokens.are(at + 1, 'not', 'atomic')) return at;
    if (at > from) return at;
    const next = tokens.kind(at + 1);
    // Oracle mode: BEGIN WORK is a block too, that calls a procedure of that name.
    const plain = next === 0 || next === tokenKind.semicolon;
    return settings.oracleMode && !plain ? at : -1;
  }
  if (settings.oracleMode && word === 'declare') return at;
  if (word === 'case' || word === 'if' || word === 'loop' || word === 'while' || word === 'for') return at;
  return word === 'repeat' ? at : -1;
}

function ofDefiner(tokens: Tokens, i: number): boolean {
  return tokens.kind(i - 1) === tokenKind.comparison || tokens.kind(i - 1) === tokenKind.userVariable;
}

function isLabel(tokens: Tokens, i: number): boolean {
  return tokens.isName(i) && tokens.kind(i + 1) === tokenKind.operator && tokens.text(i + 1) === ':';
}

/** The semicolon that ends the program, or the end of the text. */
function endOfProgram(tokens: Tokens, from: number, header: number, oracle: boolean): number {
  let depth = 0;
  let brackets = 0;
  /** Whether the body has begun: only then is a closing bracket not the end of a header. */
  let inBody = tokens.word(from) !== 'create' && tokens.word(from) !== 'alter';
  /** Oracle mode: depths whose declarations are still read; their BEGIN opens nothing new. */
  const declaring: number[] = [];
  let subprogram = oracle && tokens.word(from) === 'create';
  for (let i = header; i < tokens.count; i++) {
    const kind = tokens.kind(i);
    if (kind === tokenKind.open) brackets++;
    else if (kind === tokenKind.close) brackets--;
    if (kind === tokenKind.semicolon) {
      if (depth <= 0) return i;
      brackets = 0;
      subprogram = false;
      continue;
    }
    if (kind !== tokenKind.word) continue;
    const word = tokens.word(i);
    if (word === '') continue;
    if (word === 'begin') {
      inBody = true;
      if (declaring.at(-1) === depth && depth > 0) declaring.pop();
      else depth++;
    } else if (word === 'case') {
      inBody = true;
      depth++;
    } else if (word === 'end') {
      if (declaring.at(-1) === depth) declaring.pop();
      depth--;
      if (afterEnd.has(tokens.word(i + 1))) i++;
    } else if (openers.has(word) && brackets === 0 && beginsStatement(tokens, i, header, inBody)) {
      inBody = true;
      depth++;
    } else if (oracle) {
      if ((word === 'as' || word === 'is') && subprogram && brackets === 0) {
        subprogram = false;
        depth++;
        declaring.push(depth);
      } else if ((word === 'procedure' || word === 'function') && declaring.at(-1) === depth) {
        subprogram = true;
      } else if (word === 'declare' && beginsStatement(tokens, i, header, true)) {
        depth++;
        declaring.push(depth);
      }
    }
  }
  return tokens.count;
}

function beginsStatement(tokens: Tokens, i: number, header: number, inBody: boolean): boolean {
  if (i === header) return true;
  const before = tokens.kind(i - 1);
  if (before === tokenKind.semicolon || (before === tokenKind.operator && tokens.text(i - 1) === ':'))
    return true;
  if (beforeStatement.has(tokens.word(i - 1))) return true;
  // CREATE PROCEDURE p() IF ...: the first word of a body without BEGIN; IF [NOT] EXISTS belongs to the header.
  if (inBody || tokens.is(i + 1, 'not') || tokens.is(i + 1, 'exists')) return false;
  return tokens.word(i) === 'if' || (tokens.word(i) !== 'for' && before === tokenKind.close);
}
