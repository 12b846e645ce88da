// What stands before a transaction and is for that one only, SET TRANSACTION and, with autocommit off, savepoints: for how long
// its client keeps the server connection.
// It knows no connection.

import type { SessionHost } from '../protocol/client-connection.js';
import type { TransactionStatus, Unit } from '../protocol/unit.js';
import type { StatementClass } from '../sql/statement.js';

export class NextTransaction {
  readonly #host: Pick<SessionHost, 'pins'>;
  #isSet = false;
  /** What else keeps the server connection goes by the same word. */
  #isPinnedForGood = false;

  constructor(host: Pick<SessionHost, 'pins'>) {
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
    autocommits: boolean,
  ): boolean {
    const isSetting = statement.transaction?.kind === 'set-transaction';
    if (statement.pin === 'untracked-setting' && !(isSetting && statement.statements === 1))
      this.#isPinnedForGood = true;
    if (isSetting) {
      this.#isSet = true;
      return false;
    }
    if (now !== 'idle') return false;
    if (statement.transaction?.kind === 'savepoint' && !autocommits && !failed) {
      // The servers keep it, and do not say that they are in a transaction.
      this.#isSet = true;
      this.#host.pins.add('untracked-setting');
      return false;
    }
    if (!this.#isSet) return false;
    const isOver = autocommits ? isTransaction(statement, shape) : endsTransaction(statement);
    if (!sawTransaction && (failed || !isOver)) return false;
    this.#isSet = false;
    if (!this.#isPinnedForGood) this.#host.pins.remove('untracked-setting');
    return true;
  }
}

function endsTransaction({ transaction }: StatementClass): boolean {
  return transaction?.kind === 'commit' || transaction?.kind === 'rollback';
}

const WRITES: ReadonlySet<string> = new Set(['INSERT', 'UPDATE', 'DELETE', 'REPLACE', 'LOAD']);

/** A transaction of its own, as far as the text tells, or the end of one. */
function isTransaction(statement: StatementClass, shape: string): boolean {
  const { transaction, verb, ddl } = statement;
  if (transaction !== null) return endsTransaction(statement);
  // Of anything else, PREPARE or FLUSH say, the servers may take no notice.
  return ddl || WRITES.has(verb) || (verb === 'SELECT' && /\bfrom\b/i.test(shape));
}
