// What becomes of errors that nobody has caught: they are logged, and the process goes on.
// It knows no connection.

import { describeError } from '../lib/errors.js';
import type { Log } from './log.js';

/**
 * An error that reached nobody belongs to one connection or one task, whose owner has lost it; ending the process
 * would make it everybody's.
 */
export function surviveErrors(log: Log): void {
  process.on('uncaughtException', (error) => log.fatal({ err: error }, 'uncaught error'));
  process.on('unhandledRejection', (error) => {
    log.fatal(
      { err: error instanceof Error ? error : new Error(describeError(error)) },
      'unhandled rejection',
    );
  });
  // A reader of the log that has gone.
  process.stdout.on('error', () => {});
}
