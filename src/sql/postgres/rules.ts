// Judges one function, operator, relation or type by name: does reading with it need the primary, and does it pin? It sees the
// catalog and the configuration's overrides, and no statement.

import type { PinReason } from '../statement.js';
import type { FunctionRef, OverloadFacts, PostgresCatalog, RelationFacts } from './catalog.js';
import {
  builtinOperators,
  harmlessExtension,
  harmlessVolatile,
  knownReads,
  nodeFunctionPrefixes,
  nodeFunctions,
  nodeRelationPrefixes,
  nodeRelations,
  pinningFunctions,
  primaryFunctions,
  primaryPrefixes,
  primaryRelations,
  sizeFunctions,
} from './functions.js';

export interface PostgresOverrides {
  /** Functions that only read, whatever the catalog says: `name` or `schema.name`, as stored (mostly lower case). */
  readonly readFunctions?: readonly string[];
  readonly writeFunctions?: readonly string[];
  readonly foreignTablesAreReads?: boolean;
}

export interface Verdict {
  readonly reason: string;
  readonly pin: PinReason | null;
  /** It only tells how its node is. */
  readonly tellsOfNode?: boolean;
}

/** Functions are followed through at most so many others; more is taken for what may write. */
const maxFunctions = 500;

export class PostgresRules {
  readonly #catalog: PostgresCatalog | null;
  readonly #read: ReadonlySet<string>;
  readonly #write: ReadonlySet<string>;
  readonly #foreignTablesAreReads: boolean;

  constructor(catalog: PostgresCatalog | null, overrides: PostgresOverrides) {
    this.#catalog = catalog;
    this.#read = new Set(overrides.readFunctions ?? []);
    this.#write = new Set(overrides.writeFunctions ?? []);
    this.#foreignTablesAreReads = overrides.foreignTablesAreReads === true;
  }

  /**
   * Null: it only reads. `schema` null: found by search_path, so every overload of the name in any schema counts. What the
   * server says of a function's volatility is believed as far as what its body calls does not contradict it.
   */
  function(schema: string | null, name: string): Verdict | null {
    return this.#function(schema, name, new Set());
  }

  /** `seen`: functions that are being judged; what calls itself says nothing new. */
  #function(schema: string | null, name: string, seen: Set<OverloadFacts>): Verdict | null {
    const full = schema === null ? name : `${schema}.${name}`;
    if (this.#write.has(name) || this.#write.has(full))
      return verdict(`function ${full} writes by configuration`);
    if (this.#read.has(name) || this.#read.has(full)) return null;
    if (isTemporarySchema(schema))
      return { reason: `${full} is a temporary function`, pin: 'temporary-table' };
    const pin = pinningFunctions.get(name);
    if (pin !== undefined) return { reason: `function ${full} leaves state in its session`, pin };
    if (this.#tellsOfNode(schema, name)) return ofNode(`function ${full} answers for one node`);
    if (primaryFunctions.has(name) || primaryPrefixes.some((prefix) => name.startsWith(prefix))) {
      return verdict(`function ${full} writes or answers for one node`);
    }
    if (this.#catalog?.hasUnlogged === true && sizeFunctions.has(name))
      return verdict(`function ${full}: unlogged tables have no size on replicas`);
    const builtinPlace = schema === null || schema === 'pg_catalog';
    const facts = this.#catalog?.functions.get(name);
    if (facts === undefined) {
      if (builtinPlace && (knownReads.has(name) || (this.#catalog === null && harmlessVolatile.has(name))))
        return null;
      const why = this.#catalog === null ? 'is not known while there is no catalog' : 'is not in the catalog';
      return verdict(`function ${full} ${why}`);
    }
    if (schema !== null && !facts.has(schema) && !(builtinPlace && knownReads.has(name))) {
      return verdict(`function ${full} is not in the catalog`);
    }
    for (const [place, overloads] of facts) {
      if (schema !== null && schema !== place) continue;
      const found = this.#overloads(place, name, overloads, seen);
      if (found !== null) return found;
    }
    return null;
  }

  /** No function of a user's can be meant. */
  #tellsOfNode(schema: string | null, name: string): boolean {
    const isKnown = nodeFunctions.has(name);
    if (!isKnown && !nodeFunctionPrefixes.some((prefix) => name.startsWith(prefix))) return false;
    const facts = this.#catalog?.functions.get(name);
    if (facts === undefined)
      return isKnown && this.#catalog === null && (schema === null || schema === 'pg_catalog');
    for (const [place, { inC }] of facts)
      if ((schema === null || schema === place) && place !== 'pg_catalog' && !inC) return false;
    return schema === null || facts.has(schema);
  }

  /** All overloads of a name in one schema. */
  #overloads(place: string, name: string, facts: OverloadFacts, seen: Set<OverloadFacts>): Verdict | null {
    const full = place === 'pg_catalog' ? name : `${place}.${name}`;
    const { volatility, inC, leaves } = facts;
    const harmless = place === 'pg_catalog' ? harmlessVolatile.has(name) : inC && harmlessExtension.has(name);
    const within = harmless ? null : this.#within(facts, seen);
    if (leaves !== null) return { reason: `function ${full} leaves state in its session`, pin: leaves };
    if (volatility === 'volatile' && !harmless)
      return { reason: `function ${full} is volatile`, pin: within?.pin ?? null };
    return within === null ? null : { reason: `function ${full}: ${within.reason}`, pin: within.pin };
  }

  /** The gravest of what a function runs besides: one that pins before one that does not. */
  #within(self: OverloadFacts, seen: Set<OverloadFacts>): Verdict | null {
    const { runs, writes } = self;
    if ((runs.length === 0 && writes.length === 0) || seen.has(self)) return null;
    if (seen.size >= maxFunctions) return verdict('it calls too many others');
    seen.add(self);
    let first: Verdict | null = null;
    for (const name of writes) {
      const pin = this.#pinOfWrite(name, seen);
      if (pin !== null) return { reason: `it writes to ${name}`, pin };
    }
    for (const { schema, name } of runs) {
      const found = this.#function(schema, name, seen);
      if (found !== null && found.pin !== null) return found;
      first ??= found;
    }
    return first;
  }

  /** What the functions called in a shape leave in their session; coarse, for statements that are not walked. */
  pinOfCalls(shape: string): PinReason | null {
    if (this.#catalog === null) return null;
    for (const match of shape.matchAll(calls)) {
      const pin = this.#catalog.functions.has(match[1] ?? match[2]!)
        ? this.function(null, match[1] ?? match[2]!)?.pin
        : null;
      if (pin) return pin;
    }
    return null;
  }

  /** What a write leaves in its session by what runs with it, triggers for instance; by the names in its shape, coarse as above. */
  pinOfWrites(shape: string): PinReason | null {
    if (this.#catalog === null || this.#catalog.writes.size === 0) return null;
    for (const match of shape.matchAll(names)) {
      const pin = this.pinOfWrite(match[1] ?? match[2]!);
      if (pin !== null) return pin;
    }
    return null;
  }

  pinOfWrite(name: string): PinReason | null {
    return this.#pinOfWrite(name, new Set());
  }

  #pinOfWrite(name: string, seen: Set<OverloadFacts>): PinReason | null {
    for (const ref of this.#catalog?.writes.get(name) ?? []) {
      const pin = this.#function(ref.schema, ref.name, seen)?.pin ?? null;
      if (pin !== null) return pin;
    }
    return null;
  }

  /**
   * What a statement with a pin leaves in its session is what that says: nothing else in its shape is known to leave anything.
   * Coarse, and on the safe side.
   */
  pinsOnce(shape: string): boolean {
    // What a temporary function does nobody has looked at.
    if (temporaryCall.test(shape)) return false;
    if (this.#catalog === null) return pinsOnceByItself(shape);
    for (const match of shape.matchAll(calls)) {
      const name = match[1] ?? match[2]!;
      const pin = pinningFunctions.get(name);
      if (pin === undefined ? this.function(null, name)?.pin : lasting.has(pin)) return false;
    }
    for (const match of shape.matchAll(names)) {
      const name = match[1] ?? match[2]!;
      if (this.#pinOfWrite(name, new Set()) !== null || this.relation(null, name)?.pin) return false;
    }
    return true;
  }

  operator(name: string): Verdict | null {
    if (this.#catalog === null) {
      return builtinOperators.has(name)
        ? null
        : verdict(`operator ${name} is not known while there is no catalog`);
    }
    for (const ref of this.#catalog.operators.get(name) ?? []) {
      const found = this.function(ref.schema, ref.name);
      if (found !== null) return { reason: `operator ${name}: ${found.reason}`, pin: found.pin };
    }
    return null;
  }

  /** A value is brought into the type. */
  type(schema: string | null, name: string): Verdict | null {
    if (isTemporarySchema(schema))
      return { reason: `${schema}.${name} is a temporary type`, pin: 'temporary-table' };
    for (const ref of this.#catalog?.types.get(name) ?? []) {
      const found = this.function(ref.schema, ref.name);
      if (found !== null) return { reason: `type ${name}: ${found.reason}`, pin: found.pin };
    }
    return null;
  }

  /** `row.name` may be a function of the row. */
  attribute(name: string): Verdict | null {
    if (this.#catalog?.rowFunctions.has(name) !== true) return null;
    return this.function(null, name);
  }

  relation(schema: string | null, name: string): Verdict | null {
    if (isTemporarySchema(schema)) {
      return { reason: `${schema}.${name} is a temporary table`, pin: 'temporary-table' };
    }
    let gravest = systemRelation(schema, name);
    for (const facts of this.#catalog?.relations.get(name) ?? [])
      if (schema === null || facts.schema === schema) gravest = graver(gravest, this.#facts(facts));
    return gravest;
  }

  #facts(facts: RelationFacts): Verdict | null {
    const name = `${facts.schema}.${facts.name}`;
    if (facts.kind === 'sequence') return verdict(`sequence ${name} runs ahead on a replica`);
    if (facts.locks) return verdict(`view ${name} locks rows`);
    const { unlogged } = facts;
    if (unlogged !== null)
      return verdict(
        unlogged === name
          ? `unlogged table ${name} is not on replicas`
          : `${facts.kind} ${name} reaches unlogged table ${unlogged}`,
      );
    const foreign = facts.foreign[0];
    if (foreign !== undefined && !this.#foreignTablesAreReads) {
      return verdict(
        foreign === name ? `foreign table ${name}` : `${facts.kind} ${name} reaches foreign table ${foreign}`,
      );
    }
    let gravest: Verdict | null = null;
    for (const ref of facts.functions) gravest = graver(gravest, this.#named(ref));
    for (const ref of facts.relations)
      gravest = graver(gravest, systemRelation(ref.schema, ref.name) ?? this.#sequenceBelow(ref));
    return gravest === null ? null : { ...gravest, reason: `${facts.kind} ${name}: ${gravest.reason}` };
  }

  #named(ref: FunctionRef): Verdict | null {
    if (ref.schema === '') return verdict(`function ${ref.name} is not in the catalog`);
    return this.function(ref.schema, ref.name);
  }

  #sequenceBelow(ref: FunctionRef): Verdict | null {
    const below = this.#catalog?.relations.get(ref.name)?.find((facts) => facts.schema === ref.schema);
    return below?.kind === 'sequence'
      ? verdict(`sequence ${ref.schema}.${ref.name} runs ahead on a replica`)
      : null;
  }
}

/** A name, quoted or not, before a bracket; in a shape that is not a call but a column list it does no harm. */
/** What no server connection can be asked about. */
const lasting: ReadonlySet<PinReason> = new Set(['untracked-setting', 'set-config', 'load']);

const calls = /(?:"([^"]+)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*))\s*\(/g;

/** A name, quoted or not. */
const names = /"([^"]+)"|([a-z_\u0080-\uffff][\w$\u0080-\uffff]*)/g;

const temporaryCall = /\bpg_temp(?:_\d+)?"?\s*\.\s*(?:"[^"]*"|[\w$\u0080-\uffff]+)\s*\(/;

const runsNothing =
  /^(?:listen |create (?:(?:global|local) )?temp(?:orary)? (?:table|sequence) (?!.*\b(?:as|default|generated|check|using)\b))/;

/** While there is no catalog, right behind a change of the schema too: built-in functions say what they leave. */
function pinsOnceByItself(shape: string): boolean {
  if (runsNothing.test(shape)) return true;
  if (!shape.startsWith('select ') || /\b(?:from|into)\b/.test(shape)) return false;
  for (const match of shape.matchAll(calls)) {
    const name = match[1] ?? match[2]!;
    const pin = pinningFunctions.get(name);
    if (pin === undefined ? !knownReads.has(name) && !primaryFunctions.has(name) : lasting.has(pin))
      return false;
  }
  return true;
}

/** A session's own schema, by its alias or by its real name. */
export function isTemporarySchema(schema: string | null): boolean {
  return schema !== null && /^pg_temp(?:_\d+)?$/.test(schema);
}

function verdict(reason: string): Verdict {
  return { reason, pin: null };
}

function ofNode(reason: string): Verdict {
  return { reason, pin: null, tellsOfNode: true };
}

/** What only tells of a node gives way to anything else; else the first counts. */
function graver(first: Verdict | null, second: Verdict | null): Verdict | null {
  if (first === null || (first.tellsOfNode === true && second !== null)) return second;
  return first;
}

function systemRelation(schema: string | null, name: string): Verdict | null {
  if (!name.startsWith('pg_')) return null;
  // pg_stat_statements and its like live where their extension was put.
  const family = nodeRelationPrefixes.some((prefix) => name.startsWith(prefix));
  const single = nodeRelations.has(name) && (schema === null || schema === 'pg_catalog');
  if (family || single) return ofNode(`${name} describes one node`);
  const own = primaryRelations.has(name) && (schema === null || schema === 'pg_catalog');
  return own ? verdict(`${name} is asked of the primary`) : null;
}
