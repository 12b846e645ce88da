// Statements that MySQL and MariaDB bring themselves: the examples of their help tables, a call of every function that they
// or our own lists know, their views, variables and SHOW statements; and the golden tables. It judges nothing.

import { readFileSync } from 'node:fs';
import type { TestNode } from '../../servers/cluster.js';
import { goldenTables, runsOf } from '../../sql/mysql/golden.js';

export type Flavour = 'mysql' | 'mariadb';

/** What would end the run, or only make it wait. */
export const disturbing =
  /\b(?:sleep|benchmark|shutdown|kill|restart|master_pos_wait|source_pos_wait|master_gtid_wait|wait_for_executed\w*|wait_until\w*|wsrep_\w+|get_lock|cracklib|stop|change|reset|clone|uninstall|purge|set_system_user)\b/i;

/** Rows of statements-mysql.md that send what only reads to the primary, to the last connection, or pin it. */
const documented: readonly RegExp[] = [
  /\b(?:get_lock|release_lock|release_all_locks|is_free_lock|is_used_lock|service_\w+|version_tokens_\w+)\b/i,
  /\b(?:nextval|setval|lastval|currval)\b|\b(?:next|previous)\s+value\s+for\b/i,
  /\b(?:last_insert_id|found_rows|row_count|connection_id|load_file|uuid_short)\b/i,
  /\b(?:\w+_pos_wait|\w+gtid_wait|wait_for_\w+|binlog_gtid_pos|wsrep_\w+|ps_current_thread_id|ps_thread_id)\b/i,
  // User variables; of system variables those that are not known to be alike everywhere.
  /@|:=/,
  /\bfor\s+update\b|\bfor\s+share\b|\block\s+in\s+share\s+mode\b|\binto\b/i,
  /\b(?:performance_schema|sys|mysql)`?\s*\./i,
  /^\s*show\b/i,
  // One server's sessions, counters and files.
  /\b(?:processlist|\w+_status|\w+_variables|profiling|optimizer_trace|\w+_statistics|innodb_\w+|files|plugins|all_plugins|engines|locales|query_cache_info|temp_tables_info|disks|metadata_lock_info|thread_pool\w*|tp_thread\w*|query_response_time|optimizer_costs|feedback|wsrep_\w+|user_variables|resource_groups|enabled_roles|applicable_roles)\b/i,
  // Stored functions that may write, and what may be one.
  /\b(?:writes|impure)\b|\bv_writes\b|\bshop`?\s*\.\s*`?\w+`?\s*\(/i,
  /`\s*\(|\b\w+\s+\(/,
  /\bexplain\b.*\b(?:insert|update|delete|replace)\b|\bfor\s+connection\b/is,
];

/** `sql` goes to the primary by a row of the document, or for want of knowledge about a name. */
export function isOnPurpose(sql: string): boolean {
  const bare = sql.replaceAll(/'(?:[^'\\]|\\.|'')*'/gs, "''").replaceAll(/\/\*(?![!M+]).*?\*\//gs, ' ');
  return documented.some((row) => row.test(bare));
}

const own = new URL('../../../../src/sql/mysql/functions.ts', import.meta.url);

const arguments_ = [
  '',
  '1',
  "'x'",
  '1, 2',
  "'x', 'y'",
  "'{\"a\": 1}', '$.a'",
  "'2020-01-02', 1",
  '1, 2, 3',
  "'x', 'y', 'z'",
  "'{\"a\": 1}', '$.a', 2",
  'NULL, NULL',
  '1, 2, 3, 4',
  'a',
  'a, b',
  "ST_GeomFromText('POINT(1 1)')",
  "ST_GeomFromText('POINT(1 1)'), ST_GeomFromText('POINT(2 2)')",
];

/** A call of every function that our lists, the server's lists or its help know. */
export async function functionCalls(node: TestNode, flavour: Flavour): Promise<string[]> {
  const names = new Set<string>(readFileSync(own, 'utf8').match(/\b[a-z][a-z_0-9]{1,60}\b/g));
  const queries = [
    'SELECT LOWER(name) AS name FROM mysql.help_topic',
    'SELECT LOWER(WORD) AS name FROM information_schema.KEYWORDS',
    ...(flavour === 'mariadb'
      ? ['SELECT LOWER(FUNCTION) AS name FROM information_schema.SQL_FUNCTIONS']
      : []),
  ];
  for (const query of queries) {
    for (const { name } of await node.admin(query))
      if (/^[a-z_][a-z_0-9]*$/.test(String(name))) names.add(String(name));
  }
  const calls: string[] = [];
  for (const name of [...names].sort()) {
    for (const list of arguments_) calls.push(`SELECT ${name}(${list}) FROM t LIMIT 1`);
    calls.push(`SELECT ${name}(a) OVER () FROM t`, `SELECT ${name}`);
  }
  return calls;
}

/** What the help tables show as examples. */
export async function helpExamples(node: TestNode): Promise<string[]> {
  const found: string[] = [];
  for (const row of await node.admin('SELECT example, description FROM mysql.help_topic')) {
    for (const text of [String(row.example), String(row.description)]) {
      const lines = text.replaceAll(/^(?:mysql|MariaDB[^>]*)> /gim, '@@mark@@').replaceAll(/^ +-> /gm, ' ');
      for (const part of lines.split(/@@mark@@|;\s*\n|\n\n/)) {
        const sql = part.trim().replace(/;[\s\S]*$/, '');
        if (/^(?:select|with|values|table|show|do|explain|describe|desc|\()/i.test(sql) && sql.length < 1500)
          found.push(sql);
      }
    }
  }
  return found;
}

export async function ownQueries(node: TestNode): Promise<string[]> {
  const tables = await node.admin(
    "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('information_schema', 'performance_schema', 'sys', 'mysql', 'shop')",
  );
  const views = await node.admin(
    "SELECT VIEW_DEFINITION AS sql_text FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'sys'",
  );
  const variables = await node.admin('SHOW GLOBAL VARIABLES');
  const topics = await node.admin("SELECT name FROM mysql.help_topic WHERE name LIKE 'SHOW%'");
  return [
    ...tables.map(({ s, t }) => `SELECT * FROM ${String(s)}.${String(t)} LIMIT 2`),
    ...views.map(({ sql_text }) => String(sql_text)),
    ...variables.map(({ Variable_name }) => `SELECT @@${String(Variable_name)}`),
    ...topics.map(({ name }) => String(name)),
  ];
}

export function goldenStatements(flavour: Flavour): string[] {
  return goldenTables()
    .filter(({ name }) => name !== 'prepared')
    .flatMap(({ cases }) =>
      cases
        .filter((golden) =>
          runsOf(golden).some((run) => run.flavour === flavour && run.characterSet.startsWith('utf8')),
        )
        .map((golden) => golden.sql),
    );
}
