// What those learn that are under way on a server connection when it ends.
// It knows no socket.

import { type Expectation, lostError } from './expectation.js';
import { type Told, tell, tellOwn } from './telling.js';

/** `isCut`: it has ended in the middle of a packet. */
export function tellLost(
  server: Told,
  expectations: readonly Expectation[],
  reason: string,
  isCut: boolean,
): void {
  // Those of our own do not count: a position query is before the unit that it is asked for.
  const first = expectations.findIndex(({ run }) => run !== null);
  for (const [index, expectation] of expectations.entries()) {
    const { run, forwarded } = expectation;
    // What stood behind the first of a pipeline had not begun.
    for (const moved of expectation.takeMovable(index === 0 || index === first))
      tell(server, moved, { kind: 'moved', because: 'slow-head' });
    tellOwn(server, expectation, { error: lostError(reason), rows: [], prepared: null });
    if (run === null || expectation.muted) continue;
    if (index === 0) run.cut = isCut && forwarded;
    tell(server, run, { kind: 'lost', reason, forwarded });
  }
}
