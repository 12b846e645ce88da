// Whether an error of a run is of what the proxy has prepared, or believed to be prepared, and not of what the client asked; and how
// the client is told of it.
// It knows no socket; what it learns of the statements there it notes.

import { boundTexts, type Expectation } from './expectation.js';
import { outdate, type PreparedOnServer } from './prepared-statements.js';
import { askedText } from './refused-parse.js';
import { DUPLICATE_STATEMENT, INVALID_STATEMENT_NAME, isStalePlan } from './replica-errors.js';
import type { Run } from './run.js';
import { moveErrorPosition, renameInError, type ServerErrorFields } from './wire/backend.js';
import { proxyErrorResponse } from './wire/backend-messages.js';

/** query_canceled: also what a client is told of a deadline, in other words. */
const QUERY_CANCELED = '57014';

/** read_only_sql_transaction */
const READ_ONLY = '25006';
const ON_PRIMARY = [
  'cannot execute COPY during recovery',
  'cannot execute COPY FROM in a read-only transaction',
] as const;

export function isOurs(
  head: Expectation,
  run: Run,
  error: ServerErrorFields,
  prepared: PreparedOnServer,
): boolean {
  if (isStalePlan(error)) {
    head.stale = boundTexts(run);
    for (const text of head.stale) outdate(text);
    return head.stale.length > 0;
  }
  // Somebody has deallocated behind our back what we believed to be there, or its Parse, in a unit before, has failed.
  if (error.code === INVALID_STATEMENT_NAME) return prepared.lacks(askedText(run.steps, head.step));
  if (error.code !== DUPLICATE_STATEMENT) return false;
  const step = run.steps?.[head.step];
  return step?.kind === 'parse' && step.text !== null && step.text.serverName !== '';
}

/** Null: as it came. */
export function toldAs(
  head: Expectation,
  run: Run,
  code: string,
  buffer: Buffer,
  start: number,
  end: number,
): Buffer | null {
  const late = code === QUERY_CANCELED ? run.options.late : null;
  if (late !== null && !head.muted) return proxyErrorResponse(late);
  if (run.beginLength > 0) return moveErrorPosition(buffer, start, end, -run.beginLength);
  // A replica looks at itself before it looks at the transaction.
  if (run.onReplica && code === READ_ONLY) return renameInError(buffer, start, end, ...ON_PRIMARY);
  const alias = run.steps?.[head.step]?.alias ?? null;
  return alias === null ? null : renameInError(buffer, start, end, alias.server, alias.client);
}
