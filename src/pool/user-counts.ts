// How many server connections of a node each user has: leased, shared, idle and coming.
// It knows no connection and sets no limit.

export class UserCounts {
  readonly #counts = new Map<string, number>();

  of(user: string): number {
    return this.#counts.get(user) ?? 0;
  }

  change(user: string, by: 1 | -1): void {
    const count = this.of(user) + by;
    if (count > 0) this.#counts.set(user, count);
    else this.#counts.delete(user);
  }

  /** Users with more than their limit, and how many more. */
  *over(limits: { get(user: string): number | undefined } | undefined): IterableIterator<[string, number]> {
    for (const [user, count] of this.#counts) {
      const over = count - (limits?.get(user) ?? count);
      if (over > 0) yield [user, over];
    }
  }
}
