// What a server connection is asked behind a run before the outcome is told, and what may linger in it of a transaction.
// It reads no packet and knows no client.

import type { TransactionStatus } from '../protocol/unit.js';
import { Expectation, type OwnResult } from './expectation.js';
import { Reply } from './reply.js';
import type { Run } from './run.js';
import { stateFrame } from './state-changes.js';
import type { TrackedState } from './tracked-state.js';
import { PacketReader } from './wire/bytes.js';
import { CAPABILITY, type Capabilities, hasCapability } from './wire/capabilities.js';
import { buildCommand, buildQuery, COM } from './wire/command.js';
import { STATUS } from './wire/ok.js';

/** ER_PARSE_ERROR */
const PARSE_ERROR = '1064';

const PING = buildCommand(COM.PING);

/**
 * Of a transaction that did not end by COMMIT or ROLLBACK, READ ONLY and the isolation level of SET TRANSACTION go on to
 * hold: the servers take them back in these two, and when a statement of its own ends. Whatever completion_type says, it
 * begins no other transaction and closes nothing.
 */
const END_OF_TRANSACTION = 'ROLLBACK AND NO CHAIN NO RELEASE';

/** The server connection, as it is asked. */
interface Asked {
  state: TrackedState;
  lingering: boolean;
  tainted: boolean;
  readonly isMariadb: boolean;
  readonly status: number;
  readonly transaction: TransactionStatus;
  readonly capabilities: Capabilities;
  readonly loginValues: ReadonlyMap<string, string>;
  query(sql: string, done: (result: OwnResult) => void): void;
  expect(expectation: Expectation, frame: Buffer): void;
}

/** Calls `done` once everything is known that a reply to `head` should have told; at once, if it has. */
export function settle(server: Asked, head: Expectation, done: () => void): void {
  let open = 1;
  const answered = (): void => {
    open--;
    if (open > 0) return;
    if (mayLinger(server, head)) server.lingering = true;
    done();
  };
  if (head.asksCollation) {
    open++;
    server.query('SELECT @@collation_connection', ({ rows }) => {
      const value = rows[0] === undefined ? '' : new PacketReader(rows[0]).lenencText();
      const atLogin = server.loginValues.get('collation_connection');
      if (value !== '') server.state = server.state.withVariable('collation_connection', value, atLogin);
      answered();
    });
  }
  if (head.error !== null && head.run?.verifyAfterError === true) {
    // An ERR packet has no status flags: a deadlock ends the transaction, a duplicate key does not. Nor does it have what a
    // procedure changed before it failed: MySQL tells that with its next OK, MariaDB never.
    open++;
    const hasRun = head.run.runsProgram && !(head.run.isOwnSyntax && head.error.code === PARSE_ERROR);
    if (server.isMariadb && hasRun) server.tainted = true;
    askState(server, head.run, () => {});
    restoreCount(server, answered);
  } else if (head.run?.asksBehindRows === true && head.reply.hadRows) {
    // What a function has changed an EOF packet cannot tell. MySQL says it with the next OK, of whatever statement; MariaDB says
    // that there was something, and never what.
    if (server.isMariadb) head.run.unnamedChange ||= head.owesChanges;
    else {
      open++;
      askState(server, head.run, () => {});
      restoreCount(server, answered);
    }
  }
  if (head.run?.unreported != null && server.isMariadb) {
    open++;
    reportAgain(server, head.run, head.run.unreported, head.error !== null, answered);
  }
  if (head.run?.ownVariables != null) {
    // They are set back by now, which is told with the next OK, of whatever statement.
    open++;
    askState(server, null, () => {});
    restoreCount(server, answered);
  }
  answered();
}

/** `learnsFor`: whose changes an OK tells now. */
function askState(server: Asked, learnsFor: Run | null, done: () => void): void {
  expectOwn(server, PING, learnsFor, done);
}

/** Set to what they are, in words that the server reports; that touches neither ROW_COUNT() nor FOUND_ROWS(). `failed`: not all need be there. */
function reportAgain(
  server: Asked,
  run: Run,
  names: readonly string[],
  failed: boolean,
  done: () => void,
): void {
  const sql = `SET ${names.map((name) => `SESSION ${name}=@@SESSION.${name}`).join(', ')}`;
  expectOwn(server, buildQuery(sql, server.capabilities), run, ({ error }) => {
    if (error !== null && !failed) server.tainted = true;
    done();
  });
}

/** A PING is a statement of which ROW_COUNT() is 0; this leaves -1, as errors and result sets do. */
function restoreCount(server: Asked, done: () => void): void {
  const atLogin = hasCapability(server.capabilities, CAPABILITY.MULTI_STATEMENTS);
  const multiStatements = server.state.multiStatements(atLogin);
  expectOwn(server, stateFrame({ kind: 'set-option', multiStatements }, server.capabilities), null, done);
}

function expectOwn(
  server: Asked,
  frame: Buffer,
  learnsFor: Run | null,
  done: (result: OwnResult) => void,
): void {
  const own = new Expectation(new Reply('results', server.capabilities), null, done, false, null);
  own.learnsFor = learnsFor;
  server.expect(own, frame);
}

/** SET autocommit=1 and errors that end a transaction leave its characteristics to the next one. */
function mayLinger(server: Asked, { run, statusBefore, error }: Expectation): boolean {
  if (run?.sawTransaction !== true || server.transaction !== 'idle') return false;
  return error !== null || (server.status & ~(statusBefore ?? 0) & STATUS.AUTOCOMMIT) !== 0;
}

/** What comes next is written behind it: it need not be waited for. */
export function endTransaction(server: Asked): void {
  server.lingering = false;
  server.query(END_OF_TRANSACTION, ({ error }) => {
    if (error !== null) server.tainted = true;
  });
}
