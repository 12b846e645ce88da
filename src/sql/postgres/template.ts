// Which integers of a query could as well be parameters of type integer, so that texts which differ in nothing else are one
// prepared statement. Pure: a shape is judged once, by PostgreSQL's own grammar; then each text is only cut.
//
// An integer of up to nine digits is a constant of type integer (scan.l, make_const), and as such chooses the operator; a
// parameter that is declared as integer chooses the same one. Only those are taken that a column is compared with, in a
// condition of WHERE: elsewhere a constant may be a position (ORDER BY 1), or have to equal another one (GROUP BY a + 1).

import { maxNumbers, type PostgresLexer } from './lexer.js';
import { isRecord, list, nameParts, parse, record, type Tree, type TreeRecord, text } from './parser.js';
import { withPlaceholders } from './shown-shape.js';

/** pg_type.dat: int4. */
const INTEGER_TYPE = 23;
const MAX_DIGITS = 9;

const COMPARISONS: ReadonlySet<string> = new Set(['=', '<', '>', '<=', '>=', '<>']);
/** They tell the text that is running. */
const SELF_AWARE: ReadonlySet<string> = new Set([
  'current_query',
  'pg_stat_get_activity',
  'pg_stat_get_backend_activity',
]);

/** A text whose integers have become parameters. */
export interface Filled {
  /** Of a Parse, behind its name: the text, a zero, the number of types and the types. */
  readonly body: Buffer;
  /** Digits. */
  readonly values: readonly Buffer[];
}

/** By its place among the numbers of a text: whether it becomes a parameter. */
export type Template = readonly boolean[];

/** Of the text that the lexer has read last; null: none of its numbers can be a parameter. */
export function templateOf(lexer: PostgresLexer): Template | null {
  const { statements, numbers, hasParameters, length } = lexer;
  if (statements !== 1 || numbers === 0 || numbers > maxNumbers || hasParameters) return null;
  // Byte by byte, as the parser tells places.
  const shape = Buffer.from(lexer.shape.buffer, lexer.shape.byteOffset, length).toString('latin1');
  const places: number[] = [];
  const sql = Buffer.from(
    withPlaceholders(shape, (at) => places.push(at)),
    'latin1',
  );
  // Lists of numbers are one in the shape.
  if (places.length !== numbers) return null;
  const trees = parse(sql.toString(), lexer.depth);
  const select = trees?.length === 1 ? record(trees[0]!, 'SelectStmt') : null;
  if (select === null || asksForItsText(select)) return null;
  const compared = comparedWith(select.whereClause);
  const template = places.map((place) => compared.has(place));
  return template.includes(true) ? template : null;
}

/** Where the constants stand that columns are compared with. */
function comparedWith(condition: Tree | undefined): Set<number> {
  const places = new Set<number>();
  const open: (Tree | undefined)[] = [condition];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (!isRecord(node)) continue;
    const both = record(node, 'BoolExpr');
    if (both !== null) open.push(...list(both, 'args'));
    const comparison = record(node, 'A_Expr');
    if (comparison === null || text(comparison, 'kind') !== 'AEXPR_OP') continue;
    const name = list(comparison, 'name');
    if (name.length !== 1 || !COMPARISONS.has(nameParts(name)[0] ?? '')) continue;
    const { lexpr: left, rexpr: right } = comparison;
    const constant = isRecord(right) ? record(right, 'A_Const') : null;
    if (constant === null || !isRecord(left) || record(left, 'ColumnRef') === null) continue;
    if (record(constant, 'ival') !== null && typeof constant.location === 'number')
      places.add(constant.location);
  }
  return places;
}

function asksForItsText(select: TreeRecord): boolean {
  const open: Tree[] = [select];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (Array.isArray(node)) open.push(...node);
    else if (isRecord(node)) {
      for (const key in node) {
        const child = node[key];
        if (child === undefined || typeof child !== 'object' || child === null) continue;
        if (key === 'FuncCall' && isRecord(child)) {
          if (SELF_AWARE.has(nameParts(list(child, 'funcname')).at(-1) ?? '')) return true;
        } else if (key === 'RangeVar' && isRecord(child) && text(child, 'relname') === 'pg_stat_activity')
          return true;
        open.push(child);
      }
    }
  }
  return false;
}

/** Cuts the text that the lexer has read last. Null: one of its numbers is no such integer after all. */
export function fill(template: Template, lexer: PostgresLexer, sql: Buffer): Filled | null {
  if (lexer.numbers !== template.length) return null;
  const from = lexer.textStarts[0]!;
  const to = lexer.textEnds[0]!;
  const values: Buffer[] = [];
  // A reference is longer than the digit that it may stand for.
  const body = Buffer.allocUnsafe(to - from + template.length * 7 + 3);
  let at = 0;
  let copied = from;
  for (let k = 0; k < template.length; k++) {
    if (!template[k]) continue;
    const start = lexer.numberStarts[k]!;
    const end = lexer.numberEnds[k]!;
    if (!isInteger(sql, start, end)) return null;
    at += sql.copy(body, at, copied, start);
    values.push(sql.subarray(start, end));
    at += body.write(`$${values.length}`, at, 'latin1');
    copied = end;
  }
  at += sql.copy(body, at, copied, to);
  body[at++] = 0;
  at = body.writeInt16BE(values.length, at);
  for (let k = 0; k < values.length; k++) at = body.writeInt32BE(INTEGER_TYPE, at);
  return { body: body.subarray(0, at), values };
}

/** Digits alone, with neither a sign before them nor a word right behind them. */
function isInteger(sql: Buffer, start: number, end: number): boolean {
  if (end - start > MAX_DIGITS) return false;
  for (let i = start; i < end; i++) if (sql[i]! < 0x30 || sql[i]! > 0x39) return false;
  let before = start - 1;
  while (before >= 0 && isSpace(sql[before]!)) before--;
  // Also the end of a comment: what stands before it would have to be read again.
  const sign = sql[before];
  if (sign === 0x2d || sign === 0x2b || sign === 0x2f) return false;
  const behind = sql[end];
  return behind === undefined || isSpace(behind) || behind === 0x29 || behind === 0x3b;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
