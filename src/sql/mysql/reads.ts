// Judges statements that read, or may: SELECT, WITH, TABLE, VALUES, DO, and the verbs of metadata (EXPLAIN, SHOW ...).

import type { Context, Draft } from './context.js';
import { Draft as NewDraft } from './context.js';
import { type Findings, scanExpressions } from './expressions.js';
import { isHarmless, opensBracket } from './functions.js';
import { tokenKind } from './lexer.js';
import type { Span } from './split.js';
import { writeDraft } from './writes.js';

/** Puts what was found into the draft of a statement that would be a read without it. */
export function settleRead(draft: Draft, found: Findings): void {
  draft.afterWrite = found.afterWrite;
  draft.runsPrograms = found.programs !== 'none';
  if (found.pin !== null) draft.pinned(found.pin, found.pinReason);
  for (const reason of found.primary) {
    if (found.doesMore) draft.primary(reason);
    else draft.tells(reason);
  }
  // What the last statement left is nowhere else.
  if (found.last.length > 0) draft.doesMore = true;
  if (found.pin !== null || found.primary.length > 0) return;
  for (const reason of found.last) draft.because(reason);
  draft.route = found.last.length > 0 ? 'last' : 'replica';
}

const writingVerbs = new Set(['insert', 'replace', 'update', 'delete', 'merge']);

export function judgeRead(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { to } = span;
  let from = span.from;
  while (tokens.kind(from) === tokenKind.open && from < to) from++;
  const first = tokens.word(from);
  let verb = first;
  if (first === 'with') {
    const main = mainVerb(tokens, from + 1, to);
    if (writingVerbs.has(main)) return writeDraft(context, span, main.toUpperCase());
    verb = 'select';
  }
  const draft = new NewDraft(verb.toUpperCase());
  if (verb !== 'select' && verb !== 'values' && verb !== 'table' && verb !== 'do') {
    draft.verb = 'UNKNOWN';
    draft.primary('not understood');
    return draft;
  }
  if (isBareConnectionId(context, span)) {
    draft.route = 'proxy';
    draft.because("CONNECTION_ID() is the proxy's own");
    return draft;
  }
  settleRead(draft, scanExpressions(context, from, to));
  if (verb === 'do' && readsTables(context, from + 1, to)) draft.primary('DO locks the rows that it reads');
  return draft;
}

/**
 * A subquery or a stored function. InnoDB takes shared locks in every statement but a SELECT (manual, "Locks Set by
 * Different SQL Statements": SET and its like).
 */
function readsTables({ tokens, settings }: Context, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const word = tokens.word(i);
    if (word === 'select' || word === 'table') return true;
    if (!tokens.isName(i) || tokens.kind(i + 1) !== tokenKind.open || i + 1 >= to) continue;
    const name = tokens.name(i);
    const known = isHarmless(name, settings.flavour, settings.versionNumber);
    if (!known && (word === '' || !opensBracket(word, settings.flavour))) return true;
  }
  return false;
}

/** The verb behind the elements of WITH: the first one outside of brackets. */
function mainVerb(tokens: Context['tokens'], from: number, to: number): string {
  let depth = 0;
  for (let i = from; i < to; i++) {
    const kind = tokens.kind(i);
    if (kind === tokenKind.open) depth++;
    else if (kind === tokenKind.close) depth--;
    else if (kind === tokenKind.word && depth === 0) {
      const word = tokens.word(i);
      if (word === 'select' || writingVerbs.has(word)) return word;
    }
  }
  return 'select';
}

function isBareConnectionId({ tokens }: Context, { from, to }: Span): boolean {
  return (
    to - from === 4 &&
    tokens.are(from, 'select', 'connection_id') &&
    tokens.kind(from + 2) === tokenKind.open &&
    tokens.kind(from + 3) === tokenKind.close
  );
}

/** What can be explained, or analyzed, as opposed to a table's name. */
const explained = new Set([
  'select',
  'with',
  'table',
  'values',
  'insert',
  'replace',
  'update',
  'delete',
  'merge',
]);
const explainOptions = new Set(['extended', 'partitions', 'analyze', 'format', 'for', 'schema', 'database']);

/** EXPLAIN, DESCRIBE, DESC; MariaDB's ANALYZE of a statement. */
export function judgeExplain(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { from, to } = span;
  const verb = tokens.word(from).toUpperCase();
  const draft = new NewDraft(verb);
  let i = from + 1;
  const start = i;
  for (; i < to; i++) {
    const kind = tokens.kind(i);
    if (kind === tokenKind.open || explained.has(tokens.word(i))) break;
    if (tokens.is(i, 'into') && tokens.kind(i + 1) === tokenKind.userVariable) {
      draft.pinned('user-variable', `user variable ${tokens.text(i + 1)}`);
      i++;
      continue;
    }
    if (tokens.are(i, 'for', 'connection')) {
      draft.primary('asks about one connection');
      return draft;
    }
    const option = explainOptions.has(tokens.word(i));
    if (!option) break;
    // FORMAT = JSON, FORMAT = 'JSON'; FOR SCHEMA name.
    if (tokens.is(i, 'format') && tokens.kind(i + 1) === tokenKind.comparison) i += 2;
    else if ((tokens.is(i, 'schema') || tokens.is(i, 'database')) && i > start && tokens.is(i - 1, 'for'))
      i++;
  }
  const word = tokens.word(i);
  if (i < to && (tokens.kind(i) === tokenKind.open || explained.has(word))) {
    const inner = judgeRead(context, { ...span, from: i });
    draft.afterWrite = inner.afterWrite;
    const writes =
      explained.has(word) && word !== 'select' && word !== 'with' && word !== 'table' && word !== 'values';
    const pinned = draft.pin !== null;
    if (inner.pin !== null) draft.pin ??= inner.pin;
    if (writes) draft.primary(`explains ${word.toUpperCase()}`);
    else {
      for (const reason of inner.reasons) draft.because(reason);
      // A bare CONNECTION_ID() is the proxy's, its explanation is not.
      if (!pinned && inner.route !== 'proxy') draft.route = inner.route;
    }
    return draft;
  }
  if (verb === 'ANALYZE') {
    draft.primary('ANALYZE TABLE writes');
    return draft;
  }
  // DESCRIBE table [column].
  settleRead(draft, scanExpressions(context, from + 1, to));
  return draft;
}

/** What every node tells alike, once it is fresh; by the words behind SHOW [FULL | EXTENDED | ...]. */
const shownAnywhere = new Set([
  'create',
  'columns',
  'fields',
  'tables',
  'databases',
  'schemas',
  'index',
  'indexes',
  'keys',
  'triggers',
  'events',
  'character',
  'charset',
  'collation',
  'privileges',
]);

export function judgeShow(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { from, to } = span;
  const draft = new NewDraft('SHOW');
  let i = from + 1;
  while (tokens.is(i, 'full') || tokens.is(i, 'extended')) i++;
  const word = tokens.word(i);
  const counts = word === 'count' && tokens.kind(i + 1) === tokenKind.open;
  if (word === 'warnings' || word === 'errors' || counts) {
    draft.route = 'last';
    draft.because('tells of the last statement');
    return draft;
  }
  const routine = (word === 'procedure' || word === 'function') && tokens.is(i + 1, 'status');
  const tableStatus = word === 'table' && tokens.is(i + 1, 'status');
  if (word === 'grants' || (word === 'create' && tokens.is(i + 1, 'user'))) {
    // The at sign is part of an account's name here.
    draft.route = 'replica';
    return draft;
  }
  if (shownAnywhere.has(word) || routine || tableStatus) {
    settleRead(draft, scanExpressions(context, i + 1, to));
    return draft;
  }
  draft.tells(`SHOW ${word.toUpperCase()} is asked of the primary`);
  return draft;
}
