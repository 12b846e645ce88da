// What a PostgreSQL server gives to a login beside what it asks for: the query, and its answer as a text to compare.
// It opens no connection.

import { digestOf } from '../lib/digest.js';
import type { Standing } from '../protocol/server-connection.js';

/**
 * Who and what database that is (names may be given to others), whether it may log in, and the settings of ALTER ROLE and ALTER DATABASE.
 * Limits count only where they let nobody in: a pool is meant to have fewer server connections than there are clients. All of it
 * is in shared catalogs that anybody may read.
 */
export const STANDING = `SELECT r.oid AS role, r.rolcanlogin, r.rolsuper, r.rolconnlimit = 0 AS role_closed,
    coalesce(r.rolvaliduntil <= now(), false) AS expired,
    d.oid AS database, d.datallowconn, d.datconnlimit = 0 AS database_closed,
    pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT') AS may_connect,
    pg_catalog.to_jsonb(d) ->> 'dathasloginevt' AS has_trigger,
    (SELECT pg_catalog.array_agg(pg_catalog.format('%s %s %s', s.setdatabase, s.setrole, s.setconfig)
        ORDER BY s.setdatabase, s.setrole)
      FROM pg_catalog.pg_db_role_setting s
      WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, r.oid)) AS settings
  FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_database d ON d.datname = $2
  WHERE r.rolname = $1`;

export function standingOf(rows: readonly object[]): Standing {
  return { text: digestOf(rows), variables: [] };
}
