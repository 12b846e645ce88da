// The control connections of one PostgreSQL node: what the monitor reads and what the failover orders.
// It knows no client and no other node but the one that it is told to follow; the steps of a promotion are in promotion.ts.
//
// The monitor's account needs `pg_monitor` to probe (pg_stat_wal_receiver shows nothing but the pid without it). Reading
// verifiers (pg_authid) and a promotion (ALTER SYSTEM, pg_promote, pg_wal_replay_resume) need a superuser.

import type { SpareConnections } from '../lib/spare-connections.js';
import {
  CALLS,
  type NodeAddress,
  type NodeControl,
  type NodeControlOptions,
  PROBES,
  ProbeFailure,
  type ProbeReading,
  type StoredVerifier,
} from '../protocol/node-control.js';
import type { Position } from '../protocol/position.js';
import type { Standing } from '../protocol/server-connection.js';
import { upstreamOf } from './conninfo.js';
import { type ControlConnection, controlConnections, toProbeFailure } from './control-connection.js';
import { type PostgresPosition, postgresPosition } from './position.js';
import { Promotion, type Query } from './promotion.js';
import { STANDING, standingOf } from './standing.js';

/** The timeline of a primary is in the name of the file that it writes; the control file trails it by a checkpoint. */
const PRIMARY_TIMELINE = `('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int`;

const POSITION = `SELECT pg_current_wal_insert_lsn()::text AS lsn, ${PRIMARY_TIMELINE} AS timeline`;

/**
 * Everything in one statement. CASE keeps functions that fail on the other role from being called. After the receiver has
 * stopped, pg_last_wal_receive_lsn() may be behind replay (it names the start of the last streaming, and archive
 * recovery does not move it), so the greater of both is what has been received.
 */
const PROBE = `
SELECT in_recovery,
  CASE WHEN NOT in_recovery THEN pg_current_wal_insert_lsn()::text END AS insert_lsn,
  CASE WHEN NOT in_recovery THEN ${PRIMARY_TIMELINE}
    ELSE greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                  (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                  r.received_tli) END AS timeline,
  CASE WHEN in_recovery THEN pg_last_wal_replay_lsn()::text END AS replay_lsn,
  CASE WHEN in_recovery THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END AS receive_lsn,
  CASE WHEN in_recovery THEN pg_is_wal_replay_paused() END AS paused,
  r.pid AS receiver_pid, r.status AS receiver_status, r.sender_host, r.sender_port,
  extract(epoch FROM r.last_msg_receipt_time)::text AS last_message,
  CASE WHEN in_recovery AND r.sender_host IS NULL
    THEN (SELECT setting FROM pg_settings WHERE name = 'primary_conninfo') END AS conninfo,
  CASE WHEN in_recovery
    THEN extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 END AS seconds_behind,
  current_setting('default_transaction_read_only') AS read_only,
  (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
  current_setting('server_version') AS version
FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS node
LEFT JOIN pg_stat_wal_receiver AS r ON true`;

interface ProbeRow {
  readonly in_recovery: boolean;
  readonly insert_lsn: string | null;
  readonly timeline: number;
  readonly replay_lsn: string | null;
  readonly receive_lsn: string | null;
  readonly paused: boolean | null;
  readonly receiver_pid: number | null;
  readonly receiver_status: string | null;
  readonly sender_host: string | null;
  readonly sender_port: number | null;
  readonly last_message: string | null;
  readonly conninfo: string | null;
  readonly seconds_behind: number | null;
  readonly read_only: string;
  readonly system_identifier: string;
  readonly version: string;
}

export class PostgresNodeControl implements NodeControl {
  readonly address: NodeAddress;
  /** Probes have a connection of their own: the server may refuse new ones, and others may take long. */
  readonly #probes: SpareConnections<ControlConnection>;
  readonly #calls: SpareConnections<ControlConnection>;
  readonly #promotion: Promotion;

  constructor(address: NodeAddress, options: NodeControlOptions) {
    this.address = address;
    this.#probes = controlConnections(address, options, PROBES);
    this.#calls = controlConnections(address, options, CALLS);
    const command: Query = (sql, timeoutMs) => this.#run(sql, timeoutMs, false);
    this.#promotion = new Promotion(command, (primary, sql, timeoutMs) =>
      runOnce(primary, options, sql, timeoutMs),
    );
  }

  async probe(timeoutMs: number): Promise<ProbeReading> {
    const sentAtMs = performance.now();
    try {
      const row = await this.#probes.run(
        timeoutMs,
        async ({ client }) => {
          const result = await client.query<ProbeRow & Record<string, unknown>>({
            name: 'scheelite_probe',
            text: PROBE,
          });
          return result.rows[0]!;
        },
        { again: true },
      );
      return reading(row, sentAtMs, performance.now());
    } catch (error) {
      throw toProbeFailure(error);
    }
  }

  async position(timeoutMs: number): Promise<Position> {
    try {
      return await this.#calls.run(
        timeoutMs,
        async ({ client }) => {
          const result = await client.query<{ lsn: string; timeline: number }>({
            name: 'scheelite_position',
            text: POSITION,
          });
          const row = result.rows[0]!;
          return postgresPosition(row.lsn, row.timeline);
        },
        // Asked again later it only covers more.
        { again: true },
      );
    } catch (error) {
      throw toProbeFailure(error);
    }
  }

  async verifier(user: string, timeoutMs: number): Promise<StoredVerifier | null> {
    const rows = await this.#calls
      .run(
        timeoutMs,
        async ({ client }) =>
          (
            await client.query<{ secret: string | null }>(
              'SELECT rolpassword AS secret FROM pg_catalog.pg_authid WHERE rolname = $1',
              [user],
            )
          ).rows,
        { again: true },
      )
      .catch((error: unknown) => {
        throw toProbeFailure(error);
      });
    const row = rows[0];
    if (row === undefined) return null;
    const secret = row.secret ?? '';
    if (secret.startsWith('SCRAM-SHA-256$')) return { method: 'scram-sha-256', secret };
    if (/^md5[0-9a-f]{32}$/.test(secret)) return { method: 'md5', secret };
    return secret === '' ? { method: 'none', secret } : { method: 'password', secret };
  }

  async standing(user: string, database: string, _maxAgeMs: number, timeoutMs: number): Promise<Standing> {
    const query = { name: 'scheelite_standing', text: STANDING, values: [user, database] };
    try {
      return await this.#calls.run(
        timeoutMs,
        async ({ client }) => standingOf((await client.query<Record<string, unknown>>(query)).rows),
        { again: true },
      );
    } catch (error) {
      throw toProbeFailure(error);
    }
  }

  async query(sql: string, timeoutMs: number): Promise<Record<string, unknown>[]> {
    return this.#run(sql, timeoutMs, true);
  }

  confirmReceiving(timeoutMs: number): Promise<boolean> {
    return this.#promotion.confirmReceiving(timeoutMs);
  }

  stopReceiving(timeoutMs: number): Promise<Position> {
    return this.#promotion.stopReceiving(timeoutMs);
  }

  resumeReceiving(upstream: NodeAddress, timeoutMs: number): Promise<void> {
    return this.#promotion.resumeReceiving(upstream, timeoutMs);
  }

  waitApplied(position: Position, timeoutMs: number): Promise<string | null> {
    return this.#promotion.waitApplied(position as PostgresPosition, timeoutMs);
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

  async #run(sql: string, timeoutMs: number, again: boolean): Promise<Record<string, unknown>[]> {
    try {
      return await this.#calls.run(
        timeoutMs,
        async ({ client }) => (await client.query<Record<string, unknown>>(sql)).rows,
        { again },
      );
    } catch (error) {
      throw toProbeFailure(error);
    }
  }
}

/** One statement on another node, with the monitor's own account. */
async function runOnce(
  address: NodeAddress,
  options: NodeControlOptions,
  sql: string,
  timeoutMs: number,
): Promise<Record<string, unknown>[]> {
  const connections = controlConnections(address, options, { keepIdle: 0, maxOpen: 1, maxWaiting: 0 });
  try {
    return await connections.run(
      timeoutMs,
      async ({ client }) => (await client.query<Record<string, unknown>>(sql)).rows,
      { again: false },
    );
  } finally {
    connections.close();
  }
}

function reading(row: ProbeRow, sentAtMs: number, answeredAtMs: number): ProbeReading {
  const base = {
    sentAtMs,
    answeredAtMs,
    timeline: row.timeline,
    serverId: row.system_identifier,
    version: row.version,
  };
  if (!row.in_recovery) {
    const position = postgresPosition(row.insert_lsn!, row.timeline);
    return {
      ...base,
      role: 'primary',
      writable: row.read_only === 'off',
      applied: position,
      received: position,
      upstream: null,
    };
  }
  // Taken for a receiver that is not running, this would let a living primary be replaced.
  if (row.receiver_pid !== null && row.receiver_status === null)
    throw new ProbeFailure(
      'login-refused',
      'the monitor may not see pg_stat_wal_receiver: grant it pg_monitor',
    );
  const address =
    row.sender_host !== null && row.sender_port !== null
      ? { host: row.sender_host, port: row.sender_port }
      : upstreamOf(row.conninfo ?? '');
  const receiving = row.receiver_status === 'streaming';
  return {
    ...base,
    role: 'replica',
    writable: false,
    // A standby that has not replayed anything yet does not answer queries; null would be our own error.
    applied: postgresPosition(row.replay_lsn ?? '0/0', row.timeline),
    received: postgresPosition(row.receive_lsn ?? row.replay_lsn ?? '0/0', row.timeline),
    upstream: {
      address,
      receiving,
      applying: row.paused !== true,
      lastError: receiving ? null : `wal receiver ${row.receiver_status ?? 'is not running'}`,
      secondsBehind: row.seconds_behind,
      lastMessage: row.last_message,
    },
  };
}
