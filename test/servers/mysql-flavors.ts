// Where MySQL 9.7 and MariaDB 10.11 differ for the harness: options, SQL of replication, how a data directory is made.

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from './available.js';
import type { Login, Row } from './cluster.js';

const execFileAsync = promisify(execFile);

export interface Accounts {
  readonly superuser: Login;
  readonly replicator: Login;
  readonly users: Readonly<Record<string, Login>>;
  readonly database: string;
}

export interface Flavor {
  readonly kind: 'mysql' | 'mariadb';
  readonly title: string;
  settings(program: string): Record<string, string | number>;
  readonly readOnly: Record<string, string | number>;
  initialize(program: string, dataDir: string, asRoot: readonly string[]): Promise<void>;
  /** Run once as root without a password; the last ones forget that they were run. */
  prepare(accounts: Accounts): string[];
  follow(source: { readonly host: string; readonly port: number }, replicator: Login): string[];
  readonly stopApplier: string;
  readonly startApplier: string;
  delay(seconds: number): string[];
  readonly showReplication: string;
  runs(row: Row): boolean;
  /** A column `position`: all that the server has. */
  readonly position: string;
  /** A column `ok`: 1 when the replica has that position. */
  reached(position: string): string;
}

/** Test passwords hold no character that needs more. */
function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function createUsers(accounts: Accounts, identified: (login: Login) => string): string[] {
  const { superuser, replicator, users, database } = accounts;
  const account = (login: Login) => `${literal(login.user)}@'%'`;
  return [
    `CREATE DATABASE ${database}`,
    `CREATE USER ${account(superuser)} ${identified(superuser)}`,
    `GRANT ALL ON *.* TO ${account(superuser)} WITH GRANT OPTION`,
    `CREATE USER ${account(replicator)} ${identified(replicator)}`,
    `GRANT REPLICATION SLAVE ON *.* TO ${account(replicator)}`,
    ...Object.values(users).flatMap((login) => [
      `CREATE USER ${account(login)} ${identified(login)}`,
      `GRANT ALL ON ${database}.* TO ${account(login)}`,
    ]),
  ];
}

const mysqlFlavor: Flavor = {
  kind: 'mysql',
  title: 'MySQL',
  settings(program) {
    // The program is <folder>/bin/mysqld, a wrapper; its files are where the packages put them below <folder>.
    const base = dirname(dirname(program));
    return {
      basedir: `${base}/usr`,
      'lc-messages-dir': `${base}/usr/share/mysql`,
      'character-sets-dir': `${base}/usr/share/mysql/charsets`,
      'plugin-dir': `${base}/usr/lib/mysql/plugin`,
      'secure-file-priv': '',
      mysqlx: 'OFF',
      'gtid-mode': 'ON',
      'enforce-gtid-consistency': 'ON',
      'log-replica-updates': 'ON',
      'relay-log-recovery': 'ON',
      'innodb-redo-log-capacity': '64M',
      'temptable-max-ram': '16M',
      'table-open-cache': 400,
      // By default a server with nothing to do takes 400 MB; this halves it.
      'innodb-log-buffer-size': '4M',
      'performance-schema-digests-size': 200,
      'performance-schema-events-statements-history-long-size': 100,
      'performance-schema-events-waits-history-long-size': 100,
      'performance-schema-events-stages-history-long-size': 100,
      'performance-schema-events-transactions-history-long-size': 100,
      'performance-schema-error-size': 100,
    };
  },
  readOnly: { 'read-only': 'ON', 'super-read-only': 'ON' },
  async initialize(program, dataDir, asRoot) {
    const options = Object.entries(this.settings(program)).map(([name, value]) => `--${name}=${value}`);
    await execFileAsync(program, [
      ...['--no-defaults', ...asRoot, ...options, `--datadir=${dataDir}`, '--innodb-use-native-aio=OFF'],
      '--initialize-insecure',
    ]);
  },
  prepare(accounts) {
    return [
      ...createUsers(
        accounts,
        (login) => `IDENTIFIED WITH caching_sha2_password BY ${literal(login.password)}`,
      ),
      `ALTER USER root@localhost IDENTIFIED BY ${literal(accounts.superuser.password)}`,
      'RESET BINARY LOGS AND GTIDS',
    ];
  },
  follow(source, replicator) {
    return [
      'STOP REPLICA',
      `CHANGE REPLICATION SOURCE TO SOURCE_HOST = '${source.host}', SOURCE_PORT = ${source.port}, ` +
        `SOURCE_USER = ${literal(replicator.user)}, SOURCE_PASSWORD = ${literal(replicator.password)}, ` +
        'SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, ' +
        'SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 1',
      'START REPLICA',
    ];
  },
  stopApplier: 'STOP REPLICA SQL_THREAD',
  startApplier: 'START REPLICA SQL_THREAD',
  delay: (seconds) => [
    'STOP REPLICA SQL_THREAD',
    `CHANGE REPLICATION SOURCE TO SOURCE_DELAY = ${seconds}`,
    'START REPLICA SQL_THREAD',
  ],
  showReplication: 'SHOW REPLICA STATUS',
  runs: (row) => row.Replica_IO_Running === 'Yes' && row.Replica_SQL_Running === 'Yes',
  position: 'SELECT @@global.gtid_executed AS position',
  reached: (position) => `SELECT GTID_SUBSET('${position}', @@global.gtid_executed) AS ok`,
};

const mariadbFlavor: Flavor = {
  kind: 'mariadb',
  title: 'MariaDB',
  settings: () => ({
    'gtid-strict-mode': 1,
    'log-slave-updates': 1,
    'binlog-format': 'ROW',
    'innodb-log-file-size': '32M',
  }),
  readOnly: { 'read-only': 1 },
  async initialize(program, dataDir, asRoot) {
    const install = findProgram('mariadb-install-db') ?? `${dirname(program)}/mariadb-install-db`;
    mkdirSync(dataDir, { mode: 0o700 });
    await execFileAsync(install, [
      ...['--no-defaults', ...asRoot, `--datadir=${dataDir}`, '--auth-root-authentication-method=normal'],
      '--skip-test-db',
    ]);
  },
  prepare(accounts) {
    return [
      // Anonymous users match before '%' does, and root has no password for every name of this host.
      "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost')",
      'FLUSH PRIVILEGES',
      ...createUsers(
        accounts,
        (login) => `IDENTIFIED VIA mysql_native_password USING PASSWORD(${literal(login.password)})`,
      ),
      `ALTER USER root@localhost IDENTIFIED BY ${literal(accounts.superuser.password)}`,
      'RESET MASTER',
    ];
  },
  follow(source, replicator) {
    return [
      'STOP SLAVE',
      `CHANGE MASTER TO MASTER_HOST = '${source.host}', MASTER_PORT = ${source.port}, ` +
        `MASTER_USER = ${literal(replicator.user)}, MASTER_PASSWORD = ${literal(replicator.password)}, ` +
        'MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1',
      'START SLAVE',
    ];
  },
  stopApplier: 'STOP SLAVE SQL_THREAD',
  startApplier: 'START SLAVE SQL_THREAD',
  // MariaDB changes the delay only while both threads are stopped.
  delay: (seconds) => ['STOP SLAVE', `CHANGE MASTER TO MASTER_DELAY = ${seconds}`, 'START SLAVE'],
  showReplication: 'SHOW SLAVE STATUS',
  runs: (row) => row.Slave_IO_Running === 'Yes' && row.Slave_SQL_Running === 'Yes',
  position: 'SELECT @@global.gtid_binlog_pos AS position',
  // With a time-out of 0 it only looks: 0 when the position is reached, -1 when it is not.
  reached: (position) => `SELECT MASTER_GTID_WAIT('${position}', 0) = 0 AS ok`,
};

export const flavors = { mysql: mysqlFlavor, mariadb: mariadbFlavor } as const;
