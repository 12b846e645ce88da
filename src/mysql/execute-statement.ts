// How an execution is written for one server connection: its statement id there, parameter types that it lacks, long data.
// It prepares the text first where the connection does not hold it.

import { CONNECTION_LOST, type MysqlServerError, type PreparedCallback } from './expectation.js';
import type { PreparedText, ServerStatement } from './prepared-statements.js';
import type { MysqlServerConnection } from './server-connection.js';
import type { TrackedState } from './tracked-state.js';
import type { MysqlUnit } from './unit.js';
import { buildBulkExecute, buildExecute } from './wire/execute.js';
import { HEADER_BYTES } from './wire/framer.js';

const STATEMENT_ID_AT = HEADER_BYTES + 1;

/** Which text a unit runs on the server. */
export function textOf(unit: MysqlUnit, server: Pick<MysqlServerConnection, 'isMariadb'>): PreparedText {
  const statement = unit.prepared!;
  const usesCursor =
    unit.kind === 'fetch' || unit.kind === 'reset-statement' || ((unit.execute?.flags ?? 0) & 7) !== 0;
  // Long data for a parameter that another execution bound as a number is read as that number, by MySQL as 0 and by
  // MariaDB as an address: what other clients have executed must not do that to this one.
  if (usesCursor || statement.longData.length > 0) return statement.cursorText;
  if (server.isMariadb || statement.types === null) return statement.text;
  if (statement.typed?.types.equals(statement.types) !== true)
    statement.typed = { types: statement.types, text: ofTypes(statement.text, statement.types) };
  return statement.typed.text;
}

const MAX_TYPES = 16;

/**
 * To MySQL a parameter has the type for which it was first executed, and what comes later is made that: a string a number, say.
 * What other clients have executed must not do that to this one.
 */
function ofTypes(text: PreparedText, types: Buffer): PreparedText {
  text.byTypes ??= new Map();
  const key = types.toString('latin1');
  let typed = text.byTypes.get(key);
  if (typed === undefined) {
    if (text.byTypes.size >= MAX_TYPES) text.byTypes.clear();
    typed = { ...text, byTypes: null, base: text };
    text.byTypes.set(key, typed);
  }
  return typed;
}

/**
 * The statement on this connection, prepared in the state in which the client prepared it; the connection is left in
 * `state`. Answers at once where it is held, else calls back.
 */
export function holdStatement(
  server: MysqlServerConnection,
  text: PreparedText,
  state: TrackedState,
  done: PreparedCallback,
): ServerStatement | null {
  const held = server.prepared.get(text);
  if (held !== undefined) return held;
  const fail = (error: MysqlServerError): void => done(null, error);
  const prepare = (): void =>
    server.prepare(text, (statement, error) => {
      if (statement === null) fail(error ?? { code: CONNECTION_LOST, message: 'lost', sqlState: 'HY000' });
      else if (server.bringTo(state, (back) => (back === null ? done(statement, null) : fail(back))))
        done(statement, null);
    });
  const asPrepared = state.preparing(text.state);
  if (server.bringTo(asPrepared, (error) => (error === null ? prepare() : fail(error)))) prepare();
  return null;
}

/** The packets to send; long data first. `isShared`: it may run elsewhere while these still wait to be sent. */
export function executionFrames(
  unit: MysqlUnit,
  statement: ServerStatement,
  server: MysqlServerConnection,
  isShared: boolean,
): Buffer[] {
  const client = unit.prepared!;
  if (isShared) return [executeFrame(unit, Buffer.from(unit.frame), statement, server)];
  const frames = client.longData.map((frame) => withStatementId(frame, statement.id));
  if (unit.kind === 'execute') frames.push(executeFrame(unit, unit.frame, statement, server));
  else if (unit.kind === 'bulk-execute') frames.push(bulkFrame(unit, statement));
  else frames.push(withStatementId(unit.frame, statement.id));
  return frames;
}

function executeFrame(
  unit: MysqlUnit,
  frame: Buffer,
  statement: ServerStatement,
  server: MysqlServerConnection,
): Buffer {
  const execute = unit.execute!;
  const { types } = unit.prepared!;
  const isKnown = types === null || (statement.boundTypes?.equals(types) ?? false);
  statement.boundTypes = types;
  if (execute.types !== null || isKnown) return withStatementId(frame, statement.id);
  return buildExecute(execute, statement.id, types, server.capabilities);
}

function bulkFrame(unit: MysqlUnit, statement: ServerStatement): Buffer {
  const bulk = unit.bulk!;
  const { types } = unit.prepared!;
  const isKnown = types === null || (statement.boundTypes?.equals(types) ?? false);
  statement.boundTypes = types;
  if (bulk.types !== null || isKnown) return withStatementId(unit.frame, statement.id);
  return buildBulkExecute(bulk, statement.id, types);
}

/** In place: the frame is ours, and what it said is kept beside it. */
function withStatementId(frame: Buffer, id: number): Buffer {
  frame.writeUInt32LE(id, STATEMENT_ID_AT);
  return frame;
}
