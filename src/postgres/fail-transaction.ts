// Makes a node fail the transaction that is open there, as an error of a statement would: where a unit in it is denied, so that
// COMMIT rolls back and a savepoint can be gone back to, and where one that has failed elsewhere goes on there.
// It knows no client.

import type { ServerError } from '../protocol/unit.js';
import type { PostgresServerConnection } from './server-connection.js';

/** What PL/pgSQL takes between dollar quotes is any text without them; nothing of it is the client's. */
const RAISE =
  "DO $scheelite$BEGIN RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'the proxy fails the transaction'; END$scheelite$";
const FAILED: ServerError = { code: '25P02', message: 'the transaction has failed' };

/** `done`: with what it failed by, or with the end of the connection. Without PL/pgSQL it fails too, by another error. */
export function failTransaction(server: PostgresServerConnection, done: (error: ServerError) => void): void {
  if (server.transaction === 'idle') done(FAILED);
  else server.own(RAISE, (error) => done(error ?? FAILED));
}
