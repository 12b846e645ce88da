// Extended messages that no Sync follows but a Query: what becomes of them.
// It knows no connection.

import { ProxyError } from '../lib/errors.js';
import type { Unit } from '../protocol/unit.js';
import type { Classified } from '../sql/statement.js';
import type { ClientOutput } from './client-output.js';
import type { ClientTransaction } from './client-transaction.js';
import type { ExtendedBatch } from './extended-batch.js';
import type { ClientStatements } from './prepared-statements.js';
import type { BatchUnit } from './unit.js';
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

/** The Query, or FunctionCall. */
export class BehindBatch {
  #message: Buffer | null = null;

  /** Something waits until the batch before it has been answered, of which the Sync is ours. */
  get waits(): boolean {
    return this.#message !== null;
  }

  put(message: Buffer): void {
    this.#message = message;
  }

  take(): Buffer | null {
    const message = this.#message;
    this.#message = null;
    return message;
  }

  /** The unit has failed by what is no answer of a server. True: the client is told no more up to its Sync, as by a server. */
  failsWith(unit: Unit): boolean {
    return unit.open || (this.take() !== null && !onlyPrepares((unit as BatchUnit).batch));
  }
}

/** It ends in front of a Query with a Sync of ours that its client does not see. `isOpen`: it runs already, by a Flush. */
export function endsBeforeQuery(batch: ExtendedBatch, isOpen: boolean, isInTransaction: boolean): boolean {
  if (isOpen && onlyPrepares(batch)) return true;
  if (!isOpen && batch.messages.every(({ kind }) => kind === 'close')) return false;
  return staysInTransaction(batch.executed, isInTransaction);
}

/**
 * What has been flushed has executed nothing and bound nothing: it ends as well before a Query (asyncpg prepares so) as with it, where PostgreSQL
 * ends it.
 */
export function onlyPrepares({ messages }: ExtendedBatch): boolean {
  const isQuiet = messages.every(
    ({ kind }) => kind === 'parse' || kind === 'describe' || kind === 'close' || kind === 'flush',
  );
  return isQuiet && messages.some(({ kind }) => kind === 'flush');
}

/**
 * In a transaction block a Sync ends nothing (protocol-flow, pipelining): pgjdbc's `autosave` says BEGIN, then Query "SAVEPOINT".
 * Outside, what has been executed and the Query are one transaction.
 */
function staysInTransaction(executed: readonly Classified[], isInTransaction: boolean): boolean {
  let isInside = isInTransaction;
  for (const { statement } of executed) {
    const kind = statement.transaction?.kind;
    if (kind === 'begin') isInside = true;
    // What COPY FROM has still to come is not the Query.
    if (!isInside || kind === 'commit' || kind === 'rollback' || statement.verb === 'COPY') return false;
  }
  return isInside;
}
