// A unit that is denied inside a transaction: the node is made to fail the transaction, as after any error of a statement there,
// so that COMMIT rolls back and a savepoint can be gone back to.
// It knows no client.

import type { ProxyError } from '../lib/errors.js';
import type { ServerError } from '../protocol/unit.js';
import { CONNECTION_LOST, type PostgresServerConnection } from './server-connection.js';

/** What PL/pgSQL takes between dollar quotes is any text without them; nothing of it is the client's. */
const RAISE =
  "DO $scheelite$BEGIN RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'a statement was denied by a rule of the proxy'; END$scheelite$";

/** `done`: with the denial, or with the end of the connection. */
export function failTransaction(
  server: PostgresServerConnection,
  denial: ProxyError,
  done: (error: ServerError) => void,
): void {
  const denied: ServerError = { code: denial.sqlState, message: denial.message };
  if (server.transaction === 'idle') {
    done(denied);
    return;
  }
  // Whatever it fails with, without PL/pgSQL too, it fails.
  server.own(RAISE, (error) => done(error?.code === CONNECTION_LOST ? error : denied));
}
