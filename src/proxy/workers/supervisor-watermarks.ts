// Keyed watermarks as a worker shares them with the other workers of its proxy, through the supervisor.
// A channel keeps its order and ends with its process: what has been answered is known, and there is no doubt.

import type { FloorAnswer, SharedPosition, WatermarkStore } from '../../consistency/watermark-store.js';
import { monotonicMs } from '../../lib/clock.js';
import type { StoreCounters } from '../../telemetry/counters.js';
import type { KeyAnswer, SupervisorCall } from './messages.js';

type Callback = (answer: FloorAnswer) => void;
type Settled = (incarnation: string | null) => void;

export class SupervisorWatermarks implements WatermarkStore {
  readonly #cluster: string;
  readonly #counters: StoreCounters;
  readonly #ask: (call: SupervisorCall) => Promise<unknown>;
  readonly incarnation = 'supervisor';
  readonly state = { state: 'in', missing: [] };
  #reads = new Map<string, Callback[]>();
  #writes = new Map<string, { position: SharedPosition; readonly settled: Settled[] }>();
  #isDue = false;

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

  read(key: string, callback: Callback): void {
    this.#counters.reads++;
    const others = this.#reads.get(key);
    if (others === undefined) this.#reads.set(key, [callback]);
    else others.push(callback);
    this.#soon();
  }

  write(key: string, position: SharedPosition, settled: Settled): void {
    this.#counters.writes++;
    const waiting = this.#writes.get(key);
    if (waiting === undefined) this.#writes.set(key, { position, settled: [settled] });
    else {
      // Positions of one process come in order: the later one covers the former.
      waiting.position = position;
      waiting.settled.push(settled);
    }
    this.#soon();
  }

  /** One message for all of a turn. */
  #soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      if (this.#writes.size > 0) void this.#sendWrites();
      if (this.#reads.size > 0) void this.#sendReads();
    });
  }

  async #sendWrites(): Promise<void> {
    const writes = this.#writes;
    const sentMs = monotonicMs();
    this.#writes = new Map();
    const positions = [...writes].map(([key, { position }]) => [key, position] as const);
    try {
      await this.#ask({ kind: 'keys-written', cluster: this.#cluster, positions });
    } catch {
      // Without its supervisor this process ends; nobody is told anything any more.
      return;
    }
    this.#counters.writeMs += monotonicMs() - sentMs;
    for (const { settled } of writes.values()) {
      this.#counters.recorded += settled.length;
      for (const each of settled) each(this.incarnation);
    }
  }

  async #sendReads(): Promise<void> {
    const reads = this.#reads;
    const sentMs = monotonicMs();
    this.#reads = new Map();
    let answers: readonly KeyAnswer[] = [];
    try {
      const asked = await this.#ask({ kind: 'keys-read', cluster: this.#cluster, keys: [...reads.keys()] });
      answers = asked as readonly KeyAnswer[];
    } catch {
      // As above; the primary is always right.
    }
    this.#counters.readMs += monotonicMs() - sentMs;
    this.#counters.readBatches++;
    let i = 0;
    for (const callbacks of reads.values()) {
      const positions = answers[i++];
      if (positions == null) this.#counters.unknown += callbacks.length;
      const answer: FloorAnswer = positions == null ? { kind: 'unknown' } : { kind: 'floor', positions };
      for (const callback of callbacks) callback(answer);
    }
  }
}
