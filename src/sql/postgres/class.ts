// Builds the class of one PostgreSQL statement; shorthand shared by the files that judge statements.

import type { PinReason, Route, StatementClass } from '../statement.js';

const nothing: StatementClass = Object.freeze({
  route: 'primary',
  reasons: Object.freeze([]),
  pin: null,
  transaction: null,
  session: Object.freeze([]),
  prepared: null,
  ddl: false,
  statements: 1,
  verb: 'UNKNOWN',
});

export function statementClass(
  route: Route,
  verb: string,
  more: Partial<StatementClass> = {},
): StatementClass {
  return { ...nothing, ...more, route, verb };
}

export function primary(verb: string, reason: string, pin: PinReason | null = null): StatementClass {
  return { ...nothing, reasons: [reason], pin, verb };
}
