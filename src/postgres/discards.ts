// What DISCARD, DEALLOCATE ALL and UNLISTEN * take away from what keeps a session on its server connection.
// It writes nothing.

import type { SessionHost } from '../protocol/client-connection.js';
import type { StatementClass } from '../sql/statement.js';

/** After a unit that went well. */
export function noteDiscards(statement: StatementClass, host: SessionHost): void {
  const { prepared, session } = statement;
  if (prepared === null && session.length === 0) return;
  const discardsAll = session.some((effect) => effect.kind === 'discard' && effect.what === 'all');
  if (discardsAll || (prepared?.kind === 'deallocate' && prepared.name === null)) host.unpin('sql-prepare');
  if (discardsAll) host.unpin('all');
  for (const effect of session) {
    if (effect.kind === 'unlisten-all') host.unpin('listen');
    else if (effect.kind === 'discard' && effect.what === 'temp') host.unpin('temporary-table');
    else if (effect.kind === 'discard' && effect.what === 'sequences') host.unpin('sequence-state');
  }
}
