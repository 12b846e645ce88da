// What has to be done on a server connection before a unit is written there: its client's settings, a transaction begun again,
// the rows of what it binds looked at. It opens no socket.

import type { ExecuteOptions, Outcome, ServerError } from '../protocol/unit.js';
import { beginAgain } from './begin-again.js';
import type { DrawnSequences } from './drawn-sequences.js';
import { failTransaction } from './fail-transaction.js';
import { beginWith, type HeldBegin } from './held-begin.js';
import { CONNECTION_LOST } from './lost-expectations.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { LeftTransaction } from './session-settings.js';
import type { TrackedState } from './tracked-state.js';
import type { PostgresUnit } from './unit.js';
import { type RowsOptions, withKnownRows } from './verified-rows.js';

/** Where a unit was told to run, and who wants to know how it ended. */
export interface Placed {
  readonly server: PostgresServerConnection;
  readonly options: ExecuteOptions;
  readonly done: (outcome: Outcome) => void;
}

export interface ReadyOptions extends RowsOptions {
  /** It must not run: only its transaction fails. */
  readonly denial: { readonly sqlState: string; readonly message: string } | null;
  /** The transaction that had to leave another server connection. */
  readonly left: LeftTransaction | null;
  /** The client's settings. */
  readonly current: TrackedState;
  /** It may ask for what others have drawn from sequences there: that is discarded first. Null: it needs not be. */
  readonly drawn: DrawnSequences | null;
}

/** Calls one of the two, at once or when the server has answered. */
export function makeReady(
  unit: PostgresUnit,
  server: PostgresServerConnection,
  options: ReadyOptions,
  begun: (begin: HeldBegin | null) => void,
  refused: (error: ServerError) => void,
): void {
  const { denial, left, current, drawn } = options;
  if (denial !== null) {
    const denied: ServerError = { code: denial.sqlState, message: denial.message };
    failTransaction(server, (error) => refused(error.code === CONNECTION_LOST ? error : denied));
    return;
  }
  const begins = (): void => beginWith(unit, server, begun, refused);
  const known = (): void => withKnownRows(unit, server, options, begins, refused);
  const start = (): void => {
    if (drawn === null) known();
    else
      server.own('DISCARD SEQUENCES', (error) => {
        if (error === null) drawn.discarded(server, unit);
        if (error === null) known();
        else refused(error);
      });
  };
  const started = (error: ServerError | null): void => (error === null ? start() : refused(error));
  if (left !== null) beginAgain(left, server, started);
  else if (server.bringTo(current, started)) start();
}
