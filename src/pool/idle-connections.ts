// The idle server connections of a node: which one suits whom best.
// It knows no limits and opens nothing; whoever takes one takes it off the list.

import { monotonicMs } from '../lib/clock.js';
import type { ServerConnection } from '../protocol/server-connection.js';

interface Idle {
  readonly server: ServerConnection;
  readonly keyText: string;
  readonly sinceMs: number;
}

/** How many are looked at for one that already carries the session's state. */
const STATE_SEARCH_DEPTH = 8;

export class IdleConnections {
  /** Most recently used last. */
  readonly #idle: Idle[] = [];

  get size(): number {
    return this.#idle.length;
  }

  *servers(): IterableIterator<ServerConnection> {
    for (const { server } of this.#idle) yield server;
  }

  add(server: ServerConnection, keyText: string): void {
    this.#idle.push({ server, keyText, sinceMs: monotonicMs() });
  }

  /** False: it was not here. */
  remove(server: ServerConnection): boolean {
    const at = this.#idle.findIndex((idle) => idle.server === server);
    if (at >= 0) this.#idle.splice(at, 1);
    return at >= 0;
  }

  /** One that carries this state if there is one among the latest, else the latest. */
  take(keyText: string, stateDigest: string): ServerConnection | null {
    let chosen = -1;
    let seen = 0;
    for (let i = this.#idle.length - 1; i >= 0 && seen < STATE_SEARCH_DEPTH; i--) {
      const idle = this.#idle[i]!;
      if (idle.keyText !== keyText) continue;
      if (idle.server.stateDigest === stateDigest) {
        chosen = i;
        break;
      }
      if (chosen < 0) chosen = i;
      seen++;
    }
    return chosen < 0 ? null : this.#takeAt(chosen);
  }

  hasFor(keyText: string): boolean {
    return this.#idle.some((idle) => idle.keyText === keyText);
  }

  /** One that carries exactly this state. */
  takeExactly(
    keyText: string,
    stateDigest: string,
    mayTake: (server: ServerConnection) => boolean,
  ): ServerConnection | null {
    for (let i = this.#idle.length - 1; i >= 0; i--) {
      const { server, keyText: itsKeyText } = this.#idle[i]!;
      if (itsKeyText === keyText && server.stateDigest === stateDigest && mayTake(server))
        return this.#takeAt(i);
    }
    return null;
  }

  /** The one that is `preferred`, else one that is `free`, best in this state. */
  takeFree(
    keyText: string,
    stateDigest: string,
    preferred: (server: ServerConnection) => boolean,
    free: (server: ServerConnection) => boolean,
  ): ServerConnection | null {
    let found = -1;
    for (let i = this.#idle.length - 1; i >= 0; i--) {
      const { server, keyText: itsKeyText } = this.#idle[i]!;
      if (itsKeyText !== keyText) continue;
      if (preferred(server)) return this.#takeAt(i);
      if (!free(server)) continue;
      if (
        found < 0 ||
        (server.stateDigest === stateDigest && this.#idle[found]!.server.stateDigest !== stateDigest)
      )
        found = i;
    }
    return found < 0 ? null : this.#takeAt(found);
  }

  /** The one that has been idle longest. */
  takeOldest(keyText: string): ServerConnection | null {
    const at = this.#idle.findIndex((idle) => idle.keyText === keyText);
    return at < 0 ? null : this.#takeAt(at);
  }

  /** The one that has been idle longest of those that fit; it stays on the list. */
  find(fits: (keyText: string, server: ServerConnection) => boolean): ServerConnection | null {
    return this.#idle.find(({ keyText, server }) => fits(keyText, server))?.server ?? null;
  }

  unusedSince(sinceMs: number): ServerConnection[] {
    return this.#idle.filter((idle) => idle.sinceMs <= sinceMs).map(({ server }) => server);
  }

  /** All, or those to one database. */
  takeAll(database: string | null): ServerConnection[] {
    const goes = ({ server }: Idle): boolean => database === null || server.key.database === database;
    const taken = this.#idle.filter(goes);
    for (const { server } of taken) this.remove(server);
    return taken.map(({ server }) => server);
  }

  #takeAt(index: number): ServerConnection {
    const [idle] = this.#idle.splice(index, 1);
    return idle!.server;
  }
}
