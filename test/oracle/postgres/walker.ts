// A second opinion on PostgreSQL statements: libpg-query's whole tree is read against the server's own catalog (definitions
// parsed again by the same grammar) by the rows of the statement tables. Nothing of src/sql is in it.

import { createRequire } from 'node:module';
import type { TestNode } from '../../servers/cluster.js';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

interface PgQuery {
  loadModule(): Promise<void>;
  parseSync(query: string): { stmts?: { stmt?: { [key: string]: Json } }[] };
}

const pgQuery = createRequire(import.meta.url)('libpg-query') as PgQuery;
await pgQuery.loadModule();

export interface Verdict {
  /** Every statement in the text is a query (SELECT, EXPLAIN of one, COPY of one to the client). */
  readonly isQuery: boolean;
  /** Why it is for the primary by the statement tables; empty: a read. */
  readonly why: readonly string[];
}

/** The rows "Functions" of the statement table for PostgreSQL, and what stands in for what it only names by kind. */
const primaryNames = new RegExp(
  `^(?:${[
    'nextval|setval|currval|lastval',
    'pg_current_xact_id.*|txid_current.*|pg_current_snapshot|txid_status|pg_xact_status',
    'lo_.*|loread|lowrite|pg_notify|dblink.*',
    'pg_(?:create|drop|copy|advance|sync)_.*|pg_get_replication_slots|pg_replication_.*|pg_logical_.*|binary_upgrade_.*',
    '.*backup.*|pg_switch_.*|pg_create_restore_point|pg_promote',
    'pg_stat_.*|pg_advisory_.*|pg_try_advisory_.*',
    'pg_cancel_backend|pg_terminate_backend|pg_reload_conf|pg_rotate_logfile.*',
    'set_config|setseed|pg_export_snapshot',
    'pg_is_in_recovery|pg_is_wal_replay_paused|in_hot_standby|pg_last_.*|pg_current_wal.*|pg_walfile.*|pg_split_walfile_name|pg_wal_replay.*|pg_control_.*',
    'inet_(?:server|client)_(?:addr|port)|pg_backend_pid|pg_postmaster_start_time|pg_conf_load_time',
    // One node's files, sessions and settings.
    'pg_ls_.*|pg_read_.*|pg_config|pg_show_all.*settings|pg_hba_file_rules|pg_ident_file_mappings|pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids',
    'pg_my_temp_schema|pg_is_other_temp_schema|pg_listening_channels|pg_cursor|pg_prepared_.*',
    // They run what a string names.
    '(?:query|cursor|table|schema|database)_to_xml.*|ts_stat',
  ].join('|')})$`,
);

/** Volatile in the catalog, and R in the table; with what only measures or describes what all nodes hold. */
const harmlessNames = new RegExp(
  `^(?:random|random_normal|clock_timestamp|timeofday|gen_random_uuid|uuidv4|uuidv7|pg_sleep|pg_sleep_for|pg_sleep_until|
  array_sample|array_shuffle|pg_(?:relation|table|indexes|total_relation|database|tablespace)_size|
  pg_(?:relation|filenode)_.*|pg_jit_available|amvalidate|pg_partition_(?:tree|ancestors)|.*collation_actual_version|
  pg_xact_commit_timestamp.*|pg_last_committed_xact|pg_get_multixact_members|uuid_generate_v.*|gen_random_bytes|gen_salt|pgp_(?:sym|pub)_encrypt.*|show_limit|show_trgm)$`.replaceAll(
    /\s/g,
    '',
  ),
);

const nodeRelation =
  /^(?:pg_stat_.*|pg_statio_.*|pg_locks|pg_settings|pg_file_settings|pg_hba_file_rules|pg_ident_file_mappings|pg_replication_slots|pg_replication_origin_status|pg_prepared_xacts|pg_prepared_statements|pg_cursors|pg_shmem_allocations.*|pg_backend_memory_contexts|pg_aios|pg_config|pg_sequences)$/;

const nodeSetting =
  /^(?:in_hot_standby|transaction_(?:read_only|isolation|deferrable)|port|listen_addresses|data_directory|config_file|hba_file|ident_file|primary_.*|cluster_name|synchronous_standby_names|hot_standby|archive_mode|wal_level|max_connections)$/;

const relationNamers =
  /^(?:to_regclass|pg_relation_size|pg_table_size|pg_indexes_size|pg_total_relation_size|pg_get_serial_sequence|pg_relation_filenode|pg_relation_filepath)$/;

const temporary = /^pg_temp(?:_\d+)?$/;

/** A definition as a statement that the grammar knows. */
type Definition = string;

interface Relation {
  readonly schema: string;
  readonly kind: string;
  /** View definition or policies. */
  readonly definitions: readonly Definition[];
  /** A foreign table, or one that is not logged, or above one. */
  readonly isElsewhere: boolean;
}

interface Routine {
  readonly schema: string;
  readonly volatile: boolean;
  readonly takesRow: boolean;
  readonly defaults: Definition | null;
}

function add<T>(map: Map<string, T[]>, name: string, item: T): void {
  const list = map.get(name);
  if (list === undefined) map.set(name, [item]);
  else list.push(item);
}

export class Walker {
  readonly #relations = new Map<string, Relation[]>();
  readonly #routines = new Map<string, Routine[]>();
  readonly #volatileOperators = new Set<string>();
  readonly #types = new Map<string, Definition[]>();
  readonly #definitions = new Map<string, readonly string[]>();

  static async of(node: TestNode): Promise<Walker> {
    const walker = new Walker();
    await walker.#read(node);
    return walker;
  }

  async #read(node: TestNode): Promise<void> {
    const text = (value: unknown) => (value === null || value === undefined ? null : String(value));
    const relations = await node.admin(`
      WITH RECURSIVE above(oid) AS (
        SELECT oid FROM pg_class WHERE relkind = 'f' OR (relkind = 'r' AND relpersistence = 'u')
        UNION SELECT inhparent FROM pg_inherits JOIN above ON inhrelid = above.oid)
      SELECT c.relname::text AS name, n.nspname::text AS schema, c.relkind::text AS kind,
             CASE WHEN c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                  THEN ARRAY[pg_get_viewdef(c.oid)]
                  ELSE ARRAY(SELECT 'SELECT ' || pg_get_expr(polqual, polrelid) FROM pg_policy
                              WHERE polrelid = c.oid AND polqual IS NOT NULL AND polcmd IN ('r', '*')) END AS definitions,
             c.oid IN (SELECT oid FROM above) AS above
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'f', 'S', 'p', 'm')`);
    for (const row of relations) {
      add(this.#relations, String(row.name), {
        schema: String(row.schema),
        kind: String(row.kind),
        definitions: row.definitions as string[],
        isElsewhere: row.above === true,
      });
    }
    const routines = await node.admin(`
      SELECT p.proname::text AS name, n.nspname::text AS schema, p.provolatile = 'v' OR EXISTS (
               SELECT FROM pg_aggregate a JOIN pg_proc s ON s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
                 a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
                WHERE a.aggfnoid = p.oid AND s.provolatile = 'v') AS volatile,
             EXISTS (SELECT FROM pg_type t WHERE t.oid = p.proargtypes[0]
                       AND (t.typtype = 'c' OR t.typname IN ('record', 'anyelement', 'anynonarray', 'any', 'anycompatible')))
               AND p.pronargs - p.pronargdefaults <= 1 AS row,
             'SELECT ' || pg_get_expr(p.proargdefaults, 0) AS defaults
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace`);
    for (const row of routines) {
      add(this.#routines, String(row.name), {
        schema: String(row.schema),
        volatile: row.volatile === true,
        takesRow: row.row === true,
        defaults: text(row.defaults),
      });
    }
    const operators = await node.admin(
      "SELECT DISTINCT oprname::text AS name FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode WHERE p.provolatile = 'v'",
    );
    for (const row of operators) this.#volatileOperators.add(String(row.name));
    const types = await node.admin(`
      SELECT t.typname::text AS name, regexp_replace(pg_get_constraintdef(c.oid), '^CHECK|NOT VALID$', 'SELECT') AS definition
        FROM pg_constraint c JOIN pg_type t ON t.oid = c.contypid WHERE c.contype = 'c'
      UNION ALL SELECT t.typname, format('SELECT %I.%I()', n.nspname, p.proname)
        FROM pg_cast c JOIN pg_type t ON t.oid IN (c.castsource, c.casttarget) JOIN pg_proc p ON p.oid = c.castfunc
        JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE p.provolatile = 'v' AND t.typnamespace <> 'pg_catalog'::regnamespace`);
    for (const row of types) add(this.#types, String(row.name), String(row.definition));
  }

  /** Null: not PostgreSQL's grammar. */
  judge(sql: string): Verdict | null {
    let statements: { [key: string]: Json }[];
    try {
      statements = (pgQuery.parseSync(sql).stmts ?? []).flatMap(({ stmt }) =>
        stmt === undefined ? [] : [stmt],
      );
    } catch {
      return null;
    }
    const why = new Set<string>();
    let isQuery = statements.length > 0;
    for (const statement of statements) {
      const [type, node] = Object.entries(statement)[0] as [string, { [key: string]: Json }];
      let query: Json = statement;
      if (type === 'ExplainStmt') {
        query = node.query ?? null;
        // A cursor that is only explained is never opened.
        const cursor = (query as { DeclareCursorStmt?: { query?: Json } } | null)?.DeclareCursorStmt;
        if (cursor !== undefined) query = cursor.query ?? null;
      } else if (type === 'CopyStmt') {
        if (node.is_from === true || node.is_program === true || node.filename !== undefined) why.add('COPY');
        if (node.relation !== undefined) this.#relation(node.relation, why);
        query = node.query ?? null;
      }
      const isSelect =
        query === null || (typeof query === 'object' && !Array.isArray(query) && 'SelectStmt' in query);
      if (!isSelect) {
        isQuery = false;
        why.add(type);
      }
      this.#visit(query, '', why);
    }
    return { isQuery, why: [...why] };
  }

  /** Recursive on purpose: the other walk is not. */
  #visit(tree: Json, key: string, why: Set<string>): void {
    if (tree === null || typeof tree !== 'object') return;
    if (Array.isArray(tree)) {
      for (const item of tree) this.#visit(item, key, why);
      return;
    }
    switch (key) {
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt':
      case 'LockingClause':
      case 'intoClause':
        why.add(key);
        break;
      case 'FuncCall':
        this.#call(tree, why);
        break;
      case 'RangeVar':
        this.#relation(tree, why);
        break;
      case 'TypeName':
      case 'typeName':
        this.#type(tree.names, why);
        break;
      case 'TypeCast': {
        const type = (tree.typeName as { names?: Json } | undefined)?.names;
        if (names(type).at(-1) === 'regclass') temporaryLiteral(tree.arg, why);
        break;
      }
      case 'A_Expr':
        if (!String(tree.kind).includes('BETWEEN')) this.#operator(tree.name, why);
        break;
      case 'SubLink':
        this.#operator(tree.operName, why);
        break;
      case 'SortBy':
        this.#operator(tree.useOp, why);
        break;
      case 'ColumnRef':
        if (Array.isArray(tree.fields) && tree.fields.length > 1) this.#attributes(tree.fields, why);
        break;
      case 'A_Indirection':
        this.#attributes(tree.indirection, why);
        break;
      default:
    }
    for (const [field, value] of Object.entries(tree)) this.#visit(value, field, why);
  }

  #operator(name: Json | undefined, why: Set<string>): void {
    const last = names(name).at(-1);
    if (last !== undefined && this.#volatileOperators.has(last)) why.add(`operator ${last}`);
  }

  #attributes(fields: Json | undefined, why: Set<string>): void {
    for (const name of names(fields)) {
      if (this.#routines.get(name)?.some(({ volatile, takesRow }) => volatile && takesRow))
        this.#function(null, name, why);
    }
  }

  #call(node: { [key: string]: Json }, why: Set<string>): void {
    const parts = names(node.funcname);
    const name = parts.at(-1) ?? '';
    const first = (Array.isArray(node.args) ? node.args : [])[0];
    if (name === 'current_setting') {
      const setting = literal(first);
      if (setting === null || nodeSetting.test(setting.trim().toLowerCase()))
        why.add('current_setting of one node');
    } else this.#function(parts.at(-2) ?? null, name, why);
    if (relationNamers.test(name)) temporaryLiteral(first, why);
  }

  #function(schema: string | null, name: string, why: Set<string>): void {
    if (schema !== null && temporary.test(schema)) why.add(`temporary function ${name}`);
    if (primaryNames.test(name)) why.add(`function ${name}`);
    const routines = this.#routines.get(name) ?? [];
    const meant = routines.filter((routine) => schema === null || routine.schema === schema);
    // COALESCE and its like are no FuncCall; what is not there may be anything.
    if (meant.length === 0) why.add(`function ${name} is not there`);
    for (const routine of meant) {
      const harmless =
        harmlessNames.test(name) && (routine.schema === 'pg_catalog' || routine.schema === 'ext');
      if (routine.volatile && !harmless) why.add(`function ${routine.schema}.${name} is volatile`);
      if (routine.defaults !== null) this.#definition(routine.defaults, why);
    }
  }

  #relation(node: Json, why: Set<string>): void {
    const { schemaname, relname } = node as { schemaname?: string; relname: string };
    if (schemaname !== undefined && temporary.test(schemaname)) why.add('temporary table');
    const inCatalog = schemaname === undefined || schemaname === 'pg_catalog';
    if (inCatalog && nodeRelation.test(relname)) why.add(`relation ${relname}`);
    for (const { schema, kind, definitions, isElsewhere } of this.#relations.get(relname) ?? []) {
      if (schemaname !== undefined && schema !== schemaname) continue;
      if (kind === 'S') why.add(`sequence ${relname}`);
      if (isElsewhere) why.add(`foreign or unlogged table ${relname}`);
      for (const definition of definitions) this.#definition(definition, why);
    }
  }

  #type(list: Json | undefined, why: Set<string>): void {
    const parts = names(list);
    if (parts.length > 1 && temporary.test(parts.at(-2)!)) why.add('temporary type');
    for (const definition of this.#types.get(parts.at(-1) ?? '') ?? []) this.#definition(definition, why);
  }

  #definition(sql: string, why: Set<string>): void {
    let found = this.#definitions.get(sql);
    if (found === undefined) {
      // Definitions that name each other in a ring end here.
      this.#definitions.set(sql, []);
      found = this.judge(sql)?.why ?? ['a definition that nobody understands'];
      this.#definitions.set(sql, found);
    }
    for (const reason of found) why.add(reason);
  }
}

function names(list: Json | undefined): string[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((item) => {
    const string = (item as { String?: { sval?: string } } | null)?.String;
    return string === undefined ? [] : [string.sval ?? ''];
  });
}

function literal(node: Json | undefined): string | null {
  const value = (node as { A_Const?: { sval?: { sval?: string } } } | undefined)?.A_Const?.sval;
  return value === undefined ? null : (value.sval ?? '');
}

function temporaryLiteral(node: Json | undefined, why: Set<string>): void {
  const value = literal(node);
  if (value !== null && /(?:^|")pg_temp(?:_\d+)?"?\s*\./i.test(value.trim()))
    why.add('temporary table by name');
}
