// Which errors of a replica a client need not see, because the same read may succeed elsewhere.
// It decides about the code alone; that nothing was forwarded and no transaction is open is checked by others.

/** invalid_sql_statement_name: a Bind to a statement that is not there. */
export const INVALID_STATEMENT_NAME = '26000';
/** duplicate_prepared_statement: another unit's error has made us believe that it is not there (a skipped Close). */
export const DUPLICATE_STATEMENT = '42P05';

/** `elsewhere`: another replica or the primary; `primary`: the primary only; null: it is the client's. */
export function retryOf(code: string, message: string): 'elsewhere' | 'primary' | null {
  switch (code) {
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
    case '40P01': // "canceling statement due to conflict with recovery"; anything else is the client's
      return message.includes('recovery') ? 'elsewhere' : null;
    case '0A000': // "cannot use serializable mode in a hot standby"
      return message.includes('hot standby') ? 'primary' : null;
    case '55000': // object_not_in_prerequisite_state: "recovery is in progress"
      return message.includes('recovery') ? 'primary' : null;
    default:
      return null;
  }
}

/** The plan of a named statement has another result since a DDL: it must be prepared again (RevalidateCachedQuery). */
export function isStalePlan(code: string, message: string): boolean {
  return code === '0A000' && message.includes('cached plan must not change result type');
}

/** Class 40, transaction rollback: serialization failure, deadlock. */
export function isRollback(code: string): boolean {
  return code.startsWith('40');
}
