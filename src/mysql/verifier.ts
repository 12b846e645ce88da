// How an account's stored password is read and which of a user's accounts counts; the SQL and the choice.
// It opens no connection and checks no password.
//
// A server picks the account by the host that the client comes from, most specific first. It sees the proxy's host, not the
// client's, so that order means nothing here: the account of host '%' is taken, else the first by name.

import type { StoredVerifier } from '../protocol/node-control.js';
import type { Flavor, Row } from './control-connection.js';

export const VERIFIER: Readonly<Record<Flavor, string>> = {
  // The salt of caching_sha2_password is binary.
  mysql: `SELECT host, plugin, CAST(authentication_string AS BINARY) AS secret, account_locked = 'Y' AS locked
    FROM mysql.user WHERE user = ? ORDER BY host`,
  mariadb: 'SELECT host, priv FROM mysql.global_priv WHERE user = ? ORDER BY host',
};

export function pickAccount(flavor: Flavor, rows: readonly Row[]): StoredVerifier | null {
  const row = rows.find((candidate) => String(candidate.host) === '%') ?? rows[0];
  if (row === undefined) return null;
  if (flavor === 'mariadb') return fromGlobalPriv(row);
  if (Number(row.locked) === 1) return null;
  const secret = Buffer.isBuffer(row.secret) ? row.secret.toString('latin1') : String(row.secret ?? '');
  return { method: String(row.plugin), secret };
}

interface Method {
  readonly plugin?: string;
  readonly authentication_string?: string;
}

/**
 * MariaDB knowledge base, "mysql.global_priv": the account's method stands at the top; with several, `auth_or` lists them in
 * order and an empty one stands for the top. The proxy can only pass on a password, so that method is looked for first.
 */
function fromGlobalPriv(row: Row): StoredVerifier | null {
  const raw = Buffer.isBuffer(row.priv) ? row.priv.toString('utf8') : row.priv;
  const priv = (typeof raw === 'string' ? JSON.parse(raw) : raw) as Method & {
    readonly auth_or?: readonly Method[];
    readonly account_locked?: boolean;
    readonly is_role?: boolean;
  };
  if (priv.account_locked === true || priv.is_role === true) return null;
  const methods = (priv.auth_or ?? [{}]).map((method) => (method.plugin === undefined ? priv : method));
  const method = methods.find(({ plugin }) => plugin === 'mysql_native_password') ?? methods[0] ?? priv;
  // An account without a plugin is one of mysql_native_password.
  const plugin =
    method.plugin === undefined || method.plugin === '' ? 'mysql_native_password' : method.plugin;
  return { method: plugin, secret: method.authentication_string ?? '' };
}
