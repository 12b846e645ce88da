// Questions over a channel that are answered later: numbers each and gives the answer to who asked.
// It knows neither the questions nor the channel.

import { describeError } from '../../lib/errors.js';
import type { Answer } from './messages.js';

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Calls {
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closed: Error | null = null;

  /** Rejects when the other side refuses, or is gone. */
  ask(send: (id: number) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== null) {
        reject(this.#closed);
        return;
      }
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      send(id);
    });
  }

  answered(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (answer.type === 'answer') pending?.resolve(answer.value);
    else pending?.reject(new Error(answer.message));
  }

  /** The other side is gone. */
  close(why: string): void {
    this.#closed = new Error(why);
    for (const { reject } of this.#pending.values()) reject(this.#closed);
    this.#pending.clear();
  }
}

export function answerOf(id: number, work: Promise<unknown>): Promise<Answer> {
  return work.then(
    (value): Answer => ({ type: 'answer', id, value }),
    (error: unknown): Answer => ({ type: 'refusal', id, message: describeError(error) }),
  );
}
