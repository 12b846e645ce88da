// Judges SET in all its forms, and USE: what can be said again on another connection is tracked, the rest pins.

import type { SessionEffect } from '../statement.js';
import { type Context, Draft } from './context.js';
import { scanExpressions, short } from './expressions.js';
import { tokenKind } from './lexer.js';
import type { Span } from './split.js';
import { characteristics } from './transactions.js';
import { bindsConnection, bindsReplication, transactionVariable } from './variables.js';

const untracked = 'untracked-setting';
/** What is said again to other connections has to be kept meanwhile. */
const maxTrackedBytes = 16_384;

export function judgeUse({ tokens }: Context, { from, to }: Span): Draft {
  const draft = new Draft('USE');
  draft.byLiterals = true;
  if (to - from !== 2 || !tokens.isName(from + 1) || tokens.size(from, to) > maxTrackedBytes) {
    draft.primary('not understood behind USE');
    return draft;
  }
  draft.route = 'session';
  const quoted = tokens.kind(from + 1) === tokenKind.quoted;
  const database = quoted ? tokens.unquoted(from + 1) : tokens.raw(from + 1, from + 2);
  draft.session.push({ kind: 'use', database });
  return draft;
}

export function judgeSet(context: Context, span: Span): Draft {
  const { tokens } = context;
  const { from, to } = span;
  const draft = new Draft('SET');
  draft.byLiterals = true;
  const at = from + 1;
  const first = tokens.word(at);
  const assigned = isAssignment(context, at + 1);
  if (!assigned) {
    if (first === 'role') {
      draft.route = 'session';
      if (!tooLong(draft, context, at, to))
        track(draft, 'role', context, at + 1, to, `SET ${tokens.raw(at, to)}`);
      return draft;
    }
    if (first === 'default' && tokens.is(at + 1, 'role')) {
      draft.primary('SET DEFAULT ROLE writes');
      return draft;
    }
    if (first === 'resource' && tokens.is(at + 1, 'group')) {
      draft.pinned(untracked, 'SET RESOURCE GROUP is not tracked');
      return draft;
    }
    const scoped = first === 'session' || first === 'local' || first === 'global';
    if (
      first === 'transaction' ||
      (scoped && tokens.is(at + 1, 'transaction') && !isAssignment(context, at + 2))
    ) {
      setTransaction(draft, context, scoped ? first : '', scoped ? at + 2 : at + 1, to);
      return draft;
    }
  }
  draft.route = 'session';
  let scope = '';
  for (let i = at; i < to; ) {
    const end = endOfItem(context, i, to);
    scope = setItem(draft, context, i, end, scope);
    i = end + 1;
  }
  const own = draft.session.filter((effect) => effect.kind === 'set' && effect.name.startsWith('scheelite.'));
  if (own.length > 0) {
    if (own.length === draft.session.length && draft.route === 'session') draft.route = 'proxy';
    else draft.primary('a setting of the proxy beside others');
  }
  if (draft.session.length === 0 && draft.reasons.length === 0 && draft.transaction === null) {
    draft.primary('not understood behind SET');
  }
  return draft;
}

/** The comma that ends an assignment, or `to`. */
function endOfItem({ tokens }: Context, from: number, to: number): number {
  let depth = 0;
  for (let i = from; i < to; i++) {
    const kind = tokens.kind(i);
    if (kind === tokenKind.open) depth++;
    else if (kind === tokenKind.close) depth--;
    else if (kind === tokenKind.comma && depth === 0) return i;
  }
  return to;
}

function isAssignment({ tokens }: Context, i: number): boolean {
  const text = tokens.text(i);
  return (tokens.kind(i) === tokenKind.comparison && text === '=') || text === ':=';
}

const serverScopes = new Set(['global', 'persist', 'persist_only']);

/** One item of the list; gives the scope word that holds for the following ones. */
function setItem(draft: Draft, context: Context, from: number, to: number, inherited: string): string {
  const { tokens } = context;
  let i = from;
  if (tokens.kind(i) === tokenKind.userVariable) {
    draft.pinned('user-variable', `user variable ${short(tokens.text(i))}`);
    settleValue(draft, context, i + 1, to);
    return inherited;
  }
  if (tokens.is(i, 'password')) {
    draft.primary('SET PASSWORD writes');
    return inherited;
  }
  if (!isAssignment(context, i + 1)) {
    const word = tokens.word(i);
    if (word === 'names') {
      if (!tooLong(draft, context, i, to))
        track(draft, 'names', context, i + 1, to, `SET ${tokens.raw(i, to)}`);
      return inherited;
    }
    const characterSet =
      word === 'charset' ? 1 : tokens.is(i + 1, 'set') && (word === 'character' || word === 'char') ? 2 : 0;
    if (characterSet > 0) {
      // It sets what SET NAMES sets: of the two, the later one counts.
      if (!tooLong(draft, context, i, to)) {
        track(draft, 'names', context, i + characterSet, to, `SET ${tokens.raw(i, to)}`);
      }
      return inherited;
    }
  }
  let scope = inherited;
  let explicit = false;
  let atAt = false;
  if (tokens.kind(i) === tokenKind.systemVariable) {
    i++;
    atAt = true;
    // @@global.x does not last beyond its own assignment; a scope word does.
    scope = '';
  }
  const word = tokens.text(i);
  const behind = tokens.kind(i + 1);
  if (serverScopes.has(word) || word === 'session' || word === 'local') {
    if (atAt ? behind === tokenKind.dot : tokens.isName(i + 1) || behind === tokenKind.systemVariable) {
      scope = word;
      explicit = true;
      i += atAt ? 2 : 1;
      if (tokens.kind(i) === tokenKind.systemVariable) i++;
    }
  }
  const last = atAt ? inherited : scope;
  if (serverScopes.has(scope)) {
    draft.primary(`SET ${scope.toUpperCase()} changes the server`);
    settleValue(draft, context, i + 1, to);
    return last;
  }
  if (!tokens.isName(i)) {
    draft.primary('not understood behind SET');
    return last;
  }
  const name = tokens.name(i);
  if (!isAssignment(context, i + 1)) {
    setQualified(draft, context, i, to);
    return last;
  }
  const modes = transactionVariable(name);
  if (modes !== null && atAt && !explicit && tokens.size(i, to) <= maxTrackedBytes) {
    // SET @@transaction_isolation = ...: for the next transaction only.
    const value = valueText(context, i + 2, to);
    nextTransaction(draft, {
      isolation: modes === 'isolation' ? isolationOf(value) : null,
      readOnly: modes === 'readOnly' ? isOn(value) : null,
    });
    return last;
  }
  if (bindsReplication(name)) {
    draft.pinned('replication-variable', `${short(name)} changes what is replicated`);
    settleValue(draft, context, i + 2, to);
    return last;
  }
  if (bindsConnection(name)) {
    draft.pinned(untracked, `${short(name)} is kept by its connection`);
    return last;
  }
  if (atAt && !explicit && !name.startsWith('session_track_')) {
    // Servers report what is set for the session (OPT_SESSION in sys_var); this is neither that nor global to them.
    draft.pinned(untracked, `of SET @@${short(name)} without SESSION the server tells nothing`);
    settleValue(draft, context, i + 2, to);
    return last;
  }
  const tracked =
    modes === 'isolation' ? 'transaction_isolation' : modes === 'readOnly' ? 'transaction_read_only' : name;
  if (tooLong(draft, context, from, to)) return last;
  const written = tokens.raw(from, to);
  const sql =
    explicit || atAt || inherited === '' ? `SET ${written}` : `SET ${inherited.toUpperCase()} ${written}`;
  track(draft, tracked, context, i + 2, to, sql, modes);
  return last;
}

/** SET a.b = ...: a variable of a component or of a key cache, and the proxy's own settings. */
function setQualified(draft: Draft, context: Context, i: number, to: number): void {
  const { tokens } = context;
  const qualified =
    tokens.kind(i + 1) === tokenKind.dot && tokens.isName(i + 2) && isAssignment(context, i + 3);
  if (qualified && tokens.name(i) === 'scheelite' && tokens.size(i, to) <= maxTrackedBytes) {
    const name = `scheelite.${tokens.name(i + 2)}`;
    draft.session.push(set(name, valueText(context, i + 4, to), `SET ${tokens.raw(i, to)}`));
    draft.because('a setting of the proxy');
    return;
  }
  draft.primary(qualified ? 'SET of a qualified name' : 'not understood behind SET');
}

const set = (name: string, value: string, sql: string): SessionEffect => ({
  kind: 'set',
  name,
  value,
  local: false,
  sql,
});

function track(
  draft: Draft,
  name: string,
  context: Context,
  from: number,
  to: number,
  sql: string,
  modes: ReturnType<typeof transactionVariable> = null,
): void {
  if (from >= to) {
    draft.primary('not understood behind SET');
    return;
  }
  let value = valueText(context, from, to);
  if (modes === 'isolation') value = isolationOf(value);
  else if (modes === 'readOnly' && isOn(value) !== null) value = isOn(value) ? '1' : '0';
  draft.session.push(set(name, value, sql));
  if (isConstant(context, from, to)) return;
  // Said again elsewhere it would give another value.
  settleValue(draft, context, from, to);
  draft.pinned(untracked, `${short(name)} is set to more than a constant`);
}

function tooLong(draft: Draft, context: Context, from: number, to: number): boolean {
  if (context.tokens.size(from, to) <= maxTrackedBytes) return false;
  settleValue(draft, context, from, to);
  draft.pinned(untracked, 'a value too long to be tracked');
  return true;
}

/** What the expressions on the right do besides. */
function settleValue(draft: Draft, context: Context, from: number, to: number): void {
  const found = scanExpressions(context, from, to);
  if (found.pin !== null) draft.pinned(found.pin, found.pinReason);
  for (const reason of found.primary) draft.primary(reason);
  if (found.last.length > 0) draft.primary('reads what the last statement left');
  draft.afterWrite ||= found.afterWrite;
}

const constantFunctions = new Set([
  'concat',
  'concat_ws',
  'lower',
  'upper',
  'replace',
  'trim',
  'cast',
  'char',
  'if',
]);

function isConstant({ tokens }: Context, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const kind = tokens.kind(i);
    if (kind === tokenKind.userVariable || kind === tokenKind.systemVariable || kind === tokenKind.parameter)
      return false;
    if (kind === tokenKind.dot || kind === tokenKind.semicolon) return false;
    if (!tokens.isName(i)) continue;
    if (tokens.is(i, 'select') || tokens.is(i, 'interval')) return false;
    if (tokens.kind(i + 1) === tokenKind.open && i + 1 < to && !constantFunctions.has(tokens.name(i)))
      return false;
  }
  return true;
}

/** A single string without its quotes, anything else as written. */
function valueText({ tokens, settings }: Context, from: number, to: number): string {
  if (to - from === 1) {
    const kind = tokens.kind(from);
    if (kind === tokenKind.string) return tokens.unquoted(from, !settings.noBackslashEscapes);
    if (kind === tokenKind.quoted) return tokens.unquoted(from);
  }
  return tokens.raw(from, to);
}

/** As SET TRANSACTION writes it: "READ-COMMITTED" is "read committed". */
const isolationOf = (value: string) => value.toLowerCase().replaceAll('-', ' ');

function isOn(value: string): boolean | null {
  if (/^(?:1|on|true)$/i.test(value)) return true;
  return /^(?:0|off|false)$/i.test(value) ? false : null;
}

function setTransaction(draft: Draft, context: Context, scope: string, from: number, to: number): void {
  const { tokens } = context;
  const found = characteristics(tokens, from, to);
  if (found === null) {
    draft.primary('not understood behind SET TRANSACTION');
    return;
  }
  if (scope === 'global') {
    draft.primary('SET GLOBAL changes the server');
    return;
  }
  if (scope === '') {
    nextTransaction(draft, found);
    return;
  }
  draft.route = 'session';
  const sql = 'SET SESSION TRANSACTION';
  if (found.isolation !== null) {
    draft.session.push(
      set(
        'transaction_isolation',
        found.isolation,
        `${sql} ISOLATION LEVEL ${found.isolation.toUpperCase()}`,
      ),
    );
  }
  if (found.readOnly !== null) {
    draft.session.push(
      set(
        'transaction_read_only',
        found.readOnly ? '1' : '0',
        `${sql} READ ${found.readOnly ? 'ONLY' : 'WRITE'}`,
      ),
    );
  }
}

/**
 * It holds for the one transaction that begins next, on this connection: nothing that is said again elsewhere. A session
 * layer that keeps it back until that transaction begins, by `transaction`, may overlook the pin.
 */
function nextTransaction(draft: Draft, modes: { isolation: string | null; readOnly: boolean | null }): void {
  draft.transaction = { kind: 'set-transaction', ...modes };
  draft.pinned(untracked, 'SET TRANSACTION is for the next transaction of this connection');
}
