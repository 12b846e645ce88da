// The run-time parameters of one session as nodes report them: immutable, and one object for all sessions that have the same.
// It knows no connection; what a client has been told and what a server connection has are compared by identity first.

import type { PostgresLexSettings } from '../sql/statement.js';

/** A node's own state; clients are told what holds for the cluster as a whole. */
const NODE_PARAMETERS: ReadonlyMap<string, string> = new Map([['in_hot_standby', 'off']]);

/** Beyond, the ones known are forgotten: whoever has one keeps it, and equal ones are compared value by value. */
const MAX_KNOWN = 1000;
const known = new Map<string, Parameters>();

export class Parameters {
  static readonly none = new Parameters(new Map());

  readonly #values: ReadonlyMap<string, string>;
  /** What of them changes how a text reads; encodings by the server's names. */
  readonly lexSettings: PostgresLexSettings;

  private constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
    this.lexSettings = {
      standardConformingStrings: values.get('standard_conforming_strings') !== 'off',
      clientEncoding: values.get('client_encoding') ?? 'UTF8',
    };
  }

  static of(reported: ReadonlyMap<string, string>): Parameters {
    const values = new Map<string, string>();
    let key = '';
    for (const [name, value] of reported) values.set(name, NODE_PARAMETERS.get(name) ?? value);
    for (const name of [...values.keys()].sort()) key += `${name}\0${values.get(name)}\0`;
    const same = known.get(key);
    if (same !== undefined) return same;
    if (known.size >= MAX_KNOWN) known.clear();
    const parameters = new Parameters(values);
    known.set(key, parameters);
    return parameters;
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.#values.entries();
  }

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** Itself, if that is its value already, or the name is that of a node's own state. */
  with(name: string, value: string): Parameters {
    if (this.#values.get(name) === (NODE_PARAMETERS.get(name) ?? value)) return this;
    return Parameters.of(new Map([...this.#values, [name, value]]));
  }

  /** `over` in place of these, where it has them. */
  overlaid(over: Parameters): Parameters {
    for (const name of this.#values.keys())
      if (!over.#values.has(name)) return Parameters.of(new Map([...this.#values, ...over.#values]));
    return over;
  }
}
