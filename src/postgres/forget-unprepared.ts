// What a server connection does not hold after all, since a unit failed before the server came to it.
// It knows no socket.

import type { Expectation } from './expectation.js';
import { DUPLICATE_STATEMENT } from './replica-errors.js';
import type { PostgresServerConnection } from './server-connection.js';

/** Parses that the server has skipped or refused left nothing there. */
export function forgetUnprepared(
  { run, step: at, error }: Expectation,
  server: Pick<PostgresServerConnection, 'prepared' | 'unnamed'>,
): void {
  if (run === null || run.steps === null) return;
  // Backwards, to what was there before: the same one may have been parsed and closed.
  for (let i = run.steps.length - 1; i >= at; i--) {
    const step = run.steps[i]!;
    if (step.text === null || step.verb === 'fake') continue;
    // It is there, under the name that no other text has.
    if (i === at && error?.code === DUPLICATE_STATEMENT && step.text.serverName !== '') continue;
    // What has been skipped has left there what it was to take away.
    if (step.kind === 'close' || step.kind === 'execute') server.prepared.notClosed(step.text);
    if (step.kind !== 'parse') continue;
    server.prepared.delete(step.text);
    if (server.unnamed === step.text) server.unnamed = null;
  }
}
