// The record of everything that changes a role: one JSON line for each step, and the same to the log.
// It decides nothing; a file that cannot be written is reported and stops nobody.

import { appendFile } from 'node:fs/promises';
import { describeError } from '../lib/errors.js';
import type { Log } from './log.js';

export interface AuditRecord {
  /** `failover-begin`, `stop-receiving`, `choose`, `apply`, `promote`, `follow`, `failover-end`, `undo` ... */
  readonly event: string;
  readonly [detail: string]: unknown;
}

export class Audit {
  readonly #cluster: string;
  readonly #file: () => string | null;
  readonly #log: Log;

  constructor(cluster: string, file: () => string | null, log: Log) {
    this.#cluster = cluster;
    this.#file = file;
    this.#log = log;
  }

  /** Resolves once the line is in the file; never rejects. */
  async record(record: AuditRecord): Promise<void> {
    const fields = { cluster: this.#cluster, ...record };
    this.#log.warn(fields, `audit: ${record.event}`);
    const file = this.#file();
    if (file === null) return;
    const line = `${JSON.stringify({ at: new Date().toISOString(), ...fields })}\n`;
    try {
      await appendFile(file, line, { mode: 0o600 });
    } catch (error) {
      this.#log.error({ file, error: describeError(error) }, 'the audit file cannot be written');
    }
  }
}
