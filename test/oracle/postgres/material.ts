// Statements that the server itself brings: a call of every function in pg_proc, every system view and its definition, every
// operator; and the golden tables. It asks the server and judges nothing.

import type { TestNode } from '../../servers/cluster.js';
import { goldenTables } from '../../sql/postgres/fixture.js';

/** What would end the run, the servers or the machine's patience when it runs for real. */
export const disturbing =
  /\b(?:pg_sleep\w*|pg_terminate\w*|pg_cancel\w*|pg_promote|pg_reload_conf|pg_rotate\w*|pg_wal_replay\w*|pg_log_\w+|pg_(?:try_)?advisory_lock\w*|pg_switch_wal|binary_upgrade\w*|pg_replication_\w+|pg_logical_\w+|pg_(?:create|drop|copy|sync)_\w*slot\w*|pg_buffercache_\w+|pg_stat_reset\w*|pg_restore_\w+|pg_clear_\w+|pg_stop_\w+|pg_start_\w+|pg_backup_\w+|dblink\w*|pg_import_\w+|pg_nextoid|lo_import|lo_export|pg_extension_config_dump|pg_get_backend_memory_contexts|pg_get_process_memory_contexts|injection_points\w*)/i;

const plausible: Readonly<Record<string, string>> = {
  int2: '1::int2',
  int4: '1',
  int8: '1::int8',
  oid: "'t'::regclass::oid",
  numeric: '1.5',
  float4: '1.5::float4',
  float8: '1.5::float8',
  money: "'1'::money",
  bool: 'true',
  text: "'x'",
  name: "'t'::name",
  varchar: "'x'::varchar",
  bpchar: "'x'::bpchar",
  char: `'x'::"char"`,
  cstring: "'x'::cstring",
  bytea: "'\\x31'::bytea",
  bit: "B'1'",
  varbit: "B'1'::varbit",
  regclass: "'t'::regclass",
  regproc: "'now'::regproc",
  regprocedure: "'now()'::regprocedure",
  regtype: "'int4'::regtype",
  regnamespace: "'public'::regnamespace",
  regrole: "'postgres'::regrole",
  regconfig: "'english'::regconfig",
  regdictionary: "'simple'::regdictionary",
  date: "'2020-02-01'::date",
  time: "'12:00'::time",
  timetz: "'12:00+00'::timetz",
  timestamp: "'2020-02-01'::timestamp",
  timestamptz: "'2020-02-01'::timestamptz",
  interval: "'1 day'::interval",
  uuid: "'00000000-0000-0000-0000-000000000001'::uuid",
  inet: "'10.0.0.1'::inet",
  cidr: "'10.0.0.0/8'::cidr",
  macaddr: "'08:00:2b:01:02:03'::macaddr",
  macaddr8: "'08:00:2b:01:02:03:04:05'::macaddr8",
  json: `'{"k": 1}'::json`,
  jsonb: `'{"k": 1}'::jsonb`,
  jsonpath: "'$.k'::jsonpath",
  xml: "'<a/>'::xml",
  tsvector: "'x'::tsvector",
  tsquery: "'x'::tsquery",
  point: "'(1,2)'::point",
  box: "'(1,2),(0,0)'::box",
  lseg: "'[(1,2),(0,0)]'::lseg",
  path: "'[(1,2),(0,0)]'::path",
  polygon: "'((1,2),(0,0))'::polygon",
  circle: "'<(1,2),3>'::circle",
  line: "'{1,2,3}'::line",
  pg_lsn: "'0/3000000'::pg_lsn",
  xid: "'3'::xid",
  xid8: "'3'::xid8",
  tid: "'(0,1)'::tid",
  pg_snapshot: "'10:20:'::pg_snapshot",
  txid_snapshot: "'10:20:'::txid_snapshot",
  refcursor: "'c'::refcursor",
  int4range: "'[1,3)'::int4range",
  int4multirange: "'{[1,3)}'::int4multirange",
  hstore: "'a=>1'::ext.hstore",
  ltree: "'a.b'::ext.ltree",
  citext: "'x'::ext.citext",
  any: '1',
  anyelement: '1',
  anynonarray: '1',
  anycompatible: '1',
  anycompatiblenonarray: '1',
  anyarray: 'ARRAY[1, 2]',
  anycompatiblearray: 'ARRAY[1, 2]',
  anyenum: "'ok'::mood",
  anyrange: "'[1,3)'::int4range",
  anycompatiblerange: "'[1,3)'::int4range",
  anymultirange: "'{[1,3)}'::int4multirange",
  anycompatiblemultirange: "'{[1,3)}'::int4multirange",
  record: 'ROW(1, 2)',
  _text: "ARRAY['x', 'y']",
  _int4: 'ARRAY[1, 2]',
  _int2: 'ARRAY[1, 2]::int2[]',
  _float8: 'ARRAY[1.5]::float8[]',
  _name: "ARRAY['t']::name[]",
};

/** Nobody calls these: their arguments cannot be written. */
const internal = new Set(['internal', 'index_am_handler', 'table_am_handler', 'fdw_handler', 'tsm_handler']);

interface FunctionRow {
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly result: string;
  readonly set: boolean;
  readonly types: string[];
  readonly names: string[];
}

function quoted(name: string): string {
  return /^[a-z_][a-z_0-9]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** A call of every function of the server and of its extensions, with values that it may like, and with NULLs. */
export async function functionCalls(node: TestNode): Promise<string[]> {
  const rows = (await node.admin(`
    SELECT n.nspname AS schema, p.proname AS name, p.prokind AS kind, r.typname AS result, p.proretset AS set,
           ARRAY(SELECT t.typname::text FROM unnest(p.proargtypes) WITH ORDINALITY a(type, at)
                   JOIN pg_type t ON t.oid = a.type ORDER BY a.at) AS types,
           ARRAY(SELECT format_type(a.type, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a(type, at)
                  ORDER BY a.at) AS names
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_type r ON r.oid = p.prorettype
     WHERE p.prokind IN ('f', 'a', 'w') AND n.nspname IN ('pg_catalog', 'ext', 'public', 'app', 'information_schema')
     ORDER BY p.oid`)) as unknown as FunctionRow[];
  const calls: string[] = [];
  for (const { schema, name, kind, result, set, types, names } of rows) {
    if (/handler$|^(?:event_)?trigger$/.test(result) || types.some((type) => internal.has(type))) continue;
    const place = schema === 'pg_catalog' || schema === 'public' ? quoted(name) : `${schema}.${quoted(name)}`;
    const over = kind === 'w' ? ' OVER ()' : '';
    const values = types.map((type, i) => plausible[type] ?? `NULL::${names[i]}`);
    calls.push(`SELECT ${place}(${values.join(', ')})${over}`);
    if (set && result !== 'record') calls.push(`SELECT * FROM ${place}(${values.join(', ')}) AS f`);
    if (types.length > 0 && !types.some((type) => type.startsWith('any') || type === 'record')) {
      calls.push(`SELECT ${place}(${names.map((type) => `NULL::${type}`).join(', ')})${over}`);
    }
  }
  return calls;
}

/** Every view of the server, what stands in it, and the bodies of its functions written in SQL. */
export async function ownQueries(node: TestNode): Promise<string[]> {
  const rows = await node.admin(`
    SELECT format('SELECT * FROM %I.%I LIMIT 3', schemaname, viewname) AS sql FROM pg_views
    UNION ALL SELECT format('TABLE %I.%I', schemaname, tablename) FROM pg_tables
    UNION ALL SELECT definition FROM pg_views
    UNION ALL SELECT format('SELECT 1 WHERE NULL::%s OPERATOR(%I.%s) NULL::%s IS NULL',
                            format_type(oprleft, NULL), nspname, oprname, format_type(oprright, NULL))
      FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE oprleft <> 0 AND nspname = 'pg_catalog'
    UNION ALL SELECT prosrc FROM pg_proc WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql')
       AND prosrc !~ '\\$' AND prosrc <> ''
    UNION ALL SELECT format('SELECT NULL::%s', format_type(oid, NULL)) FROM pg_type
     WHERE typtype IN ('b', 'd', 'e', 'r', 'm') AND typcategory <> 'A'`);
  return rows.map(({ sql }) => String(sql));
}

export function goldenStatements(version: number): string[] {
  return [...goldenTables().values()]
    .flat()
    .filter(
      (golden) => (golden.since ?? 0) <= version && golden.standby !== false && golden.sql.length < 4000,
    )
    .map((golden) => golden.sql);
}
