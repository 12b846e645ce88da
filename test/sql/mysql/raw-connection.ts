// Sends statements to a real server as the bytes they are, whatever the session's character set makes of them.

import mysql from 'mysql2';
import type { Login, TestNode } from '../../servers/cluster.js';

export interface Answer {
  /** 0: no error. */
  readonly errno: number;
  readonly message: string;
  /** Result sets and OKs. */
  readonly results: number;
}

const binary = 63;

export class RawConnection {
  readonly #connection: mysql.Connection;

  private constructor(connection: mysql.Connection) {
    this.#connection = connection;
  }

  static async open(node: TestNode, login: Login, database: string): Promise<RawConnection> {
    const connection = mysql.createConnection({
      host: node.host,
      port: node.port,
      user: login.user,
      password: login.password,
      database,
      multipleStatements: true,
      flags: ['-IGNORE_SPACE', '-LOCAL_FILES'],
    });
    await new Promise<void>((resolve, reject) => {
      connection.connect((error) => (error === null ? resolve() : reject(error)));
    });
    connection.on('error', () => {});
    return new RawConnection(connection);
  }

  run(sql: Buffer | string): Promise<Answer> {
    // A string's characters are bytes: as `binary` the client library encodes nothing. It follows SET NAMES otherwise.
    (this.#connection.config as { charsetNumber?: number }).charsetNumber = binary;
    const text = typeof sql === 'string' ? sql : sql.toString('latin1');
    return new Promise((resolve) => {
      this.#connection.query(text, (error: mysql.QueryError | null, rows: unknown, fields: unknown) => {
        if (error !== null) {
          resolve({ errno: error.errno ?? -1, message: error.message, results: 0 });
          return;
        }
        const several = Array.isArray(fields) && (Array.isArray(fields[0]) || fields.includes(undefined));
        resolve({ errno: 0, message: '', results: several && Array.isArray(rows) ? rows.length : 1 });
      });
    });
  }

  /** The rows of one statement; throws what the server refuses. */
  rows(sql: string): Promise<readonly Record<string, unknown>[]> {
    return new Promise((resolve, reject) => {
      this.#connection.query(sql, (error: mysql.QueryError | null, rows: unknown) => {
        if (error !== null) reject(error);
        else resolve(Array.isArray(rows) ? (rows as Record<string, unknown>[]) : []);
      });
    });
  }

  close(): void {
    this.#connection.destroy();
  }
}
