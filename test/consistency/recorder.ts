// Keeps what sessions did, with times that no two events share: what ended before something else began has the smaller time.
// It judges nothing.

import type { Entry, Operation, Step } from './history.js';

export class Recorder {
  readonly entries: Entry[] = [];
  operations = 0;
  reads = 0;
  writes = 0;
  /** Reads by the node that they ran on. */
  readonly readsOn: Record<string, number> = {};
  /** Reads that told where they ran, and those of them that a replica served. */
  placedReads = 0;
  replicaReads = 0;
  /** Its name, as far as we know. */
  primary = '';
  /** `read 40001`, by what failed and how the server or driver calls it. */
  readonly failures: Record<string, number> = {};
  #lastUs = 0;

  /** Milliseconds. */
  now(): number {
    this.#lastUs = Math.max(this.#lastUs + 1, Math.floor(performance.now() * 1000));
    return this.#lastUs / 1000;
  }

  done(
    session: string,
    start: number,
    steps: readonly Step[],
    more: Pick<Operation, 'o' | 'on' | 'level'> = {},
  ): void {
    this.entries.push({ s: session, at: [start, this.now()], do: steps, ...more });
    this.operations++;
    for (const [kind] of steps) {
      if (kind === 'w') this.writes++;
      else this.reads++;
    }
    if (more.on !== undefined) {
      const reads = steps.filter(([kind]) => kind !== 'w').length;
      this.readsOn[more.on] = (this.readsOn[more.on] ?? 0) + reads;
      this.placedReads += reads;
      if (more.on !== this.primary) this.replicaReads += reads;
    }
  }

  failed(what: string, code: string): void {
    const name = `${what} ${code}`;
    this.failures[name] = (this.failures[name] ?? 0) + 1;
  }

  failover(from: number): void {
    this.entries.push({ failover: [from, this.now()] });
  }
}
