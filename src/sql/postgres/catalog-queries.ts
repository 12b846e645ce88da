// The queries that read what classification must know of a database's catalog, the same text for PostgreSQL 13 to 18.
// Run by the monitor on the primary, in each database of interest; the rows go to `buildPostgresCatalog`.

/**
 * Object ids are cast to text so that any client library gives them alike. A view's definition is searched on the server
 * for the functions, operators and relations it names: pg_depend does not record what was made by initdb, and the
 * definitions themselves would be megabytes. A text constant in a definition is printed as byte numbers, so
 * nothing that a user writes in one can take an entry away.
 */
export const POSTGRES_CATALOG_QUERIES = {
  /**
   * An aggregate is as volatile as the worst of its support functions: its own provolatile always says immutable. A
   * default of an argument runs with the call, whatever the function itself is.
   */
  functions: `
    SELECT p.oid::text AS oid, n.nspname::text AS schema, p.proname::text AS name, l.lanname::text AS language,
           CASE WHEN p.proargdefaults IS NOT NULL AND EXISTS (
             SELECT FROM pg_catalog.regexp_matches(p.proargdefaults::text, ':(?:funcid|opfuncid) ([0-9]+)', 'g') m
               JOIN pg_catalog.pg_proc d ON d.oid = m[1]::oid WHERE d.provolatile = 'v') THEN 'v'
           ELSE COALESCE(
             (SELECT max(s.provolatile::text) FROM pg_catalog.pg_proc s
               WHERE s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                               a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)),
             p.provolatile::text) END AS volatility,
           (p.pronargs - p.pronargdefaults <= 1 AND p.pronargs >= 1
             AND (t.typtype = 'c' OR t.typname IN ('record', 'anyelement', 'anynonarray', 'any', 'anycompatible')))
             AS takes_row
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
      LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
      LEFT JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]`,
  /** Only operators over volatile functions. */
  operators: `
    SELECT o.oid::text AS oid, o.oprname::text AS name, p.oid::text AS function
      FROM pg_catalog.pg_operator o
      JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
     WHERE p.provolatile = 'v'`,
  /** Foreign tables, sequences, and tables above a foreign one by inheritance or partitioning. */
  relations: `
    WITH RECURSIVE above(child, parent) AS (
      SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid AND f.relkind = 'f'
      UNION
      SELECT above.child, i.inhparent FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.parent
    )
    SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name,
           CASE WHEN c.relkind = 'S' THEN 'sequence' ELSE 'foreign' END AS kind
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE (c.relkind IN ('f', 'S') OR c.oid IN (SELECT parent FROM above))
       AND n.nspname !~ '^pg_(temp|toast)'`,
  /** Views with what they name. Those of pg_catalog are known by name, but a user's view may stand over them. */
  views: `
    SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[] ELSE ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(r.ev_action::text,
               ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m) END AS functions,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[] ELSE ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(r.ev_action::text,
               ':opno ([0-9]+)', 'g') m) END AS operators,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[] ELSE ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(r.ev_action::text,
               ':relid ([0-9]+)', 'g') m) END AS relations,
           (n.nspname NOT IN ('pg_catalog', 'information_schema')
             AND r.ev_action::text LIKE '%{ROWMARKCLAUSE %') AS locks
      FROM pg_catalog.pg_rewrite r
      JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE r.ev_type = '1' AND c.relkind = 'v' AND n.nspname !~ '^pg_(temp|toast)'`,
  /** Row security: what a policy's expression names runs in every read of its table. */
  policies: `
    SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name,
           ARRAY(SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(p.polqual::text,
             ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m) AS functions,
           ARRAY(SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(p.polqual::text,
             ':opno ([0-9]+)', 'g') m) AS operators,
           ARRAY(SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(p.polqual::text,
             ':relid ([0-9]+)', 'g') m) AS relations
      FROM pg_catalog.pg_policy p
      JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE p.polqual IS NOT NULL AND p.polcmd IN ('r', '*')`,
  /** Types into which a value is brought by a volatile function: a cast's, or a domain's CHECK. */
  types: `
    SELECT t.typname::text AS name, ARRAY[c.castfunc::text] AS functions
      FROM pg_catalog.pg_cast c
      JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
      JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
     WHERE p.provolatile = 'v'
     UNION ALL
    SELECT t.typname::text AS name,
           ARRAY(SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(c.conbin::text,
             ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m) AS functions
      FROM pg_catalog.pg_constraint c
      JOIN pg_catalog.pg_type t ON t.oid = c.contypid
     WHERE c.contypid <> 0`,
} as const;

export type PostgresCatalogQuery = keyof typeof POSTGRES_CATALOG_QUERIES;
