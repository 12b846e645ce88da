// A client's transaction as the client knows it: also one of which no server has been told yet, and one that a server has lost.
// It knows no connection; what it answers by itself it gives as messages.

import type { ProxyError } from '../lib/errors.js';
import type { SessionHost } from '../protocol/client-connection.js';
import type { TransactionStatus } from '../protocol/unit.js';
import type { Classified } from '../sql/statement.js';
import type { ExtendedBatch } from './extended-batch.js';
import { HeldBegin, tagOfEnd } from './held-begin.js';
import {
  batchGoesOn,
  endingOfBatch,
  endsThenGoesOn,
  refusal,
  rolledBack,
  rolledBackBatch,
} from './lost-transaction.js';
import type { ClientStatements } from './prepared-statements.js';
import { plainEndingOf } from './session-settings.js';
import { commandComplete, proxyErrorResponse, readyForQuery } from './wire/backend-messages.js';

export class ClientTransaction {
  #status: TransactionStatus = 'idle';
  /** Answered, but not sent to a server yet. */
  #begin: HeldBegin | null = null;
  /** It was lost with its server connection, or never came there: only its end is accepted. */
  #isLost = false;
  /** Why, until the client has been told. */
  #loss: ProxyError | null = null;

  /** For ReadyForQuery. */
  get status(): TransactionStatus {
    return this.#isLost ? 'failed' : this.#status;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** A server connection is in it. */
  get isAtServer(): boolean {
    return this.#status !== 'idle' && this.#begin === null && !this.#isLost;
  }

  /** As a server has said. */
  becomes(status: TransactionStatus): void {
    this.#status = status;
    this.#isLost = false;
  }

  /** `loss`: what the client has not been told; null: it has. */
  lose(loss: ProxyError | null): void {
    this.#status = 'idle';
    this.#isLost = true;
    this.#loss = loss;
  }

  /** Its client has ended it. */
  forget(): void {
    this.#isLost = false;
    this.#loss = null;
  }

  /** A BEGIN that leaves with the next statement; null: none. */
  get begin(): HeldBegin | null {
    return this.#begin;
  }

  /** For the unit that is sent next. */
  takeBegin(): HeldBegin | null {
    const begin = this.#begin;
    this.#begin = null;
    return begin;
  }

  /**
   * To a simple query that needs no server; null: it needs one. BEGIN waits for the first statement, and a transaction that
   * ends before it had one never was at a server.
   */
  answer(classified: Classified, host: Pick<SessionHost, 'denial'>): Buffer[] | null {
    if (this.#isLost) {
      const { statement } = classified;
      if (!endsThenGoesOn(statement)) return this.#answerLost(plainEndingOf(statement), rolledBack);
      // No server knows of it: its ROLLBACK ends nothing, and the rest is the client's.
      this.forget();
      return null;
    }
    if (this.#begin === null) {
      this.#begin = this.#status === 'idle' ? HeldBegin.of(classified) : null;
      if (this.#begin === null) return null;
      // It never comes to where else rules are asked.
      const denial = host.denial([classified]);
      if (denial !== null) {
        this.#begin = null;
        return [proxyErrorResponse(denial), readyForQuery('idle')];
      }
      this.#status = 'transaction';
      return [commandComplete(this.#begin.tag), readyForQuery('transaction')];
    }
    const tag = tagOfEnd(classified.statement);
    if (tag === null) return null;
    this.#begin = null;
    this.#status = 'idle';
    return [commandComplete(tag), readyForQuery('idle')];
  }

  /** The same for a batch. */
  answerBatch(batch: ExtendedBatch, names: ClientStatements): Buffer[] | null {
    if (this.#isLost) {
      if (batch.messages.length === 1) return [readyForQuery(this.status)];
      if (!batchGoesOn(batch))
        return this.#answerLost(endingOfBatch(batch), () => rolledBackBatch(batch, names));
      this.forget();
      return null;
    }
    // A Sync alone: no server has to be asked where a client stands that none knows of.
    const isOurs = this.#status === 'idle' || this.#begin !== null;
    return isOurs && batch.messages.length === 1 ? [readyForQuery(this.#status)] : null;
  }

  /** To an open batch, whose Sync comes later. */
  refuse(): Buffer {
    const loss = this.#loss;
    this.#loss = null;
    return refusal(loss);
  }

  /**
   * In a lost transaction: its end is answered as a server would after an error, everything else refused. A COMMIT by
   * which the client would first learn of it is an error.
   */
  #answerLost(ending: 'commit' | 'rollback' | null, replies: () => Buffer[]): Buffer[] {
    const isNews = this.#loss !== null;
    if (ending !== null) this.#isLost = false;
    if (ending === 'rollback' || (ending === 'commit' && !isNews)) {
      this.#loss = null;
      return replies();
    }
    return [this.refuse(), readyForQuery(this.status)];
  }
}
