// Tells runs, and whoever has asked for a statement of our own, how it has ended. What throws there is a bug of ours: others are told
// all the same, and neither its client nor the server connection goes on. It knows no socket.

import type { Outcome, ServerError } from '../protocol/unit.js';
import type { Expectation } from './expectation.js';
import type { Forwarding } from './forwarding.js';
import type { Run } from './run.js';
import type { PostgresServerConnection } from './server-connection.js';

export type Told = Pick<PostgresServerConnection, 'broke'>;

/** `tag`: of the last CommandComplete. */
export function tell(server: Told, run: Run, outcome: Outcome, tag = ''): void {
  try {
    run.done(outcome, tag);
  } catch (cause) {
    server.broke(cause, run.sink.events);
  }
}

/** The last bytes that it was given end inside a message. */
export function tellCut(server: Told, run: Run): void {
  try {
    run.sink.events.messageCut();
  } catch (cause) {
    server.broke(cause, run.sink.events);
  }
}

/** What has been read for it and not handed over. */
export function tellRest(server: Told, forwarding: Forwarding, head: Expectation): void {
  try {
    forwarding.flush(head);
  } catch (cause) {
    server.broke(cause, head.run?.sink.events ?? null);
  }
}

/** Who waits for it has the server connection to himself, and is told by its end. */
export function tellOwn(server: Told, { ownDone }: Expectation, error: ServerError | null): void {
  try {
    ownDone?.(error);
  } catch (cause) {
    server.broke(cause, null);
  }
}
