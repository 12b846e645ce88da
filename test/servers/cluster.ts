// The harness's one face over all kinds of servers: start a primary with replicas, look into it, break it, stop it.
// What differs between the kinds is in postgres.ts and mysql.ts.

import type { Clients, Kind } from './available.js';
import { startMysql } from './mysql.js';
import { startPostgres } from './postgres.js';

export type Row = Record<string, unknown>;

export interface Login {
  readonly user: string;
  readonly password: string;
}

export interface TestNode {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  /** Runs SQL as the superuser on a connection of its own; the rows of the last statement. */
  admin(sql: string): Promise<Row[]>;
  /**
   * SIGKILL, SIGSTOP and SIGCONT reach all of the server's processes, as if its machine died or froze; SIGKILL
   * returns when it is gone. SIGTERM goes to the main process and is not waited for.
   */
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): Promise<void>;
  /** Starts it on the same port and data; with the role that its files say it has. */
  start(): Promise<void>;
  /** Orderly and at once: clients are cut off. */
  stop(): Promise<void>;
  /** It goes on receiving. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  /** Applies every transaction that much later; MySQL and MariaDB round up to whole seconds. 0 ends it. */
  delay(milliseconds: number): Promise<void>;
  /** The end of the server's log, for messages; 30 lines of it. */
  logTail(lines?: number): string;
}

export interface TestCluster {
  readonly kind: Kind;
  /** `18.4`, `9.7.4` ... */
  readonly version: string;
  readonly nodes: readonly TestNode[];
  /** The roles at the start; a failover does not change them here. */
  readonly primary: TestNode;
  readonly replicas: readonly TestNode[];
  readonly superuser: Login;
  /** The application's: owner of `database`. SCRAM, caching_sha2_password, mysql_native_password. */
  readonly user: Login & { readonly database: string };
  /** Further users of the same database, by how they log in: see README.md. */
  readonly users: Readonly<Record<string, Login>>;
  readonly binaries: Clients;
  /** Every running node that replicates has applied what `from` (the first primary) has now. */
  waitCaughtUp(from?: TestNode): Promise<void>;
  /** Throws away a node's data and makes it a new replica of `from`, on its old port. */
  rebuild(node: TestNode, from: TestNode): Promise<void>;
  stop(): Promise<void>;
}

export interface StartOptions {
  /** Default 2. */
  readonly replicas?: number;
  /** PostgreSQL only: 15 or 18, default 18. */
  readonly version?: number;
  /** Added to every node: lines of postgresql.conf, or options of mysqld without the dashes. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

export function startCluster(kind: Kind, options: StartOptions = {}): Promise<TestCluster> {
  return kind === 'postgres' ? startPostgres(options) : startMysql(kind, options);
}
