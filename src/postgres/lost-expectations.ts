// What those learn that are under way on a server connection when it ends.
// It knows no socket.

import type { Expectation } from './expectation.js';

/** connection_failure: the code under which a statement of our own learns that its connection is gone. */
export const CONNECTION_LOST = '08006';

export function tellLost(expectations: readonly Expectation[], reason: string): void {
  const error = { code: CONNECTION_LOST, message: reason };
  const first = expectations.findIndex(({ run }) => run !== null);
  for (const [index, expectation] of expectations.entries()) {
    const run = expectation.muted ? null : expectation.run;
    expectation.ownDone?.(error);
    if (expectation.cut && expectation.forwarded) run?.sink.events.messageCut();
    // What stood behind the first of a pipeline had not begun; in a group it may be what has ended the connection.
    const because = expectation.grouped ? 'slow-group' : 'slow-head';
    if (index > first && expectation.canMove) run?.done({ kind: 'moved', because }, '');
    else run?.done({ kind: 'lost', reason, forwarded: expectation.forwarded }, expectation.tag);
  }
}
