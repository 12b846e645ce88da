// What a client may ask about its last statement, brought to the server connection that is asked: LAST_INSERT_ID(), and a read
// that ran elsewhere, repeated unseen. It knows no session and no socket.

import type { ExecuteOptions } from '../protocol/unit.js';
import type { ClientSession } from './client-session.js';
import { executionFrames, holdStatement, textOf } from './execute-statement.js';
import { lostError, type MysqlServerError } from './expectation.js';
import { newRun } from './new-run.js';
import type { ReplySink } from './run.js';
import type { MysqlServerConnection } from './server-connection.js';
import type { MysqlUnit } from './unit.js';

const NOT_SEEN: ExecuteOptions = {
  withholdRetryable: false,
  onReplica: false,
  isShared: false,
  maxGroup: 1,
  holdReply: false,
  gate: null,
  after: null,
  autoPrepare: { enabled: null, threshold: null, maxStatements: null },
  denial: null,
  late: null,
};

type Client = ReplySink & { readonly session: ClientSession; readonly asksBack: boolean };

/** Runs `last` for what it leaves in the server connection; the client has had its reply from another one. */
export function repeatLast(
  client: Client,
  last: MysqlUnit,
  unit: MysqlUnit,
  server: MysqlServerConnection,
  done: () => void,
  refused: (error: MysqlServerError) => void,
): void {
  // First: setting it is a statement too.
  setInsertId(client, unit, server);
  const send = (frames: readonly Buffer[]): void => {
    const run = newRun(client, last, server.status, NOT_SEEN, true, (outcome) =>
      outcome.kind === 'lost' ? refused(lostError(outcome.reason)) : done(),
    );
    server.run(run, frames);
  };
  if (last.kind !== 'execute') {
    send([last.frame]);
    return;
  }
  const held = holdStatement(server, textOf(last, server), client.session.state, (late, error) => {
    if (late === null) refused(error!);
    else send(executionFrames(last, late, server, true));
  });
  if (held !== null) send(executionFrames(last, held, server, true));
}

/** LAST_INSERT_ID() belongs to the client, wherever it runs now. */
export function setInsertId(
  client: Client,
  { statement }: Pick<MysqlUnit, 'statement'>,
  server: MysqlServerConnection,
): void {
  if (server.lastUser !== client) {
    server.lastInsertId = null;
    // To MariaDB the messages of the last statement that used a table are those of what comes next, if that uses none.
    if (server.isMariadb && client.asksBack) server.query('DO (SELECT 1)', () => {});
  }
  server.lastUser = client;
  const { insertId } = client.session;
  if (server.lastInsertId === insertId) return;
  if (statement.afterWrite !== true && statement.runsPrograms !== true) return;
  server.query(`SET SESSION last_insert_id=${insertId}`, () => {});
  server.lastInsertId = insertId;
}
