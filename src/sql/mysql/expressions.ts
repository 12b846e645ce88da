// Looks through the tokens of a statement for what makes it more than a read: locks, functions, variables, INTO.
// It follows brackets only as far as names need it; the statement's verb is judged elsewhere.

import type { PinReason } from '../statement.js';
import type { Context } from './context.js';
import { functionEffect, isHarmless, opensBracket } from './functions.js';
import { tokenKind } from './lexer.js';
import type { Leaving } from './picture.js';
import { spaceSensitive } from './spacing.js';
import type { Tokens } from './tokens.js';
import { nodeSchemas, tellsOfOneServer, tellsOfWrites, variableRoute } from './variables.js';

export interface Findings {
  /** Why it must run on the primary. */
  readonly primary: string[];
  /** One of these is more than that it asks how a server is. */
  doesMore: boolean;
  /** What it reads of the last statement. */
  readonly last: string[];
  /** It reads what the last write left. */
  afterWrite: boolean;
  /** It calls stored functions that do more than read; `maybe`: or names something else that looks like a call. */
  programs: 'none' | 'maybe' | 'some';
  pin: PinReason | null;
  pinReason: string;
}

/** A list of columns in brackets is short; a longer look ahead would make nested calls quadratic. */
const maxColumnListTokens = 512;

/** What an operator is told. */
export const LEAVINGS: Readonly<Record<Leaving, string>> = {
  'session-lock': 'lock',
  'untracked-setting': 'setting',
};

/** `program`: inside of a stored program INTO and := may mean its own variables. */
export function scanExpressions(context: Context, from: number, to: number, program = false): Findings {
  const { tokens } = context;
  const found: Findings = {
    primary: [],
    doesMore: false,
    last: [],
    afterWrite: false,
    programs: 'none',
    pin: null,
    pinReason: '',
  };
  const k = tokenKind;
  const leaving = context.rules.catalog?.leavingPrograms;
  for (let i = from; i < to; i++) {
    switch (tokens.kind(i)) {
      case k.word:
      case k.quoted:
        if (leaving !== undefined && leaving.size > 0) {
          const what = leaving.get(tokens.name(i).toLowerCase());
          if (what !== undefined) pin(found, what, `${short(tokens.name(i))} may leave a ${LEAVINGS[what]}`);
        }
        scanName(context, i, to, found, program);
        break;
      case k.userVariable:
        pin(found, 'user-variable', `user variable ${short(tokens.text(i))}`);
        break;
      case k.systemVariable:
        i = scanSystemVariable(context, i, found);
        break;
      case k.operator:
        if (!program && tokens.text(i) === ':=') pin(found, 'user-variable', 'assigns a user variable');
        break;
      default:
    }
  }
  return found;
}

const programWords = new Set(['return', 'while', 'elseif']);

/** RETURN (...), WHILE (...), and UNTIL (...), which is no reserved word, behind its semicolon. */
function isProgramWord(tokens: Tokens, i: number): boolean {
  return (
    programWords.has(tokens.word(i)) || (tokens.is(i, 'until') && tokens.kind(i - 1) === tokenKind.semicolon)
  );
}

function scanName(context: Context, i: number, to: number, found: Findings, program: boolean): void {
  const { tokens, settings } = context;
  const next = tokens.kind(i + 1);
  if (next === tokenKind.open && i + 1 < to) {
    if (!(program && isProgramWord(context.tokens, i))) scanCall(context, i, to, found);
    return;
  }
  const name = tokens.name(i);
  const catalog = context.rules.catalog;
  if (catalog?.impureViews.has(name))
    needsPrimary(found, `view ${short(name)} reaches what a replica cannot serve`);
  if (tokens.kind(i - 1) === tokenKind.dot) {
    if (settings.flavour === 'mariadb' && (name === 'nextval' || name === 'currval')) {
      needsPrimary(found, `${name} uses a sequence`);
    }
    const schema = tokens.name(i - 2);
    if (tellsOfOneServer(schema, name)) because(found.primary, `${schema}.${name} tells of one server`);
    return;
  }
  if (next === tokenKind.dot) {
    if (nodeSchemas.has(name)) because(found.primary, `${name} tells of one server`);
    return;
  }
  switch (tokens.word(i)) {
    case 'for':
      if (tokens.is(i + 1, 'update') || tokens.is(i + 1, 'share')) {
        needsPrimary(found, `FOR ${tokens.word(i + 1).toUpperCase()} locks rows`);
      }
      break;
    case 'lock':
      if (tokens.are(i + 1, 'in', 'share', 'mode')) needsPrimary(found, 'LOCK IN SHARE MODE locks rows');
      break;
    case 'into':
      if (!program || tokens.is(i + 1, 'outfile') || tokens.is(i + 1, 'dumpfile'))
        needsPrimary(
          found,
          tokens.is(i + 1, 'outfile') || tokens.is(i + 1, 'dumpfile') ? 'INTO writes a file' : 'INTO',
        );
      break;
    case 'next':
    case 'previous':
      if (tokens.are(i + 1, 'value', 'for')) {
        needsPrimary(found, `${tokens.word(i).toUpperCase()} VALUE FOR uses a sequence`);
      }
      break;
    default:
  }
}

function scanCall(context: Context, i: number, to: number, found: Findings): void {
  const { tokens, settings, rules } = context;
  const { catalog } = rules;
  const quoted = tokens.kind(i) === tokenKind.quoted;
  const name = tokens.name(i);
  const before = tokens.kind(i - 1);

  if (before === tokenKind.dot && tokens.isName(i - 2)) {
    const schema = tokens.name(i - 2);
    const full = `${schema}.${name}`;
    if (rules.writes.has(full) || rules.writes.has(name))
      needsPrimary(found, `function ${short(full)} writes`);
    else if (!rules.reads.has(full) && !catalog?.readsOnly(schema, name)) {
      noteProgram(found, catalog?.hasFunction(name) === true);
      needsPrimary(found, `function ${short(full)} may write`);
    }
    return;
  }
  if (!quoted && opensBracket(name, settings.flavour) && before !== tokenKind.dot) {
    // FOR UPDATE and INTO are followed by a bracket only where neither locks nor writes.
    return;
  }
  // A name behind AS or behind a closed bracket is an alias with a list of columns; so is the name of a WITH element.
  if (tokens.is(i - 1, 'as') || before === tokenKind.close) return;
  if (!quoted && name === 'columns' && tokens.isLiteral(i - 1)) return;
  if (!quoted && (name === 'any' || name === 'some') && before === tokenKind.comparison) return;
  if (!quoted && (name === 'rollup' || name === 'cube') && tokens.is(i - 1, 'by')) return;
  if (isColumnList(context, i, to)) return;

  if (rules.writes.has(name)) {
    needsPrimary(found, `function ${short(name)} writes`);
    return;
  }
  if (rules.reads.has(name)) return;
  const stored = spaceSensitive.has(name) && (quoted || tokens.spaceBefore(i + 1));
  if (stored && (quoted || catalog === null || catalog.hasFunction(name))) {
    // COUNT (x) calls a stored function, unless IGNORE_SPACE is set.
    if (!catalog?.readsOnly(null, name)) needsPrimary(found, `function ${short(name)} may be a stored one`);
    return;
  }
  // DEFAULT(column) evaluates the column's default; MySQL refuses that of an expression, and it draws from nothing else.
  if (name === 'default' && settings.flavour === 'mariadb' && (catalog?.sequences.size ?? 1) > 0) {
    needsPrimary(found, 'DEFAULT may draw from a sequence');
    return;
  }
  const effect = functionEffect(name);
  if (effect !== null) {
    if (effect.kind === 'pin') pin(found, effect.pin, `${name} ${effect.reason}`);
    else if (effect.kind === 'primary') needsPrimary(found, `${name} ${effect.reason}`);
    else {
      because(found.last, `${name} tells of the last statement`);
      if (name === 'last_insert_id') found.afterWrite = true;
    }
    return;
  }
  // A stored function may have the name of a built-in that another version has; these names are never looked up.
  const known = !spaceSensitive.has(name) && (catalog?.hasFunction(name) ?? false);
  if (isHarmless(name, settings.flavour, settings.versionNumber) && !known) return;
  if (known && catalog?.readsOnly(null, name)) return;
  noteProgram(found, known);
  needsPrimary(found, known ? `function ${short(name)} may write` : `function ${short(name)} is not known`);
}

/** `name (a, b) AS (`: an element of WITH. */
function isColumnList(context: Context, i: number, to: number): boolean {
  const { tokens } = context;
  if (!tokens.is(i - 1, 'with') && !tokens.is(i - 1, 'recursive') && tokens.kind(i - 1) !== tokenKind.comma)
    return false;
  const behind = tokens.afterBrackets(i + 1, Math.min(to, i + maxColumnListTokens));
  return tokens.is(behind, 'as') && tokens.kind(behind + 1) === tokenKind.open;
}

const scopes = new Set(['global', 'session', 'local', 'persist', 'persist_only']);

function scanSystemVariable(context: Context, i: number, found: Findings): number {
  const { tokens } = context;
  const scope =
    tokens.kind(i + 2) === tokenKind.dot && scopes.has(tokens.name(i + 1)) ? tokens.name(i + 1) : '';
  const at = scope === '' ? i + 1 : i + 3;
  const name = tokens.name(at);
  if (scope !== '' && scope !== 'session' && scope !== 'local') {
    because(found.primary, `@@${scope}.${short(name)} is asked of the primary`);
    return at;
  }
  const route = variableRoute(name);
  if (route === 'last') {
    because(found.last, `@@${name} tells of the last statement`);
    if (name === 'identity' || name === 'last_insert_id') found.afterWrite = true;
  } else if (tellsOfWrites(name)) needsPrimary(found, `@@${name} is the primary's to tell`);
  else if (route === 'primary') because(found.primary, `@@${short(name)} is asked of the primary`);
  return at;
}

function noteProgram(found: Findings, isKnown: boolean): void {
  if (isKnown) found.programs = 'some';
  else if (found.programs === 'none') found.programs = 'maybe';
}

function pin(found: Findings, reason: PinReason, why: string): void {
  if (found.pin !== null) return;
  found.pin = reason;
  found.pinReason = why;
}

function needsPrimary(found: Findings, reason: string): void {
  found.doesMore = true;
  because(found.primary, reason);
}

function because(list: string[], reason: string): void {
  if (list.length < 8 && !list.includes(reason)) list.push(reason);
}

/** Names come from clients and end in logs. */
export function short(name: string): string {
  return name.length > 64 ? `${name.slice(0, 61)}...` : name;
}
