// A client that has notified itself is told by the process id that it knows of itself, not by the one of its server connection:
// drivers compare them. It knows no connection.

import type { ReplySink } from './run.js';
import { type BackendKey, PROCESS_ID_AT } from './wire/backend.js';

/** Who listens has the server connection alone, so that what this one has notified is the client's own. */
export function nameNotifier(
  buffer: Buffer,
  start: number,
  server: BackendKey | null,
  sink: ReplySink | null,
): void {
  const client = sink?.processId ?? 0;
  const at = start + PROCESS_ID_AT;
  if (client !== 0 && buffer.readInt32BE(at) === server?.processId) buffer.writeInt32BE(client, at);
}
