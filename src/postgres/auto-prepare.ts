// Auto-prepare: unnamed statements whose text recurs are bound to named statements on the server connection. What clients of
// one cluster share of it: the settings, the recurring texts, and how new the schema is.
// It writes nothing; how a batch uses it is in auto-prepare-session.ts and extended-batch.ts.

import type { AutoPrepareConfig } from '../config/schema.js';
import type { AutoPrepareStats } from '../protocol/protocol.js';
import { RecurringTexts } from './recurring-texts.js';

/**
 * How old a Parse may be whose statement is used again. A schema change that came past the proxy shows in an error, which
 * is healed, or only in the types that a new Parse would choose: that may stay unnoticed for so long.
 */
export const MAX_AGE_MS = 1000;
/** After a schema change replicas parse each time until they surely have replayed it, or lag too much to be read. */
const REPLAY_MS = 10_000;

export class AutoPrepare {
  readonly texts = new RecurringTexts();
  readonly stats: AutoPrepareStats = { hits: 0, parses: 0, takenOut: 0 };
  #config: AutoPrepareConfig;
  #generation = 1;
  #schemaChangedAtMs = Number.NEGATIVE_INFINITY;

  constructor(config: AutoPrepareConfig) {
    this.#config = config;
  }

  get config(): AutoPrepareConfig {
    return this.#config;
  }

  configure(config: AutoPrepareConfig): void {
    if (config.threshold !== this.#config.threshold || !config.enabled) this.texts.clear();
    this.#config = config;
  }

  /** A statement that was parsed under another one may have other types now. */
  get generation(): number {
    return this.#generation;
  }

  schemaChanged(nowMs: number): void {
    this.#generation++;
    this.#schemaChangedAtMs = nowMs;
  }

  /** A replica's schema may still change by what it replays. */
  isReplaying(nowMs: number): boolean {
    return nowMs - this.#schemaChangedAtMs < REPLAY_MS;
  }
}
