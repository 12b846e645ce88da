// Those who wait for a server connection of a node, in the order in which they came, by whom and for which database they wait:
// thousands may, and what is done for one must not take a look at each.
// It knows no connection and no limit, and tells nobody anything.

import type { Login, PoolWaiter, Wait } from './waiter.js';

export class Waits {
  /** By `keyText`; none is empty. Those that came first stand first. */
  readonly #lanes = new Map<string, Wait[]>();
  /** Each waits once. */
  readonly #byWaiter = new Map<PoolWaiter, Wait>();
  readonly #byUser = new Map<string, number>();
  /** In which order they came. */
  readonly #places = new WeakMap<Wait, number>();
  #lastPlace = 0;

  get size(): number {
    return this.#byWaiter.size;
  }

  /** Who has waited longest. */
  get first(): Wait | null {
    let first: Wait | null = null;
    for (const [wait] of this.#lanes.values())
      if (first === null || this.#isBefore(wait!, first)) first = wait!;
    return first;
  }

  /** By user and database, whoever has waited longest first: live, and not to be changed. */
  lanes(): (readonly Wait[])[] {
    const lanes = [...this.#lanes.values()];
    return lanes.length === 1 ? lanes : lanes.sort((a, b) => (this.#isBefore(a[0]!, b[0]!) ? -1 : 1));
  }

  of(user: string): number {
    return this.#byUser.get(user) ?? 0;
  }

  firstFor(keyText: string): Wait | null {
    return this.#lanes.get(keyText)?.[0] ?? null;
  }

  /** The first that fits, of those for this user and database. */
  find(keyText: string, fits: (wait: Wait) => boolean): Wait | null {
    return this.#lanes.get(keyText)?.find(fits) ?? null;
  }

  has(login: Login): login is Wait {
    return this.#places.has(login as Wait);
  }

  add(wait: Wait): void {
    this.#byWaiter.set(wait.waiter, wait);
    this.#places.set(wait, ++this.#lastPlace);
    this.#byUser.set(wait.key.user, this.of(wait.key.user) + 1);
    const lane = this.#lanes.get(wait.keyText);
    if (lane === undefined) this.#lanes.set(wait.keyText, [wait]);
    else lane.push(wait);
  }

  remove(wait: Wait): void {
    if (!this.#places.has(wait)) return;
    this.#forget(wait);
    const lane = this.#lanes.get(wait.keyText)!;
    if (lane.length === 1) this.#lanes.delete(wait.keyText);
    else if (lane[0] === wait) lane.shift();
    else lane.splice(lane.indexOf(wait), 1);
  }

  withdraw(waiter: PoolWaiter): void {
    const wait = this.#byWaiter.get(waiter);
    if (wait !== undefined) this.remove(wait);
  }

  /** The first `max` that fit, of those for this user and database. */
  takeFor(keyText: string, fits: (wait: Wait) => boolean, max: number): Wait[] {
    const lane = this.#lanes.get(keyText) ?? [];
    const taken: Wait[] = [];
    let kept = 0;
    for (const wait of lane) {
      if (taken.length < max && fits(wait)) taken.push(wait);
      else lane[kept++] = wait;
    }
    lane.length = kept;
    if (kept === 0) this.#lanes.delete(keyText);
    for (const wait of taken) this.#forget(wait);
    return taken;
  }

  /** Those that came before `sinceMs`. */
  takeOlder(sinceMs: number): Wait[] {
    const taken: Wait[] = [];
    for (const lane of this.#lanes.values()) {
      for (const wait of lane) {
        if (wait.sinceMs >= sinceMs) break;
        taken.push(wait);
      }
    }
    taken.sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
    for (const wait of taken) this.remove(wait);
    return taken;
  }

  takeAll(): Wait[] {
    return this.takeOlder(Number.POSITIVE_INFINITY);
  }

  #isBefore(wait: Wait, other: Wait): boolean {
    return this.#places.get(wait)! < this.#places.get(other)!;
  }

  #forget(wait: Wait): void {
    const { user } = wait.key;
    this.#places.delete(wait);
    this.#byWaiter.delete(wait.waiter);
    const left = this.of(user) - 1;
    if (left > 0) this.#byUser.set(user, left);
    else this.#byUser.delete(user);
  }
}
