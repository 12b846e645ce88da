// Brings a cluster's snapshots to all workers, so that none writes to a new primary before all have left the old one.
// It knows neither workers nor channels.

import type { ClusterSnapshot } from '../../cluster/snapshot.js';
import { toWire, type WireSnapshot } from './wire-snapshot.js';

export interface PublisherOptions {
  readonly send: (snapshot: WireSnapshot) => void;
  /** Resolves once all workers have acted on what was sent. */
  readonly settled: () => Promise<void>;
}

export class Publisher {
  readonly #options: PublisherOptions;
  #latest: ClusterSnapshot;
  #published: WireSnapshot;
  /** Promotions that all workers know of. */
  #settledEpoch: number;
  #isSettling = false;

  constructor(first: ClusterSnapshot, options: PublisherOptions) {
    this.#options = options;
    this.#latest = first;
    this.#published = toWire(first);
    this.#settledEpoch = first.epoch;
  }

  /** What a worker that starts now is told. */
  get published(): WireSnapshot {
    return this.#published;
  }

  publish(snapshot: ClusterSnapshot): void {
    this.#latest = snapshot;
    this.#send();
    if (snapshot.epoch !== this.#settledEpoch && !this.#isSettling) void this.#settle();
  }

  /** Until all know that the old primary is none any more, there is none for anybody. */
  #send(): void {
    const snapshot = this.#latest;
    const isKnown = snapshot.epoch === this.#settledEpoch;
    const held: ClusterSnapshot = { ...snapshot, primary: null, phase: 'failing-over' };
    this.#published = toWire(isKnown ? snapshot : held);
    this.#options.send(this.#published);
  }

  async #settle(): Promise<void> {
    this.#isSettling = true;
    while (this.#latest.epoch !== this.#settledEpoch) {
      const { epoch } = this.#latest;
      await this.#options.settled();
      this.#settledEpoch = epoch;
    }
    this.#isSettling = false;
    this.#send();
  }
}
