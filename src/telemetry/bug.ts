// Errors of our own: what throws where nothing should. Each is in the log with its stack, counted, and told to a client as the same
// internal error. It knows no connection; who ends by it is for whoever has caught it to say.

import { describeError, ProxyError } from '../lib/errors.js';
import { type ClusterCounters, countOne } from './counters.js';
import type { Log } from './log.js';

/** Answers what the client is told whose turn it was. */
export type ReportBug = (cause: unknown) => ProxyError;

export function bugReporter(log: Log, counters: Pick<ClusterCounters, 'errors'>): ReportBug {
  return (cause) => {
    const error = new ProxyError('internal-error', { detail: describeError(cause) });
    log.error({ err: cause }, 'an error of the proxy itself ends a connection');
    countOne(counters.errors, error.code);
    return error;
  };
}
