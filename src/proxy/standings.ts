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

export interface AskedStanding {
  readonly user: string;
  readonly database: string;
  /** Undefined: nobody can be asked. */
  readonly answer: Promise<Standing | undefined>;
}

const nameOf = (user: string, database: string): string => JSON.stringify([user, database]);

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

  /** For a client that has still to prove who it is, and meanwhile. Nothing of the answer is kept. */
  ask(user: string, database: string): AskedStanding {
    const answer = this.#asked.get(nameOf(user, database), () => {
      const maxAgeMs = monotonicMs() - this.#changedAtMs > MAX_AGE_MS ? MAX_AGE_MS : 0;
      return this.#read(user, database, maxAgeMs).catch(() => undefined);
    });
    return { user, database, answer };
  }

  /** `asked`: since the login began. Undefined: not known, and nobody can be asked. */
  async of(user: string, database: string, asked: AskedStanding | null): Promise<Standing | undefined> {
    const isThat = asked?.user === user && asked.database === database;
    const now = await (isThat ? asked : this.ask(user, database)).answer;
    const name = nameOf(user, database);
    const known = this.#known.get(name);
    if (now === undefined || now.text === known?.text) return known;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(name, now);
    return now;
  }
}
