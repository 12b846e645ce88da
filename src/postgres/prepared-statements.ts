// Prepared statements as text: one object for each distinct (text, parameter types), whoever prepares it under whatever name.
// It knows no connection; server connections remember which of these objects they hold.

import type { Classified } from '../sql/statement.js';

/** Behind this prefix server connections hold the clients' named statements. */
export const SERVER_NAME_PREFIX = 'scheelite_';

export interface PreparedText {
  /** The name it has on every server connection that holds it; "" for an unnamed one. */
  readonly serverName: string;
  /** The body of its Parse message behind the name: text, zero byte, parameter types. */
  readonly body: Buffer;
  readonly classified: Classified;
}

/** Interns named statements; what falls out of the bound is only shared less. */
export class PreparedTexts {
  readonly #byBody = new Map<string, PreparedText>();
  readonly #maxEntries: number;
  #next = 1;

  constructor(maxEntries = 10_000) {
    this.#maxEntries = maxEntries;
  }

  /** `body`: text, zero byte, types; copied when it is new. `settings`: what else the meaning of the text depends on. */
  intern(body: Buffer, settings: string, classify: () => Classified): PreparedText {
    const key = `${settings}\0${body.toString('latin1')}`;
    const known = this.#byBody.get(key);
    if (known !== undefined) {
      this.#byBody.delete(key);
      this.#byBody.set(key, known);
      return known;
    }
    const text: PreparedText = {
      serverName: `${SERVER_NAME_PREFIX}${this.#next++}`,
      body: Buffer.from(body),
      classified: classify(),
    };
    if (this.#byBody.size >= this.#maxEntries) this.#byBody.delete(this.#byBody.keys().next().value!);
    this.#byBody.set(key, text);
    return text;
  }
}

/** What one server connection holds; the least recently used falls out. */
export class PreparedOnServer {
  readonly #held = new Set<PreparedText>();
  readonly #maxHeld: number;

  constructor(maxHeld = 500) {
    this.#maxHeld = maxHeld;
  }

  has(text: PreparedText): boolean {
    if (!this.#held.delete(text)) return false;
    this.#held.add(text);
    return true;
  }

  /** Answers one that has to be closed on the server to keep the bound, or null. */
  add(text: PreparedText): PreparedText | null {
    this.#held.add(text);
    if (this.#held.size <= this.#maxHeld) return null;
    const oldest = this.#held.values().next().value!;
    this.#held.delete(oldest);
    return oldest;
  }

  delete(text: PreparedText): void {
    this.#held.delete(text);
  }

  clear(): void {
    this.#held.clear();
  }
}

const MAX_STATEMENTS = 10_000;

/** The prepared statements of one client by its own names; "" is the unnamed one. */
export class ClientStatements {
  readonly #byName = new Map<string, PreparedText>();
  readonly #tooMany: (limit: number) => void;

  constructor(tooMany: (limit: number) => void) {
    this.#tooMany = tooMany;
  }

  get(name: string): PreparedText | undefined {
    return this.#byName.get(name);
  }

  set(name: string, text: PreparedText): void {
    this.#byName.set(name, text);
    if (this.#byName.size > MAX_STATEMENTS) this.#tooMany(MAX_STATEMENTS);
  }

  delete(name: string): boolean {
    return this.#byName.delete(name);
  }

  clear(): void {
    this.#byName.clear();
  }
}
