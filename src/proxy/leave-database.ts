// Leaves a database that a statement needs without connections (DROP DATABASE, the template of CREATE DATABASE): idle server
// connections would be the only ones there, of clients that have long gone. It knows no statement.

import type { NodePool } from '../pool/node-pool.js';
import type { Session } from './session.js';

/** For so long PostgreSQL waits for others to leave, looking as often (CountOtherDBBackends). */
const WAIT_MS = 5000;
const EVERY_MS = 100;

/** Where another client than `session` is logged in to it, the server is to refuse the statement, as it would without us. */
export function leaveDatabase(
  sessions: Iterable<Session>,
  pools: ReadonlyMap<string, NodePool>,
  database: string,
  session: Session | null,
): void {
  // Clients may be on their way out: the end of their sockets comes on other connections than the statement.
  const leave = (): void => {
    for (const other of sessions) if (other !== session && other.facts?.key.database === database) return;
    for (const pool of pools.values()) pool.closeIdle('its database is to be left', database);
  };
  leave();
  const timer = setInterval(leave, EVERY_MS).unref();
  setTimeout(() => clearInterval(timer), WAIT_MS).unref();
}
