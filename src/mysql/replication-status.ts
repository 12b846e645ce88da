// The replication status of a replica, read from the columns of either server; the SQL that asks for it.
// It opens no connection.

import type { Flavor, Row } from './control-connection.js';

export interface ReplicationStatus {
  readonly host: string;
  readonly port: number;
  /** The receiver (I/O thread) is connected. */
  readonly receiving: boolean;
  /** The receiver exists, connected or trying to be. */
  readonly receiverRuns: boolean;
  readonly applying: boolean;
  /** Everything in the relay log, as the server's text; '' when GTIDs are not used. */
  readonly received: string;
  readonly lastError: string | null;
  readonly applierError: string | null;
  readonly secondsBehind: number | null;
  readonly delaySeconds: number;
  /** Where it reads in the upstream's binary log. */
  readonly readPosition: string;
  /** MariaDB: counted in the status itself; null: ask elsewhere. */
  readonly heartbeats: string | null;
  /** Where the applier reads in its own relay log. */
  readonly relayLogFile: string;
  readonly relayLogPos: number;
}

/** One row for each channel or connection name; only the unnamed one is a cluster's. */
export const SHOW_STATUS: Readonly<Record<Flavor, string>> = {
  mysql: "SHOW REPLICA STATUS FOR CHANNEL ''",
  mariadb: 'SHOW ALL SLAVES STATUS',
};

const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));
const count = (value: unknown): number | null =>
  value === null || value === undefined ? null : Number(value);

export function readStatus(flavor: Flavor, rows: readonly Row[]): ReplicationStatus | null {
  const row = flavor === 'mysql' ? rows[0] : rows.find((candidate) => text(candidate.Connection_name) === '');
  if (row === undefined) return null;
  // MySQL 8.0.22 renamed every column; MariaDB keeps the old names.
  const [replica, source] = flavor === 'mysql' ? ['Replica', 'Source'] : ['Slave', 'Master'];
  const io = text(row[`${replica}_IO_Running`]);
  const state = text(row[`${replica}_IO_State`]);
  const ioError = text(row.Last_IO_Error);
  const sqlError = text(row.Last_SQL_Error);
  const receiving = io === 'Yes';
  return {
    host: text(row[`${source}_Host`]),
    port: Number(row[`${source}_Port`]),
    receiving,
    receiverRuns: io !== 'No',
    applying: text(row[`${replica}_SQL_Running`]) === 'Yes',
    received: text(flavor === 'mysql' ? row.Retrieved_Gtid_Set : row.Gtid_IO_Pos),
    lastError: ioError || sqlError || (receiving ? null : state || 'the receiver is stopped'),
    applierError: sqlError || null,
    secondsBehind: count(row[`Seconds_Behind_${source}`]),
    delaySeconds: Number(row.SQL_Delay ?? 0),
    readPosition: `${text(row[`${source}_Log_File`])}:${text(row[`Read_${source}_Log_Pos`])}`,
    heartbeats: flavor === 'mariadb' ? text(row.Slave_received_heartbeats) : null,
    relayLogFile: text(row.Relay_Log_File),
    relayLogPos: Number(row.Relay_Log_Pos ?? 0),
  };
}
