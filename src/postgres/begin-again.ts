// A READ ONLY transaction that was left on a replica, because the unit that ends it may write behind that: it stands again on the
// primary, with its settings or failed, so that its end is answered, and rolls back, as it would have there.
// It knows no client.

import type { ServerError } from '../protocol/unit.js';
import { failTransaction } from './fail-transaction.js';
import { CONNECTION_LOST } from './lost-expectations.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { LeftTransaction } from './session-settings.js';
import type { TrackedState } from './tracked-state.js';

/** `done`: null, or what the node refused; an open transaction may be left then. */
export function beginAgain(
  { outside, inside }: LeftTransaction,
  server: PostgresServerConnection,
  done: (error: ServerError | null) => void,
): void {
  const bring = (state: TrackedState, then: () => void): void => {
    const isThere = server.bringTo(state, (error) => {
      if (error === null) then();
      else done(error);
    });
    if (isThere) then();
  };
  const begun = (): void => {
    if (inside !== null) bring(inside, () => done(null));
    else failTransaction(server, (error) => done(error.code === CONNECTION_LOST ? error : null));
  };
  bring(outside, () =>
    server.own('BEGIN READ ONLY', (error) => {
      if (error === null) begun();
      else done(error);
    }),
  );
}
