// Keyed watermarks as a worker shares them with the other workers of its proxy, through the supervisor.
// A channel keeps its order and ends with its process: what has been answered is known, and there is no doubt.

import { KeyBatch, type ReadCallback, settle } from '../../consistency/key-batch.js';
import type { FloorAnswer, SharedPosition, WatermarkStore } from '../../consistency/watermark-store.js';
import { monotonicMs } from '../../lib/clock.js';
import type { StoreCounters } from '../../telemetry/counters.js';
import type { KeyAnswer, SupervisorCall } from './messages.js';

export class SupervisorWatermarks implements WatermarkStore {
  readonly #cluster: string;
  readonly #counters: StoreCounters;
  readonly #ask: (call: SupervisorCall) => Promise<unknown>;
  readonly incarnation = 'supervisor';
  readonly state = { state: 'in', missing: [] };
  /** One message for all of a turn. */
  readonly #batch = new KeyBatch(() => {
    void this.#sendWrites();
    void this.#sendReads();
  });

  constructor(cluster: string, counters: StoreCounters, ask: (call: SupervisorCall) => Promise<unknown>) {
    this.#cluster = cluster;
    this.#counters = counters;
    this.#ask = ask;
  }

  start(): Promise<void> {
    this.#counters.joined = 1;
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  read(key: string, callback: ReadCallback): void {
    this.#counters.reads++;
    this.#batch.read(key, callback);
  }

  write(key: string, position: SharedPosition, settled: (incarnation: string | null) => void): void {
    this.#counters.writes++;
    this.#batch.write(key, position, settled);
  }

  async #sendWrites(): Promise<void> {
    const writes = this.#batch.takeWrites();
    if (writes.length === 0) return;
    const sentMs = monotonicMs();
    const positions = writes.map(({ key, position }) => [key, position] as const);
    try {
      await this.#ask({ kind: 'keys-written', cluster: this.#cluster, positions });
    } catch {
      // Without its supervisor this process ends; nobody is told anything any more.
      return;
    }
    this.#counters.writeMs += monotonicMs() - sentMs;
    for (const write of writes) {
      this.#counters.recorded += write.settled.length;
      settle(write, this.incarnation);
    }
  }

  async #sendReads(): Promise<void> {
    const reads = this.#batch.takeReads();
    if (reads.length === 0) return;
    const sentMs = monotonicMs();
    let answers: readonly KeyAnswer[] = [];
    try {
      const asked = await this.#ask({
        kind: 'keys-read',
        cluster: this.#cluster,
        keys: reads.map(([key]) => key),
      });
      answers = asked as readonly KeyAnswer[];
    } catch {
      // As above; the primary is always right.
    }
    this.#counters.readMs += monotonicMs() - sentMs;
    this.#counters.readBatches++;
    let i = 0;
    for (const [, callbacks] of reads) {
      const positions = answers[i++];
      if (positions == null) this.#counters.unknown += callbacks.length;
      const answer: FloorAnswer = positions == null ? { kind: 'unknown' } : { kind: 'floor', positions };
      for (const callback of callbacks) callback(answer);
    }
  }
}
