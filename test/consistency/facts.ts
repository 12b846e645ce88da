// A history as columns of numbers, and what each value is known to be: who wrote it, how deep it lies, who saw it first and last.
// It finds what no order of events can explain (values out of nowhere, two values in one place); sessions are the checker's.

import { Epochs } from './epochs.js';
import {
  type History,
  isFailover,
  type Level,
  type ListRead,
  type Operation,
  type RegisterRead,
  type Write,
} from './history.js';

export const OUTCOME = { ok: 0, failed: 1, unknown: 2 } as const;
export const STEP = { read: 0, write: 1, ownRead: 2 } as const;
const LEVELS: readonly Level[] = ['eventual', 'session', 'strong'];

/** Not a value: what a key holds before its first write. */
export const NOTHING = -1;

/** A place in the history, for the story. */
export interface Contradiction {
  readonly kind: 'fabricated' | 'fork';
  readonly op: number;
  readonly step: number;
  readonly what: string;
  readonly because: readonly number[];
}

class Names {
  readonly #ids = new Map<string, number>();
  readonly list: string[] = [];

  id(name: string): number {
    let id = this.#ids.get(name);
    if (id === undefined) {
      id = this.list.push(name) - 1;
      this.#ids.set(name, id);
    }
    return id;
  }

  find(name: string): number | undefined {
    return this.#ids.get(name);
  }
}

export class Facts {
  readonly epochs: Epochs;
  readonly sessions = new Names();
  readonly keys = new Names();
  readonly values = new Names();
  readonly nodes = new Names();
  /** By operation, in the order of their ends. */
  readonly start: number[] = [];
  readonly end: number[] = [];
  readonly session: number[] = [];
  readonly outcome: number[] = [];
  readonly level: Level[] = [];
  readonly node: number[] = [];
  readonly low: number[] = [];
  readonly high: number[] = [];
  /** Steps of operation i: from firstStep[i] to before firstStep[i + 1]. */
  readonly firstStep: number[] = [0];
  readonly stepKind: number[] = [];
  readonly stepKey: number[] = [];
  readonly stepValue: number[] = [];
  /** Of a read: how deep it saw; of a write: what it said of its own depth, 0: nothing. */
  readonly stepDepth: number[] = [];
  /** By value. */
  readonly writer: number[] = [];
  readonly keyOf: number[] = [];
  /** 0: nobody can tell. */
  readonly depth: number[] = [];
  /** Of a list's value: the one before it; -2: not known. */
  readonly parent: number[] = [];
  readonly firstSeenEnd: number[] = [];
  /** Of the reads that are certain of their epoch. */
  readonly lastSeenStart: number[] = [];
  /** When the latest of the writes that a reader of it must have seen began: its own, and in a list those before it. */
  readonly latestStart: number[] = [];
  readonly contradictions: Contradiction[] = [];
  contradictionCount = 0;
  reads = 0;
  writes = 0;
  unknown = 0;
  /** Whether a list has been read whole before, by its text; one for each epoch, and one for reads that are not certain. */
  readonly #texts: Map<string, { readonly last: number; readonly count: number }>[] = [];
  /** By epoch and key: the value at each depth. */
  readonly #places: Map<number, number[]>[];

  constructor({ head, entries }: History) {
    this.epochs = new Epochs(entries.filter(isFailover).map(({ failover }) => failover));
    this.#places = Array.from({ length: this.epochs.count }, () => new Map());
    const operations = entries.filter((entry): entry is Operation => !isFailover(entry));
    if (operations.some(({ at }, i) => i > 0 && at[1] < operations[i - 1]!.at[1]))
      operations.sort((a, b) => a.at[1] - b.at[1]);
    // Writers first: what is read may have been written by an operation that ended later.
    operations.forEach((operation, i) => {
      this.#announce(operation, i, operation.level ?? head.level);
    });
    operations.forEach((operation, i) => {
      this.#take(operation, i);
    });
    this.#inherit();
  }

  get count(): number {
    return this.start.length;
  }

  isCertain(op: number): boolean {
    return this.low[op] === this.high[op];
  }

  /** The value that lies there in that epoch, if anybody knows. */
  valueAt(epoch: number, key: number, depth: number): number | undefined {
    return this.#places[epoch]?.get(key)?.[depth];
  }

  #value(name: string, key: number): number {
    const known = this.values.find(name);
    if (known !== undefined) return known;
    this.writer.push(-1);
    this.keyOf.push(key);
    this.depth.push(0);
    this.parent.push(-2);
    this.firstSeenEnd.push(Number.POSITIVE_INFINITY);
    this.lastSeenStart.push(Number.NEGATIVE_INFINITY);
    this.latestStart.push(Number.NEGATIVE_INFINITY);
    return this.values.id(name);
  }

  #announce({ s, at, o, on, do: steps }: Operation, op: number, level: Level): void {
    const [start, end] = at;
    this.start.push(start);
    this.end.push(end);
    this.session.push(this.sessions.id(s));
    this.outcome.push(OUTCOME[o ?? 'ok']);
    this.level.push(LEVELS.includes(level) ? level : 'eventual');
    this.node.push(on === undefined ? -1 : this.nodes.id(on));
    this.low.push(this.epochs.low(start));
    this.high.push(this.epochs.high(end));
    if (o === 'unknown') this.unknown++;
    for (const [kind, name, text] of steps) {
      if (kind !== 'w') continue;
      this.writes++;
      const value = this.#value(text, this.keys.id(name));
      if (this.writer[value] !== -1) throw new Error(`the value ${text} is written twice: not a history`);
      this.writer[value] = op;
      this.latestStart[value] = start;
    }
  }

  #take({ do: steps }: Operation, op: number): void {
    for (const step of steps) {
      const key = this.keys.id(step[1]);
      this.stepKey.push(key);
      if (step[0] === 'w') this.#takeWrite(step, op, key);
      else {
        this.reads++;
        if (step[0] === 'r') this.#takeRegister(step, op, key);
        else this.#takeList(step, op, key);
      }
    }
    this.firstStep.push(this.stepKind.length);
  }

  #takeWrite([, , text, depth = 0]: Write, op: number, key: number): void {
    const value = this.#value(text, key);
    this.stepKind.push(STEP.write);
    this.stepValue.push(value);
    this.stepDepth.push(depth);
    // What is not committed lies nowhere.
    if (depth > 0 && this.outcome[op] === OUTCOME.ok) this.#place(op, key, value, depth);
  }

  #takeRegister([, , depth, text]: RegisterRead, op: number, key: number): void {
    const value = text === null || depth === 0 ? NOTHING : this.#value(text, key);
    this.#pushRead(op, value, depth);
    if (value === NOTHING) {
      if (depth !== 0 || text !== null) this.#contradict('fabricated', op, 'a value without a write', []);
      return;
    }
    this.#see(op, key, value, depth);
  }

  #takeList([, , text]: ListRead, op: number, key: number): void {
    if (text === '') {
      this.#pushRead(op, NOTHING, 0);
      return;
    }
    const epoch = this.isCertain(op) ? this.low[op]! : this.epochs.count;
    this.#texts[epoch] ??= new Map();
    const seen = this.#texts[epoch].get(text);
    if (seen !== undefined) {
      this.#pushRead(op, seen.last, seen.count);
      this.#note(op, seen.last);
      return;
    }
    const values = text.split(',').map((each) => this.#value(each, key));
    const last = values.at(-1)!;
    this.#pushRead(op, last, values.length);
    if (this.#isOwn(op, last)) {
      if (this.outcome[op] === OUTCOME.ok) this.#place(op, key, last, values.length);
      return;
    }
    this.#texts[epoch].set(text, { last, count: values.length });
    values.forEach((value, i) => {
      const before = i === 0 ? NOTHING : values[i - 1]!;
      if (this.parent[value] === -2) this.parent[value] = before;
      else if (this.parent[value] !== before)
        this.#contradict(
          'fork',
          op,
          `${this.values.list[value]} stands behind another value than elsewhere`,
          [this.writer[value]!],
        );
      this.#see(op, key, value, i + 1);
    });
  }

  #isOwn(op: number, value: number): boolean {
    return value !== NOTHING && this.writer[value] === op;
  }

  #pushRead(op: number, value: number, depth: number): void {
    this.stepKind.push(this.#isOwn(op, value) ? STEP.ownRead : STEP.read);
    this.stepValue.push(value);
    this.stepDepth.push(depth);
  }

  #see(op: number, key: number, value: number, depth: number): void {
    const writer = this.writer[value]!;
    const name = this.values.list[value]!;
    if (writer === -1) this.#contradict('fabricated', op, `nobody has written ${name}`, []);
    else if (this.keyOf[value] !== key)
      this.#contradict('fabricated', op, `${name} was written to ${this.keys.list[this.keyOf[value]!]}`, [
        writer,
      ]);
    else if (writer === op) {
      if (this.outcome[op] === OUTCOME.ok) this.#place(op, key, value, depth);
      return;
    } else if (this.outcome[writer] === OUTCOME.failed)
      this.#contradict('fabricated', op, `the write of ${name} has failed`, [writer]);
    else if (this.end[op]! < this.start[writer]!)
      this.#contradict('fabricated', op, `${name} was read before it was written`, [writer]);
    else {
      this.#place(op, key, value, depth);
      this.#note(op, value);
    }
  }

  #note(op: number, value: number): void {
    if (this.end[op]! < this.firstSeenEnd[value]!) this.firstSeenEnd[value] = this.end[op]!;
    if (this.isCertain(op) && this.start[op]! > this.lastSeenStart[value]!)
      this.lastSeenStart[value] = this.start[op]!;
  }

  /** A value lies at one depth for ever, and in one epoch one value lies there. */
  #place(op: number, key: number, value: number, depth: number): void {
    const known = this.depth[value]!;
    if (known === 0) this.depth[value] = depth;
    else if (known !== depth)
      this.#contradict(
        'fork',
        op,
        `${this.values.list[value]} is at depth ${depth}, and elsewhere at ${known}`,
        [this.writer[value]!],
      );
    if (!this.isCertain(op)) return;
    const places = this.#places[this.low[op]!]!;
    let list = places.get(key);
    if (list === undefined) {
      list = [];
      places.set(key, list);
    }
    const there = list[depth];
    if (there === undefined) list[depth] = value;
    else if (there !== value)
      this.#contradict(
        'fork',
        op,
        `${this.values.list[value]} at depth ${depth} of ${this.keys.list[key]}, where others found ${this.values.list[there]}`,
        [this.writer[value]!, this.writer[there]!],
      );
  }

  #contradict(kind: Contradiction['kind'], op: number, what: string, because: readonly number[]): void {
    this.contradictionCount++;
    // The step that is being taken is the last one.
    const step = this.stepKind.length - 1;
    if (this.contradictions.length < 1000)
      this.contradictions.push({ kind, op, step, what, because: because.filter((each) => each >= 0) });
  }

  /** Who saw a list's value saw those before it. */
  #inherit(): void {
    const byDepth: number[] = [];
    this.parent.forEach((parent, value) => {
      if (parent !== -2) byDepth.push(value);
    });
    byDepth.sort((a, b) => this.depth[a]! - this.depth[b]!);
    for (const value of byDepth) {
      const parent = this.parent[value]!;
      if (parent !== NOTHING)
        this.latestStart[value] = Math.max(this.latestStart[value]!, this.latestStart[parent]!);
    }
    for (const value of byDepth.reverse()) {
      const parent = this.parent[value]!;
      if (parent === NOTHING) continue;
      this.firstSeenEnd[parent] = Math.min(this.firstSeenEnd[parent]!, this.firstSeenEnd[value]!);
      this.lastSeenStart[parent] = Math.max(this.lastSeenStart[parent]!, this.lastSeenStart[value]!);
    }
  }
}
