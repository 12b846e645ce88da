// What comes before a unit on its server connection: the client's state, its BEGIN, the read that the unit asks about.
// It writes no unit and knows no session.

import type { ExecuteOptions } from '../protocol/unit.js';
import type { MysqlServerError } from './expectation.js';
import { beginWith } from './held-begin.js';
import { repeatLast } from './repeat-last.js';
import type { MysqlServerConnection } from './server-connection.js';
import type { MysqlUnit } from './unit.js';
import { errFromProxyError } from './wire/ok.js';

/** Calls one of the two, once; `refused` also for a unit that is denied. */
export function bring(
  client: Parameters<typeof repeatLast>[0],
  unit: MysqlUnit,
  server: MysqlServerConnection,
  { denial, after }: ExecuteOptions,
  start: () => void,
  refused: (error: MysqlServerError) => void,
): void {
  if (denial !== null) {
    refused({ ...errFromProxyError(denial), code: String(denial.errno) });
    return;
  }
  const begin = (): void => beginWith(unit, server, start, refused);
  const repeat = (): void => {
    if (after === null) begin();
    else repeatLast(client, after as MysqlUnit, unit, server, begin, refused);
  };
  const brought = (error: MysqlServerError | null): void => (error === null ? repeat() : refused(error));
  if (server.bringTo(client.session.state, brought, unit.asksLast)) repeat();
}
