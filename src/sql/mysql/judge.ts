// Judges one statement by its first word and hands it to the file that knows its kind.

import type { PreparedEffect } from '../statement.js';
import { type Context, Draft } from './context.js';
import { scanExpressions } from './expressions.js';
import { killTargetOf } from './kill.js';
import { tokenKind } from './lexer.js';
import { judgeExplain, judgeRead, judgeShow } from './reads.js';
import { judgeSet, judgeUse } from './settings.js';
import type { Span } from './split.js';
import { judgeBegin, judgeEnd } from './transactions.js';
import { isPlainWrite, judgeAdministration, judgeBlock, judgeDefinition, judgeLock } from './writes.js';

export function judgeStatement(context: Context, span: Span): Draft {
  const draft = judgeByVerb(context, span);
  const { tokens } = context;
  if (tokens.cut && span.to === tokens.count) {
    // The rest of the text was not kept: it may do anything that an expression can.
    draft.pinned('untracked-setting', 'too long to be read to its end');
  }
  if (tokens.malformed) {
    draft.doesMore = true;
    if (draft.route !== 'primary') draft.primary('not understood: quotes or characters');
  }
  return draft;
}

function judgeByVerb(context: Context, span: Span): Draft {
  const { tokens, settings } = context;
  const { from } = span;
  const mariadb = settings.flavour === 'mariadb';
  if (tokens.kind(from) === tokenKind.open) return judgeRead(context, span);
  const verb = tokens.word(from);
  if (span.program && verb !== 'create' && verb !== 'alter') return judgeBlock(context, span);
  switch (verb) {
    case 'select':
    case 'with':
    case 'table':
    case 'values':
    case 'do':
      return judgeRead(context, span);
    case 'explain':
    case 'describe':
    case 'desc':
      return judgeExplain(context, span);
    case 'analyze':
      return mariadb && !tablesFollow.has(tokens.word(from + 1))
        ? judgeExplain(context, span)
        : judgeAdministration(context, span);
    case 'show':
      return judgeShow(context, span);
    case 'checksum':
      return read('CHECKSUM');
    case 'set':
      return mariadb && tokens.is(from + 1, 'statement')
        ? judgeSetStatement(context, span)
        : judgeSet(context, span);
    case 'use':
      return judgeUse(context, span);
    case 'begin':
      // In Oracle mode BEGIN opens a block, always.
      if (settings.oracleMode) return judgeBlock(context, span);
      return judgeBegin(context, span);
    case 'start':
      return tokens.is(from + 1, 'transaction')
        ? judgeBegin(context, span)
        : judgeAdministration(context, span);
    case 'commit':
    case 'rollback':
    case 'savepoint':
      return judgeEnd(context, span);
    case 'release':
      return judgeEnd(context, span);
    case 'create':
    case 'alter':
    case 'drop':
      return judgeDefinition(context, span);
    case 'lock':
    case 'unlock':
    case 'backup':
    case 'handler':
    case 'xa':
      return judgeLock(context, span);
    case 'prepare':
    case 'execute':
    case 'deallocate':
      return judgePrepared(context, span);
    case 'kill':
      return judgeKill(context, span);
    case 'get':
      return judgeDiagnostics(context, span);
    default:
      if (isPlainWrite(verb)) return judgeAdministration(context, span);
      return unknown(context, span);
  }
}

/** Behind ANALYZE: it is about tables, not about a statement. */
const tablesFollow = new Set(['table', 'tables', 'local', 'no_write_to_binlog', 'persistent']);

function read(verb: string): Draft {
  const draft = new Draft(verb);
  draft.route = 'replica';
  return draft;
}

function unknown(context: Context, span: Span): Draft {
  // Whatever it is, a user variable in it belongs to the connection.
  const draft = judgeAdministration(context, span);
  draft.verb = 'UNKNOWN';
  draft.reasons.length = 0;
  draft.primary('not understood');
  return draft;
}

/** MariaDB: SET STATEMENT a = 1, b = 2 FOR statement: as the statement. */
function judgeSetStatement(context: Context, span: Span): Draft {
  const { tokens } = context;
  let depth = 0;
  for (let i = span.from + 2; i < span.to; i++) {
    const kind = tokens.kind(i);
    if (kind === tokenKind.open) depth++;
    else if (kind === tokenKind.close) depth--;
    else if (depth === 0 && tokens.is(i, 'for') && i + 1 < span.to) {
      const draft = judgeByVerb(context, { from: i + 1, to: span.to, program: false });
      const set = judgeSet(context, { from: span.from + 1, to: i, program: false });
      // The variables are set back: that they could not be tracked does not matter, what their values do does.
      const values = scanExpressions(context, span.from + 2, i);
      const pure = values.primary.length === 0 && values.last.length === 0 && values.pin === null;
      if (set.route === 'primary' && !(pure && set.pin === 'untracked-setting'))
        draft.primary(set.reasons[0] ?? 'SET STATEMENT');
      // Only a user variable in their values stays behind.
      if (set.pin === 'user-variable') draft.pinned(set.pin, 'a user variable');
      draft.byLiterals ||= set.byLiterals && draft.session.length > 0;
      return draft;
    }
  }
  const draft = new Draft('SET');
  draft.primary('not understood behind SET STATEMENT');
  return draft;
}

function judgePrepared(context: Context, span: Span): Draft {
  const { tokens, settings } = context;
  const { from, to } = span;
  const verb = tokens.word(from);
  const draft = new Draft(verb.toUpperCase());
  if (verb === 'execute' && tokens.is(from + 1, 'immediate')) {
    draft.primary('EXECUTE IMMEDIATE may do anything');
    draft.byLiterals = true;
    const text = tokens.kind(from + 2) === tokenKind.string;
    const body = text ? context.inner(tokens.unquoted(from + 2, !settings.noBackslashEscapes)) : null;
    draft.pin = body?.pin ?? null;
    for (let i = from + 2; i < to; i++) {
      if (tokens.kind(i) === tokenKind.userVariable)
        draft.pinned('user-variable', `user variable ${tokens.text(i)}`);
    }
    if (body === null || body.session.length > 0)
      draft.pinned('untracked-setting', 'what it sets is not tracked');
    return draft;
  }
  const at = verb === 'deallocate' ? from + 2 : from + 1;
  const name = tokens.name(at);
  let prepared: PreparedEffect;
  if (verb === 'prepare') {
    let body = null;
    draft.byLiterals = true;
    if (tokens.is(at + 1, 'from') && at + 3 === to && tokens.kind(at + 2) === tokenKind.string) {
      body = context.inner(tokens.unquoted(at + 2, !settings.noBackslashEscapes));
    } else if (tokens.kind(at + 2) === tokenKind.userVariable) draft.pin = 'user-variable';
    // MariaDB does not report all that the EXECUTE sets.
    if (settings.flavour === 'mariadb' && body !== null && body.session.length > 0)
      draft.pinned('untracked-setting', 'what it sets is not tracked');
    draft.pinned('sql-prepare', 'a prepared statement lives in its connection');
    prepared = { kind: 'prepare', name, body };
  } else if (verb === 'execute') {
    draft.primary('runs what was prepared in its connection');
    for (let i = at + 1; i < to; i++) {
      if (tokens.kind(i) === tokenKind.userVariable)
        draft.pinned('user-variable', `user variable ${tokens.text(i)}`);
    }
    prepared = { kind: 'execute', name };
  } else {
    draft.primary('belongs to the connection where it was prepared');
    prepared = { kind: 'deallocate', name };
  }
  draft.prepared = prepared;
  return draft;
}

function judgeKill(context: Context, span: Span): Draft {
  const draft = new Draft('KILL');
  draft.byLiterals = true;
  if (killTargetOf(context.tokens, span) !== null) {
    draft.route = 'proxy';
    draft.because('ids are those that the proxy gave');
  } else draft.primary('KILL of a user or of an expression');
  return draft;
}

function judgeDiagnostics(context: Context, span: Span): Draft {
  const draft = new Draft('GET DIAGNOSTICS');
  for (let i = span.from; i < span.to; i++) {
    if (context.tokens.kind(i) === tokenKind.userVariable) draft.pin = 'user-variable';
  }
  draft.route = 'last';
  draft.because('tells of the last statement');
  return draft;
}
