// What a client is answered whose transaction was lost with its server connection: as after an error, until it ends it.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import type { ExtendedBatch } from './extended-batch.js';
import { endingOf } from './session-settings.js';
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

/** How the batch ends the transaction, if it does. */
export function endingOfBatch(batch: ExtendedBatch): 'commit' | 'rollback' | null {
  const endings = batch.classified.map(({ statement }) => endingOf(statement));
  return endings.find((ending) => ending !== null) ?? null;
}

/** To a batch that ends it. */
export function rolledBackBatch(batch: ExtendedBatch): Buffer[] {
  const replies: Buffer[] = [];
  for (const message of batch.messages) {
    switch (message.kind) {
      case 'parse':
        replies.push(PARSE_COMPLETE);
        break;
      case 'bind':
        replies.push(BIND_COMPLETE);
        break;
      case 'close':
        replies.push(CLOSE_COMPLETE);
        break;
      case 'execute':
        replies.push(commandComplete('ROLLBACK'));
        break;
      case 'describe':
        if (message.fields.kind === 'statement') replies.push(NO_PARAMETERS);
        replies.push(NO_DATA);
        break;
      case 'sync':
      case 'flush':
        break;
    }
  }
  replies.push(readyForQuery('idle'));
  return replies;
}
