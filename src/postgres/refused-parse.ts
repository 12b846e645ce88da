// A Parse whose answer would have been faked, and which the server would have refused.
// It knows steps and codes only; server-connection.ts asks it.

import type { PreparedText } from './prepared-statements.js';
import type { Step } from './run.js';

/** insufficient_privilege: looked at when it is executed. */
const NOT_OF_PARSE = '42501';
const INVALID_SCHEMA_NAME = '3F000';
/** in_failed_sql_transaction */
const TRANSACTION_FAILED = '25P02';

/**
 * An error has come at the first of these steps that the server was asked for. What cannot be analysed any more (syntax error or
 * access rule violation, invalid schema name) a Parse of this moment would have been refused for: where the client has just
 * sent one, whose answer would have been faked, that is answered with the error. The step at which it stands then; null: it
 * is none of these, and the fakes before it are told.
 */
export function refusedParse(steps: readonly Step[], from: number, code: string): number | null {
  const isOfText = (code.startsWith('42') && code !== NOT_OF_PARSE) || code === INVALID_SCHEMA_NAME;
  if (!isOfText && code !== TRANSACTION_FAILED) return null;
  const text = askedText(steps, from);
  if (text === null) return null;
  if (isOfText) text.isOutdated = true;
  for (let i = from; steps[i]!.verb === 'fake'; i++)
    if (steps[i]!.kind === 'parse' && steps[i]!.text === text) return i;
  return null;
}

/** The named statement that is bound or described at the first of these steps that the server was asked for. */
export function askedText(steps: readonly Step[] | null, from: number): PreparedText | null {
  let at = from;
  while (steps?.[at]?.verb === 'fake') at++;
  const step = steps?.[at];
  if (step === undefined || (step.kind !== 'bind' && step.kind !== 'describe-statement')) return null;
  return step.text === null || step.text.serverName === '' ? null : step.text;
}
