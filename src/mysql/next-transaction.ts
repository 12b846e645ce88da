// SET TRANSACTION, which holds for the transaction that begins next: for how long its client keeps the server connection.
// It knows no connection.

import type { SessionHost } from '../protocol/client-connection.js';
import type { TransactionStatus, Unit } from '../protocol/unit.js';
import type { StatementClass } from '../sql/statement.js';

export class NextTransaction {
  readonly #host: Pick<SessionHost, 'unpin'>;
  #isSet = false;
  /** What else keeps the server connection goes by the same word. */
  #isPinnedForGood = false;

  constructor(host: Pick<SessionHost, 'unpin'>) {
    this.#host = host;
  }

  /** COM_RESET_CONNECTION. */
  forget(): void {
    this.#isSet = false;
    this.#isPinnedForGood = false;
  }

  /** Something of the session is in its server connection that no transaction takes away. */
  pinnedForGood(): void {
    this.#isPinnedForGood = true;
  }

  /**
   * Behind each unit. True: the transaction that it was for is over, and the server may not have noticed (a SELECT may have
   * touched no table).
   */
  learn(
    { statement, shape }: Pick<Unit, 'statement' | 'shape'>,
    now: TransactionStatus,
    failed: boolean,
    sawTransaction: boolean,
  ): boolean {
    const isSetting = statement.transaction?.kind === 'set-transaction';
    if (statement.pin === 'untracked-setting' && !(isSetting && statement.statements === 1))
      this.#isPinnedForGood = true;
    if (isSetting) {
      this.#isSet = true;
      return false;
    }
    if (!this.#isSet || now !== 'idle') return false;
    if (!sawTransaction && (failed || !isTransaction(statement, shape))) return false;
    this.#isSet = false;
    if (!this.#isPinnedForGood) this.#host.unpin('untracked-setting');
    return true;
  }
}

/** A transaction of its own, as far as the text tells, or the end of one. */
function isTransaction({ route, transaction, verb }: StatementClass, shape: string): boolean {
  if (transaction !== null) return transaction.kind === 'commit' || transaction.kind === 'rollback';
  if (route === 'session' || route === 'proxy' || route === 'last') return false;
  return verb === 'SHOW' ? false : verb !== 'SELECT' || /\bfrom\b/i.test(shape);
}
