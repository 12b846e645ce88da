// The queries that read what classification must know of a database's catalog, the same text for PostgreSQL 13 to 18.
// Run by the monitor on the primary, in each database of interest; the rows go to `buildPostgresCatalog`.

/** The functions that a stored expression names; user-defined types that it brings values into. */
const functionsIn = (expression: string) => `ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(${expression},
               ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m)`;
const operatorsIn = (expression: string) => `ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(${expression}, ':opno ([0-9]+)', 'g') m)`;
const relationsIn = (expression: string) => `ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(${expression}, ':relid ([0-9]+)', 'g') m)`;
const typesIn = (expression: string) => `ARRAY(
             SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(${expression},
               ':(?:resulttype|typid) ([0-9]{5,})', 'g') m)`;

/**
 * Functions that run when a value is brought into a type: a domain's CHECK, a cast, its input function; `reading`: when
 * one is only read (its output function, a cast that nobody writes). A cast belongs to its user-defined side. What
 * PostgreSQL itself brings and what is not volatile is of no concern; a user's function may be volatile by what it calls.
 * Rows, arrays, ranges and further domains hold what their parts hold.
 */
const typeFunctions = `
    WITH RECURSIVE runs(type, function, reading) AS (
      SELECT CASE WHEN c.casttarget < 16384 AND c.castsource >= 16384 THEN c.castsource ELSE c.casttarget END,
             c.castfunc, c.castcontext = 'i' OR c.casttarget < 16384
        FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
       WHERE p.provolatile = 'v' OR p.oid >= 16384
      UNION
      SELECT c.castsource, c.castfunc, true
        FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
       WHERE (p.provolatile = 'v' OR p.oid >= 16384) AND c.castsource >= 16384
      UNION
      SELECT c.contypid, p.oid, false
        FROM pg_catalog.pg_constraint c
       CROSS JOIN LATERAL pg_catalog.regexp_matches(c.conbin::text,
               ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m
        JOIN pg_catalog.pg_proc p ON p.oid = m[1]::oid
       WHERE c.contypid <> 0 AND (p.provolatile = 'v' OR p.oid >= 16384)
      UNION
      SELECT t.oid, p.oid, p.oid IN (t.typoutput, t.typsend)
        FROM pg_catalog.pg_type t
        JOIN pg_catalog.pg_proc p ON p.oid IN (t.typinput, t.typreceive, t.typoutput, t.typsend)
       WHERE p.provolatile = 'v'
    ), holds(part, whole) AS (
      SELECT t.typbasetype, t.oid FROM pg_catalog.pg_type t WHERE t.typbasetype <> 0
      UNION ALL
      SELECT t.typelem, t.oid FROM pg_catalog.pg_type t WHERE t.typelem <> 0
      UNION ALL
      SELECT r.rngsubtype, r.rngtypid FROM pg_catalog.pg_range r
      UNION ALL
      SELECT a.atttypid, c.reltype FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
       WHERE a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0
    ), reach(type, function, reading) AS (
      SELECT type, function, reading FROM runs
      UNION
      SELECT h.whole, r.function, r.reading FROM reach r JOIN holds h ON h.part = r.type
       WHERE r.type >= 16384
    )`;

/**
 * Names that stand before a bracket in a body. Coarse, and on the safe side: what a comment or a string of the body says
 * counts too. A set_config that is local to the transaction leaves nothing behind. Cut at the brackets first: bodies
 * are searched in every period, and a search for names in all of the text takes three times as long.
 */
const callsIn = (body: string) => `ARRAY(
             SELECT DISTINCT CASE WHEN name LIKE '"%' THEN pg_catalog.btrim(name, '"') ELSE pg_catalog.lower(name) END
               FROM (SELECT CASE WHEN pg_catalog.strpos(pg_catalog.lower(${body}), 'set_config') = 0 THEN ${body}
                            ELSE pg_catalog.regexp_replace(${body}, 'set_config(\\s*\\([^;()]*,\\s*true\\s*\\))', '\\1', 'gi')
                            END AS body) b
              CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.string_to_array(
                pg_catalog.left(body, pg_catalog.length(body) - pg_catalog.strpos(pg_catalog.reverse(body), '(')), '('))
                AS piece
              CROSS JOIN LATERAL pg_catalog.substring(
                pg_catalog.right(pg_catalog.rtrim(piece, E' \\t\\n\\r\\f'), 66),
                '"[^"]+"$|[^]\\s"(),;=<>+*/|{}:\\[.''!%&#@^~-]+$') AS name
              WHERE name IS NOT NULL AND pg_catalog.strpos(body, '(') > 0)`;

/** Relations that a body writes to, without their schemas; of what is put together as a string, what is written out there. */
const writesIn = (body: string) => `ARRAY(
             SELECT DISTINCT CASE WHEN m[1] LIKE '"%' THEN pg_catalog.btrim(m[1], '"') ELSE pg_catalog.lower(m[1]) END
               FROM pg_catalog.regexp_matches(${body},
               '\\m(?:insert\\s+into|update|delete\\s+from|merge\\s+into)\\s+(?:only\\s+)?(?:(?:"[^"]+"|[^\\s."();,]+)\\s*\\.\\s*)?("[^"]+"|[^\\s."();,]+)',
               'gi') m)`;

/**
 * Object ids are cast to text so that any client library gives them alike. A view's definition is searched on the server
 * for the functions, operators and relations it names: pg_depend does not record what was made by initdb, and the
 * definitions themselves would be megabytes. A text constant in a definition is printed as byte numbers, so
 * nothing that a user writes in one can take an entry away.
 */
export const POSTGRES_CATALOG_QUERIES = {
  /**
   * An aggregate is as volatile as the worst of its support functions: its own provolatile always says immutable. A
   * default of an argument runs with the call, whatever the function itself is. What else a user's function runs
   * (`runs`, by object id; `calls`, by name) and what its body leaves in the session (`leaves`) is in no column of pg_proc:
   * a function that says STABLE may call one that writes, and the server lets it.
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
             AS takes_row,
           CASE WHEN p.oid < 16384 THEN ARRAY[]::text[] ELSE ARRAY(
             SELECT DISTINCT x::text FROM pg_catalog.unnest(
               p.proargtypes::oid[] || p.prorettype || COALESCE(p.proallargtypes, '{}')) x WHERE x >= 16384)
             END AS types,
           CASE WHEN p.oid < 16384 THEN ARRAY[]::text[] WHEN a.aggfnoid IS NOT NULL THEN ARRAY(
             SELECT s.oid::text FROM pg_catalog.pg_proc s
              WHERE s.oid >= 16384 AND s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
                                a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
             WHEN p.proargdefaults IS NULL AND p.prosrc <> '' THEN ARRAY[]::text[]
             ELSE ${functionsIn("COALESCE(p.proargdefaults::text, '') || COALESCE(pg_catalog.to_jsonb(p) ->> 'prosqlbody', '')")}
             END AS runs,
           CASE WHEN p.oid < 16384 OR l.lanname NOT IN ('sql', 'plpgsql') THEN ARRAY[]::text[]
             ELSE ${callsIn('p.prosrc')} END AS calls,
           CASE WHEN p.oid < 16384 OR l.lanname NOT IN ('sql', 'plpgsql') THEN NULL
             WHEN p.prosrc ~* '\\mpg_temp\\M"?\\s*\\.|\\minto\\s+((local|global)\\s+)?temp(orary)?\\s' THEN 'temporary-table'
             WHEN p.prosrc ~* '\\mcreate\\s+((local|global)\\s+)?temp(orary)?\\s'
              AND p.prosrc !~* '\\mon\\s+commit\\s+drop\\M' THEN 'temporary-table'
             WHEN p.prosrc ~* '(^|[;''$]|\\m(begin|then|else|loop)\\M)\\s*listen\\s' THEN 'listen'
             WHEN p.prosrc ~* '(^|[;''$]|\\m(begin|then|else|loop)\\M)\\s*(set|reset)\\s+(?!local\\M)' THEN 'untracked-setting'
             END AS leaves,
           CASE WHEN p.oid < 16384 OR l.lanname NOT IN ('sql', 'plpgsql') THEN ARRAY[]::text[]
             ELSE ${writesIn('p.prosrc')} END AS writes,
           (p.oid >= 16384 AND p.provolatile <> 'v' AND p.prosrc ~* 'set_config') AS sets
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
      LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
      LEFT JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]`,
  /** Operators over volatile functions, and all of users: their functions may be volatile by what they call. */
  operators: `
    SELECT o.oid::text AS oid, o.oprname::text AS name, p.oid::text AS function
      FROM pg_catalog.pg_operator o
      JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
     WHERE p.provolatile = 'v' OR p.oid >= 16384`,
  /**
   * Foreign tables, sequences, tables of which a standby has no rows, and tables above one of them by inheritance or
   * partitioning.
   */
  relations: `
    WITH RECURSIVE above(child, parent, unlogged) AS (
      SELECT i.inhrelid, i.inhparent, f.relpersistence = 'u' FROM pg_catalog.pg_inherits i
        JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid AND (f.relkind = 'f' OR (f.relkind = 'r' AND f.relpersistence = 'u'))
      UNION
      SELECT above.child, i.inhparent, above.unlogged
        FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.parent
    )
    SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name,
           CASE WHEN c.relkind = 'S' THEN 'sequence'
             WHEN c.relpersistence = 'u' OR c.oid IN (SELECT parent FROM above WHERE unlogged) THEN 'unlogged'
             ELSE 'foreign' END AS kind
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE (c.relkind IN ('f', 'S') OR (c.relkind IN ('r', 'm') AND c.relpersistence = 'u')
             OR c.oid IN (SELECT parent FROM above))
       AND n.nspname !~ '^pg_(temp|toast)'`,
  /** Views with what they name. Those of pg_catalog are known by name, but a user's view may stand over them. */
  views: `
    SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[]
             ELSE ${functionsIn('r.ev_action::text')} END AS functions,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[]
             ELSE ${operatorsIn('r.ev_action::text')} END AS operators,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[]
             ELSE ${relationsIn('r.ev_action::text')} END AS relations,
           CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN ARRAY[]::text[]
             ELSE ${typesIn('r.ev_action::text')} END AS types,
           (n.nspname NOT IN ('pg_catalog', 'information_schema')
             AND r.ev_action::text LIKE '%{ROWMARKCLAUSE %') AS locks
      FROM pg_catalog.pg_rewrite r
      JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE r.ev_type = '1' AND c.relkind = 'v' AND n.nspname !~ '^pg_(temp|toast)'`,
  /**
   * Tables whose reads run functions. Row security: what a policy's expression names runs in every read of its table.
   * Columns of a type that cannot be read without: whatever is done with them may run its functions.
   */
  policies: `${typeFunctions}
    SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name,
           ${functionsIn('p.polqual::text')} AS functions,
           ${operatorsIn('p.polqual::text')} AS operators,
           ${relationsIn('p.polqual::text')} AS relations,
           ${typesIn('p.polqual::text')} AS types
      FROM pg_catalog.pg_policy p
      JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE p.polqual IS NOT NULL AND p.polcmd IN ('r', '*')
     UNION ALL
    SELECT c.oid::text, n.nspname::text, c.relname::text, pg_catalog.array_agg(DISTINCT r.function::text),
           ARRAY[]::text[], ARRAY[]::text[], ARRAY[]::text[]
      FROM reach r
      JOIN pg_catalog.pg_attribute a ON a.atttypid = r.type AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE r.reading AND n.nspname !~ '^pg_(temp|toast)'
     GROUP BY c.oid, n.nspname, c.relname`,
  /**
   * What a write to a relation runs: triggers, defaults, CHECKs, policies and rules; and the relations that it goes on to:
   * what a view stands over, the parts of a table, those whose foreign keys follow.
   */
  writes: `
    WITH runs(relation, function) AS (
      SELECT t.tgrelid, t.tgfoid::text FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
      UNION ALL
      SELECT e.relation, m[1]
        FROM (SELECT d.adrelid, d.adbin::text FROM pg_catalog.pg_attrdef d
               UNION ALL
              SELECT c.conrelid, c.conbin::text FROM pg_catalog.pg_constraint c WHERE c.contype = 'c' AND c.conrelid <> 0
               UNION ALL
              SELECT p.polrelid, pg_catalog.concat(p.polqual::text, p.polwithcheck::text) FROM pg_catalog.pg_policy p
               UNION ALL
              SELECT r.ev_class, r.ev_action::text FROM pg_catalog.pg_rewrite r
               WHERE r.ev_type <> '1' AND r.ev_class >= 16384) e(relation, expression)
       CROSS JOIN LATERAL pg_catalog.regexp_matches(e.expression,
               ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m
    ), reaches(relation, other) AS (
      SELECT c.confrelid, c.conrelid::text FROM pg_catalog.pg_constraint c
       WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))
      UNION ALL
      SELECT i.inhparent, i.inhrelid::text FROM pg_catalog.pg_inherits i
      UNION ALL
      SELECT r.ev_class, m[1] FROM pg_catalog.pg_rewrite r
       CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::text, ':relid ([0-9]+)', 'g') m
       WHERE r.ev_class >= 16384
    )
    SELECT c.oid::text AS oid, c.relname::text AS name,
           ARRAY(SELECT DISTINCT r.function FROM runs r WHERE r.relation = c.oid) AS functions,
           ARRAY(SELECT DISTINCT r.other FROM reaches r WHERE r.relation = c.oid AND r.other <> c.oid::text) AS relations
      FROM pg_catalog.pg_class c
     WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'f')
       AND c.oid IN (SELECT relation FROM runs UNION SELECT relation FROM reaches)`,
  /** Types into which a value is brought, or out of which it is read, by a function of concern. */
  types: `${typeFunctions}
    SELECT t.oid::text AS oid, t.typname::text AS name, pg_catalog.array_agg(DISTINCT r.function::text) AS functions
      FROM reach r JOIN pg_catalog.pg_type t ON t.oid = r.type
     GROUP BY t.oid, t.typname`,
} as const;

export type PostgresCatalogQuery = keyof typeof POSTGRES_CATALOG_QUERIES;

/**
 * One row with a column `digest`, which is another one when the rows of `sql` are, in whatever order: the thousands of rows of
 * a catalog in which nothing has changed need not be sent.
 */
export function digestQuery(sql: string): string {
  return `
    SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.textsend(
             pg_catalog.string_agg(r::text, E'\\n' ORDER BY r::text COLLATE pg_catalog."C"))), 'hex') AS digest
      FROM (${sql}) r`;
}
