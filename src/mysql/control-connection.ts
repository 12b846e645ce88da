// One control connection of the monitor to a MySQL or MariaDB node through `mysql2`, and what its errors mean.
// It knows neither probes nor promotion.

import { type Connection, createConnection, type RowDataPacket } from 'mysql2';
import { describeError } from '../lib/errors.js';
import { SpareConnections, type SpareSizes } from '../lib/spare-connections.js';
import {
  type NodeAddress,
  type NodeControlOptions,
  ProbeFailure,
  type ProbeFailureKind,
} from '../protocol/node-control.js';
import type { StandingQuery } from './standing.js';

export type Flavor = 'mysql' | 'mariadb';
export type Row = Record<string, unknown>;

export class ControlConnection {
  readonly raw: Connection;
  /** Told by the server's version; null: not asked yet. */
  flavor: Flavor | null = null;
  /** By the columns that its server has; null: not asked yet. */
  standingQuery: StandingQuery | null = null;

  constructor(raw: Connection) {
    this.raw = raw;
  }

  /**
   * Values are parameters of a prepared statement and never part of the text: some come from clients that have proved nothing yet,
   * and how a string ends depends on the server's sql_mode (NO_BACKSLASH_ESCAPES).
   */
  query(sql: string, values: readonly string[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      const answered = (error: Error | null, rows: RowDataPacket[]): void => {
        if (error !== null) reject(error);
        else resolve(Array.isArray(rows) ? rows : []);
      };
      if (values.length === 0) this.raw.query<RowDataPacket[]>(sql, answered);
      else this.raw.execute<RowDataPacket[]>(sql, [...values], answered);
    });
  }
}

/** MySQL error reference (server and client errors, mariadb the same numbers); network errors as Node names them. */
export function failureKind(error: unknown): ProbeFailureKind {
  if (error instanceof ProbeFailure) return error.kind;
  if (error instanceof AggregateError && error.errors.length > 0) return failureKind(error.errors[0]);
  const { code, errno, sqlState } = (error ?? {}) as { code?: unknown; errno?: unknown; sqlState?: unknown };
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'timeout';
  }
  switch (errno) {
    case 1040: // ER_CON_COUNT_ERROR
    case 1203: // ER_TOO_MANY_USER_CONNECTIONS
    case 1226: // ER_USER_LIMIT_REACHED
      return 'too-many-connections';
    case 1044: // ER_DBACCESS_DENIED_ERROR
    case 1045: // ER_ACCESS_DENIED_ERROR
    case 1129: // ER_HOST_IS_BLOCKED
    case 1130: // ER_HOST_NOT_PRIVILEGED
    case 1698: // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    case 3118: // ER_ACCOUNT_HAS_BEEN_LOCKED
      return 'login-refused';
    case 3: // EE_WRITE
    case 1021: // ER_DISK_FULL
    case 1114: // ER_RECORD_FILE_FULL
      return 'disk-full';
    case 1053: // ER_SERVER_SHUTDOWN
    case 1927: // ER_CONNECTION_KILLED
      return 'lost';
  }
  return typeof sqlState === 'string' && sqlState !== '' ? 'other' : 'lost';
}

export function toProbeFailure(error: unknown): ProbeFailure {
  if (error instanceof ProbeFailure) return error;
  const { errno, code } = (error ?? {}) as { errno?: unknown; code?: unknown };
  const label =
    typeof errno === 'number' && errno > 0 ? ` (${errno})` : typeof code === 'string' ? ` (${code})` : '';
  return new ProbeFailure(failureKind(error), `${describeError(error)}${label}`);
}

/** An error packet that is about the statement leaves the session usable. */
function survives(error: unknown): boolean {
  const { fatal } = (error ?? {}) as { fatal?: unknown };
  return fatal !== true && !(error instanceof ProbeFailure) && failureKind(error) === 'other';
}

export function controlConnections(
  address: NodeAddress,
  options: NodeControlOptions,
  sizes: SpareSizes,
): SpareConnections<ControlConnection> {
  const spare: SpareConnections<ControlConnection> = new SpareConnections({
    ...sizes,
    survives,
    open: () => {
      const raw = createConnection({
        host: address.host,
        port: address.port,
        user: options.user,
        password: options.password,
        connectAttributes: { program_name: options.applicationName },
        // Positions, counters and times are taken as text; sizes beyond 2^53 stay exact.
        dateStrings: true,
        supportBigNumbers: true,
        bigNumberStrings: true,
        // The deadline of the call cuts the connection; this only ends what nobody waits for any more.
        connectTimeout: 60_000,
      });
      const connection = new ControlConnection(raw);
      raw.on('error', () => spare.forget(connection));
      raw.on('end', () => spare.forget(connection));
      const ready = new Promise<void>((resolve, reject) => {
        raw.connect((error) => (error === null ? resolve() : reject(error)));
      });
      ready.catch(() => {});
      return { connection, ready };
    },
    destroy: ({ raw }) => raw.destroy(),
    timedOut: (ms) =>
      new ProbeFailure('timeout', `${address.host}:${address.port} did not answer within ${ms} ms`),
  });
  return spare;
}

export async function flavorOf(connection: ControlConnection): Promise<Flavor> {
  if (connection.flavor === null) {
    const rows = await connection.query('SELECT @@version AS version');
    connection.flavor = /mariadb/i.test(String(rows[0]?.version)) ? 'mariadb' : 'mysql';
  }
  return connection.flavor;
}
