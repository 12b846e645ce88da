// What those learn that are under way on a server connection when it ends.
// It knows no socket.

import type { ExecuteOptions, Outcome, ServerError } from '../protocol/unit.js';
import type { Expectation } from './expectation.js';
import { type Told, tell, tellCut, tellOwn } from './telling.js';

/** connection_failure: the code under which a statement of our own learns that its connection is gone. */
export const CONNECTION_LOST = '08006';

export function tellLost(server: Told, expectations: readonly Expectation[], reason: string): void {
  const error = { code: CONNECTION_LOST, message: reason };
  const first = expectations.findIndex(({ run }) => run !== null);
  for (const [index, expectation] of expectations.entries()) {
    tellOwn(server, expectation, error);
    const run = expectation.muted ? null : expectation.run;
    if (run === null) continue;
    if (expectation.cut && expectation.forwarded) tellCut(server, run);
    // What stood behind the first of a pipeline had not begun; in a group it may be what has ended the connection.
    const because = expectation.grouped ? 'slow-group' : 'slow-head';
    if (index > first && expectation.canMove) tell(server, run, { kind: 'moved', because });
    else tell(server, run, { kind: 'lost', reason, forwarded: expectation.forwarded }, expectation.tag);
  }
}

/** Of a unit that has not begun: what its session makes of the error, so that the client need not see it. Null: it is the client's. */
export function unseenByClient(
  error: ServerError,
  isClosed: boolean,
  { withholdRetryable, onReplica }: ExecuteOptions,
): Outcome | null {
  if (error.code === CONNECTION_LOST && isClosed)
    return { kind: 'lost', reason: error.message, forwarded: false };
  return withholdRetryable && onReplica ? { kind: 'withheld', error, retryOn: 'primary' } : null;
}
