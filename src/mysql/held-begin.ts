// A BEGIN that no server has been told of yet: the client is answered at once, and it leaves with the first statement.
// It knows no connection.

import type { ProxyError } from '../lib/errors.js';
import type { MysqlServerError } from './expectation.js';
import { TRANSACTION_INFO, type TrackedState } from './tracked-state.js';
import type { MysqlUnit } from './unit.js';
import { STATUS } from './wire/ok.js';

/** Of the shape. Anything that is said of the transaction may be refused by the server. */
const BEGIN = /^(?:begin(?: work)?|start transaction) ?;?$/i;
const SENT = 'START TRANSACTION';

/** What a session has set that could make of it something else than the start of a transaction that may write, or tell it. */
const VARIABLES = ['completion_type', 'transaction_read_only', 'tx_read_only', TRANSACTION_INFO] as const;

interface Session {
  readonly status: number;
  readonly state: Pick<TrackedState, 'variable'>;
}

export function isBegin({ kind, statement }: Pick<MysqlUnit, 'kind' | 'statement'>): boolean {
  return kind === 'query' && statement.transaction?.kind === 'begin' && statement.statements === 1;
}

/** Whether it may wait. The session holds no server connection: there is nothing that BEGIN would end. */
export function mayHold({ kind, statement, hint, shape }: MysqlUnit, session: Session): boolean {
  if (!isBegin({ kind, statement }) || hint !== null) return false;
  if ((session.status & (STATUS.AUTOCOMMIT | STATUS.IN_TRANS)) !== STATUS.AUTOCOMMIT) return false;
  if (VARIABLES.some((name) => session.state.variable(name) !== undefined)) return false;
  return BEGIN.test(shape);
}

interface Server {
  readonly closed: boolean;
  query(sql: string, done: (result: { readonly error: MysqlServerError | null }) => void): void;
  close(reason: string): void;
}

/**
 * Before the first statement, in one write with it where that only reads: should the server not have begun a transaction, that
 * has done no harm, and its answer is dropped with the server connection. Anything else waits for the server's word.
 */
export function beginWith(
  unit: MysqlUnit,
  server: Server,
  go: () => void,
  refused: (error: MysqlServerError) => void,
): void {
  if (!unit.startsTransaction) {
    go();
    return;
  }
  if (!unit.onlyReads) {
    server.query(SENT, ({ error }) => (error === null ? go() : refused(error)));
    return;
  }
  server.query(SENT, ({ error }) => {
    if (error !== null && !server.closed) server.close(`BEGIN was refused: ${error.message}`);
  });
  go();
}

/** Of a unit that a server had. */
const ENDS: ReadonlySet<string> = new Set(['outcome-unknown', 'transaction-lost', 'server-lost']);

/** The first statement has failed without having been at a server: the transaction begins with the next one. */
export function isStillHeld({ startsTransaction }: MysqlUnit, { code }: ProxyError): boolean {
  return startsTransaction && !ENDS.has(code);
}
