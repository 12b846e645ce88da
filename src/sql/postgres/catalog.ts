// What classification knows of a database: an immutable picture built from catalog rows. It opens no connection; the
// queries stand in catalog-queries.ts and are run by whoever has one.

import type { PinReason } from '../statement.js';
import type { PostgresCatalogQuery } from './catalog-queries.js';
import { pinningFunctions, primaryFunctions, primaryPrefixes } from './functions.js';

export { digestQuery, POSTGRES_CATALOG_QUERIES, type PostgresCatalogQuery } from './catalog-queries.js';

export type Volatility = 'immutable' | 'stable' | 'volatile';

export interface FunctionRef {
  readonly schema: string;
  readonly name: string;
}

/** `schema` null: by its name alone, as a body calls it. */
export interface CallRef {
  readonly schema: string | null;
  readonly name: string;
}

/** All overloads of one name in one schema: the worst volatility counts. */
export interface OverloadFacts {
  readonly volatility: Volatility;
  /** Every volatile one is written in C (an extension's). */
  readonly inC: boolean;
  /** Functions of concern that a call runs besides: those its body names, of its defaults, of its arguments' types. */
  readonly runs: readonly CallRef[];
  /** What its body leaves in the session. */
  readonly leaves: PinReason | null;
  /** Relations that its body writes to, by their names alone: those of which a write runs functions of concern. */
  readonly writes: readonly string[];
}

/** By schema. */
export type FunctionFacts = ReadonlyMap<string, OverloadFacts>;

/** A relation that is more than a table, or a table whose reads run functions. */
export interface RelationFacts {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'view' | 'foreign' | 'sequence' | 'unlogged' | 'table';
  /** Functions that a read of it may run, through all views below it; those of no concern are left out. */
  readonly functions: readonly FunctionRef[];
  /** Foreign tables that a read of it may reach, itself included. */
  readonly foreign: readonly string[];
  /** A table without rows on a standby that a read of it may reach, itself included; null: none. */
  readonly unlogged: string | null;
  /** Other relations that a read of it reaches, through all views: sequences, system views. */
  readonly relations: readonly FunctionRef[];
  /** A view with FOR UPDATE or its like inside. */
  readonly locks: boolean;
}

export interface PostgresCatalog {
  readonly functions: ReadonlyMap<string, FunctionFacts>;
  /** Functions of concern behind the overloads of an operator, by its name. */
  readonly operators: ReadonlyMap<string, readonly FunctionRef[]>;
  readonly relations: ReadonlyMap<string, readonly RelationFacts[]>;
  /** Types into which values are brought by functions that may be volatile. */
  readonly types: ReadonlyMap<string, readonly FunctionRef[]>;
  /** Volatile functions that may be written like a column of a row: `t.f` for `f(t)`. */
  readonly rowFunctions: ReadonlySet<string>;
  /** Functions of concern that a write to a relation of this name runs, through all that it goes on to. */
  readonly writes: ReadonlyMap<string, readonly FunctionRef[]>;
  /** A function that is not volatile may change a setting until the transaction ends: what follows in it would see that. */
  readonly readsMaySet: boolean;
  /** There are relations that have no rows, and no size, on replicas. */
  readonly hasUnlogged: boolean;
}

export type CatalogRow = Readonly<Record<string, unknown>>;
export type PostgresCatalogRows = Readonly<Record<PostgresCatalogQuery, readonly CatalogRow[]>>;

const leavings: ReadonlySet<string> = new Set<PinReason>(['temporary-table', 'listen', 'untracked-setting']);

function leaving(value: unknown): PinReason | null {
  return typeof value === 'string' && leavings.has(value) ? (value as PinReason) : null;
}

/** What one call of it is enough for, even inside of another function; sequences are asked about what the body drew. */
const withinOneCall: ReadonlySet<string> = new Set(['currval', 'lastval', 'lo_open']);

function isNamedForPrimary(name: string): boolean {
  return (
    pinningFunctions.has(name) ||
    primaryFunctions.has(name) ||
    primaryPrefixes.some((prefix) => name.startsWith(prefix))
  );
}

const order: readonly Volatility[] = ['immutable', 'stable', 'volatile'];

function volatility(code: unknown): Volatility {
  return code === 'i' ? 'immutable' : code === 's' ? 'stable' : 'volatile';
}

function worse(left: Volatility | null, right: Volatility): Volatility {
  return left === null || order.indexOf(right) > order.indexOf(left) ? right : left;
}

function string(row: CatalogRow, field: string): string {
  const value = row[field];
  return typeof value === 'string' ? value : value === undefined || value === null ? '' : String(value);
}

function strings(row: CatalogRow, field: string): readonly string[] {
  const value = row[field];
  return Array.isArray(value) ? value.map(String) : [];
}

/**
 * Several reads in one transaction are as far apart as in several: none that is one by the catalog, or by configuration
 * (`readFunctions`), leaves anything to its transaction.
 */
export function keepsReadsApart(
  { functions, readsMaySet }: PostgresCatalog,
  readFunctions: readonly string[],
): boolean {
  if (readsMaySet) return false;
  return readFunctions.every((full) => {
    const overloads = functions.get(full.slice(full.lastIndexOf('.') + 1));
    for (const [schema, facts] of overloads ?? [])
      if (schema !== 'pg_catalog' && facts.volatility === 'volatile') return false;
    return true;
  });
}

/** What one relation names directly. */
interface Direct {
  readonly schema: string;
  readonly name: string;
  kind: RelationFacts['kind'];
  functions: string[];
  relations: string[];
  locks: boolean;
}

/** Pure: rows of every query of POSTGRES_CATALOG_QUERIES, by its name, as records of column values. */
export function buildPostgresCatalog(rows: PostgresCatalogRows): PostgresCatalog {
  const functionByOid = new Map<string, FunctionRef & { concern: boolean }>();
  /** Volatile, a user's, or for the primary by its name: what matters in the end is for the rules to say. */
  const concerning = new Set<string>();
  const rowFunctions = new Set<string>();
  for (const row of rows.functions) {
    const name = string(row, 'name');
    const schema = string(row, 'schema');
    const its = volatility(row.volatility);
    if (its === 'volatile' && row.takes_row === true) rowFunctions.add(name);
    const concern = its === 'volatile' || schema !== 'pg_catalog' || isNamedForPrimary(name);
    if (concern) concerning.add(name);
    functionByOid.set(string(row, 'oid'), { schema, name, concern });
  }
  const refs = (oids: readonly string[]): FunctionRef[] =>
    oids.flatMap((oid) => {
      const ref = functionByOid.get(oid);
      return ref?.concern === true ? [{ schema: ref.schema, name: ref.name }] : [];
    });

  const types = new Map<string, FunctionRef[]>();
  const typeFunctions = new Map<string, readonly string[]>();
  for (const row of rows.types) {
    const oids = strings(row, 'functions');
    typeFunctions.set(string(row, 'oid'), oids);
    const found = refs(oids);
    if (found.length === 0) continue;
    types.set(string(row, 'name'), [...(types.get(string(row, 'name')) ?? []), ...found]);
  }
  const ofTypes = (row: CatalogRow): string[] =>
    strings(row, 'types').flatMap((oid) => typeFunctions.get(oid) ?? []);

  const writes = runByWrites(rows.writes, refs);

  const functions = new Map<string, Map<string, OverloadFacts>>();
  for (const row of rows.functions) {
    const name = string(row, 'name');
    const schema = string(row, 'schema');
    const its = volatility(row.volatility);
    const inC = string(row, 'language') === 'c' || its !== 'volatile';
    const runs: CallRef[] = refs([...strings(row, 'runs'), ...ofTypes(row)]);
    for (const call of strings(row, 'calls')) {
      if (call !== name && concerning.has(call) && !withinOneCall.has(call))
        runs.push({ schema: null, name: call });
    }
    const written = strings(row, 'writes').filter((relation) => writes.has(relation));
    const schemas = functions.get(name) ?? new Map<string, OverloadFacts>();
    const before = schemas.get(schema);
    schemas.set(schema, {
      volatility: worse(before?.volatility ?? null, its),
      inC: inC && before?.inC !== false,
      runs: before === undefined ? runs : [...before.runs, ...runs],
      leaves: before?.leaves ?? leaving(row.leaves),
      writes: before === undefined ? written : [...before.writes, ...written],
    });
    functions.set(name, schemas);
  }

  const operators = new Map<string, FunctionRef[]>();
  const operatorFunction = new Map<string, string>();
  for (const row of rows.operators) {
    const oid = string(row, 'function');
    operatorFunction.set(string(row, 'oid'), oid);
    const name = string(row, 'name');
    operators.set(name, [...(operators.get(name) ?? []), ...refs([oid])]);
  }
  const named = (row: CatalogRow): string[] => {
    const oids = [...strings(row, 'functions'), ...ofTypes(row)];
    for (const oid of strings(row, 'operators')) {
      const implementation = operatorFunction.get(oid);
      if (implementation !== undefined) oids.push(implementation);
    }
    return oids;
  };

  const direct = new Map<string, Direct>();
  for (const row of rows.relations) {
    const kind = string(row, 'kind') as 'sequence' | 'foreign' | 'unlogged';
    const relation = { schema: string(row, 'schema'), name: string(row, 'name'), kind };
    direct.set(string(row, 'oid'), { ...relation, functions: [], relations: [], locks: false });
  }
  const add = (row: CatalogRow, kind: 'view' | 'table'): void => {
    const oid = string(row, 'oid');
    let relation = direct.get(oid);
    if (relation === undefined) {
      const schema = string(row, 'schema');
      relation = { schema, name: string(row, 'name'), kind, functions: [], relations: [], locks: false };
      direct.set(oid, relation);
    }
    relation.functions.push(...named(row));
    relation.relations.push(...strings(row, 'relations'));
    relation.locks ||= row.locks === true;
  };
  for (const row of rows.views) add(row, 'view');
  for (const row of rows.policies) add(row, 'table');

  const relations = new Map<string, RelationFacts[]>();
  for (const oid of direct.keys()) {
    const facts = reach(oid, direct, functionByOid);
    if (facts === null) continue;
    const same = relations.get(facts.name);
    if (same === undefined) relations.set(facts.name, [facts]);
    else same.push(facts);
  }

  const readsMaySet = rows.functions.some(({ sets }) => sets === true);
  const hasUnlogged = rows.relations.some(({ kind }) => kind === 'unlogged');
  return { functions, operators, relations, types, rowFunctions, writes, readsMaySet, hasUnlogged };
}

/** By the names of relations: what a write to one of them runs, there and where it goes on to. */
function runByWrites(
  rows: readonly CatalogRow[],
  refs: (oids: readonly string[]) => FunctionRef[],
): Map<string, readonly FunctionRef[]> {
  const byOid = new Map(rows.map((row) => [string(row, 'oid'), row]));
  const writes = new Map<string, readonly FunctionRef[]>();
  for (const row of rows) {
    const found: FunctionRef[] = [];
    const seen = new Set<CatalogRow>([row]);
    for (const each of seen) {
      found.push(...refs(strings(each, 'functions')));
      for (const oid of strings(each, 'relations')) {
        const other = byOid.get(oid);
        if (other !== undefined) seen.add(other);
      }
    }
    const name = string(row, 'name');
    if (found.length > 0) writes.set(name, [...(writes.get(name) ?? []), ...found]);
  }
  return writes;
}

/** Everything that a read of the relation may run or touch; null when that is nothing of concern. */
function reach(
  oid: string,
  direct: ReadonlyMap<string, Direct>,
  functionByOid: ReadonlyMap<string, FunctionRef & { concern: boolean }>,
): RelationFacts | null {
  const self = direct.get(oid)!;
  const functions = new Map<string, FunctionRef>();
  const relations = new Map<string, FunctionRef>();
  const foreign = new Set<string>();
  let unlogged: string | null = null;
  const seen = new Set([oid]);
  const pending = [oid];
  let locks = false;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const relation = direct.get(next);
    if (relation === undefined) continue;
    locks ||= relation.locks;
    const full = `${relation.schema}.${relation.name}`;
    if (relation.kind === 'foreign') foreign.add(full);
    else if (relation.kind === 'unlogged') unlogged ??= full;
    else if (next !== oid) relations.set(next, { schema: relation.schema, name: relation.name });
    for (const function_ of relation.functions) {
      const ref = functionByOid.get(function_);
      if (ref === undefined) functions.set(function_, { schema: '', name: `with oid ${function_}` });
      else if (ref.concern) functions.set(function_, { schema: ref.schema, name: ref.name });
    }
    for (const below of relation.relations) {
      if (!seen.has(below)) {
        seen.add(below);
        pending.push(below);
      }
    }
  }
  const plain = self.kind === 'view' || self.kind === 'table';
  const reachesNothing = functions.size === 0 && relations.size === 0 && foreign.size === 0;
  if (plain && reachesNothing && unlogged === null && !locks) return null;
  return {
    schema: self.schema,
    name: self.name,
    kind: self.kind,
    functions: [...functions.values()],
    foreign: [...foreign],
    unlogged,
    relations: [...relations.values()],
    locks,
  };
}
