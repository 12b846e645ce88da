// Questions of which an answer counts if it was asked for after the need for it arose: at most one of each kind is under way.
// It knows neither questions nor answers.

interface Asked<T> {
  readonly answer: Promise<T>;
  /** For all who have come since it was asked. */
  next: Promise<T> | null;
}

/** However many need an answer at a time, it is asked for once while an older question is being answered, and once behind it. */
export class Latest<T> {
  readonly #asked = new Map<string, Asked<T>>();

  get(name: string, ask: () => Promise<T>): Promise<T> {
    const asked = this.#asked.get(name);
    if (asked === undefined) return this.#ask(name, ask);
    asked.next ??= asked.answer.then(
      () => this.#ask(name, ask),
      () => this.#ask(name, ask),
    );
    return asked.next;
  }

  #ask(name: string, ask: () => Promise<T>): Promise<T> {
    const asked: Asked<T> = { answer: ask(), next: null };
    this.#asked.set(name, asked);
    const ended = (): void => {
      // Otherwise the next one takes its place.
      if (asked.next === null && this.#asked.get(name) === asked) this.#asked.delete(name);
    };
    asked.answer.then(ended, ended);
    return asked.answer;
  }
}
