// When the catalog of a cluster is read again: after the start, on a period, and soon after DDL has passed through.
// It knows no catalog; reading it is the protocol's business.

import { monotonicMs } from '../lib/clock.js';
import { describeError } from '../lib/errors.js';
import type { NodeControl } from '../protocol/node-control.js';
import type { ProtocolRuntime } from '../protocol/protocol.js';
import type { Log } from '../telemetry/log.js';

const PERIOD_MS = 60_000;
/** Several statements of one migration are one refresh. */
const SETTLE_MS = 200;
const RETRY_MS = 2000;
const TIMEOUT_MS = 10_000;

/** A control connection to one database of the primary; the caller closes it. */
export type OpenControl = (database: string) => NodeControl;

export class CatalogRefresh {
  readonly #protocol: ProtocolRuntime;
  readonly #openOnPrimary: () => OpenControl | null;
  readonly #log: Log;
  #dueMs = 0;
  #running = false;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(protocol: ProtocolRuntime, openOnPrimary: () => OpenControl | null, log: Log) {
    this.#protocol = protocol;
    this.#openOnPrimary = openOnPrimary;
    this.#log = log;
  }

  soon(): void {
    this.#dueMs = Math.min(this.#dueMs, monotonicMs() + SETTLE_MS);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.tick(monotonicMs());
    }, SETTLE_MS).unref();
  }

  /** Called often; reads when it is time. */
  tick(nowMs: number): void {
    if (this.#running || this.#stopped || nowMs < this.#dueMs) return;
    const open = this.#openOnPrimary();
    if (open === null) return;
    this.#running = true;
    this.#dueMs = nowMs + PERIOD_MS;
    this.#protocol
      .refreshCatalog(open, TIMEOUT_MS)
      .catch((cause: unknown) => {
        this.#dueMs = monotonicMs() + RETRY_MS;
        this.#log.warn(
          { error: describeError(cause) },
          'the catalog could not be read; unknown functions go to the primary',
        );
      })
      .finally(() => {
        this.#running = false;
      });
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }
}
