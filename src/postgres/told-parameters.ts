// The run-time parameters that a client has been told, whichever server connection they came from.
// It writes nothing; it says what is news.

import type { PostgresLexSettings } from '../sql/statement.js';

/** A node's own state; the client was told what holds for the cluster as a whole. */
const NODE_PARAMETERS = new Set(['in_hot_standby']);

export class ToldParameters {
  readonly #values = new Map<string, string>();
  #lexSettings: PostgresLexSettings = { standardConformingStrings: true, clientEncoding: 'UTF8' };

  /** What of them changes how a text reads; encodings by the server's names. */
  get lexSettings(): PostgresLexSettings {
    return this.#lexSettings;
  }

  /** True: the client does not know this value yet, and is told now. */
  isNews(name: string, value: string): boolean {
    if (this.#values.get(name) === value || NODE_PARAMETERS.has(name)) return false;
    this.#values.set(name, value);
    this.#lexSettings = {
      standardConformingStrings: this.#values.get('standard_conforming_strings') !== 'off',
      clientEncoding: this.#values.get('client_encoding') ?? 'UTF8',
    };
    return true;
  }
}
