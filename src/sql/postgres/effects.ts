// Turns the parse trees of SET, RESET, DISCARD and transaction control into effects on the session that the proxy tracks. It
// knows no session; trees must have their real literals.

import type { SessionEffect, StatementClass, TransactionEffect } from '../statement.js';
import { primary, statementClass } from './class.js';
import {
  constant,
  flag,
  isRecord,
  list,
  nameParts,
  record,
  type Tree,
  type TreeRecord,
  text,
} from './parser.js';
import { quoteLiteral } from './quote.js';
import { isFalse, isTrue } from './walk.js';

interface Modes {
  readOnly: boolean | null;
  /** READ WRITE is among them, if only to be overruled: a standby refuses the word itself. */
  readWriteSaid: boolean;
  isolation: string | null;
  /** null: not said. */
  deferrable: boolean | null;
}

/** The list of transaction modes of BEGIN, SET TRANSACTION and SESSION CHARACTERISTICS; the last of a kind counts. */
function transactionModes(options: readonly Tree[]): Modes {
  const modes: Modes = { readOnly: null, readWriteSaid: false, isolation: null, deferrable: null };
  for (const option of options) {
    const element = isRecord(option) ? record(option, 'DefElem') : null;
    if (element === null) continue;
    const value = constant(element.arg);
    switch (text(element, 'defname')) {
      case 'transaction_isolation':
        modes.isolation = value;
        break;
      case 'transaction_read_only':
        modes.readOnly = value === '1';
        modes.readWriteSaid ||= value !== '1';
        break;
      case 'transaction_deferrable':
        modes.deferrable = value === '1';
        break;
      default:
    }
  }
  return modes;
}

export function transactionClass(node: TreeRecord): StatementClass {
  const chain = flag(node, 'chain');
  switch (text(node, 'kind')) {
    case 'TRANS_STMT_BEGIN':
      return beginClass('BEGIN', node);
    case 'TRANS_STMT_START':
      return beginClass('START TRANSACTION', node);
    case 'TRANS_STMT_COMMIT':
      return statementClass('last', 'COMMIT', { transaction: { kind: 'commit', chain } });
    case 'TRANS_STMT_ROLLBACK':
      return statementClass('last', 'ROLLBACK', { transaction: { kind: 'rollback', chain } });
    case 'TRANS_STMT_SAVEPOINT':
      return statementClass('last', 'SAVEPOINT', { transaction: { kind: 'savepoint' } });
    case 'TRANS_STMT_RELEASE':
      return statementClass('last', 'RELEASE', { transaction: { kind: 'release' } });
    case 'TRANS_STMT_ROLLBACK_TO':
      return statementClass('last', 'ROLLBACK', { transaction: { kind: 'rollback-to' } });
    case 'TRANS_STMT_PREPARE':
      // It ends the transaction of this session, and what SET did in it stays.
      return statementClass('primary', 'PREPARE TRANSACTION', {
        reasons: ['two-phase commit'],
        transaction: { kind: 'commit', chain: false },
      });
    case 'TRANS_STMT_COMMIT_PREPARED':
      return primary('COMMIT PREPARED', 'two-phase commit');
    case 'TRANS_STMT_ROLLBACK_PREPARED':
      return primary('ROLLBACK PREPARED', 'two-phase commit');
    default:
      return primary('UNKNOWN', 'transaction statement is not known');
  }
}

function beginClass(verb: string, node: TreeRecord): StatementClass {
  const { readOnly, readWriteSaid, isolation } = transactionModes(list(node, 'options'));
  const transaction: TransactionEffect = { kind: 'begin', readOnly, isolation, snapshot: false };
  if (readOnly !== true || readWriteSaid) {
    return statementClass('primary', verb, { reasons: ['a transaction that may write'], transaction });
  }
  // A standby refuses SERIALIZABLE even when it is READ ONLY.
  if (isolation === 'serializable') {
    return statementClass('primary', verb, {
      reasons: ['SERIALIZABLE is refused by a standby'],
      transaction,
    });
  }
  return statementClass('replica', verb, { reasons: ['READ ONLY transaction'], transaction });
}

/** `sql` is the statement as written, from its first token to its last. */
export function setClass(node: TreeRecord, sql: string): StatementClass {
  const name = text(node, 'name').toLowerCase();
  const kind = text(node, 'kind');
  const local = flag(node, 'is_local');
  const verb = kind === 'VAR_RESET' || kind === 'VAR_RESET_ALL' ? 'RESET' : 'SET';
  const session = (...effects: SessionEffect[]): StatementClass =>
    statementClass(local ? 'last' : 'session', verb, { session: effects });
  switch (kind) {
    case 'VAR_RESET_ALL':
      return session({ kind: 'reset-all' });
    case 'VAR_RESET':
      return isTransactionSetting(name) ? setTransaction(verb, null, null) : session({ kind: 'reset', name });
    case 'VAR_SET_DEFAULT':
      if (isTransactionSetting(name)) return setTransaction(verb, null, null);
      return session(local ? { kind: 'set', name, value: 'DEFAULT', local, sql } : { kind: 'reset', name });
    case 'VAR_SET_MULTI':
      return setModes(text(node, 'name'), list(node, 'args'));
    case 'VAR_SET_VALUE':
      return setValue(name, list(node, 'args').map(argument), local, sql);
    default:
      return primary(verb, 'this form of SET is not tracked', 'untracked-setting');
  }
}

function setValue(name: string, values: readonly string[], local: boolean, sql: string): StatementClass {
  const value = values.join(', ');
  if (name === 'transaction_read_only') {
    const on = isTrue(value);
    return on || isFalse(value) ? setTransaction('SET', on, null) : primary('SET', 'not a boolean');
  }
  if (name === 'transaction_isolation') return setTransaction('SET', null, value.trim().toLowerCase());
  if (name === 'transaction_deferrable') return setTransaction('SET', null, null);
  const trouble = untrackable(name, values);
  if (trouble !== null) return primary('SET', trouble.reason, trouble.pin);
  return statementClass(local ? 'last' : 'session', 'SET', {
    session: [{ kind: 'set', name, value, local, sql }],
  });
}

/** Settings that another connection cannot be brought to by saying the same words. */
function untrackable(
  name: string,
  values: readonly string[],
): { reason: string; pin: 'untracked-setting' } | null {
  if (name === 'seed') return { reason: 'the random seed cannot be replayed', pin: 'untracked-setting' };
  // Behind this, what CREATE TABLE makes is temporary.
  const first = values[0]?.split(',')[0]?.trim().replace(/^"|"$/g, '');
  if (name === 'search_path' && first !== undefined && /^pg_temp(_\d+)?$/i.test(first)) {
    return { reason: 'search_path begins with the temporary schema', pin: 'untracked-setting' };
  }
  return null;
}

function isTransactionSetting(name: string): boolean {
  return (
    name === 'transaction_read_only' || name === 'transaction_isolation' || name === 'transaction_deferrable'
  );
}

function setTransaction(verb: string, readOnly: boolean | null, isolation: string | null): StatementClass {
  return statementClass('last', verb, { transaction: { kind: 'set-transaction', readOnly, isolation } });
}

/** SET TRANSACTION ..., SET SESSION CHARACTERISTICS AS TRANSACTION ..., SET TRANSACTION SNAPSHOT. */
function setModes(what: string, args: readonly Tree[]): StatementClass {
  if (what === 'TRANSACTION SNAPSHOT')
    return primary('SET', 'a snapshot is known to the node that exported it');
  const { readOnly, isolation, deferrable } = transactionModes(args);
  if (what === 'TRANSACTION') return setTransaction('SET', readOnly, isolation);
  if (what !== 'SESSION CHARACTERISTICS') return primary('SET', 'not known', 'untracked-setting');
  const effects: SessionEffect[] = [];
  const add = (name: string, value: string): void => {
    effects.push({ kind: 'set', name, value, local: false, sql: `SET ${name} = '${value}'` });
  };
  if (isolation !== null) add('default_transaction_isolation', isolation);
  if (readOnly !== null) add('default_transaction_read_only', readOnly ? 'on' : 'off');
  if (deferrable !== null) add('default_transaction_deferrable', deferrable ? 'on' : 'off');
  return statementClass('session', 'SET', { session: effects });
}

/** One value in SET's list: a word, a string, a number, or SET TIME ZONE's INTERVAL '...'. */
function argument(tree: Tree): string {
  const value = constant(tree);
  if (value !== null) return value;
  const cast = isRecord(tree) ? record(tree, 'TypeCast') : null;
  return (cast === null ? null : constant(cast.arg)) ?? '';
}

export function discardClass(node: TreeRecord): StatementClass {
  switch (text(node, 'target')) {
    case 'DISCARD_ALL':
      return statementClass('session', 'DISCARD', { session: [{ kind: 'discard', what: 'all' }] });
    case 'DISCARD_PLANS':
      return statementClass('session', 'DISCARD', { session: [{ kind: 'discard', what: 'plans' }] });
    case 'DISCARD_SEQUENCES':
      return statementClass('session', 'DISCARD', { session: [{ kind: 'discard', what: 'sequences' }] });
    case 'DISCARD_TEMP':
      return statementClass('session', 'DISCARD', { session: [{ kind: 'discard', what: 'temp' }] });
    default:
      return primary('DISCARD', 'this form of DISCARD is not known', 'untracked-setting');
  }
}

/**
 * SELECT set_config('name', 'value', false) [, ...] and nothing else is a SET in other clothes. Null when the statement is
 * anything more, or when one of the arguments is not a literal. Its replay is the same call, since SET reads the
 * values of list settings (search_path) differently; it answers with a row.
 */
export function setConfigClass(select: TreeRecord): StatementClass | null {
  const fields = Object.keys(select).filter(
    (key) => key !== 'targetList' && key !== 'limitOption' && key !== 'op',
  );
  const targets = list(select, 'targetList');
  if (fields.length > 0 || targets.length === 0) return null;
  const effects: SessionEffect[] = [];
  let locals = 0;
  for (const target of targets) {
    const result = isRecord(target) ? record(target, 'ResTarget') : null;
    const call = result !== null && isRecord(result.val) ? record(result.val, 'FuncCall') : null;
    if (call === null) return null;
    const name = nameParts(list(call, 'funcname'));
    if (name.at(-1) !== 'set_config' || (name.length > 1 && name[0] !== 'pg_catalog')) return null;
    const args = list(call, 'args');
    const [setting, value, scope] = args.map(constant);
    if (args.length !== 3) return null;
    const local = typeof scope === 'string' && isTrue(scope);
    if (local) {
      locals++;
      // Undone with its transaction: what it was need not be known.
      if (typeof setting !== 'string' || typeof value !== 'string') continue;
    } else if (typeof scope !== 'string' || !isFalse(scope)) return null;
    if (typeof setting !== 'string' || typeof value !== 'string') return null;
    const lower = setting.trim().toLowerCase();
    if (isTransactionSetting(lower) || untrackable(lower, [value]) !== null) return null;
    const sql = `SELECT pg_catalog.set_config(${quoteLiteral(lower)}, ${quoteLiteral(value)}, ${local})`;
    effects.push({ kind: 'set', name: lower, value, local, sql });
  }
  const route = locals === targets.length ? 'last' : 'session';
  return statementClass(route, 'SELECT', { session: effects, reasons: ['set_config changes a setting'] });
}
