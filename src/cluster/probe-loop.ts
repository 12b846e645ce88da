// The probes of one node: never two at a time, at their interval with jitter, and at once when somebody asks.
// It knows neither roles nor snapshots; answers and failures go to whoever started it.

import type { Clock } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';
import type { NodeControl, ProbeFailureKind, ProbeReading } from '../protocol/node-control.js';

export interface ProbeLoopOptions {
  readonly control: NodeControl;
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly onAnswer: (reading: ProbeReading) => void;
  readonly onFailure: (kind: ProbeFailureKind, message: string, sentAtMs: number) => void;
}

const KINDS: ReadonlySet<unknown> = new Set<ProbeFailureKind>([
  'refused',
  'timeout',
  'lost',
  'login-refused',
  'too-many-connections',
  'starting-up',
  'disk-full',
  'other',
]);

/** ProbeFailure by its form: the class itself is above this layer. */
function kindOf(error: unknown): ProbeFailureKind {
  const kind = (error as { kind?: unknown } | null)?.kind;
  return KINDS.has(kind) ? (kind as ProbeFailureKind) : 'other';
}

/** Not more than ten regular probes a second, and after a report not more than one in so many milliseconds. */
const LEAST_INTERVAL_MS = 100;
const LEAST_URGENT_MS = 20;
const JITTER = 0.1;

export class ProbeLoop {
  readonly #options: ProbeLoopOptions;
  #timer: NodeJS.Timeout | null = null;
  #inFlight = false;
  #again = false;
  #stopped = false;
  #lastStartMs = Number.NEGATIVE_INFINITY;
  #lastFailed = false;

  constructor(options: ProbeLoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule(0);
  }

  /** A probe that starts after this call, as soon as may be. */
  urge(): void {
    if (this.#stopped) return;
    if (this.#inFlight) {
      this.#again = true;
      return;
    }
    this.#schedule(this.#lastStartMs + LEAST_URGENT_MS - this.#options.clock.now());
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#probe(), Math.max(0, delayMs));
  }

  async #probe(): Promise<void> {
    this.#timer = null;
    this.#inFlight = true;
    this.#again = false;
    const { control, clock, timeoutMs, onAnswer, onFailure } = this.#options;
    const sentAtMs = clock.now();
    this.#lastStartMs = sentAtMs;
    try {
      const reading = await control.probe(timeoutMs);
      this.#lastFailed = false;
      if (!this.#stopped) onAnswer(reading);
    } catch (error) {
      this.#lastFailed = true;
      if (!this.#stopped) onFailure(kindOf(error), describeError(error), sentAtMs);
    }
    this.#inFlight = false;
    this.#schedule(this.#nextInMs());
  }

  #nextInMs(): number {
    const elapsedMs = this.#options.clock.now() - this.#lastStartMs;
    if (this.#again) return LEAST_URGENT_MS - elapsedMs;
    // While a node does not answer it is asked more often: how soon it counts as down depends on it.
    const intervalMs = this.#lastFailed
      ? LEAST_INTERVAL_MS
      : Math.max(LEAST_INTERVAL_MS, this.#options.intervalMs) * (1 - JITTER + 2 * JITTER * Math.random());
    return Math.max(0, intervalMs - elapsedMs);
  }
}
