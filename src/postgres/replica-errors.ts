// Which errors of a replica a client need not see, because the same read may succeed elsewhere.
// It decides about the code and where it was raised, never by words, which may be in any language; that nothing was forwarded and
// no transaction is open is checked by others.

import type { ServerError } from '../protocol/unit.js';
import type { ServerErrorFields } from './wire/backend.js';

type ErrorFields = Pick<ServerErrorFields, 'code' | 'all'>;

/** invalid_sql_statement_name: a Bind to a statement that is not there. */
export const INVALID_STATEMENT_NAME = '26000';
/** duplicate_prepared_statement: another unit's error has made us believe that it is not there (a skipped Close). */
export const DUPLICATE_STATEMENT = '42P05';

/** `elsewhere`: another replica or the primary; `primary`: the primary only; null: it is the client's. */
export function retryOf(error: ErrorFields): 'elsewhere' | 'primary' | null {
  switch (error.code) {
    case '25006': // read_only_sql_transaction: it was a write after all
    case '42P01': // undefined_table, undefined_column, undefined_function: DDL that the replica has not seen
    case '42703':
    case '42883':
    case '3F000': // invalid_schema_name
      return 'primary';
    case '57P01': // admin_shutdown, crash_shutdown, cannot_connect_now
    case '57P02':
    case '57P03':
      return 'elsewhere';
    case '40001':
    case '40P01': // a conflict with recovery; what a function raises by itself it will raise elsewhere
      return 'elsewhere';
    case '0A000': // a relation that is not logged, SERIALIZABLE; what no server can do the primary cannot either
      return isStalePlan(error) ? null : 'primary';
    case '55000': // object_not_in_prerequisite_state: "recovery is in progress"
    case '58P01': // undefined_file: COPY of a relation that is not logged
      return 'primary';
    default:
      return null;
  }
}

/** The plan of a named statement has another result since a DDL: it must be prepared again (RevalidateCachedQuery). */
export function isStalePlan({ code, all }: ErrorFields): boolean {
  return code === '0A000' && all.get('R') === 'RevalidateCachedQuery';
}

/** "cannot use serializable mode in a hot standby" */
export function refusesSerializable({ code, routine }: ServerError): boolean {
  return code === '0A000' && routine === 'GetSerializableTransactionSnapshot';
}

/** Class 40, transaction rollback: serialization failure, deadlock. */
export function isRollback(code: string): boolean {
  return code.startsWith('40');
}
