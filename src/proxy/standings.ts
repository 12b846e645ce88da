// What logins are given by the primary, asked for at each login: what an administrator has changed counts for the next one.
// It knows no protocol, and opens no server connection.

import { monotonicMs } from '../lib/clock.js';
import { Latest } from '../lib/latest.js';
import type { Standing } from '../protocol/server-connection.js';

const MAX_KNOWN = 10_000;

/** How long settings of the server, of which no statement through the proxy has told, may go unnoticed. */
const MAX_AGE_MS = 1000;

/** Asks the primary; rejects when nobody can be asked. */
export type ReadStanding = (user: string, database: string, maxAgeMs: number) => Promise<Standing>;

export class Standings {
  readonly #read: ReadStanding;
  readonly #asked = new Latest<Standing | undefined>();
  /** The last answers: what is the same is one object, and counts while nobody can be asked. */
  readonly #known = new Map<string, Standing>();
  #changedAtMs = Number.NEGATIVE_INFINITY;

  constructor(read: ReadStanding) {
    this.#read = read;
  }

  /** A statement that has passed may have changed them. */
  changed(): void {
    this.#changedAtMs = monotonicMs();
  }

  /** Undefined: not known, and nobody can be asked. */
  of(user: string, database: string): Promise<Standing | undefined> {
    const name = JSON.stringify([user, database]);
    return this.#asked.get(name, async () => {
      const known = this.#known.get(name);
      const maxAgeMs = monotonicMs() - this.#changedAtMs > MAX_AGE_MS ? MAX_AGE_MS : 0;
      const now = await this.#read(user, database, maxAgeMs).catch(() => known);
      if (now === undefined || now.text === known?.text) return known;
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(name, now);
      return now;
    });
  }
}
