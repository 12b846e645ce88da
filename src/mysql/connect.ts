// Opens a server connection to a MySQL or MariaDB node, logs it in as one user, and makes it report what the proxy tracks.
// It knows no pool; every failure is a ProxyError that says at which node and why.

import { connect as connectSocket } from 'node:net';
import { connectFailure, describeError, ProxyError } from '../lib/errors.js';
import type { ConnectRequest } from '../protocol/server-connection.js';
import type { ReportBug } from '../telemetry/bug.js';
import { ServerLogin } from './auth/server-login.js';
import type { OwnResult } from './expectation.js';
import { MysqlServerConnection } from './server-connection.js';
import { TRACKING_GTIDS } from './state-changes.js';
import { LOGIN_ROLE, literal, OF_NAMES, ofServer, readsTheSame } from './tracked-state.js';
import { parseVariant } from './variant.js';
import { PacketReader } from './wire/bytes.js';
import { buildQuery } from './wire/command.js';
import { PacketFramer, payloadOf } from './wire/framer.js';
import { type Greeting, isMariadb } from './wire/greeting.js';

/** Packets that are assembled: OKs, errors, heads. Rows are streamed, however long. */
const MAX_TAKEN_BYTES = 64 * 1024 * 1024;
/** What we tell nodes: the largest that they may be told. */
const MAX_PACKET_BYTES = 1024 * 1024 * 1024;
const KILL_TIMEOUT_MS = 5000;
const ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  ['_client_name', 'scheelite'],
  ['program_name', 'scheelite'],
]);

/** Their values after the login are kept: setting them to what they were is no state, and parsing depends on some. */
const LOGIN_VARIABLES = [
  'sql_mode',
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'collation_connection',
  'time_zone',
  'autocommit',
] as const;

export async function connectMysql(request: ConnectRequest, bug: ReportBug): Promise<MysqlServerConnection> {
  const connection = await logIn(request, bug);
  try {
    await setUp(connection);
    return connection;
  } catch (cause) {
    connection.close('it could not be set up');
    const detail = describeError(cause);
    throw new ProxyError('connect-failed', { node: request.node, detail });
  }
}

function logIn(request: ConnectRequest, bug: ReportBug): Promise<MysqlServerConnection> {
  return new Promise((resolve, reject) => {
    const { node, host, port, key, credential } = request;
    const { keyed, collation } = parseVariant(key.variant);
    const socket = connectSocket({ host, port, noDelay: true, keepAlive: true });
    const framer = new PacketFramer(MAX_TAKEN_BYTES);
    const login = new ServerLogin({
      node,
      user: key.user,
      credential,
      database: key.database === '' ? null : key.database,
      keyed,
      collation,
      attributes: ATTRIBUTES,
      maxPacketBytes: MAX_PACKET_BYTES,
      secure: false,
    });
    const deadline = setTimeout(
      () =>
        fail(new ProxyError('connect-failed', { node, detail: `no login within ${request.timeoutMs} ms` })),
      request.timeoutMs,
    );
    const onError = (error: Error): void =>
      fail(new ProxyError('connect-failed', { node, detail: describeError(error) }));
    const onClose = (): void =>
      fail(
        new ProxyError('connect-failed', { node, detail: 'the node closed the connection during the login' }),
      );

    function settle(): void {
      clearTimeout(deadline);
      socket.off('data', onData).off('error', onError).off('close', onClose);
    }

    function fail(error: ProxyError): void {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    }

    function onPacket(frame: Buffer): boolean {
      const step = login.receive(payloadOf(frame), frame[3]!);
      if (step.kind === 'wait') return false;
      if (step.kind === 'send') {
        socket.write(step.bytes);
        return false;
      }
      const { greeting, capabilities, ok } = step;
      const missing = keyed.flags & ~capabilities.flags;
      if (missing !== 0 || (keyed.mariadb & ~capabilities.mariadb) !== 0)
        throw new ProxyError('connect-failed', {
          node,
          detail: `it lacks capabilities that the client was offered (0x${(missing >>> 0).toString(16)})`,
        });
      settle();
      const kill = (threadId: number): Promise<void> => killQuery(request, bug, threadId);
      const { status } = ok;
      const established = { node, key, socket, framer, greeting, capabilities, status, kill, bug };
      resolve(new MysqlServerConnection(established));
      return true;
    }

    function onData(chunk: Buffer): void {
      try {
        framer.push(chunk);
        for (;;) {
          const verb = framer.next();
          if (verb === 'more') return;
          if (verb === 'stop')
            throw new ProxyError('server-garbage', { node, detail: framer.failure?.message ?? 'framing' });
          const frame = framer.take();
          if (frame !== null && onPacket(frame)) return;
        }
      } catch (cause) {
        fail(connectFailure(cause, node));
      }
    }

    socket.on('data', onData);
    socket.on('error', onError);
    socket.on('close', onClose);
  });
}

/** What it takes to have all session variables reported, by server version; a handful of versions at most. */
const trackingByVersion = new Map<string, string>();

async function setUp(connection: MysqlServerConnection): Promise<void> {
  const { greeting } = connection;
  let sql = trackingByVersion.get(greeting.serverVersion);
  if (sql === undefined) {
    sql = await trackingStatement(connection, greeting);
    if (trackingByVersion.size >= 100) trackingByVersion.clear();
    trackingByVersion.set(greeting.serverVersion, sql);
  }
  connection.trackingSql = sql;
  const begunWith = await beginWith(connection);
  const tracking = query(connection, sql);
  const variables = LOGIN_VARIABLES.map((name) => `@@${name}`);
  // MySQL leads back to it by SET ROLE DEFAULT; and there COM_RESET_CONNECTION leads to the server's own character sets.
  if (isMariadb(greeting.serverVersion)) variables.push('CURRENT_ROLE()');
  else variables.push(...OF_NAMES.map((name) => `@@global.${name}`));
  const values = query(connection, `SELECT ${variables.join(', ')}`);
  // Both fail when the node ends the connection: neither may be left without somebody who hears of it.
  const [, { rows }] = await Promise.all([tracking, values]);
  const row = textRow(rows[0] ?? Buffer.alloc(0));
  const loginValues = new Map<string, string>(LOGIN_VARIABLES.map((name, i) => [name, row[i] ?? '']));
  // As it is reported when it changes.
  loginValues.set('autocommit', loginValues.get('autocommit') === '0' ? 'OFF' : 'ON');
  const role = row[LOGIN_VARIABLES.length];
  if (isMariadb(greeting.serverVersion)) {
    if (role !== undefined && readsTheSame(role)) loginValues.set(LOGIN_ROLE, role);
  } else
    for (const [i, name] of OF_NAMES.entries())
      loginValues.set(ofServer(name), row[LOGIN_VARIABLES.length + i]!);
  // Status flags say that a session commits by itself until it has been told otherwise, whatever it began with (THD::init).
  if (loginValues.get('autocommit') === 'OFF')
    for (const value of [1, 0]) await query(connection, `SET SESSION autocommit = ${value}`);
  connection.loginValues = loginValues;
  connection.wayBack = begunWith.size === 0 ? loginValues : new Map([...begunWith, ...loginValues]);
}

/**
 * Sessions of this key began with these variables. Another node may give others, and so may the same one, where somebody has set global
 * ones since. What this user may not set stays as it is.
 */
async function beginWith(connection: MysqlServerConnection): Promise<ReadonlyMap<string, string>> {
  const variables = connection.key.standing?.variables ?? [];
  const changed = new Map<string, string>();
  if (variables.length === 0) return changed;
  const { rows } = await query(connection, 'SHOW SESSION VARIABLES');
  const here = new Map(rows.map((row) => textRow(row) as [string, string]));
  const differ = variables
    .map(([name, value]) => [name, name === 'sql_mode' ? withIgnoreSpace(value, here) : value] as const)
    .filter(([name, value]) => (here.get(name) ?? value) !== value);
  await Promise.all(
    differ.map(([name, value]) =>
      query(connection, `SET SESSION ${name} = ${literal(name, value)}`).then(
        () => void changed.set(name, value),
        () => {},
      ),
    ),
  );
  return changed;
}

/**
 * MariaDB: all variables, by "*". MySQL means the same by it, and then tells `statement_id` with every reply: there,
 * all that it has by their names.
 */
async function trackingStatement(connection: MysqlServerConnection, greeting: Greeting): Promise<string> {
  const rest = 'session_track_schema=ON, session_track_state_change=ON';
  if (isMariadb(greeting.serverVersion)) return `SET SESSION session_track_system_variables='*', ${rest}`;
  const { rows } = await query(connection, 'SHOW SESSION VARIABLES');
  const names = rows
    .map((row) => textRow(row)[0] ?? '')
    .filter((name) => name !== '' && name !== 'statement_id');
  return `SET SESSION session_track_system_variables='${names.join(',')}', ${rest}${TRACKING_GTIDS}`;
}

function query(connection: MysqlServerConnection, sql: string): Promise<OwnResult> {
  return new Promise((resolve, reject) => {
    connection.own(
      buildQuery(sql, connection.capabilities),
      'results',
      (result) => {
        if (result.error === null) resolve(result);
        else reject(new Error(`${result.error.code}: ${result.error.message}`));
      },
      true,
    );
  });
}

/** A client may have asked for this mode by a capability, behind which the others come. */
function withIgnoreSpace(modes: string, here: ReadonlyMap<string, string>): string {
  const isMode = (mode: string): boolean => mode === 'IGNORE_SPACE';
  const own = (here.get('sql_mode') ?? '').split(',');
  const given = modes === '' ? [] : modes.split(',');
  const wanted = own.some(isMode) && !given.some(isMode) ? [...given, 'IGNORE_SPACE'] : given;
  // What is the same in another order needs no SET.
  const isSame = wanted.length === own.length && wanted.every((mode) => own.includes(mode));
  return isSame ? own.join(',') : wanted.join(',');
}

/** A row of the text protocol; NULL is "". */
function textRow(payload: Buffer): string[] {
  const reader = new PacketReader(payload);
  const values: string[] = [];
  while (reader.left > 0) {
    if (payload[reader.offset] !== 0xfb) values.push(reader.lenencText());
    else {
      reader.skip(1);
      values.push('');
    }
  }
  return values;
}

/** On a connection of its own, as the same user: that is who may kill. Never rejects. */
async function killQuery(request: ConnectRequest, bug: ReportBug, threadId: number): Promise<void> {
  try {
    const connection = await logIn({ ...request, timeoutMs: KILL_TIMEOUT_MS }, bug);
    const answered = query(connection, `KILL QUERY ${threadId}`);
    const deadline = setTimeout(() => connection.close('KILL QUERY was not answered'), KILL_TIMEOUT_MS);
    await answered.catch(() => {});
    clearTimeout(deadline);
    connection.close('KILL QUERY is done');
  } catch {
    // The node cannot be reached: what runs there ends with its own connection.
  }
}
