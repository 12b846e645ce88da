// The connection ids that clients were given: which client connection a KILL means, and in which worker it is.
// It knows neither sockets nor sessions.

import type { PeerRequest, Peers } from '../protocol/protocol.js';

export interface Killable {
  readonly user: string;
  /** KILL QUERY: what runs, if anything, is cancelled. */
  killQuery(): void;
  /** KILL: the client connection ends, without a word, as by the servers. */
  killConnection(): void;
}

export interface Kill {
  readonly what: 'connection' | 'query';
  readonly id: number;
  /** Who says so. */
  readonly user: string;
}

export type KillResult = 'done' | 'unknown' | 'not-owner';

/** Ids are 32 bits in the greeting. Those of servers begin with 1: what SHOW PROCESSLIST tells is no client of ours for KILL. */
const MIN_ID = 2 ** 30;
const MAX_ID = 2 ** 32 - 1;

export class ConnectionIds {
  readonly #byId = new Map<number, Killable>();
  readonly #peers: Peers | null;
  /** An id tells its worker: the remainder of its division by their number. */
  readonly #step: number;
  readonly #first: number;
  #next: number;

  constructor(peers: Peers | null = null) {
    this.#peers = peers;
    this.#step = peers?.count ?? 1;
    const worker = peers?.index ?? 0;
    this.#first = MIN_ID + ((this.#step + worker - (MIN_ID % this.#step)) % this.#step);
    this.#next = this.#first;
  }

  register(target: Killable): number {
    while (this.#byId.has(this.#next)) this.#next = this.#after(this.#next);
    const id = this.#next;
    this.#next = this.#after(id);
    this.#byId.set(id, target);
    return id;
  }

  #after(id: number): number {
    return id + this.#step > MAX_ID ? this.#first : id + this.#step;
  }

  forget(id: number): void {
    this.#byId.delete(id);
  }

  find(id: number): Killable | undefined {
    return this.#byId.get(id);
  }

  /** Wherever the client is; a promise when that is another worker. */
  kill(kill: Kill): KillResult | Promise<KillResult> {
    const peers = this.#peers;
    if (peers === null || kill.id % peers.count === peers.index) return this.#killHere(kill);
    const answer = peers.ask(kill.id % peers.count, { ...kill });
    return answer.then((result) => (result === 'done' || result === 'not-owner' ? result : 'unknown'));
  }

  #killHere({ what, id, user }: Kill): KillResult {
    const target = this.#byId.get(id);
    if (target === undefined) return 'unknown';
    if (target.user !== user) return 'not-owner';
    if (what === 'query') target.killQuery();
    else target.killConnection();
    return 'done';
  }

  /** What another worker's `kill` asks. */
  answerPeer({ what, id, user }: PeerRequest): KillResult {
    if ((what !== 'query' && what !== 'connection') || typeof id !== 'number' || typeof user !== 'string')
      return 'unknown';
    return this.#killHere({ what, id, user });
  }
}
