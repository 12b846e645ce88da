// What a client's portals run: a statement has its effects where it is executed, which may be units after it was bound.
// It knows no message; portals end with their transaction.

import type { Classified } from '../sql/statement.js';

export class ClientPortals {
  #unnamed: Classified | null = null;
  /** Null: none with a name. */
  #named: Map<string, Classified> | null = null;

  get(name: string): Classified | null {
    return name === '' ? this.#unnamed : (this.#named?.get(name) ?? null);
  }

  /** Null: of a statement that nobody knows. */
  bind(name: string, classified: Classified | null): void {
    if (name === '') this.#unnamed = classified;
    else if (classified === null) this.#named?.delete(name);
    else {
      this.#named ??= new Map();
      this.#named.set(name, classified);
    }
  }

  end(): void {
    this.#unnamed = null;
    this.#named = null;
  }
}
