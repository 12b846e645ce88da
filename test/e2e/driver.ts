// One face over the drivers of applications (pg, mysql2), so that one suite runs over all kinds of cluster.
// It knows how a client talks, not what a proxy is.

import { createHash } from 'node:crypto';
import { Socket } from 'node:net';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { ERRORS, type ErrorCode } from '../../src/lib/errors.js';
import type { Kind } from '../servers/available.js';
import type { Login, Row } from '../servers/cluster.js';

export type Value = string | number | null;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export type Account = Login & { readonly database: string };

export interface Client {
  /** Text; with values, an unnamed statement where the protocol has one. `?` stands for a value, whatever the kind. */
  query(sql: string, values?: readonly Value[]): Promise<Row[]>;
  /** A prepared statement with a name (or id), kept by the driver under its text. */
  execute(sql: string, values?: readonly Value[]): Promise<Row[]>;
  close(): Promise<void>;
  /** Cut off without a goodbye, as if the application's process were killed. */
  kill(): void;
  /** Why the connection ended without having been asked to; null while it is there. */
  readonly broken: Error | null;
}

export interface Driver {
  readonly kind: Kind;
  connect(at: Address, account: Account): Promise<Client>;
  /** SQLSTATE, or MySQL's number. */
  codeOf(error: unknown): string;
  /** The same, of an error of the proxy's own. */
  code(code: ErrorCode): string;
}

export function driverOf(kind: Kind): Driver {
  return kind === 'postgres' ? postgresDriver : mysqlDriver(kind);
}

/** Nothing else that the caller's objects have: drivers take many options. */
function options({ host, port }: Address, { user, password, database }: Account) {
  return { host, port, user, password, database };
}

class PostgresClient implements Client {
  readonly #client: pg.Client;
  readonly #socket: Socket;
  #broken: Error | null = null;
  #closing = false;

  constructor(client: pg.Client, socket: Socket) {
    this.#client = client;
    this.#socket = socket;
    const ended = (error?: Error) => {
      if (!this.#closing) this.#broken ??= error ?? new Error('the connection ended');
    };
    client.on('error', ended);
    client.on('end', () => ended());
  }

  get broken(): Error | null {
    return this.#broken;
  }

  async query(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    const result = await this.#client.query<Row>(numbered(sql), [...values]);
    return lastRows(result);
  }

  async execute(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    const { rows } = await this.#client.query<Row>({
      name: nameOf(sql),
      text: numbered(sql),
      values: [...values],
    });
    return rows;
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#broken === null) await this.#client.end();
  }

  kill(): void {
    this.#closing = true;
    this.#socket.destroy();
  }
}

/** Several statements in one string give a list of results, which pg's types do not tell. */
function lastRows(result: pg.QueryResult<Row> | pg.QueryResult<Row>[]): Row[] {
  return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [];
}

/** pg warns of names that are longer than an identifier. */
function nameOf(sql: string): string {
  return sql.length <= 63 ? sql : createHash('sha256').update(sql).digest('base64url');
}

function numbered(sql: string): string {
  let n = 0;
  return sql.replaceAll('?', () => `$${++n}`);
}

const postgresDriver: Driver = {
  kind: 'postgres',
  async connect(at, account) {
    const socket = new Socket();
    const client = new pg.Client({ ...options(at, account), stream: () => socket });
    const wrapped = new PostgresClient(client, socket);
    await client.connect();
    return wrapped;
  },
  codeOf: (error) => String((error as { code?: unknown }).code),
  code: (code) => ERRORS[code].sqlState,
};

class MysqlClient implements Client {
  readonly #connection: mysql.Connection;
  #broken: Error | null = null;
  #closing = false;

  constructor(connection: mysql.Connection) {
    this.#connection = connection;
    const ended = (error?: Error) => {
      if (!this.#closing) this.#broken ??= error ?? new Error('the connection ended');
    };
    connection.on('error', ended);
    connection.on('end', () => ended());
  }

  get broken(): Error | null {
    return this.#broken;
  }

  async query(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    const [result] = await this.#connection.query(sql, [...values]);
    return asRows(result);
  }

  async execute(sql: string, values: readonly Value[] = []): Promise<Row[]> {
    const [result] = await this.#connection.execute(sql, [...values]);
    return asRows(result);
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#broken === null) await this.#connection.end();
  }

  kill(): void {
    this.#closing = true;
    this.#connection.destroy();
  }
}

function asRows(result: unknown): Row[] {
  if (!Array.isArray(result)) return [];
  const last: unknown = Array.isArray(result[0]) ? result.at(-1) : result;
  return Array.isArray(last) ? (last as Row[]) : [];
}

function mysqlDriver(kind: Kind): Driver {
  return {
    kind,
    async connect(at, account) {
      const connection = await mysql.createConnection({
        ...options(at, account),
        multipleStatements: true,
        connectTimeout: 60_000,
      });
      return new MysqlClient(connection);
    },
    codeOf: (error) => String((error as { errno?: unknown }).errno),
    code: (code) => String(ERRORS[code].errno),
  };
}
