// Close messages that no Sync follows but a Query: what becomes of them.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import type { ClientTransaction } from './client-transaction.js';
import type { ExtendedBatch } from './extended-batch.js';
import type { ClientStatements } from './prepared-statements.js';
import { CLOSE_COMPLETE } from './wire/backend-messages.js';

export interface ClosesAlone {
  /** To the client, before all else. */
  readonly replies: readonly Buffer[];
  /** Of portals: the server with the client's transaction is told, and answers. */
  readonly portals: readonly Buffer[];
}

/**
 * A portal is nowhere but in a transaction that a server knows. Throws ProxyError where there is more: a Query ends the transaction of what has been executed, and is
 * skipped behind an error.
 */
export function closesAlone(
  batch: ExtendedBatch,
  isOpen: boolean,
  { isAtServer }: Pick<ClientTransaction, 'isAtServer'>,
  names: ClientStatements,
): ClosesAlone {
  const replies: Buffer[] = [];
  const portals: Buffer[] = [];
  for (const message of batch.messages) {
    if (message.kind !== 'close' || isOpen)
      throw new ProxyError('protocol-violation', {
        detail: 'Query or FunctionCall between an extended message and its Sync',
      });
    const { kind, name } = message.fields;
    if (kind === 'statement') names.delete(name);
    if (kind === 'portal' && isAtServer) portals.push(message.bytes);
    else replies.push(CLOSE_COMPLETE);
  }
  return { replies, portals };
}
