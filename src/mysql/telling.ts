// Tells runs, and whoever has asked for a command of our own, how it has ended. What throws there is a bug of ours: others are told
// all the same, and neither its client nor the server connection goes on. It knows no socket.

import type { Outcome } from '../protocol/unit.js';
import type { Expectation, MysqlServerError, OwnResult, Pending } from './expectation.js';
import type { Forwarding } from './forwarding.js';
import type { ServerStatement } from './prepared-statements.js';
import type { Run } from './run.js';
import type { MysqlServerConnection } from './server-connection.js';

export type Told = Pick<MysqlServerConnection, 'broke'>;

export function tell(server: Told, run: Run, outcome: Outcome): void {
  try {
    run.done(outcome);
  } catch (cause) {
    server.broke(cause, run.sink);
  }
}

/** The text that a run of a shared server connection waits for is prepared there, or is not. */
export function tellPrepared(
  server: Told,
  { run, done }: Pending,
  statement: ServerStatement | null,
  error: MysqlServerError | null,
): void {
  try {
    done(statement, error);
  } catch (cause) {
    server.broke(cause, run.sink);
  }
}

/** What has been read for it and not handed over. */
export function tellRest(server: Told, forwarding: Forwarding, head: Expectation): void {
  try {
    forwarding.flush(head);
  } catch (cause) {
    server.broke(cause, head.run?.sink ?? null);
  }
}

/** Who waits for it has the server connection to himself, and is told by its end. */
export function tellOwn(server: Told, { ownDone }: Expectation, result: OwnResult): void {
  try {
    ownDone?.(result);
  } catch (cause) {
    server.broke(cause, null);
  }
}
