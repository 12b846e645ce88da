// The control connections of one MySQL or MariaDB node: what the monitor reads and what the failover orders.
// It knows no client and no other node but the one that it is told to follow; the steps of a promotion are in promotion.ts.
//
// The monitor's account needs REPLICATION CLIENT (MariaDB: BINLOG MONITOR, REPLICA MONITOR) and SELECT on
// performance_schema to probe, SELECT on mysql.user (MariaDB: mysql.global_priv) to read verifiers, and for a promotion
// REPLICATION_SLAVE_ADMIN and SYSTEM_VARIABLES_ADMIN (MariaDB: REPLICATION SLAVE ADMIN, READ_ONLY ADMIN).

import type { SpareConnections } from '../lib/spare-connections.js';
import {
  CALLS,
  type NodeAddress,
  type NodeControl,
  type NodeControlOptions,
  PROBES,
  type ProbeReading,
  type StoredVerifier,
} from '../protocol/node-control.js';
import type { Position } from '../protocol/position.js';
import type { Standing } from '../protocol/server-connection.js';
import {
  type ControlConnection,
  controlConnections,
  flavorOf,
  type Row,
  toProbeFailure,
} from './control-connection.js';
import { mysqlPositions } from './position.js';
import { Promotion } from './promotion.js';
import { type ReplicationStatus, readStatus, SHOW_STATUS } from './replication-status.js';
import { readStanding, readVariables, type ServerVariables, standingQuery } from './standing.js';
import { pickAccount, VERIFIER } from './verifier.js';

/**
 * What a query sees. MySQL adds to gtid_executed when a transaction has been committed. MariaDB's gtid_slave_pos is what the
 * applier has committed; what a primary has written itself is in gtid_current_pos, and what came into its binary log by
 * other ways only in gtid_binlog_pos.
 */
const VARIABLES = {
  mysql: `SELECT @@global.gtid_executed AS executed, @@global.read_only AS read_only,
    @@global.super_read_only AS super_read_only, @@server_uuid AS server_id, @@version AS version`,
  mariadb: `SELECT @@global.gtid_slave_pos AS slave_pos, @@global.gtid_current_pos AS current_pos,
    @@global.gtid_binlog_pos AS binlog_pos, @@global.read_only AS read_only, @@server_id AS server_id, @@version AS version`,
} as const;

const POSITION = {
  mysql: 'SELECT @@global.gtid_executed AS executed',
  mariadb: 'SELECT @@global.gtid_current_pos AS current_pos, @@global.gtid_binlog_pos AS binlog_pos',
} as const;

/** SHOW REPLICA STATUS does not count heartbeats, the only thing that an idle source sends. */
const HEARTBEATS = `SELECT count_received_heartbeats AS heartbeats
  FROM performance_schema.replication_connection_status WHERE channel_name = ''`;

const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));
/** Variables of type boolean come as 0 or 1; newer MariaDB gives read_only as a word. */
const isOn = (value: unknown): boolean => !['', '0', 'OFF'].includes(text(value).toUpperCase());

export class MysqlNodeControl implements NodeControl {
  readonly address: NodeAddress;
  /** Probes have a connection of their own: the server may refuse new ones, and others may take long. */
  readonly #probes: SpareConnections<ControlConnection>;
  readonly #calls: SpareConnections<ControlConnection>;
  readonly #promotion: Promotion;
  /** Reading them takes the server some milliseconds. */
  #variables: { readonly atMs: number; readonly read: ServerVariables } | null = null;

  constructor(address: NodeAddress, options: NodeControlOptions) {
    this.address = address;
    this.#probes = controlConnections(address, options, PROBES);
    this.#calls = controlConnections(address, options, CALLS);
    this.#promotion = new Promotion((timeoutMs, work) => this.#call(timeoutMs, work, false));
  }

  async probe(timeoutMs: number): Promise<ProbeReading> {
    const sentAtMs = performance.now();
    try {
      return await this.#probes.run(timeoutMs, (connection) => probe(connection, sentAtMs), { again: true });
    } catch (error) {
      throw toProbeFailure(error);
    }
  }

  position(timeoutMs: number): Promise<Position> {
    // Asked again later it only covers more.
    return this.#call(
      timeoutMs,
      async (connection) => {
        const flavor = await flavorOf(connection);
        const row = (await connection.query(POSITION[flavor]))[0]!;
        return flavor === 'mysql' ? mysqlPositions.parse(text(row.executed)) : ownPosition(row);
      },
      true,
    );
  }

  verifier(user: string, timeoutMs: number): Promise<StoredVerifier | null> {
    return this.#call(
      timeoutMs,
      async (connection) => {
        const flavor = await flavorOf(connection);
        return pickAccount(flavor, await connection.query(VERIFIER[flavor], [user]));
      },
      true,
    );
  }

  standing(user: string, database: string, maxAgeMs: number, timeoutMs: number): Promise<Standing> {
    return this.#call(
      timeoutMs,
      async (connection) => {
        const flavor = await flavorOf(connection);
        const ask = (sql: string, values?: readonly string[]): Promise<Row[]> =>
          connection.query(sql, values);
        const atMs = performance.now();
        if (this.#variables === null || atMs - this.#variables.atMs > maxAgeMs)
          this.#variables = { atMs, read: await readVariables(flavor, ask) };
        connection.standingQuery ??= await standingQuery(flavor, ask);
        return readStanding(connection.standingQuery, ask, user, database, this.#variables.read);
      },
      true,
    );
  }

  query(sql: string, timeoutMs: number): Promise<Record<string, unknown>[]> {
    return this.#call(timeoutMs, (connection) => connection.query(sql), true);
  }

  confirmReceiving(timeoutMs: number): Promise<boolean> {
    return this.#promotion.confirmReceiving(timeoutMs);
  }

  stopReceiving(timeoutMs: number): Promise<Position> {
    return this.#promotion.stopReceiving(timeoutMs);
  }

  resumeReceiving(_upstream: NodeAddress, timeoutMs: number): Promise<void> {
    // The server has kept its source; it may know it by another address than the proxy does.
    return this.#promotion.resumeReceiving(timeoutMs);
  }

  waitApplied(position: Position, timeoutMs: number): Promise<string | null> {
    return this.#promotion.waitApplied(position, timeoutMs);
  }

  promote(timeoutMs: number): Promise<void> {
    return this.#promotion.promote(timeoutMs);
  }

  follow(primary: NodeAddress, timeoutMs: number): Promise<void> {
    return this.#promotion.follow(primary, timeoutMs);
  }

  async close(): Promise<void> {
    this.#probes.close();
    this.#calls.close();
  }

  async #call<T>(
    timeoutMs: number,
    work: (connection: ControlConnection) => Promise<T>,
    again: boolean,
  ): Promise<T> {
    try {
      return await this.#calls.run(timeoutMs, work, { again });
    } catch (error) {
      throw toProbeFailure(error);
    }
  }
}

function ownPosition(row: Row): Position {
  return mysqlPositions.union(
    mysqlPositions.parse(text(row.current_pos)),
    mysqlPositions.parse(text(row.binlog_pos)),
  );
}

async function probe(connection: ControlConnection, sentAtMs: number): Promise<ProbeReading> {
  const flavor = await flavorOf(connection);
  // The status first: what had been received when it was read may be applied by the time the variables are.
  const status = readStatus(flavor, await connection.query(SHOW_STATUS[flavor]));
  const variables = (await connection.query(VARIABLES[flavor]))[0]!;
  const heartbeats = status === null ? '' : (status.heartbeats ?? (await countHeartbeats(connection)));
  const base = {
    sentAtMs,
    answeredAtMs: performance.now(),
    writable: !isOn(variables.read_only) && !isOn(variables.super_read_only),
    timeline: 0,
    serverId: text(variables.server_id),
    version: text(variables.version),
  };
  if (status === null) {
    const position =
      flavor === 'mysql' ? mysqlPositions.parse(text(variables.executed)) : ownPosition(variables);
    return { ...base, role: 'primary', applied: position, received: position, upstream: null };
  }
  const applied = mysqlPositions.parse(text(flavor === 'mysql' ? variables.executed : variables.slave_pos));
  return {
    ...base,
    role: 'replica',
    applied,
    // What somebody has written to a MariaDB replica is in its binary log only.
    ...(flavor === 'mariadb' ? { history: mysqlPositions.union(applied, ownPosition(variables)) } : {}),
    received: mysqlPositions.union(applied, mysqlPositions.parse(status.received)),
    upstream: upstreamOf(status, heartbeats),
  };
}

function upstreamOf(status: ReplicationStatus, heartbeats: string): ProbeReading['upstream'] {
  return {
    address: status.host === '' ? null : { host: status.host, port: status.port },
    receiving: status.receiving,
    applying: status.applying,
    lastError: status.lastError,
    secondsBehind: status.secondsBehind,
    lastMessage: `${status.readPosition}:${heartbeats}`,
  };
}

/** Without the privilege, or without performance_schema, an idle source gives no sign; the failover then asks. */
async function countHeartbeats(connection: ControlConnection): Promise<string> {
  try {
    return text((await connection.query(HEARTBEATS))[0]?.heartbeats);
  } catch (error) {
    if (toProbeFailure(error).kind === 'other') return '';
    throw error;
  }
}
