// Judges statements that write, define or administer: they go to the primary; what they leave in their connection
// is what matters here.

import { type Context, Draft } from './context.js';
import { LEAVINGS, scanExpressions } from './expressions.js';
import { tokenKind } from './lexer.js';
import type { Leaving } from './picture.js';
import type { Span } from './split.js';

/** INSERT, UPDATE, DELETE, CALL and their kin: expressions in them can pin, and can need what the last write left. */
export function writeDraft(context: Context, span: Span, verb: string): Draft {
  const draft = new Draft(verb);
  draft.primary(`${verb} writes`);
  leavings(context, span, draft);
  return draft;
}

function leavings(context: Context, span: Span, draft: Draft, program = false): void {
  const found = scanExpressions(context, span.from, span.to, program);
  if (found.pin !== null) draft.pinned(found.pin, found.pinReason);
  else {
    const left = leftByTriggers(context, span);
    if (left !== null) draft.pinned(left, `a trigger may leave a ${LEAVINGS[left]}`);
  }
  draft.afterWrite = found.afterWrite;
  // A table with a list of columns looks like a call.
  draft.runsPrograms = draft.verb === 'CALL' || found.programs === 'some';
}

function leftByTriggers({ tokens, rules }: Context, { from, to }: Span): Leaving | null {
  const tables = rules.catalog?.leavingTables;
  if (tables === undefined || tables.size === 0) return null;
  for (let i = from; i < to; i++) {
    const left = tokens.isName(i) ? tables.get(tokens.name(i).toLowerCase()) : undefined;
    if (left !== undefined) return left;
  }
  return null;
}

const schemaObjects = new Set([
  'table',
  'view',
  'index',
  'function',
  'procedure',
  'trigger',
  'event',
  'database',
  'schema',
  'sequence',
  'package',
  'tables',
  'unique',
  'fulltext',
  'spatial',
  'library',
]);

/** CREATE, ALTER, DROP, RENAME. */
export function judgeDefinition(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { from, to } = span;
  const verb = tokens.word(from);
  const draft = new Draft(verb.toUpperCase());
  draft.primary(`${draft.verb} writes`);
  let at = from + 1;
  if (tokens.are(at, 'or', 'replace')) at += 2;
  if (verb === 'drop' && tokens.is(at, 'prepare')) {
    draft.prepared = { kind: 'deallocate', name: tokens.name(at + 1) };
    return draft;
  }
  if (tokens.is(at, 'temporary')) {
    if (verb === 'create') draft.pinned('temporary-table', 'a temporary table lives in its connection');
    leavings(context, span, draft);
    return draft;
  }
  // What kind of object: behind DEFINER, ALGORITHM, SQL SECURITY, ONLINE, IGNORE ...; before any bracket.
  let object = '';
  for (; at < to && at < from + 24; at++) {
    const word = tokens.word(at);
    if (schemaObjects.has(word)) object = word;
    else if (word === 'user' || word === 'role' || word === 'server') object = 'account';
    if (object !== '') break;
  }
  draft.ddl = object !== 'account' && object !== '';
  // CREATE TABLE ... SELECT evaluates; a view or a program only stores its text.
  if (object === 'table' && verb === 'create') leavings(context, span, draft);
  return draft;
}

/** A block of MariaDB that runs as it stands: anything may be in it. */
export function judgeBlock(context: Context, span: Span): Draft {
  const { tokens } = context;
  const draft = new Draft(tokens.word(span.from).toUpperCase() || 'BEGIN');
  draft.primary('a block of statements');
  leavings(context, span, draft, true);
  for (let i = span.from; i < span.to; i++) {
    if (tokens.is(i, 'temporary') && !tokens.is(i - 1, 'drop')) {
      draft.pinned('temporary-table', 'a temporary table lives in its connection');
    } else if (tokens.is(i, 'prepare'))
      draft.pinned('sql-prepare', 'a prepared statement lives in its connection');
    else if (tokens.is(i, 'set') && setsVariable(context, i + 1)) {
      draft.pinned('untracked-setting', 'SET in a block is not tracked');
    }
  }
  return draft;
}

/** Whether a SET inside a block can be of a system variable: its name was not declared there. */
function setsVariable({ tokens }: Context, at: number): boolean {
  if (tokens.kind(at) === tokenKind.userVariable) return false;
  const name = tokens.name(at);
  for (let i = at; i >= 0; i--) if (tokens.is(i, 'declare') && tokens.name(i + 1) === name) return false;
  return true;
}

const plainVerbs = new Set(
  (
    'insert replace update delete merge call load import binlog truncate grant revoke flush reset purge change start stop ' +
    'shutdown install uninstall optimize repair check cache clone restart rename signal resignal help return'
  ).split(' '),
);

const accountVerbs = new Set([
  'grant',
  'revoke',
  'change',
  'reset',
  'start',
  'stop',
  'clone',
  'rename',
  'flush',
]);

export function isPlainWrite(verb: string): boolean {
  return plainVerbs.has(verb);
}

/** Verbs that need nothing but the primary, and those that leave a lock behind. */
export function judgeAdministration(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { from, to } = span;
  const verb = tokens.word(from);
  const draft = new Draft(verb.toUpperCase());
  draft.primary(`${draft.verb} is for the primary`);
  // Elsewhere an at sign stands in the name of an account.
  if (!accountVerbs.has(verb)) leavings(context, span, draft);
  draft.ddl = verb === 'install' || verb === 'uninstall' || verb === 'rename';
  if (verb === 'flush' && locksTables(context, from + 1, to)) {
    draft.pinned('lock-tables', 'FLUSH TABLES with a lock holds it in its connection');
  }
  return draft;
}

/** FLUSH TABLES ... WITH READ LOCK [AND DISABLE CHECKPOINT], FLUSH TABLES ... FOR EXPORT. */
function locksTables({ tokens }: Context, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    if (tokens.are(i, 'with', 'read', 'lock') || tokens.are(i, 'for', 'export')) return true;
  }
  return false;
}

/** LOCK, UNLOCK, BACKUP, HANDLER, XA. */
export function judgeLock(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { from, to } = span;
  const verb = tokens.word(from);
  const isInstance = (verb === 'lock' || verb === 'unlock') && tokens.is(from + 1, 'instance');
  const draft = new Draft(verb.toUpperCase() + (isInstance ? ' INSTANCE' : ''));
  draft.primary(`${draft.verb} is for the primary`);
  if (verb === 'lock') {
    if (isInstance) draft.pinned('instance-lock', 'LOCK INSTANCE holds its lock in its connection');
    else draft.pinned('lock-tables', 'LOCK TABLES');
  } else if (verb === 'backup') {
    const stage = tokens.is(from + 1, 'stage') || tokens.is(from + 1, 'lock');
    if (stage) draft.pinned('backup-lock', 'BACKUP holds its locks in its connection');
  } else if (verb === 'handler') {
    for (let i = from + 1; i < to; i++) if (tokens.is(i, 'open')) draft.pinned('handler', 'HANDLER OPEN');
  } else if (verb === 'xa') {
    const word = tokens.word(from + 1);
    draft.verb = `XA ${word.toUpperCase()}`.trim();
    if (word === 'start' || word === 'begin' || word === 'end' || word === 'prepare') {
      draft.pinned('xa', 'a distributed transaction is prepared where it began');
    }
  }
  return draft;
}
