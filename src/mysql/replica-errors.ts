// Which errors of a replica a client need not see, because the same read may succeed elsewhere.
// About that it decides by the number alone; that nothing was forwarded and no transaction is open is checked by others.

import type { Run } from './run.js';
import { statementTimeout } from './statement-timeout.js';
import { buildErr, type ErrPacket, STATUS } from './wire/ok.js';

export const ER_QUERY_INTERRUPTED = 1317;

/** `elsewhere`: another replica or the primary; `primary`: the primary only; null: it is the client's. */
export function retryOf(errno: number): 'elsewhere' | 'primary' | null {
  switch (errno) {
    case 1290: // ER_OPTION_PREVENTS_STATEMENT: read_only
    case 1792: // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    case 1836: // ER_READ_ONLY_MODE
    case 1146: // ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR, ER_SP_DOES_NOT_EXIST: DDL that the replica has not seen
    case 1054:
    case 1305:
    case 1049: // ER_BAD_DB_ERROR
    case 1044: // ER_DBACCESS_DENIED_ERROR, and of tables, columns, routines, accounts: a GRANT that the replica has not seen
    case 1142:
    case 1143:
    case 1227:
    case 1370:
    case 1449: // ER_NO_SUCH_USER
      return 'primary';
    case 1053: // ER_SERVER_SHUTDOWN
    case ER_QUERY_INTERRUPTED: // by somebody else: whoever is cancelled himself is not asked here
    case 1927: // MariaDB ER_CONNECTION_KILLED
    case 2006:
    case 2013:
      return 'elsewhere';
    default:
      return null;
  }
}

/** ER_OPTION_PREVENTS_STATEMENT, ER_READ_ONLY_MODE: a replica looks at these before it looks at the transaction. */
function isReplicaReadOnly(errno: number): boolean {
  return errno === 1290 || errno === 1836;
}

/** What the client gets in place of an error of a replica that the primary would not give. `status`: before it. */
export function asPrimarySays(
  { errno }: ErrPacket,
  run: Pick<Run, 'options' | 'onReplica'>,
  frame: Buffer,
  status: number,
  mariadb: boolean,
): Buffer {
  if (errno === ER_QUERY_INTERRUPTED && run.options.late !== null)
    return buildErr(statementTimeout(mariadb), frame[3]!);
  const isReadOnly = run.onReplica && (status & STATUS.IN_TRANS_READONLY) !== 0;
  if (!isReadOnly || !isReplicaReadOnly(errno)) return frame;
  const message = `Cannot execute statement in a READ ONLY transaction${mariadb ? '' : '.'}`;
  return buildErr({ errno: 1792, sqlState: '25006', message }, frame[3]!);
}
