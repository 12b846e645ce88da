// What a MySQL or MariaDB server gives to a login beside what it asks for: the queries, and their answers as a text to compare.
// It opens no connection.

import { digestOf } from '../lib/digest.js';
import type { Standing } from '../protocol/server-connection.js';
import type { Flavor, Row } from './control-connection.js';
import { isOfNames, isState } from './tracked-state.js';

type Ask = (sql: string, values?: readonly unknown[]) => Promise<Row[]>;
type Variables = readonly (readonly [name: string, value: string])[];

/**
 * A session keeps its privileges of a database from USE to USE, and what the account row says from login to login. Those of a role
 * count as well.
 */
const OF_ACCOUNT: Readonly<Record<Flavor, readonly string[]>> = {
  mysql: [
    'SELECT * FROM mysql.user WHERE user = ? ORDER BY host',
    'SELECT * FROM mysql.db WHERE user = ? ORDER BY host, db',
    'SELECT * FROM mysql.role_edges WHERE to_user = ? ORDER BY to_host, from_host, from_user',
    'SELECT * FROM mysql.default_roles WHERE user = ? ORDER BY host, default_role_host, default_role_user',
    `SELECT * FROM mysql.db WHERE user IN (SELECT from_user FROM mysql.role_edges WHERE to_user = ?)
      ORDER BY user, host, db`,
  ],
  mariadb: [
    'SELECT * FROM mysql.global_priv WHERE user = ? ORDER BY host',
    'SELECT * FROM mysql.db WHERE user = ? ORDER BY host, db',
    'SELECT * FROM mysql.roles_mapping WHERE user = ? ORDER BY host, role',
    `SELECT * FROM mysql.db WHERE user IN (SELECT role FROM mysql.roles_mapping WHERE user = ?)
      ORDER BY user, host, db`,
  ],
};

const OF_DATABASE = `SELECT default_character_set_name AS name, default_collation_name AS value
  FROM information_schema.schemata WHERE schema_name = ?`;

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

export async function readVariables(flavor: Flavor, ask: Ask): Promise<Variables> {
  const rows = await ask(OF_SERVER[flavor]).catch(() => []);
  return rows.map((row) => [textOf(row.name).toLowerCase(), textOf(row.value)] as const);
}

/** What may not be read does not count. */
export async function readStanding(
  flavor: Flavor,
  ask: Ask,
  user: string,
  database: string,
  variables: Variables,
): Promise<Standing> {
  const account: unknown[] = [];
  for (const sql of OF_ACCOUNT[flavor]) {
    const rows = await ask(sql, [user]).catch(() => []);
    account.push(rows.map(withoutPasswords));
  }
  if (database !== '') account.push(await ask(OF_DATABASE, [database]).catch(() => []));
  const atLogin = variables.filter(([name]) => !NOT_AT_LOGIN.has(name) && !isOfNames(name) && isState(name));
  const ofLogins = variables.filter(([name]) => isState(name));
  return { text: digestOf([account, ofLogins]), variables: atLogin };
}

function withoutPasswords(row: Row): Row {
  const kept = Object.entries(row).filter(([name]) => !OF_PASSWORD.has(name.toLowerCase()));
  return Object.fromEntries(
    kept.map(([name, value]) => [name, name.toLowerCase() === 'priv' ? ofPriv(value) : value]),
  );
}

/** MariaDB keeps the whole account in one document. */
function ofPriv(value: unknown): unknown {
  const text = textOf(value);
  return text.startsWith('{') ? withoutPasswords(JSON.parse(text) as Row) : text;
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return Buffer.isBuffer(value) ? value.toString('utf8') : String(value);
}
