// Owns PostgreSQL's own grammar (libpg-query, WebAssembly): text to parse tree, within bounds that keep its stack whole.
// It knows nothing of what the tree is used for.

import { createRequire } from 'node:module';

/** A node of the tree as libpg-query prints it: a record whose capitalized keys name node types. */
export type Tree = string | number | boolean | null | Tree[] | TreeRecord;
export interface TreeRecord {
  readonly [key: string]: Tree | undefined;
}

interface PgQuery {
  loadModule(): Promise<void>;
  parseSync(query: string): unknown;
}

/** Longer text is not parsed. 32 kB take up to 10 ms. */
export const maxParseBytes = 64 * 1024;
/** Deeper brackets are not parsed. */
export const maxParseDepth = 500;
/**
 * More operators and nesting words are not parsed: the tree nests as deep as "1+1+1+..." is long, and the parser's
 * output recurses over it. Its stack ends between 6,000 and 8,000 levels; a call that ends there
 * leaves the module's stack pointer where it was, and the next calls fail.
 */
export const maxParseChain = 2000;
const chainLinks =
  /::|[-+*/<>=~!@#%^&|`?]+|\[|\b(?:not|is|isnull|notnull|collate|at|over|filter|within|like|ilike|similar|between|in|union|except|intersect|join|then|when|escape)\b/g;

const require = createRequire(import.meta.url);
const moduleName = 'libpg-query';
/** A module that failed inside is replaced; this often, since something must then be wrong with what it is given. */
const maxReplacements = 8;
let replacements = 0;

function loadFresh(): PgQuery {
  delete require.cache[require.resolve(moduleName)];
  return require(moduleName) as PgQuery;
}

let pgQuery: PgQuery | null = require(moduleName) as PgQuery;
await pgQuery.loadModule();

/** Abandons a module whose memory can no longer be trusted. Until the next one has loaded nothing is parsed. */
function replaceModule(): void {
  pgQuery = null;
  if (replacements >= maxReplacements) return;
  replacements++;
  const fresh = loadFresh();
  fresh.loadModule().then(
    () => {
      pgQuery = fresh;
    },
    () => {
      // Nothing is parsed any more; unknown statements go to the primary.
    },
  );
}

/** Whether text of this form is within the parser's bounds. `depth` is the nesting of its brackets. */
export function isParseable(text: string, depth: number): boolean {
  if (text.length > maxParseBytes || depth > maxParseDepth) return false;
  if (text.length < maxParseChain) return true;
  let links = 0;
  chainLinks.lastIndex = 0;
  while (chainLinks.exec(text) !== null) if (++links > maxParseChain) return false;
  return true;
}

/**
 * The statements in the text, each a record with one key (its node type), or null when the text is refused: out of bounds
 * or not PostgreSQL's grammar.
 */
export function parse(text: string, depth: number): readonly TreeRecord[] | null {
  if (pgQuery === null || text === '' || !isParseable(text, depth)) return null;
  try {
    const tree = pgQuery.parseSync(text) as { stmts?: { stmt?: TreeRecord }[] };
    const statements: TreeRecord[] = [];
    for (const { stmt } of tree.stmts ?? []) if (stmt !== undefined) statements.push(stmt);
    return statements;
  } catch (error) {
    // A syntax error is an SqlError; these two mean that the module was left in the middle of its work.
    if (error instanceof RangeError || (error instanceof Error && error.name === 'RuntimeError'))
      replaceModule();
    return null;
  }
}

export function isRecord(tree: Tree | undefined): tree is TreeRecord {
  return typeof tree === 'object' && tree !== null && !Array.isArray(tree);
}

/** A field that is a record, or an empty one. */
export function record(tree: TreeRecord, field: string): TreeRecord | null {
  const value = tree[field];
  return isRecord(value) ? value : null;
}

export function list(tree: TreeRecord, field: string): readonly Tree[] {
  const value = tree[field];
  return Array.isArray(value) ? value : [];
}

export function text(tree: TreeRecord, field: string): string {
  const value = tree[field];
  return typeof value === 'string' ? value : '';
}

export function flag(tree: TreeRecord, field: string): boolean {
  return tree[field] === true;
}

/** The parts of a name: a list of String nodes. */
export function nameParts(names: readonly Tree[]): string[] {
  const parts: string[] = [];
  for (const name of names) {
    const string = isRecord(name) ? record(name, 'String') : null;
    if (string !== null) parts.push(text(string, 'sval'));
  }
  return parts;
}

/** The value of an A_Const node as SQL would print it without quotes; null when the node is none, or is NULL. */
export function constant(tree: Tree | undefined): string | null {
  if (!isRecord(tree)) return null;
  const node = record(tree, 'A_Const');
  if (node === null) return null;
  const string = record(node, 'sval');
  if (string !== null) return text(string, 'sval');
  const float = record(node, 'fval');
  if (float !== null) return text(float, 'fval');
  const boolean = record(node, 'boolval');
  if (boolean !== null) return flag(boolean, 'boolval') ? 'true' : 'false';
  const integer = record(node, 'ival');
  if (integer === null) return null;
  return typeof integer.ival === 'number' ? String(integer.ival) : '0';
}

/** Whether the node is the constant NULL. */
export function isNull(tree: Tree | undefined): boolean {
  const node = isRecord(tree) ? record(tree, 'A_Const') : null;
  return node !== null && flag(node, 'isnull');
}
