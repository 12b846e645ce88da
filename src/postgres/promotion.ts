// What turns a PostgreSQL standby into a primary or points it at another one, as single steps.
// It is given a way to run statements; it opens no connection and decides nothing.

import type { NodeAddress } from '../protocol/node-control.js';
import { quoteLiteral } from '../sql/postgres/quote.js';
import { NOWHERE, repoint, upstreamOf } from './conninfo.js';
import { type PostgresPosition, postgresPosition, postgresPositions } from './position.js';

export type Query = (sql: string, timeoutMs: number) => Promise<Record<string, unknown>[]>;
export type QueryOn = (
  node: NodeAddress,
  sql: string,
  timeoutMs: number,
) => Promise<Record<string, unknown>[]>;

const POLL_MS = 20;
/** With it the silence of a receiver is probed: half of it until the ping, all of it until the receiver gives up. */
const PING_TIMEOUT_MS = 1_500;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The time that is left of a step, at least one millisecond. */
class Deadline {
  readonly #endsAtMs: number;

  constructor(timeoutMs: number) {
    this.#endsAtMs = performance.now() + timeoutMs;
  }

  get leftMs(): number {
    return Math.max(1, this.#endsAtMs - performance.now());
  }

  get over(): boolean {
    return performance.now() >= this.#endsAtMs;
  }
}

interface ReceiverState {
  readonly inRecovery: boolean;
  /** A receiver process that is connected. */
  readonly receiver: boolean;
  readonly received: PostgresPosition;
  readonly replayed: PostgresPosition;
  readonly paused: boolean;
  readonly lastMessage: string | null;
  /** The startup process waits for WAL: whatever is complete on this node has been replayed. */
  readonly starved: boolean;
}

const STATE = `
SELECT in_recovery,
  (SELECT count(*) FROM pg_stat_wal_receiver)::int AS receivers,
  (SELECT extract(epoch FROM last_msg_receipt_time)::text FROM pg_stat_wal_receiver) AS last_message,
  CASE WHEN in_recovery THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END AS received,
  CASE WHEN in_recovery THEN pg_last_wal_replay_lsn()::text END AS replayed,
  CASE WHEN in_recovery THEN pg_is_wal_replay_paused() ELSE false END AS paused,
  greatest((SELECT timeline_id FROM pg_control_checkpoint()),
           (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
           (SELECT received_tli FROM pg_stat_wal_receiver)) AS timeline,
  (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup') AS waits_for
FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS node`;

/** What the replay of WAL waits for when it has none left (manual, table "Wait Events of Type Activity / Timeout"). */
const STARVED = new Set(['RecoveryWalStream', 'RecoveryRetrieveRetryInterval']);

export class Promotion {
  readonly #query: Query;
  readonly #queryOn: QueryOn;
  /** What a step has changed for its own purpose, to be put back by a later one; null: nothing. */
  #upstreamBefore: NodeAddress | null = null;
  #delayBefore: string | null = null;
  #resumed = false;

  constructor(query: Query, queryOn: QueryOn) {
    this.#query = query;
    this.#queryOn = queryOn;
  }

  async #state(deadline: Deadline): Promise<ReceiverState> {
    const row = (await this.#query(STATE, deadline.leftMs))[0]!;
    const timeline = row.timeline as number;
    return {
      inRecovery: row.in_recovery as boolean,
      receiver: (row.receivers as number) > 0,
      received: postgresPosition((row.received as string | null) ?? '0/0', timeline),
      replayed: postgresPosition((row.replayed as string | null) ?? '0/0', timeline),
      paused: row.paused as boolean,
      lastMessage: row.last_message as string | null,
      starved: STARVED.has((row.waits_for as string | null) ?? ''),
    };
  }

  async #standby(deadline: Deadline): Promise<ReceiverState> {
    const state = await this.#state(deadline);
    if (!state.inRecovery) throw new Error('the node is not in recovery');
    return state;
  }

  async #alterSystem(setting: string, deadline: Deadline): Promise<void> {
    // ALTER SYSTEM refuses to run beside another statement, so the reload is a second one.
    await this.#query(`ALTER SYSTEM ${setting}`, deadline.leftMs);
    await this.#query('SELECT pg_reload_conf()', deadline.leftMs);
  }

  async #setting(name: string, deadline: Deadline): Promise<string> {
    const row = (await this.#query(`SELECT current_setting('${name}') AS value`, deadline.leftMs))[0]!;
    return row.value as string;
  }

  /**
   * A frozen primary leaves its standbys "streaming" until wal_receiver_timeout (60 s by default), and an idle one sends
   * nothing for 30 s: the two look the same. With a shorter wal_receiver_timeout, which the receiver takes up by itself
   * and at once, it asks the primary for a reply; a new message, or the end of the receiver, is the answer.
   */
  async confirmReceiving(timeoutMs: number): Promise<boolean> {
    const deadline = new Deadline(timeoutMs);
    const before = await this.#standby(deadline);
    if (!before.receiver) return false;
    const own = (
      await this.#query(
        `SELECT setting, sourcefile LIKE '%postgresql.auto.conf' AS altered,
           (SELECT extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 * 1000
              FROM pg_stat_wal_receiver) AS idle_ms
         FROM pg_settings WHERE name = 'wal_receiver_timeout'`,
        deadline.leftMs,
      )
    )[0]!;
    // Before version 16 both times count from the last message, not from the change: twice the silence pings at once.
    const idleMs = (own.idle_ms as number | null) ?? 0;
    const pingMs = Math.ceil(Math.max(PING_TIMEOUT_MS, idleMs * 2));
    try {
      await this.#alterSystem(
        `SET wal_receiver_timeout = ${await this.#pingTimeout(pingMs, deadline)}`,
        deadline,
      );
      while (!deadline.over) {
        const now = await this.#standby(deadline);
        if (!now.receiver) return false;
        if (now.lastMessage !== before.lastMessage || now.received.lsn > before.received.lsn) return true;
        await sleep(POLL_MS);
      }
      return false;
    } finally {
      const back =
        own.altered === true
          ? `SET wal_receiver_timeout = ${String(own.setting)}`
          : 'RESET wal_receiver_timeout';
      await this.#alterSystem(back, new Deadline(Math.max(1_000, deadline.leftMs)));
    }
  }

  async #pingTimeout(pingMs: number, deadline: Deadline): Promise<number> {
    const row = (
      await this.#query(`SELECT current_setting('server_version_num')::int AS version`, deadline.leftMs)
    )[0]!;
    return (row.version as number) >= 160000 ? PING_TIMEOUT_MS : pingMs;
  }

  /**
   * Points primary_conninfo at nowhere and waits until the receiver has gone. The startup process ends the receiver, and
   * it only does so between two records: a paused or delayed replay is let go for that.
   */
  async stopReceiving(timeoutMs: number): Promise<PostgresPosition> {
    const deadline = new Deadline(timeoutMs);
    const first = await this.#standby(deadline);
    const conninfo = await this.#setting('primary_conninfo', deadline);
    this.#upstreamBefore = upstreamOf(conninfo) ?? this.#upstreamBefore;
    await this.#alterSystem(
      `SET primary_conninfo = ${quoteLiteral(repoint(conninfo, NOWHERE, null))}`,
      deadline,
    );
    if (first.receiver) await this.#letReplayRun(first, deadline);
    let state = first;
    while (!deadline.over) {
      state = await this.#standby(deadline);
      if (!state.receiver) return state.received;
      await sleep(POLL_MS);
    }
    // The startup process is still busy with what it has; nothing came in meanwhile, so nothing is taken from anybody.
    if (state.received.lsn === first.received.lsn && state.lastMessage === first.lastMessage)
      return state.received;
    throw new Error(`the receiver has not stopped within ${timeoutMs} ms`);
  }

  async #letReplayRun(state: ReceiverState, deadline: Deadline): Promise<void> {
    if (state.paused) {
      await this.#query('SELECT pg_wal_replay_resume()', deadline.leftMs);
      this.#resumed = true;
    }
    const delay = await this.#setting('recovery_min_apply_delay', deadline);
    if (delay !== '0') {
      await this.#alterSystem('SET recovery_min_apply_delay = 0', deadline);
      this.#delayBefore ??= delay;
    }
  }

  /**
   * Replay has reached `position`, or everything complete that this node has: the last bytes received may be the first
   * part of a record whose rest never came, and no replay can end there.
   */
  async waitApplied(position: PostgresPosition, timeoutMs: number): Promise<string | null> {
    const deadline = new Deadline(timeoutMs);
    // What it answers last says what is missing: it gets a little longer for that.
    const answers = new Deadline(timeoutMs + 5_000);
    let state = await this.#standby(answers);
    if (!postgresPositions.covers(state.replayed, position)) await this.#letReplayRun(state, answers);
    let stillAt = -1;
    for (;;) {
      state = await this.#standby(answers);
      if (postgresPositions.covers(state.replayed, position)) return null;
      const finished = !state.receiver && state.starved && !state.paused;
      if (finished && stillAt === state.replayed.lsn && state.received.lsn >= position.lsn) return null;
      stillAt = finished ? state.replayed.lsn : -1;
      if (deadline.over) {
        const missing = postgresPositions.distance(state.replayed, position);
        return `${missing} bytes of WAL are not replayed after ${timeoutMs} ms`;
      }
      await sleep(POLL_MS);
    }
  }

  /**
   * primary_conninfo stays, pointing at nowhere: it keeps the replication account for the day on which this node becomes
   * a standby again, and a standby that is started by mistake receives nothing.
   */
  async promote(timeoutMs: number): Promise<void> {
    const deadline = new Deadline(timeoutMs);
    const state = await this.#state(deadline);
    if (state.inRecovery) {
      if (state.paused) await this.#query('SELECT pg_wal_replay_resume()', deadline.leftMs);
      await this.#query('SELECT pg_promote(false)', deadline.leftMs);
    }
    for (;;) {
      const row = (await this.#query('SELECT pg_is_in_recovery() AS in_recovery', deadline.leftMs))[0]!;
      if (row.in_recovery === false) break;
      if (deadline.over) throw new Error(`still in recovery ${timeoutMs} ms after pg_promote()`);
      await sleep(POLL_MS);
    }
    this.#resumed = false;
    if (this.#delayBefore !== null) {
      // Of no effect on a primary, and as it was before for the day on which this node is a standby again.
      await this.#alterSystem(
        `SET recovery_min_apply_delay = ${quoteLiteral(this.#delayBefore)}`,
        new Deadline(5_000),
      );
      this.#delayBefore = null;
    }
  }

  /** The address that the standby itself had: it may know its primary by another one than the proxy does. */
  resumeReceiving(upstream: NodeAddress, timeoutMs: number): Promise<void> {
    return this.follow(this.#upstreamBefore ?? upstream, timeoutMs);
  }

  /** Does not wait until WAL flows: the standby looks for its upstream every wal_retrieve_retry_interval (5 s). */
  async follow(primary: NodeAddress, timeoutMs: number): Promise<void> {
    const deadline = new Deadline(timeoutMs);
    await this.#standby(deadline);
    const conninfo = await this.#setting('primary_conninfo', deadline);
    if (conninfo === '') throw new Error('primary_conninfo is empty: the replication account is not known');
    const slot = await this.#setting('primary_slot_name', deadline);
    // Without its slot the new primary refuses to stream to this standby.
    if (slot !== '') await this.#createSlot(primary, slot, deadline);
    const current = upstreamOf(conninfo);
    if (current === null || current.host !== primary.host || current.port !== primary.port)
      await this.#alterSystem(
        `SET primary_conninfo = ${quoteLiteral(repoint(conninfo, primary.host, primary.port))}`,
        deadline,
      );
    if (this.#delayBefore !== null) {
      await this.#alterSystem(`SET recovery_min_apply_delay = ${quoteLiteral(this.#delayBefore)}`, deadline);
      this.#delayBefore = null;
    }
    if (this.#resumed) {
      await this.#query('SELECT pg_wal_replay_pause()', deadline.leftMs);
      this.#resumed = false;
    }
  }

  async #createSlot(primary: NodeAddress, slot: string, deadline: Deadline): Promise<void> {
    try {
      await this.#queryOn(
        primary,
        `SELECT pg_create_physical_replication_slot(${quoteLiteral(slot)})
         WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = ${quoteLiteral(slot)})`,
        deadline.leftMs,
      );
    } catch {
      // An old primary that does not answer, when a failover is undone; the slot is still there.
    }
  }
}
