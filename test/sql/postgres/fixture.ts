// The golden tables and the catalog they are checked against, read from test/golden/postgres. It knows no server; the stored
// catalog is made by store-catalog.ts.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  buildPostgresCatalog,
  type CatalogRow,
  type PostgresCatalog,
  type PostgresCatalogQuery,
  type PostgresCatalogRows,
} from '../../../src/sql/postgres/catalog.js';
import { POSTGRES_CATALOG_QUERIES } from '../../../src/sql/postgres/catalog-queries.js';
import type { PostgresOverrides } from '../../../src/sql/postgres/rules.js';
import type {
  PinReason,
  PostgresLexSettings,
  Route,
  SessionEffect,
  TransactionEffect,
} from '../../../src/sql/statement.js';

const folder = fileURLToPath(new URL('../../../../test/golden/postgres/', import.meta.url));

/** One row of a golden table; what is not said must be empty (pin, effects) or is not compared (the rest). */
export interface GoldenCase {
  comment: string;
  /** The row of the document (rows.json) that it shows. */
  row?: string;
  sql: string;
  settings?: PostgresLexSettings;
  /** `none`: before there is a catalog. */
  catalog?: 'none';
  overrides?: PostgresOverrides;
  route: Route;
  pin?: PinReason;
  transaction?: TransactionEffect;
  session?: SessionEffect[];
  /** Of a PREPARE's body only its route. */
  prepared?: { kind: string; name: string | null; body?: Route };
  ddl?: boolean;
  /** `tellsOfNode`. */
  ofNode?: true;
  verb?: string;
  statements?: number;
  /** A regular expression that one of the reasons must match. */
  reason?: string;
  hint?: Record<string, string> | null;
  /** The first version of PostgreSQL that knows the syntax. */
  since?: number;
  /** false: not to be run on a standby (it needs parameters, a setting, or an override that does not hold there). */
  standby?: false;
}

export function goldenTables(): Map<string, GoldenCase[]> {
  const tables = new Map<string, GoldenCase[]>();
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith('.json') || file === 'catalog.json' || file === 'rows.json') continue;
    tables.set(file.slice(0, -5), JSON.parse(readFileSync(join(folder, file), 'utf8')) as GoldenCase[]);
  }
  return tables;
}

/** The statements that make the database which the golden tables speak of. */
export function goldenSchema(): string {
  return readFileSync(join(folder, 'schema.sql'), 'utf8');
}

type StoredFunction = readonly [
  oid: string,
  schema: string,
  name: string,
  language: string,
  volatility: string,
  row: 0 | 1,
  /** Left out where it is empty. */
  more?: { types?: string[]; runs?: string[]; calls?: string[]; writes?: string[]; leaves?: string },
];
interface StoredCatalog {
  readonly functions: readonly StoredFunction[];
  readonly rows: Omit<PostgresCatalogRows, 'functions' | 'writes'> &
    Partial<Pick<PostgresCatalogRows, 'writes'>>;
}

/** The catalog of a PostgreSQL 18 with `schema.sql`, as it was stored. */
export function storedCatalog(): PostgresCatalog {
  const stored = JSON.parse(readFileSync(join(folder, 'catalog.json'), 'utf8')) as StoredCatalog;
  const functions = stored.functions.map(([oid, schema, name, language, volatility, row, more]) => ({
    oid,
    schema,
    name,
    language,
    volatility,
    takes_row: row === 1,
    ...more,
  }));
  return buildPostgresCatalog({ writes: [], ...stored.rows, functions });
}

/** Reads the catalog by its queries; `run` gives the rows of one query. */
export async function readCatalogRows(
  run: (sql: string) => Promise<CatalogRow[]>,
): Promise<PostgresCatalogRows> {
  const rows: Partial<Record<PostgresCatalogQuery, CatalogRow[]>> = {};
  for (const [name, sql] of Object.entries(POSTGRES_CATALOG_QUERIES))
    rows[name as PostgresCatalogQuery] = await run(sql);
  return rows as PostgresCatalogRows;
}

/** The text of catalog.json for these rows: overloads of a built-in that differ in nothing of concern are stored once. */
export function storeCatalog(rows: PostgresCatalogRows): string {
  const named = new Set(
    [...rows.views, ...rows.policies, ...rows.types].flatMap((row) => row.functions as string[]),
  );
  const seen = new Set<string>();
  const lines: string[] = [];
  for (const row of rows.functions) {
    const { oid, schema, name, language, volatility, takes_row, leaves } = row as Record<string, string>;
    const more = Object.fromEntries(
      (['types', 'runs', 'calls', 'writes'] as const)
        .map((field) => [field, row[field]] as const)
        .filter(([, value]) => Array.isArray(value) && value.length > 0),
    );
    if (leaves) more.leaves = leaves;
    const tail = Object.keys(more).length > 0 ? [more] : [];
    const key = [schema, name, language, volatility, takes_row, JSON.stringify(more)].join();
    if (seen.has(key) && !named.has(oid!)) continue;
    seen.add(key);
    lines.push(JSON.stringify([oid, schema, name, language, volatility, takes_row ? 1 : 0, ...tail]));
  }
  const rest = Object.entries(rows)
    .filter(([query]) => query !== 'functions')
    .map(([query, list]) => `"${query}": [\n${list.map((row) => JSON.stringify(row)).join(',\n')}\n]`);
  return `{\n"functions": [\n${lines.sort().join(',\n')}\n],\n"rows": {\n${rest.join(',\n')}\n}\n}\n`;
}
