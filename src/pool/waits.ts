// Those who wait for a server connection of a node, in the order in which they came.
// It knows no connection and no limit, and tells nobody anything.

import type { Login, PoolWaiter, Wait } from './waiter.js';

export class Waits {
  #list: Wait[] = [];

  get size(): number {
    return this.#list.length;
  }

  /** Who has waited longest. */
  get first(): Wait | null {
    return this.#list[0] ?? null;
  }

  /** As they are now. */
  all(): Wait[] {
    return [...this.#list];
  }

  of(user: string): number {
    return this.#list.filter(({ key }) => key.user === user).length;
  }

  firstFor(keyText: string): Wait | null {
    return this.#list.find((wait) => wait.keyText === keyText) ?? null;
  }

  find(fits: (wait: Wait) => boolean): Wait | null {
    return this.#list.find(fits) ?? null;
  }

  has(login: Login): login is Wait {
    return this.#list.some((wait) => wait === login);
  }

  add(wait: Wait): void {
    this.#list.push(wait);
  }

  remove(wait: Wait): void {
    this.#list.splice(this.#list.indexOf(wait), 1);
  }

  withdraw(waiter: PoolWaiter): void {
    this.#list = this.#list.filter((wait) => wait.waiter !== waiter);
  }

  take(fits: (wait: Wait) => boolean, max = Number.POSITIVE_INFINITY): Wait[] {
    const taken = this.#list.filter(fits).slice(0, max);
    if (taken.length === 0) return taken;
    const gone = new Set(taken);
    this.#list = this.#list.filter((wait) => !gone.has(wait));
    return taken;
  }

  takeAll(): Wait[] {
    return this.#list.splice(0);
  }
}
