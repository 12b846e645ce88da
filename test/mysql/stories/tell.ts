// Makes up a story: what a client says step by step, by a seed alone. It keeps in mind which statements are prepared, so that most
// of what it says makes sense. It sends nothing.

import { Random } from '../../storm/random.js';
import * as material from './material.js';
import type { Parameter, Step } from './steps.js';

const NAMES = ['s', 't', 'u'] as const;

interface Prepared {
  readonly parameters: number;
  bound: readonly number[] | null;
  /** So far. */
  isText: boolean;
  /** It is open. */
  cursor: boolean;
  /** Always or never: MySQL 9.7 answers an execution without one behind one with it by half a result, for ever. */
  readonly usesCursor: boolean;
}

export interface Story {
  readonly old: boolean;
  readonly tracks: boolean;
  readonly first: number;
  readonly steps: readonly Step[];
}

/** `n`: of the tables it uses. */
export function tell(flavor: material.Flavor, seed: number, n: number, length: number): Story {
  const random = new Random(seed);
  const teller = new Teller(flavor, random, n);
  const beginning = material.beginning(n).map((sql): Step => ({ kind: 'query', sql }));
  const steps = [...beginning];
  for (let i = 0; i < length; i++) steps.push(...teller.next());
  return { old: random.chance(0.2), tracks: random.chance(0.7), first: beginning.length, steps };
}

class Teller {
  readonly #flavor: material.Flavor;
  readonly #random: Random;
  readonly #n: number;
  readonly #prepared = new Map<string, Prepared>();
  /** A story dwells on a few themes, so that what belongs together meets. */
  readonly #themes: readonly (() => Step[])[];

  constructor(flavor: material.Flavor, random: Random, n: number) {
    this.#flavor = flavor;
    this.#random = random;
    this.#n = n;
    const from = (list: readonly string[]) => (): Step[] => [this.#query(random.pick(list))];
    const all: readonly (() => Step[])[] = [
      from(material.SETTINGS),
      from(material.TRANSACTIONS),
      from(material.TRANSACTIONS),
      from(material.DDL),
      from(material.LOCKS),
      from(material.PROGRAMS),
      from(material.TEXT_PREPARED),
      from(material.ROLES),
      from(material.ONLY[flavor]),
      () => this.#file(),
      () => this.#several(),
      () => this.#several(),
      () => this.#protocol(),
      () => this.#statement(),
      () => this.#statement(),
      () => this.#statement(),
    ];
    const chosen = [0, 1, 2, 3].map(() => random.pick(all));
    const common = [
      from(material.READS),
      from(material.WRITES),
      from(material.SHOWS),
      () => this.#asked(),
    ] as const;
    this.#themes = [...chosen, ...chosen, ...common];
  }

  next(): Step[] {
    return this.#random.pick(this.#themes)();
  }

  #text(sql: string): string {
    return sql.replaceAll('#', String(this.#n));
  }

  #query(sql: string): Step {
    return { kind: 'query', sql: this.#text(sql) };
  }

  #any(): string {
    const { READS, WRITES, SETTINGS, TRANSACTIONS, WARNERS, DDL, PROGRAMS, SHOWS } = material;
    const lists = [READS, READS, WRITES, WRITES, TRANSACTIONS, SETTINGS, WARNERS, SHOWS];
    return this.#random.pick(this.#random.pick([...lists, DDL, PROGRAMS]));
  }

  /** A statement, and questions about it. */
  #asked(): Step[] {
    const list = this.#random.pick([material.WARNERS, material.WARNERS, material.READS, material.WRITES]);
    const steps = [this.#query(this.#random.pick(list))];
    for (let left = this.#random.int(0, 2); left > 0; left--)
      steps.push(this.#query(this.#random.pick(material.QUESTIONS)));
    return steps;
  }

  #several(): Step[] {
    const count = this.#random.int(2, 4);
    // What these make visible is so from the next text on; and a collation has to be asked for (README, limits).
    const texts = Array.from({ length: count }, () => this.#any()).filter(
      (sql) => !/session_track|NAMES|CHARACTER SET/.test(sql),
    );
    const sql = texts.join('; ');
    const steps = [this.#query(sql)];
    if (this.#random.chance(0.3)) steps.push(this.#query(this.#random.pick(material.QUESTIONS)));
    return steps;
  }

  #file(): Step[] {
    const sql = this.#text(this.#random.pick(material.FILES));
    return [{ kind: 'query', sql, file: this.#random.pick(material.CONTENTS) }];
  }

  #protocol(): Step[] {
    const random = this.#random;
    switch (random.int(0, 12)) {
      case 0:
        return [{ kind: 'ping' }];
      case 1:
        return [{ kind: 'statistics' }];
      case 2:
        this.#prepared.clear();
        return [{ kind: 'reset-connection' }];
      case 3:
        this.#prepared.clear();
        // MariaDB leaves the role to whoever comes.
        return [
          this.#query('SET ROLE NONE'),
          { kind: 'change-user', database: random.pick(['{db}', '{db}2']) },
        ];
      case 4:
        return [{ kind: 'field-list', table: random.pick([`a${this.#n}`, `b${this.#n}`, 'nowhere']) }];
      case 5:
      case 6:
        return [{ kind: 'set-option', on: random.chance(0.7) }];
      case 7:
        return [this.#query('USE {db}')];
      case 8:
        return [this.#query('USE {db}2')];
      case 9:
        return [{ kind: 'use', database: random.pick(['{db}', '{db}2', 'nowhere']) }];
      default:
        return [this.#query(random.pick(material.SHOWS))];
    }
  }

  #statement(): Step[] {
    const random = this.#random;
    const name = random.pick(NAMES);
    const known = this.#prepared.get(name);
    if (known === undefined || random.chance(0.1)) {
      const steps: Step[] = [];
      if (known !== undefined) steps.push({ kind: 'close', name });
      const sql = this.#text(random.pick(material.PREPARED));
      const parameters = sql.split('?').length - 1;
      const usesCursor = sql.startsWith('SELECT') && random.chance(0.15);
      this.#prepared.set(name, { parameters, bound: null, isText: true, cursor: false, usesCursor });
      return [...steps, { kind: 'prepare', name, sql }];
    }
    switch (random.int(0, 12)) {
      case 0:
        known.cursor = false;
        return [{ kind: 'reset', name }];
      case 1:
        this.#prepared.delete(name);
        return [{ kind: 'close', name }];
      case 2:
        return known.cursor || random.chance(0.2) ? [{ kind: 'fetch', name, rows: random.int(1, 3) }] : [];
      case 3:
        // Behind a number the servers read its address, or 0.
        if (known.parameters === 0 || known.usesCursor || !known.isText || known.bound !== null) return [];
        return this.#longData(name, known);
      default:
        return this.#executions(name, known);
    }
  }

  #longData(name: string, known: Prepared): Step[] {
    const at = this.#random.int(0, known.parameters - 1);
    const steps: Step[] = [];
    for (let left = this.#random.int(1, 2); left > 0; left--)
      steps.push({ kind: 'long-data', name, at, data: this.#random.pick(['long', 'x'.repeat(3000)]) });
    if (known.cursor) steps.unshift({ kind: 'reset', name });
    known.cursor = false;
    const types = Array.from({ length: known.parameters }, (_, i) => (i === at ? 252 : 253));
    known.bound = types;
    // Its value is not in the command.
    const values = types.map((type, i) =>
      i === at ? { type, value: Buffer.alloc(0), shown: 'LONG' } : text('v'),
    );
    steps.push({ kind: 'execute', name, values, withTypes: true, cursor: false });
    return steps;
  }

  #executions(name: string, known: Prepared): Step[] {
    const before: Step[] = known.cursor ? [{ kind: 'reset', name }] : [];
    return [...before, this.#execution(name, known)];
  }

  #execution(name: string, known: Prepared): Step {
    const random = this.#random;
    const cursor = known.usesCursor;
    known.cursor = cursor;
    const values = Array.from({ length: known.parameters }, () => parameter(random));
    const { bound } = known;
    if (bound !== null && this.#flavor === 'mysql') {
      // Others than at first are what MySQL makes of them then (README, limits).
      const again = bound.map((type) => parameter(random, type));
      return { kind: 'execute', name, values: again, withTypes: random.chance(0.5), cursor };
    }
    if (bound !== null && random.chance(0.4)) {
      const again = bound.map((type) => parameter(random, type));
      return { kind: 'execute', name, values: again, withTypes: false, cursor };
    }
    known.bound = values.map(({ type }) => type);
    known.isText &&= known.bound.every((type) => type >= BLOB);
    return { kind: 'execute', name, values, withTypes: true, cursor };
  }
}

const TINY = 1;
const SHORT = 2;
const LONG = 3;
const FLOAT = 4;
const DOUBLE = 5;
const NULL = 6;
const LONGLONG = 8;
const DATE = 10;
const TIME = 11;
const DATETIME = 12;
const NEWDECIMAL = 246;
const BLOB = 252;
const VAR_STRING = 253;
const UNSIGNED = 0x8000;
const TYPES = [TINY, SHORT, LONG, LONG, LONG | UNSIGNED, FLOAT, DOUBLE, NULL, LONGLONG, LONGLONG | UNSIGNED];
const MORE_TYPES = [DATE, TIME, DATETIME, NEWDECIMAL, BLOB, VAR_STRING, VAR_STRING, VAR_STRING];

function text(shown: string, type = VAR_STRING): Parameter {
  const bytes = Buffer.from(shown);
  return { type, value: Buffer.concat([Buffer.of(bytes.length), bytes]), shown: `'${shown}'` };
}

function parameter(random: Random, wanted?: number): Parameter {
  const type = wanted ?? random.pick([...TYPES, ...MORE_TYPES]);
  if (type === NULL || random.chance(0.1)) return { type, value: null, shown: `NULL:${type}` };
  const small = random.pick([0, 1, 2, 3, 100]);
  const bytes = (length: number, write: (to: Buffer) => void, value: unknown = small): Parameter => {
    const to = Buffer.alloc(length);
    write(to);
    return { type, value: to, shown: `${value}:${type}` };
  };
  switch (type & 0xff) {
    case TINY:
      return bytes(1, (to) => to.writeUInt8(small));
    case SHORT:
      return bytes(2, (to) => to.writeUInt16LE(small));
    case LONG:
      return bytes(4, (to) => to.writeUInt32LE(small));
    case LONGLONG:
      return bytes(8, (to) => to.writeBigUInt64LE(BigInt(small)));
    case FLOAT:
      return bytes(4, (to) => to.writeFloatLE(small + 0.5), small + 0.5);
    case DOUBLE:
      return bytes(8, (to) => to.writeDoubleLE(small + 0.25), small + 0.25);
    case DATE:
      return { type, value: Buffer.of(4, 0xe4, 7, 2, 3), shown: '2020-02-03' };
    case TIME:
      return { type, value: Buffer.of(8, 0, 0, 0, 0, 0, 1, 2, 3), shown: '01:02:03' };
    case DATETIME:
      return { type, value: Buffer.of(7, 0xe4, 7, 2, 3, 4, 5, 6), shown: '2020-02-03 04:05:06' };
    case NEWDECIMAL:
      return text('12.345', type);
    default:
      return text(random.pick(['', 'a', 'toolong', '1', '+03:00', '\u00e4']), type);
  }
}
