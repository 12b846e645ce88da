// What a MySQL or MariaDB server gives to a login beside what it asks for: the query, and its answer as a text to compare.
// It opens no connection.

import { digestOf } from '../lib/digest.js';
import type { Standing } from '../protocol/server-connection.js';
import type { Flavor, Row } from './control-connection.js';
import { isOfNames, isState } from './tracked-state.js';

type Ask = (sql: string, values?: readonly string[]) => Promise<Row[]>;

/** Of the server; the same for all logins. */
export interface ServerVariables {
  /** Of new sessions. */
  readonly atLogin: Standing['variables'];
  /** Of all that make a difference. */
  readonly digest: string;
}

/** Of the schema `mysql`: the rows of a user are where this holds. */
type Tables = readonly (readonly [table: string, where: string])[];

/**
 * A session keeps its privileges of a database from USE to USE, and what the account row says from login to login. Those of a role
 * count as well.
 */
const OF_ACCOUNT: Readonly<Record<Flavor, Tables>> = {
  mysql: [
    ['user', 'user = ?'],
    ['db', 'user = ?'],
    ['role_edges', 'to_user = ?'],
    ['default_roles', 'user = ?'],
    ['db', 'user IN (SELECT from_user FROM mysql.role_edges WHERE to_user = ?)'],
  ],
  mariadb: [
    ['global_priv', 'user = ?'],
    ['db', 'user = ?'],
    ['roles_mapping', 'user = ?'],
    ['db', 'user IN (SELECT role FROM mysql.roles_mapping WHERE user = ?)'],
  ],
};

const OF_DATABASE = `SELECT 'database', CONCAT_WS(' ', default_character_set_name, default_collation_name), ''
  FROM information_schema.schemata WHERE schema_name = ?`;

/** Those that this account may read. */
const COLUMNS = `SELECT table_name AS tab, column_name AS col FROM information_schema.columns
  WHERE table_schema = 'mysql' ORDER BY table_name, ordinal_position`;

/** Those that a session has, too; and the global ones that a login looks at. */
const OF_SERVER: Readonly<Record<Flavor, string>> = {
  mysql: `SELECT variable_name AS name, g.variable_value AS value FROM performance_schema.global_variables g
      JOIN performance_schema.variables_by_thread t USING (variable_name)
      WHERE t.thread_id = PS_CURRENT_THREAD_ID()
    UNION ALL SELECT variable_name, variable_value FROM performance_schema.global_variables
      WHERE variable_name IN ('init_connect', 'mandatory_roles', 'activate_all_roles_on_login')
    ORDER BY name`,
  mariadb: `SELECT LOWER(variable_name) AS name, global_value AS value FROM information_schema.system_variables
    WHERE variable_scope = 'SESSION' OR variable_name = 'init_connect' ORDER BY name`,
};

/** A password that has changed is no reason to give up server connections that are logged in. */
const OF_PASSWORD = new Set([
  'authentication_string',
  'auth_or',
  'password_last_changed',
  'password',
  'user_attributes',
]);
/** The column of the document in which MariaDB keeps an account. */
const DOCUMENT = 'Priv';

/** Not those of new sessions: told by the client, of one server, or of what the proxy does with idle clients. */
const NOT_AT_LOGIN = new Set([
  'init_connect',
  'mandatory_roles',
  'activate_all_roles_on_login',
  'wait_timeout',
  'interactive_timeout',
  'net_read_timeout',
  'net_write_timeout',
  'default_storage_engine',
]);

export async function readVariables(flavor: Flavor, ask: Ask): Promise<ServerVariables> {
  const rows = await ask(OF_SERVER[flavor]).catch(() => []);
  const state = rows
    .map((row) => [textOf(row.name).toLowerCase(), textOf(row.value)] as const)
    .filter(([name]) => isState(name));
  const atLogin = state.filter(([name]) => !NOT_AT_LOGIN.has(name) && !isOfNames(name));
  return { atLogin, digest: digestOf(state) };
}

/** `sql` has parameters: the user, `users` times, and the database. */
export interface StandingQuery {
  readonly sql: string;
  readonly users: number;
}

/** The same for all users: one question for all that a login is given. What may not be read does not count. */
export async function standingQuery(flavor: Flavor, ask: Ask): Promise<StandingQuery> {
  const columns = new Map<string, string[]>();
  for (const { tab, col } of await ask(COLUMNS)) {
    const table = textOf(tab).toLowerCase();
    columns.set(table, [...(columns.get(table) ?? []), textOf(col)]);
  }
  const parts: string[] = [];
  for (const [i, [table, where]] of OF_ACCOUNT[flavor].entries()) {
    const known = (columns.get(table) ?? []).filter((name) => !OF_PASSWORD.has(name.toLowerCase()));
    if (known.length === 0) continue;
    // As hexadecimal digits: columns have character sets that do not mix.
    const values = known.filter((name) => name !== DOCUMENT).map((name) => `IFNULL(HEX(\`${name}\`), '-')`);
    const document = known.includes(DOCUMENT) ? `\`${DOCUMENT}\`` : "''";
    parts.push(
      `SELECT '${i}' AS part, CONCAT_WS(' ', ${values.join()}) AS data, ${document} AS document FROM mysql.${table} WHERE ${where}`,
    );
  }
  return { sql: [...parts, OF_DATABASE].join(' UNION ALL '), users: parts.length };
}

export async function readStanding(
  { sql, users }: StandingQuery,
  ask: Ask,
  user: string,
  database: string,
  { atLogin, digest }: ServerVariables,
): Promise<Standing> {
  const rows = await ask(sql, [...Array<string>(users).fill(user), database]);
  const account = rows.map((row) => Object.values(row).map(withoutPasswords).join('\n')).sort();
  return { text: digestOf([account, digest]), variables: atLogin };
}

/** MariaDB keeps the whole account in one document. */
function withoutPasswords(value: unknown): string {
  const text = textOf(value);
  if (!text.startsWith('{')) return text;
  const entries = Object.entries(JSON.parse(text) as Row);
  return JSON.stringify(entries.filter(([name]) => !OF_PASSWORD.has(name.toLowerCase())));
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return Buffer.isBuffer(value) ? value.toString('utf8') : String(value);
}
