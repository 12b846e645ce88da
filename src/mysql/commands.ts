// What each command of a client becomes: a unit, an answer of the proxy's own, or a word to the connection itself.
// It knows no server connection and routes nothing.

import { isDeepStrictEqual } from 'node:util';
import { copyOf } from '../lib/chunk-copies.js';
import { ProxyError } from '../lib/errors.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import type { RuledStatement } from '../protocol/unit.js';
import { killTarget } from '../sql/mysql/kill.js';
import { type Classified, type MysqlLexSettings, onPrimary, type StatementClass } from '../sql/statement.js';
import type { ClientSession } from './client-session.js';
import { ClientStatement } from './client-statements.js';
import type { Kill, KillResult } from './connection-ids.js';
import { oneValue } from './own-result.js';
import { answerOwnVariable, ownVariableStatement, parametersOf, prepareOwnVariable } from './own-variable.js';
import type { PreparedText } from './prepared-statements.js';
import type { MysqlRuntime } from './runtime.js';
import type { MysqlServerConnection } from './server-connection.js';
import { classOnPrimary, commandClass, MysqlUnit, prepareClass, trackedClass, UNCLASSIFIED } from './unit.js';
import { variantText } from './variant.js';
import { isTrackingSetting } from './visible-tracking.js';
import { CAPABILITY, hasCapability, keyedCapabilities } from './wire/capabilities.js';
import { characterSetOfCollation } from './wire/collations.js';
import {
  bodyText,
  type ChangeUser,
  COM,
  commandName,
  parseChangeUser,
  queryTextOffset,
  statementIdOf,
} from './wire/command.js';
import { parseBulkExecute, parseExecute } from './wire/execute.js';
import { payloadOf, sequenceAfter } from './wire/framer.js';
import { buildErr, buildOk, buildPlainOk, STATUS } from './wire/ok.js';
import { buildSessionChanges } from './wire/session-track.js';

/** The client connection, as commands see it. */
export interface CommandContext {
  readonly runtime: MysqlRuntime;
  readonly settings: ListenerSettings;
  readonly session: ClientSession;
  readonly connectionId: number;
  /** The server connection that the session holds between units: pinned, or in a transaction. */
  readonly heldServer: MysqlServerConnection | null;
  submit(unit: MysqlUnit): void;
  /** Why these statements must not run; null: they may. */
  denial(ruled: readonly RuledStatement[]): ProxyError | null;
  answer(bytes: Buffer): void;
  /** Nothing is read until the answer is there. */
  answerLater(bytes: Promise<Buffer>): void;
  quit(): void;
  changeUser(change: ChangeUser): void;
}

/** What classification needs of a client. */
export interface TextContext {
  readonly runtime: MysqlRuntime;
  readonly settings: Pick<ListenerSettings, 'hints' | 'maxStatementBytesClassified'>;
  readonly session: Pick<ClientSession, 'status' | 'state' | 'loginValues' | 'collation' | 'lex'>;
}

/** Texts beyond it are not shared between clients. */
const MAX_INTERNED_BYTES = 65_536;

/** Throws ProxyError; one that is not fatal is the answer. */
export function readCommand(client: CommandContext, frame: Buffer, payload: Buffer): void {
  const code = payload[0];
  if (code === undefined) throw new ProxyError('protocol-violation', { detail: 'an empty command' });
  switch (code) {
    case COM.QUIT:
      client.quit();
      return;
    case COM.PING:
      client.session.counts.acknowledged();
      client.answer(ok(client, frame));
      return;
    case COM.QUERY:
      onQuery(client, frame, payload);
      return;
    case COM.INIT_DB: {
      const use = { kind: 'use', database: bodyText(payload) } as const;
      submit(client, 'command', 'results', commandClass('session', 'USE', [use]), frame);
      return;
    }
    case COM.STMT_PREPARE:
      onPrepare(client, frame, payload);
      return;
    case COM.STMT_EXECUTE:
    case COM.STMT_BULK_EXECUTE:
      onExecute(client, frame, payload);
      return;
    case COM.STMT_SEND_LONG_DATA:
      client.session.statements.addLongData(frame, payload, client.settings.maxUnitBytes);
      return;
    case COM.STMT_CLOSE:
      onClose(client, payload);
      return;
    case COM.STMT_RESET:
      onReset(client, frame, payload);
      return;
    case COM.STMT_FETCH: {
      const statement = statementOf(client, frame, payload);
      if (statement === null) return;
      const unit = new MysqlUnit('fetch', 'rows', commandClass('primary', 'FETCH'), frame);
      if (!statement.cursorIsOpen) {
        const end = client.runtime.flavour.flavour === 'mariadb' ? '' : '.';
        const message = `The statement (${statement.id}) has no open cursor${end}`;
        client.answer(buildErr({ errno: 1421, sqlState: 'HY000', message }, sequenceAfter(frame)));
        return;
      }
      unit.prepared = statement;
      client.submit(unit);
      return;
    }
    case COM.SET_OPTION:
      submit(client, 'set-option', 'results', commandClass('session', 'SET OPTION'), frame);
      return;
    case COM.RESET_CONNECTION:
      if (client.heldServer !== null) {
        submit(client, 'reset-connection', 'results', commandClass('primary', 'RESET'), frame);
        return;
      }
      client.session.reset();
      client.answer(ok(client, frame));
      return;
    case COM.CHANGE_USER:
      client.changeUser(parseChangeUser(Buffer.from(payload), client.session.capabilities));
      return;
    case COM.STATISTICS:
      submit(client, 'command', 'text', commandClass('primary', 'STATISTICS'), frame);
      return;
    case COM.FIELD_LIST:
      submit(client, 'command', 'definitions', commandClass('replica', 'FIELD LIST'), frame);
      return;
    case COM.PROCESS_KILL:
      kill(client, frame, 'connection', payload.length >= 5 ? payload.readUInt32LE(1) : 0);
      return;
    case COM.PROCESS_INFO:
    case COM.REFRESH:
    case COM.SHUTDOWN:
    case COM.DEBUG:
    case COM.CREATE_DB:
    case COM.DROP_DB:
      submit(client, 'command', 'results', commandClass('primary', commandName(code)), frame);
      return;
    default:
      throw new ProxyError('unsupported-feature', { feature: commandName(code) });
  }
}

function submit(
  client: CommandContext,
  kind: MysqlUnit['kind'],
  reply: MysqlUnit['reply'],
  classified: Classified,
  frame: Buffer,
): void {
  client.submit(new MysqlUnit(kind, reply, classified, frame));
}

const ok = (client: CommandContext, frame: Buffer): Buffer =>
  buildPlainOk(client.session.status, client.session.capabilities, sequenceAfter(frame));

// --- texts ----------------------------------------------------------------------------------------------------

function onQuery(client: CommandContext, frame: Buffer, payload: Buffer): void {
  const sql = payload.subarray(queryTextOffset(payload, client.session.capabilities));
  const text = trackedClass(classify(client, sql, lexSettings(client)));
  const classified = asTaken(client.session, effective(client, text));
  const { statement } = classified;
  if (statement.route === 'proxy') {
    const target = killTarget(sql, lexSettings(client));
    if (target !== null) kill(client, frame, target.what, target.id ?? client.connectionId);
    else client.answer(ownAnswer(client, frame, sql, classified));
    return;
  }
  if (
    statement.verb === 'SET' &&
    statement.statements === 1 &&
    statement.session.length > 0 &&
    statement.session.every(isTrackingSetting)
  ) {
    // What the server reports is ours to say; what the client is told of it is the client's.
    client.answer(setTracking(client, statement, frame));
    return;
  }
  const own = ownVariableStatement(classified, sql);
  if (own !== null) {
    client.answer(answerOwnVariable(client.session, own, null, sequenceAfter(frame)));
    return;
  }
  const count = statement.route === 'last' ? lastCount(client, frame, false) : null;
  if (count !== null) {
    client.answer(count);
    return;
  }
  const unit = new MysqlUnit('query', 'query', classified, frame);
  unit.text = text;
  client.submit(unit);
}

/** Of a client that sends one statement at a time the server takes a text of several for one that it does not understand. */
function asTaken({ state, capabilities }: ClientSession, classified: Classified): Classified {
  const { statement } = classified;
  if (statement.statements <= 1) return classified;
  if (state.multiStatements(hasCapability(capabilities, CAPABILITY.MULTI_STATEMENTS))) return classified;
  const one = { transaction: null, session: [], prepared: null, ddl: false } as const;
  return { ...classified, statement: { ...onPrimary(statement), ...one, statements: 1, verb: 'UNKNOWN' } };
}

/** It is a change of the session, which a client that wants to know of such is told; MySQL looks at that before, MariaDB behind. */
function setTracking({ session, runtime }: CommandContext, set: StatementClass, frame: Buffer): Buffer {
  const { status, capabilities } = session;
  const before = session.tracking.tellsChanges;
  for (const effect of set.session) if (isTrackingSetting(effect)) session.setTracking(effect);
  const after = session.tracking.tellsChanges;
  const tells = runtime.flavour.flavour === 'mariadb' ? after : before && after;
  const changes = tells ? buildSessionChanges([{ kind: 'state-change', changed: '1' }]) : null;
  const plain = { header: 0, counts: Buffer.of(0, 0), warnings: 0, info: Buffer.alloc(0) };
  return buildOk({ ...plain, status, changes }, capabilities, sequenceAfter(frame));
}

/** To a COM_QUERY that asks for FOUND_ROWS() or ROW_COUNT(), where that is known; `isGone`: see `LastCounts`. */
export function lastCount(
  { session }: { readonly session: ClientSession },
  frame: Buffer,
  isGone: boolean,
): Buffer | null {
  const payload = payloadOf(frame);
  const sql = payload.subarray(queryTextOffset(payload, session.capabilities)).toString('latin1');
  const known = session.counts.answer(sql, isGone);
  if (known === null) return null;
  return oneValue(session, { name: known.name, type: 'count' }, known.value, sequenceAfter(frame));
}

/** A text as a COM_QUERY of this client. */
export function classifyQuery(client: TextContext, sql: Buffer): Classified {
  return effective(client, trackedClass(classify(client, sql, lexSettings(client))));
}

function classify(client: TextContext, sql: Buffer, settings: MysqlLexSettings): Classified {
  if (sql.length > client.settings.maxStatementBytesClassified) return UNCLASSIFIED;
  const classified = client.runtime.classifier.classify(sql, settings);
  return client.settings.hints || classified.hint === null ? classified : { ...classified, hint: null };
}

/** Reads of a session that does not commit by itself are part of a transaction; serializable ones lock. */
function effective(client: TextContext, classified: Classified): Classified {
  const { route, transaction, tellsOfNode } = classified.statement;
  const { status } = client.session;
  // A savepoint there is the beginning of a transaction, of which the server says nothing.
  const isFirst = transaction?.kind === 'savepoint' && (status & (STATUS.AUTOCOMMIT | STATUS.IN_TRANS)) === 0;
  if (isFirst) return classOnPrimary(classified);
  if (route !== 'replica' && tellsOfNode !== true) return classified;
  if ((status & STATUS.AUTOCOMMIT) === 0) return classOnPrimary(classified);
  const isolation =
    client.session.state.variable('transaction_isolation') ??
    client.session.state.variable('tx_isolation') ??
    '';
  return isolation === 'SERIALIZABLE' ? classOnPrimary(classified) : classified;
}

/** The settings that were made last: most clients have the same, and share one object. */
let lastMade: Required<MysqlLexSettings> | null = null;

/** They change with the client's state only. */
function lexSettings({ session, runtime }: TextContext): MysqlLexSettings {
  const { state, loginValues, lex } = session;
  if (lex !== null && lex.state === state && lex.loginValues === loginValues) return lex.settings;
  const value = (name: string): string => state.variable(name) ?? loginValues.get(name) ?? '';
  const modes = value('sql_mode').split(',');
  const { flavour, versionNumber } = runtime.flavour;
  const made: Required<MysqlLexSettings> = {
    flavour,
    versionNumber,
    ansiQuotes: modes.includes('ANSI_QUOTES'),
    noBackslashEscapes: modes.includes('NO_BACKSLASH_ESCAPES'),
    oracleMode: modes.includes('ORACLE'),
    bracketNames: modes.includes('MSSQL'),
    characterSet: value('character_set_client') || characterSetOfCollation(session.collation),
  };
  if (lastMade === null || !isDeepStrictEqual(lastMade, made)) lastMade = made;
  session.lex = { state, loginValues, settings: lastMade };
  return lastMade;
}

// --- answers of the proxy's own -------------------------------------------------------------------------------

function ownAnswer(client: CommandContext, frame: Buffer, sql: Buffer, { statement }: Classified): Buffer {
  if (statement.verb === 'SELECT') {
    const name = sql.toString('utf8').replace(/;\s*$/, '').trim().slice(6).trim();
    return oneValue(
      client.session,
      { name, type: 'integer' },
      String(client.connectionId),
      sequenceAfter(frame),
    );
  }
  const names = statement.session.map((effect) => (effect.kind === 'set' ? effect.name : effect.kind));
  throw new ProxyError('unsupported-feature', { feature: `${statement.verb} ${names.join(', ')}` });
}

/** What the servers say to a KILL of one's own: ER_QUERY_INTERRUPTED, and MariaDB's ER_CONNECTION_KILLED. */
const INTERRUPTED = { errno: 1317, sqlState: '70100', message: 'Query execution was interrupted' };
const CONNECTION_KILLED = { errno: 1927, sqlState: '70100', message: 'Connection was killed' };

function kill(client: CommandContext, frame: Buffer, what: Kill['what'], id: number): void {
  const { user } = client.session;
  if (id === client.connectionId) {
    const ends = what === 'connection';
    const error = ends && client.runtime.flavour.flavour === 'mariadb' ? CONNECTION_KILLED : INTERRUPTED;
    client.answer(buildErr(error, sequenceAfter(frame)));
    if (ends) client.quit();
    return;
  }
  const answerTo = (result: KillResult): Buffer => {
    if (result === 'done') return ok(client, frame);
    const error =
      result === 'unknown'
        ? { errno: 1094, message: `Unknown thread id: ${id}` }
        : { errno: 1095, message: `You are not owner of thread ${id}` };
    return buildErr({ ...error, sqlState: 'HY000' }, sequenceAfter(frame));
  };
  const result = client.runtime.ids.kill({ what, id, user });
  if (typeof result === 'string') client.answer(answerTo(result));
  else client.answerLater(result.then(answerTo));
}

// --- prepared statements --------------------------------------------------------------------------------------

function onPrepare(client: CommandContext, frame: Buffer, payload: Buffer): void {
  client.session.statements.checkRoom();
  const text = intern(client, payload.subarray(1));
  if (text.reply !== null && client.session.sharesReplies) {
    const denial = client.denial([text.classified]);
    if (denial !== null) throw denial;
    const reply = Buffer.from(text.reply);
    reply.writeUInt32LE(client.session.statements.add(text).id, 5);
    client.answer(reply);
    return;
  }
  const own = ownVariableStatement(text.classified, text.sql);
  if (own !== null) {
    text.parameters = parametersOf(own);
    const { id } = client.session.statements.add(text);
    client.answer(prepareOwnVariable(client.session, own, id, sequenceAfter(frame)));
    return;
  }
  const unit = new MysqlUnit('prepare', 'prepare', prepareClass(effective(client, text.classified)), frame);
  unit.prepared = new ClientStatement(0, text);
  unit.text = text.classified;
  // The preparation itself is what it is about: the connection need not hold the statement.
  client.submit(unit);
}

function intern(client: CommandContext, sql: Buffer): PreparedText {
  const create = (): PreparedText => ({
    // A copy: a few bytes must not keep the whole chunk alive.
    sql: Buffer.from(sql),
    state: client.session.state.forPreparing,
    classified: trackedClass(classify(client, sql, lexSettings(client))),
    catalogVersion: client.runtime.catalogVersion,
    parameters: 0,
    reply: null,
    byTypes: null,
    base: null,
  });
  if (sql.length > MAX_INTERNED_BYTES) return create();
  const { user, loginDatabase, capabilities, collation, loginValues } = client.session;
  const variant = variantText({ keyed: keyedCapabilities(capabilities), collation });
  return client.runtime.texts.intern(
    `${user}\0${loginDatabase}\0${variant}\0${loginText(loginValues)}`,
    sql,
    client.session.state.forPreparing,
    create,
  );
}

const loginTexts = new WeakMap<ReadonlyMap<string, string>, string>();

/** A text reads by the sql_mode of its session, which is that of the login where no SET says otherwise. */
function loginText(loginValues: ReadonlyMap<string, string>): string {
  let text = loginTexts.get(loginValues);
  if (text === undefined) {
    text = [...loginValues.values()].join('\0');
    loginTexts.set(loginValues, text);
  }
  return text;
}

/** Null: there is none of this id, and the client has been told so. */
function statementOf(client: CommandContext, frame: Buffer, payload: Buffer): ClientStatement | null {
  const id = statementIdOf(payload);
  const statement = client.session.statements.find(id);
  if (statement !== undefined) return statement;
  const isMariadb = client.runtime.flavour.flavour === 'mariadb';
  const where = isMariadb ? MARIADB_STEPS.get(payload[0]!) : 'mysql_stmt_precheck';
  const message = `Unknown prepared statement handler (${id}) given to ${where}`;
  client.answer(buildErr({ errno: 1243, sqlState: 'HY000', message }, sequenceAfter(frame)));
  return null;
}

/** As it calls them in its errors. */
const MARIADB_STEPS: ReadonlyMap<number, string> = new Map([
  [COM.STMT_EXECUTE, 'mysqld_stmt_execute'],
  [COM.STMT_BULK_EXECUTE, 'mysqld_stmt_bulk_execute'],
  [COM.STMT_RESET, 'mysqld_stmt_reset'],
  [COM.STMT_FETCH, 'mysqld_stmt_fetch'],
]);

function onExecute(client: CommandContext, frame: Buffer, payload: Buffer): void {
  const statement = statementOf(client, frame, payload);
  if (statement === null) return;
  const { text } = statement;
  if (text.catalogVersion !== client.runtime.catalogVersion) {
    text.catalogVersion = client.runtime.catalogVersion;
    text.classified = trackedClass(classify(client, text.sql, lexSettings(client)));
  }
  const isBulk = payload[0] === COM.STMT_BULK_EXECUTE;
  const execute = isBulk ? null : parseExecute(payload, text.parameters, client.session.capabilities);
  const bulk = isBulk ? parseBulkExecute(payload, text.parameters) : null;
  const types = execute?.types ?? bulk?.types ?? null;
  if (types !== null && statement.types?.equals(types) !== true) statement.types = copyOf(types);
  const own = execute === null ? null : ownVariableStatement(text.classified, text.sql);
  if (own !== null) {
    const sent = { command: execute!, types: statement.types, longData: statement.longData.length > 0 };
    client.answer(answerOwnVariable(client.session, own, sent, sequenceAfter(frame)));
    return;
  }
  // A cursor keeps its server connection, with everything that follows.
  const usesCursor = execute !== null && (execute.flags & 7) !== 0;
  const classified = usesCursor ? classOnPrimary(text.classified) : effective(client, text.classified);
  // A procedure opens none for its client, whatever it opens for itself. MariaDB prepares LOAD DATA LOCAL INFILE, too.
  const reply = usesCursor && classified.statement.verb !== 'CALL' ? 'cursor' : 'query';
  const unit = new MysqlUnit(isBulk ? 'bulk-execute' : 'execute', reply, classified, frame);
  unit.prepared = statement;
  unit.text = text.classified;
  const { capabilities } = client.session;
  if (execute !== null) unit.executes(execute, { parameters: text.parameters, capabilities });
  unit.needsOwnStatement =
    usesCursor ||
    statement.longData.length > 0 ||
    text.state.digest !== client.session.state.forPreparing.digest;
  unit.bulk = bulk;
  client.submit(unit);
}

/** No reply; the server connections keep the text for others. */
function onClose(client: CommandContext, payload: Buffer): void {
  const statement = client.session.statements.find(statementIdOf(payload));
  if (statement === undefined) return;
  client.session.statements.remove(statement);
  if (statement.hasCursorText) client.heldServer?.release(statement.cursorText);
  if (statement.cursorIsOpen) client.session.cursorClosed();
}

function onReset(client: CommandContext, frame: Buffer, payload: Buffer): void {
  const statement = statementOf(client, frame, payload);
  if (statement === null) return;
  statement.forgetLongData();
  if (!statement.cursorIsOpen) {
    client.session.counts.acknowledged();
    client.answer(ok(client, frame));
    return;
  }
  const unit = new MysqlUnit('reset-statement', 'results', commandClass('primary', 'RESET STATEMENT'), frame);
  unit.prepared = statement;
  client.submit(unit);
}
