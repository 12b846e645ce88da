// What a client is answered whose transaction was lost with its server connection: as after an error, until it ends it.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import type { StatementClass } from '../sql/statement.js';
import type { ExtendedBatch } from './extended-batch.js';
import type { ClientStatements } from './prepared-statements.js';
import { plainEndingOf } from './session-settings.js';
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  NO_DATA,
  NO_PARAMETERS,
  PARSE_COMPLETE,
  proxyErrorResponse,
  readyForQuery,
} from './wire/backend-messages.js';

/**
 * To any unit but one that ends the transaction; the final reply is the caller's where it comes later. `loss`: what the
 * client has not been told yet.
 */
export function refusal(loss: ProxyError | null): Buffer {
  return proxyErrorResponse(loss ?? new ProxyError('transaction-aborted'));
}

/** To a simple query that ends it. */
export function rolledBack(): Buffer[] {
  return [commandComplete('ROLLBACK'), readyForQuery('idle')];
}

/** How the batch ends the transaction, if that is all it executes. */
export function endingOfBatch({ executed }: ExtendedBatch): 'commit' | 'rollback' | null {
  return executed.length === 1 ? plainEndingOf(executed[0]!.statement) : null;
}

/** A text whose first statement is a ROLLBACK, and which would have more to do. */
export function endsThenGoesOn({ statements, verb, transaction }: StatementClass): boolean {
  return statements > 1 && verb === 'ROLLBACK' && transaction?.kind !== 'rollback-to';
}

/** The same of a batch. */
export function batchGoesOn({ executed }: ExtendedBatch): boolean {
  return executed.length > 1 && plainEndingOf(executed[0]!.statement) === 'rollback';
}

/** To a batch that ends it. */
export function rolledBackBatch(batch: ExtendedBatch, names: ClientStatements): Buffer[] {
  const replies: Buffer[] = [];
  for (const message of batch.messages) {
    switch (message.kind) {
      case 'parse':
        names.set(message.name, message.text);
        replies.push(PARSE_COMPLETE);
        break;
      case 'bind':
        replies.push(BIND_COMPLETE);
        break;
      case 'close':
        if (message.fields.kind === 'statement') names.delete(message.fields.name);
        replies.push(CLOSE_COMPLETE);
        break;
      case 'execute':
        replies.push(commandComplete('ROLLBACK'));
        break;
      case 'describe':
        if (message.fields.kind === 'statement') replies.push(NO_PARAMETERS);
        replies.push(NO_DATA);
        break;
      case 'copy':
      case 'sync':
      case 'flush':
        break;
    }
  }
  replies.push(readyForQuery('idle'));
  return replies;
}
