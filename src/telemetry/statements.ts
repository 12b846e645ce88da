// Statistics by statement shape: plain numbers that the data path adds to, for a bounded number of shapes.
// It knows shapes as text without literals, no unit, no session and no clock but what it is given.

import type { StatementSums } from '../admin/statements.js';

const SUMS = [
  'calls',
  'errors',
  'rows',
  'bytes',
  'nodeMs',
  'waitMs',
  'holdMs',
  'queueMs',
  'primary',
  'replica',
] as const satisfies readonly (keyof StatementSums)[];

export class StatementRecord implements StatementSums {
  readonly shape: string;
  calls = 0;
  errors = 0;
  rows = 0;
  bytes = 0;
  nodeMs = 0;
  maxNodeMs = 0;
  waitMs = 0;
  holdMs = 0;
  queueMs = 0;
  primary = 0;
  replica = 0;
  /** Calls by node, at the node's number in `Statements`. */
  readonly byNode: number[] = [];
  /** Weight of before the numbers were last set back; what a newcomer is given in place of what it replaces. */
  base: number;
  /** What one call takes of a node, and of a client's connection, for whoever shares them; -1: not known. */
  costMs = -1;
  costBytes = 0;

  constructor(shape: string, base: number) {
    this.shape = shape;
    this.base = base;
  }
}

/** Structured: what a worker sends, and what the supervisor adds up. */
export interface StatementPart extends StatementSums {
  readonly shape: string;
  readonly byNode: Readonly<Record<string, number>>;
}

export interface StatementsPart {
  readonly statements: readonly StatementPart[];
  /** Of shapes that are no longer kept. */
  readonly other: StatementSums;
  readonly evicted: number;
}

export interface StatementsLimits {
  readonly maxShapes: number;
  /** Characters of all shapes together. */
  readonly maxShapeChars: number;
}

export const DEFAULT_LIMITS: StatementsLimits = { maxShapes: 5_000, maxShapeChars: 4 * 1024 * 1024 };

/** A call counts as much as so many milliseconds on the node: both what takes long and what comes often is kept. */
const CALL_WEIGHT_MS = 0.1;
/** So much is made free at once, so that the search for the lightest is paid for by many newcomers. */
const KEPT_SHARE = 0.95;
const MAX_NODES = 256;

export function noSums(): StatementSums {
  return {
    calls: 0,
    errors: 0,
    rows: 0,
    bytes: 0,
    nodeMs: 0,
    maxNodeMs: 0,
    waitMs: 0,
    holdMs: 0,
    queueMs: 0,
    primary: 0,
    replica: 0,
  };
}

export function addSums(sum: StatementSums, part: StatementSums): void {
  for (const key of SUMS) sum[key] += part[key];
  sum.maxNodeMs = Math.max(sum.maxNodeMs, part.maxNodeMs);
}

function weightOf(record: StatementRecord): number {
  return record.base + record.nodeMs + record.calls * CALL_WEIGHT_MS;
}

/**
 * Keeps the heaviest shapes by the idea of "space saving" (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent
 * and Top-k Elements in Data Streams, 2005): when it is full, the lightest twentieth is left out, and who comes next starts
 * with the weight of the heaviest of those. So a shape whose weight exceeds the weight of all calls together divided by
 * (0.95 x maxShapes) is never left out, whatever flood of others comes, and an old one that is not used any more gives way in the
 * end. Numbers of a shape are its own since it was last taken in; what was left out is summed up as `other`.
 */
export class Statements {
  #limits: StatementsLimits;
  readonly #records = new Map<string, StatementRecord>();
  /** Of the last call: many units of one shape follow each other. */
  #last: StatementRecord | null = null;
  #chars = 0;
  /** The heaviest weight that was left out. */
  #floor = 0;
  #other = noSums();
  #evicted = 0;
  readonly #nodes: string[] = [];
  readonly #nodeNumbers = new Map<string, number>();
  /** Times the lightest were looked for; for tests. */
  searches = 0;

  constructor(limits: StatementsLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#records.size;
  }

  /** Shapes left out so far. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Sums of the calls of shapes that were left out. */
  get other(): Readonly<StatementSums> {
    return this.#other;
  }

  get chars(): number {
    return this.#chars;
  }

  find(shape: string): StatementRecord | null {
    if (this.#last !== null && this.#last.shape === shape) return this.#last;
    return this.#records.get(shape) ?? null;
  }

  /** The record of a shape, made when there is none. Not to be kept: it may be left out by the next call. */
  obtain(shape: string): StatementRecord {
    const last = this.#last;
    if (last !== null && last.shape === shape) return last;
    let record = this.#records.get(shape);
    if (record === undefined) {
      record = new StatementRecord(shape, this.#floor);
      this.#insert(record);
    }
    this.#last = record;
    return record;
  }

  /** One call more at a node. */
  countNode(record: StatementRecord, node: string, isReplica: boolean): void {
    if (isReplica) record.replica++;
    else record.primary++;
    this.#addNode(record, node, 1);
  }

  #addNode({ byNode }: StatementRecord, node: string, calls: number): void {
    const number = this.#nodeNumbers.get(node) ?? this.#numberOf(node);
    while (byNode.length <= number) byNode.push(0);
    byNode[number]! += calls;
  }

  *all(): Iterable<StatementPart> {
    for (const record of this.#records.values()) if (record.calls > 0) yield this.#partOf(record);
  }

  /** Forgets all numbers; what shapes cost, for sharing, stays known. */
  reset(): void {
    for (const record of this.#records.values()) {
      setBack(record);
      record.base = 0;
    }
    this.#floor = 0;
    this.#other = noSums();
    this.#evicted = 0;
  }

  /** What has been counted since it was last drained, at most `max` shapes of it; the rest comes with the next. */
  drain(max: number): StatementsPart {
    const statements: StatementPart[] = [];
    for (const record of this.#records.values()) {
      if (record.calls === 0) continue;
      if (statements.length >= max) break;
      statements.push(this.#partOf(record));
      record.base = weightOf(record);
      setBack(record);
    }
    const part = { statements, other: this.#other, evicted: this.#evicted };
    this.#other = noSums();
    this.#evicted = 0;
    return part;
  }

  /** What another one has drained. */
  add({ statements, other, evicted }: StatementsPart): void {
    for (const part of statements) {
      const record = this.obtain(part.shape);
      addSums(record, part);
      for (const [node, calls] of Object.entries(part.byNode)) this.#addNode(record, node, calls);
    }
    addSums(this.#other, other);
    this.#evicted += evicted;
  }

  #partOf(record: StatementRecord): StatementPart {
    const byNode: Record<string, number> = {};
    for (const [number, calls] of record.byNode.entries())
      if (calls > 0) byNode[this.#nodes[number]!] = calls;
    const { shape } = record;
    const sums = noSums();
    addSums(sums, record);
    return { shape, ...sums, byNode };
  }

  #numberOf(node: string): number {
    // Names come from the configuration; only many reloads make many.
    if (this.#nodes.length >= MAX_NODES) return MAX_NODES - 1;
    this.#nodes.push(node);
    this.#nodeNumbers.set(node, this.#nodes.length - 1);
    return this.#nodes.length - 1;
  }

  #insert(record: StatementRecord): void {
    const { maxShapes, maxShapeChars } = this.#limits;
    const chars = record.shape.length;
    if (this.#records.size >= maxShapes || this.#chars + chars > maxShapeChars) {
      this.#makeRoom(chars);
      record.base = this.#floor;
    }
    this.#records.set(record.shape, record);
    this.#chars += chars;
  }

  #makeRoom(chars: number): void {
    this.searches++;
    const maxShapes = Math.floor(this.#limits.maxShapes * KEPT_SHARE);
    const maxChars = this.#limits.maxShapeChars * KEPT_SHARE - chars;
    // Of equal weight, who came first goes first.
    const lightestFirst = [...this.#records.values()].sort((a, b) => weightOf(a) - weightOf(b));
    for (const record of lightestFirst) {
      if (this.#records.size <= maxShapes && this.#chars <= maxChars) break;
      this.#records.delete(record.shape);
      this.#chars -= record.shape.length;
      this.#floor = Math.max(this.#floor, weightOf(record));
      addSums(this.#other, record);
      this.#evicted++;
    }
    this.#last = null;
  }
}

function setBack(record: StatementRecord): void {
  for (const key of SUMS) record[key] = 0;
  record.maxNodeMs = 0;
  record.byNode.fill(0);
}
