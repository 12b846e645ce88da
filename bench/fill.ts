// Makes and fills the tables that a scenario reads and writes, before anything is measured.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { TestCluster } from '../test/servers/cluster.js';
import { address, environment, pgbenchProgram } from './pgbench.js';
import { type LoadScenario, ROWS_TABLE, rowsPerStatement } from './scenarios.js';
import { sysbenchPrepare, sysbenchProgram } from './sysbench.js';

const run = promisify(execFile);

/** Rows that one statement makes: a transaction of all would keep replicas waiting. */
const CHUNK = 50_000;

async function fillRows(cluster: TestCluster, rows: number): Promise<void> {
  const { primary, kind, user } = cluster;
  const admin = (sql: string) => primary.admin(sql);
  await admin(
    `CREATE TABLE ${ROWS_TABLE} (id int PRIMARY KEY, amount int NOT NULL, label varchar(40) NOT NULL)`,
  );
  for (let from = 1; from <= rows; from += CHUNK) {
    const to = Math.min(rows, from + CHUNK - 1);
    await admin(
      kind === 'postgres'
        ? `INSERT INTO ${ROWS_TABLE} SELECT n, n * 7 % 1000003, md5(n::text) FROM generate_series(${from}, ${to}) AS n`
        : `INSERT INTO ${ROWS_TABLE}
           SELECT n, n * 7 % 1000003, LEFT(SHA2(n, 256), 32) FROM (SELECT ${from} + ${digits(CHUNK)} AS n ${digitTables(CHUNK)}) AS s
           WHERE n <= ${to}`,
    );
  }
  if (kind !== 'postgres') return;
  await admin(`GRANT SELECT ON ${ROWS_TABLE} TO ${user.user}`);
  // Else the first readers would write hint bits, and autovacuum come in the middle.
  await admin(`VACUUM (FREEZE, ANALYZE) ${ROWS_TABLE}`);
}

/** d0.d + 10 * d1.d + ...: the numbers below `count` and some more, which both MySQL and MariaDB can make. */
function digits(count: number): string {
  return Array.from({ length: digitsOf(count) }, (_, i) => `${10 ** i} * d${i}.d`).join(' + ');
}

function digitTables(count: number): string {
  const one = Array.from({ length: 10 }, (_, d) => `SELECT ${d} AS d`).join(' UNION ALL ');
  const tables = Array.from({ length: digitsOf(count) }, (_, i) => `(${one}) AS d${i}`);
  return `FROM ${tables.join(' CROSS JOIN ')}`;
}

function digitsOf(count: number): number {
  return String(count - 1).length;
}

/** All replicas have them when it returns. */
export async function fill(cluster: TestCluster, scenario: LoadScenario, scale: number): Promise<void> {
  const rows = rowsPerStatement(scenario, scale);
  if (rows !== null) await fillRows(cluster, rows);
  else if (cluster.kind === 'postgres') {
    await run(
      pgbenchProgram(cluster),
      ['--initialize', '--quiet', '--scale', String(scale), ...address(cluster, cluster.primary)],
      { env: { ...process.env, ...environment(cluster) } },
    );
  } else {
    const script = 'script' in scenario ? scenario.script : 'oltp_point_select';
    await run(sysbenchProgram(cluster), sysbenchPrepare(cluster, script, scale));
  }
  await cluster.waitCaughtUp();
}
