// What the database holds that a statement's text does not show: stored functions, views over them, sequences.
// Built from rows that somebody else has read; it opens no connection.

import type { MysqlLexSettings } from '../statement.js';
import type { Context } from './context.js';
import { scanExpressions } from './expressions.js';
import { MysqlLexer, tokenKind } from './lexer.js';
import { CatalogPicture, type Leaving, type MysqlCatalog } from './picture.js';
import { Tokens } from './tokens.js';

export type { MysqlCatalog } from './picture.js';

/** Rows of `MYSQL_CATALOG_QUERIES`, as objects with the columns' names in lower case. */
export interface MysqlCatalogRows {
  readonly routines: readonly MysqlRoutineRow[];
  readonly parameters: readonly MysqlParameterRow[];
  readonly views: readonly MysqlViewRow[];
  readonly sequences: readonly MysqlSequenceRow[];
  /** Loadable functions (mysql.func); empty where the account may not read them. */
  readonly loadable: readonly { readonly name: string }[];
  /** Programs that ask for a lock of the session, and tables with triggers that do. */
  readonly lockers?: readonly MysqlLeavingRow[];
  /** MariaDB: those that set what is not reported. */
  readonly setters?: readonly MysqlLeavingRow[];
}

export interface MysqlLeavingRow {
  readonly name: string;
  /** 'program' or 'table' */
  readonly kind: string;
}

export interface MysqlRoutineRow {
  readonly schema_name: string;
  readonly name: string;
  /** SQL_DATA_ACCESS: NO SQL, CONTAINS SQL, READS SQL DATA, MODIFIES SQL DATA. */
  readonly data_access: string;
  /** ROUTINE_BODY: SQL or another language. */
  readonly language: string;
  /** ROUTINE_DEFINITION; null where the account may not see it. */
  readonly definition: string | null;
  readonly sql_mode: string;
}

export interface MysqlParameterRow {
  readonly schema_name: string;
  readonly routine: string;
  readonly name: string | null;
}

export interface MysqlViewRow {
  readonly schema_name: string;
  readonly name: string;
  /** VIEW_DEFINITION; empty where the account may not see it. */
  readonly definition: string | null;
}

export interface MysqlSequenceRow {
  readonly schema_name: string;
  readonly name: string;
}

/** Without a backslash, which reads differently in some sql_mode. */
const SETS_WITHOUT_SCOPE =
  "'(?i)(set|,)[[:space:]]*@@[[:space:]]*(?!(session|local|global)[[:space:]]*[.])`?[a-z0-9_]+`?[[:space:]]*:?='";

/**
 * Reads for `buildMysqlCatalog`, the same on MySQL 8 and 9 and on MariaDB but for the sequences. Only functions matter:
 * CALL goes to the primary whatever the procedure says.
 */
export const MYSQL_CATALOG_QUERIES = {
  routines:
    'SELECT ROUTINE_SCHEMA AS schema_name, ROUTINE_NAME AS name, SQL_DATA_ACCESS AS data_access, ' +
    'ROUTINE_BODY AS language, ROUTINE_DEFINITION AS definition, SQL_MODE AS sql_mode ' +
    "FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = 'FUNCTION'",
  parameters:
    'SELECT SPECIFIC_SCHEMA AS schema_name, SPECIFIC_NAME AS routine, PARAMETER_NAME AS name ' +
    "FROM information_schema.PARAMETERS WHERE ROUTINE_TYPE = 'FUNCTION' AND ORDINAL_POSITION > 0",
  views:
    'SELECT TABLE_SCHEMA AS schema_name, TABLE_NAME AS name, VIEW_DEFINITION AS definition ' +
    "FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN ('sys', 'information_schema')",
  /** MariaDB only. */
  sequences:
    "SELECT TABLE_SCHEMA AS schema_name, TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_TYPE = 'SEQUENCE'",
  /** By their own bodies: what those call is not followed. */
  lockers:
    "SELECT ROUTINE_NAME AS name, 'program' AS kind FROM information_schema.ROUTINES " +
    "WHERE LOWER(ROUTINE_DEFINITION) LIKE '%get_lock%' UNION ALL " +
    "SELECT EVENT_OBJECT_TABLE, 'table' FROM information_schema.TRIGGERS WHERE LOWER(ACTION_STATEMENT) LIKE '%get_lock%'",
  /** MariaDB only, which does not report what SET @@name sets. In the same way. */
  setters:
    "SELECT ROUTINE_NAME AS name, 'program' AS kind FROM information_schema.ROUTINES " +
    `WHERE ROUTINE_DEFINITION REGEXP ${SETS_WITHOUT_SCOPE} UNION ALL ` +
    `SELECT EVENT_OBJECT_TABLE, 'table' FROM information_schema.TRIGGERS WHERE ACTION_STATEMENT REGEXP ${SETS_WITHOUT_SCOPE}`,
  /** Needs SELECT on the mysql schema; without it every unknown name goes to the primary, as it does anyway. */
  loadable: 'SELECT name FROM mysql.func',
} as const;

/** A chain of calls longer than this is taken for one that may write. */
const maxPasses = 32;
const none: ReadonlySet<string> = new Set();

export function buildMysqlCatalog(
  rows: MysqlCatalogRows,
  server: Pick<MysqlLexSettings, 'flavour' | 'versionNumber'>,
): MysqlCatalog {
  const picture = new CatalogPicture();
  const lexer = new MysqlLexer();
  const context = (text: string, sqlMode: string): Context => {
    const modes = sqlMode.toUpperCase().split(',');
    const settings: MysqlLexSettings = {
      ...server,
      ansiQuotes: modes.includes('ANSI_QUOTES'),
      noBackslashEscapes: modes.includes('NO_BACKSLASH_ESCAPES'),
      oracleMode: modes.includes('ORACLE'),
      characterSet: 'utf8mb4',
    };
    const bytes = Buffer.from(text);
    lexer.scan(bytes, settings);
    const tokens = new Tokens(lexer, bytes, 'utf8mb4');
    return { tokens, settings, rules: { catalog: picture, reads: none, writes: none }, inner: () => null };
  };

  const parameters = new Map<string, Set<string>>();
  for (const row of rows.parameters) {
    const key = `${row.schema_name}.${row.routine}`.toLowerCase();
    const names = parameters.get(key) ?? new Set();
    if (row.name !== null) names.add(row.name.toLowerCase());
    parameters.set(key, names);
  }

  const leave = (rows: readonly MysqlLeavingRow[] | undefined, what: Leaving): void => {
    for (const { name, kind } of rows ?? [])
      (kind === 'table' ? picture.leavingTables : picture.leavingPrograms).set(name.toLowerCase(), what);
  };
  leave(rows.lockers, 'session-lock');
  leave(rows.setters, 'untracked-setting');
  for (const row of rows.sequences) picture.sequences.add(row.name.toLowerCase());
  let open: { schema: string; name: string; body: Context }[] = [];
  for (const row of rows.routines) {
    const schema = row.schema_name.toLowerCase();
    const name = row.name.toLowerCase();
    picture.add(schema, name, false);
    if (row.language.toUpperCase() !== 'SQL' || row.data_access.toUpperCase() === 'MODIFIES SQL DATA')
      continue;
    // The declared characteristic is a promise that no server checks: the body decides, and one unseen promises nothing.
    if (row.definition === null || row.definition === '') continue;
    // Brackets quote names there: not read.
    if (/\bMSSQL\b/i.test(row.sql_mode)) continue;
    const body = context(row.definition, row.sql_mode);
    if (onlyReadsByItself(body.tokens, parameters.get(`${schema}.${name}`) ?? none))
      open.push({ schema, name, body });
  }
  for (const { name } of rows.loadable) picture.add('', name.toLowerCase(), false);

  // Functions that call others read once those are known to; what calls itself never comes to it.
  for (let pass = 0, changed = true; changed && pass < maxPasses; pass++) {
    changed = false;
    open = open.filter(({ schema, name, body }) => {
      const found = scanExpressions(body, 0, body.tokens.count, true);
      if (found.primary.length > 0 || found.last.length > 0 || found.pin !== null) return true;
      picture.add(schema, name, true);
      changed = true;
      return false;
    });
  }

  let unseen = rows.views.map((row) => ({
    name: row.name.toLowerCase(),
    body: row.definition === null || row.definition === '' ? null : context(row.definition, ''),
  }));
  for (let pass = 0, changed = true; changed && pass < maxPasses; pass++) {
    changed = false;
    unseen = unseen.filter(({ name, body }) => {
      if (body !== null && !body.tokens.malformed && !body.tokens.cut) {
        const found = scanExpressions(body, 0, body.tokens.count);
        if (found.primary.length === 0 && found.last.length === 0 && found.pin === null) return true;
      }
      picture.impureViews.add(name);
      changed = true;
      return false;
    });
  }

  picture.count(rows.views.length);
  return picture;
}

/** Statements that a function which only reads may not contain; a bracket behind INSERT or REPLACE makes it a function. */
const writing = new Set(
  (
    'insert update delete replace call create alter drop truncate execute prepare deallocate load lock unlock rename ' +
    'grant revoke flush start commit rollback savepoint analyze optimize repair handler_open kill use reset install'
  ).split(' '),
);

/** Looks for statements that write and for SET of anything but the function's own variables. */
function onlyReadsByItself(tokens: Tokens, parameters: ReadonlySet<string>): boolean {
  if (tokens.malformed || tokens.cut) return false;
  const own = new Set(parameters);
  for (let i = 0; i < tokens.count; i++) {
    const word = tokens.word(i);
    if (word === '') continue;
    if (word === 'declare') {
      for (let at = i + 1; tokens.isName(at); at += 2) {
        own.add(tokens.name(at));
        if (tokens.kind(at + 1) !== tokenKind.comma) break;
      }
    } else if (word === 'set') {
      if (!setsOwn(tokens, i + 1, own)) return false;
    } else if (writing.has(word) && tokens.kind(i + 1) !== tokenKind.open) return false;
  }
  return true;
}

function setsOwn(tokens: Tokens, from: number, own: ReadonlySet<string>): boolean {
  let target = from;
  for (;;) {
    if (!tokens.isName(target) || !own.has(tokens.name(target))) return false;
    let depth = 0;
    let at = target + 1;
    for (; at < tokens.count; at++) {
      const kind = tokens.kind(at);
      if (kind === tokenKind.open) depth++;
      else if (kind === tokenKind.close) depth--;
      else if (kind === tokenKind.semicolon) return true;
      else if (kind === tokenKind.comma && depth === 0) break;
    }
    if (at >= tokens.count) return true;
    target = at + 1;
  }
}
