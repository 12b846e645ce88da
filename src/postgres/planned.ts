// Which statements gain by being prepared without being asked for: those that PostgreSQL plans, and nothing that has effects.
// Pure; it knows no connection.

import type { StatementClass } from '../sql/statement.js';

/** What PostgreSQL plans; all else gains nothing, and some of it means something else under a name. */
const PLANNED_VERBS: ReadonlySet<string> = new Set([
  'SELECT',
  'VALUES',
  'TABLE',
  'WITH',
  'INSERT',
  'UPDATE',
  'DELETE',
  'MERGE',
]);

export function isPlannedStatement(statement: StatementClass): boolean {
  return (
    PLANNED_VERBS.has(statement.verb) &&
    (statement.route === 'replica' || statement.route === 'primary') &&
    statement.statements === 1 &&
    statement.pin === null &&
    statement.transaction === null &&
    statement.prepared === null &&
    !statement.ddl &&
    statement.session.length === 0 &&
    !statement.reasons.some(setsSomething)
  );
}

/** Inside a larger SELECT it is no effect of the session. */
function setsSomething(reason: string): boolean {
  return reason.startsWith('set_config');
}
