// What DISCARD, DEALLOCATE ALL and UNLISTEN * take away from a session and its server connection.
// It writes nothing.

import type { SessionHost } from '../protocol/client-connection.js';
import type { StatementClass } from '../sql/statement.js';
import type { PostgresServerConnection } from './server-connection.js';

/** After a unit that went well. True: the client's prepared statements are gone too. */
export function noteDiscards(
  statement: StatementClass,
  server: PostgresServerConnection,
  host: SessionHost,
): boolean {
  const { prepared } = statement;
  const discardsAll = statement.session.some((effect) => effect.kind === 'discard' && effect.what === 'all');
  const deallocatesAll = discardsAll || (prepared?.kind === 'deallocate' && prepared.name === null);
  if (deallocatesAll) {
    server.prepared.clear();
    host.unpin('sql-prepare');
  }
  if (discardsAll) host.unpin('all');
  for (const effect of statement.session) {
    if (effect.kind === 'unlisten-all') host.unpin('listen');
    else if (effect.kind === 'discard' && effect.what === 'temp') host.unpin('temporary-table');
    else if (effect.kind === 'discard' && effect.what === 'sequences') host.unpin('sequence-state');
  }
  return deallocatesAll;
}
