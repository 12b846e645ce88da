// Extended messages that no Sync follows but a Query: what becomes of them.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import type { ClientOutput } from './client-output.js';
import type { ClientTransaction } from './client-transaction.js';
import type { ExtendedBatch } from './extended-batch.js';
import type { ClientStatements } from './prepared-statements.js';
import { CLOSE_COMPLETE } from './wire/backend-messages.js';

/**
 * Those of portals: the server with the client's transaction is told, and answers. The others are answered here. A portal is nowhere but in a transaction that a server knows. Throws ProxyError where there is more: a Query ends the transaction of what has been executed, and is
 * skipped behind an error.
 */
export function closesAlone(
  batch: ExtendedBatch,
  isOpen: boolean,
  { isAtServer }: Pick<ClientTransaction, 'isAtServer'>,
  names: ClientStatements,
  out: Pick<ClientOutput, 'write'>,
): readonly Buffer[] {
  const portals: Buffer[] = [];
  for (const message of batch.messages) {
    if (message.kind !== 'close' || isOpen)
      throw new ProxyError('protocol-violation', {
        detail: 'Query or FunctionCall between an extended message and its Sync',
      });
    const { kind, name } = message.fields;
    if (kind === 'statement') names.delete(name);
    if (kind === 'portal' && isAtServer) portals.push(message.bytes);
    else out.write(CLOSE_COMPLETE);
  }
  return portals;
}

/**
 * What has been flushed has executed nothing and bound nothing: it ends as well before a Query (asyncpg prepares so) as with it, where PostgreSQL
 * ends it.
 */
export function onlyParses({ messages }: ExtendedBatch): boolean {
  return messages.every(
    ({ kind }) => kind === 'parse' || kind === 'describe' || kind === 'close' || kind === 'flush',
  );
}
