// The connection ids that clients were given: which client connection a KILL means.
// It knows neither sockets nor sessions.

export interface Killable {
  readonly user: string;
  /** KILL QUERY: what runs, if anything, is cancelled. */
  killQuery(): void;
  /** KILL: the client connection ends. */
  killConnection(): void;
}

/** Ids are 32 bits in the greeting. */
const MAX_ID = 2 ** 32 - 1;

export class ConnectionIds {
  readonly #byId = new Map<number, Killable>();
  #next = 1;

  register(target: Killable): number {
    while (this.#byId.has(this.#next)) this.#next = this.#next >= MAX_ID ? 1 : this.#next + 1;
    const id = this.#next;
    this.#next = id >= MAX_ID ? 1 : id + 1;
    this.#byId.set(id, target);
    return id;
  }

  forget(id: number): void {
    this.#byId.delete(id);
  }

  find(id: number): Killable | undefined {
    return this.#byId.get(id);
  }
}
