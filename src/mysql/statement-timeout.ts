// What a client is told of a statement that was cancelled at its deadline: the words of its server for its own time limit.
// It knows no connection.
// https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html, https://mariadb.com/kb/en/e1969/

import type { ErrPacket } from './wire/ok.js';

/** ER_QUERY_TIMEOUT */
const MYSQL: ErrPacket = {
  errno: 3024,
  sqlState: 'HY000',
  message: 'Query execution was interrupted, maximum statement execution time exceeded',
};
/** ER_STATEMENT_TIMEOUT */
const MARIADB: ErrPacket = {
  errno: 1969,
  sqlState: '70100',
  message: 'Query execution was interrupted (max_statement_time exceeded)',
};

export function statementTimeout(isMariadb: boolean): ErrPacket {
  return isMariadb ? MARIADB : MYSQL;
}
