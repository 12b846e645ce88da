// Server connections that are being opened, counted by whose they will be, and the logins that a node has refused to users who have
// connections there: those go on, as with a direct connection when a password is changed. It opens and closes nothing.

import { monotonicMs } from '../lib/clock.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import { keyTextOf } from './key-text.js';

/** For so long they wait for the connections that are there before another login is tried. */
const REFUSED_MS = 1000;

export class Attempts {
  #total = 0;
  readonly #byKey = new Map<string, number>();
  readonly #refusedAtMs = new Map<string, number>();

  get total(): number {
    return this.#total;
  }

  /** For this user and database; whoever waits longest gets the first. */
  of(keyText: string): number {
    return this.#byKey.get(keyText) ?? 0;
  }

  began(keyText: string): void {
    this.#total++;
    this.#byKey.set(keyText, this.of(keyText) + 1);
  }

  ended(keyText: string): void {
    this.#total--;
    const left = this.of(keyText) - 1;
    if (left > 0) this.#byKey.set(keyText, left);
    else this.#byKey.delete(keyText);
  }

  refused(keyText: string): void {
    this.#refusedAtMs.set(keyText, monotonicMs());
  }

  /** Another login is not worth trying now, and one of these will come free. */
  mustWait(keyText: string, inUse: readonly Iterable<ServerConnection>[]): boolean {
    const atMs = this.#refusedAtMs.get(keyText);
    if (atMs === undefined) return false;
    const isOne = ({ key }: ServerConnection): boolean => keyTextOf(key) === keyText;
    if (monotonicMs() - atMs < REFUSED_MS && inUse.some((servers) => [...servers].some(isOne))) return true;
    this.#refusedAtMs.delete(keyText);
    return false;
  }
}
