// Merges the classes of several statements sent as one text into the class of the whole; it knows no dialect.

import type { PinReason, Route, SessionEffect, StatementClass } from './statement.js';

/** More reasons than an operator would read are cut. */
const maxReasons = 8;

export const emptyStatement: StatementClass = Object.freeze({
  route: 'last',
  reasons: Object.freeze(['empty query']),
  pin: null,
  transaction: null,
  session: Object.freeze([]),
  prepared: null,
  ddl: false,
  statements: 0,
  verb: '',
});

/**
 * The strictest member decides for all, because the text is never split. All reads: a read; all session settings: a
 * session setting; all of the last connection: there; any mixture: primary.
 *
 * Session effects stay in order when nothing in the text can undo them. Where transaction control stands beside them
 * (SET ...; ROLLBACK), or a text-level PREPARE, what survives depends on where an error happened: the connection is
 * pinned as 'untracked-setting' instead. `transaction` is that of the last transaction statement, since the
 * state behind the text is what the session must know; the server's own status remains the authority.
 */
export function mergeClasses(classes: readonly StatementClass[]): StatementClass {
  if (classes.length === 1 && classes[0]!.statements > 0) return classes[0]!;
  const members = classes.filter((member) => member.statements > 0);
  const first = members[0];
  if (first === undefined) return emptyStatement;
  if (members.length === 1) return first;

  const reasons: string[] = [];
  let mixed = false;
  const session: SessionEffect[] = [];
  let pin: PinReason | null = null;
  let route: Route = first.route;
  let transaction = first.transaction;
  let transactions = 0;
  let prepared = 0;
  let ddl = false;
  let statements = 0;
  let tells = 0;
  let reads = 0;
  for (const member of members) {
    if (member.route !== route) {
      route = 'primary';
      mixed ||= member.route !== 'primary';
    }
    for (const reason of member.reasons) {
      if (reasons.length < maxReasons && !reasons.includes(reason)) reasons.push(reason);
    }
    session.push(...member.session);
    pin ??= member.pin;
    if (member.transaction !== null) {
      transaction = member.transaction;
      transactions++;
    }
    if (member.prepared !== null) prepared++;
    ddl ||= member.ddl;
    statements += member.statements;
    if (member.tellsOfNode === true) tells++;
    else if (member.route === 'replica') reads++;
  }
  // A read-only transaction begun in the middle of a text cannot be told from its end: the primary serves both.
  if (transactions > 0) route = 'primary';
  if (prepared > 0) {
    route = 'primary';
    pin ??= 'sql-prepare';
  }
  if (session.length > 0 && transactions + prepared > 0) {
    pin ??= 'untracked-setting';
    session.length = 0;
  }
  if (mixed || (route === 'primary' && reasons.length === 0))
    reasons.push('statements of several kinds in one text');
  const merged = {
    route,
    reasons,
    pin,
    transaction,
    session,
    prepared: null,
    ddl,
    statements,
    verb: first.verb,
  };
  return tells > 0 && tells + reads === members.length ? { ...merged, tellsOfNode: true } : merged;
}
