// What is asked of a store, and given to it, within one turn of the event loop: each key goes out once.
// It sends nothing itself.

import { monotonicMs } from '../lib/clock.js';
import type { FloorAnswer, SharedPosition } from './watermark-store.js';

export type ReadCallback = (answer: FloorAnswer) => void;

export interface PendingWrite {
  readonly key: string;
  position: SharedPosition;
  readonly settled: ((incarnation: string | null) => void)[];
  readonly sinceMs: number;
}

export class KeyBatch {
  readonly #send: () => void;
  #reads = new Map<string, ReadCallback[]>();
  #writes = new Map<string, PendingWrite>();
  #isDue = false;

  /** `send` is called at the end of a turn in which something came; what it does not take stays. */
  constructor(send: () => void) {
    this.#send = send;
  }

  read(key: string, callback: ReadCallback): void {
    const others = this.#reads.get(key);
    if (others === undefined) this.#reads.set(key, [callback]);
    else others.push(callback);
    this.soon();
  }

  write(key: string, position: SharedPosition, settled: (incarnation: string | null) => void): void {
    const waiting = this.#writes.get(key);
    if (waiting === undefined)
      this.#writes.set(key, { key, position, settled: [settled], sinceMs: monotonicMs() });
    else {
      // Positions of one process come in order: the later one covers the former.
      waiting.position = position;
      waiting.settled.push(settled);
    }
    this.soon();
  }

  soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#send();
    });
  }

  takeReads(): (readonly [string, readonly ReadCallback[]])[] {
    const reads = [...this.#reads];
    this.#reads = new Map();
    return reads;
  }

  takeWrites(): PendingWrite[] {
    const writes = [...this.#writes.values()];
    this.#writes = new Map();
    return writes;
  }
}

export function settle({ settled }: PendingWrite, incarnation: string | null): void {
  for (const each of settled) each(incarnation);
}
