// What turns a MySQL or MariaDB replica into a primary or points it at another one, as single steps.
// It is given a way to use a connection; it opens none and decides nothing.
//
// All of it turns on one thing: relay logs hold what has been received and not applied, and both servers throw them away easily.
// MySQL manual, CHANGE REPLICATION SOURCE TO: with both threads stopped it deletes the relay logs. MariaDB, START SLAVE with
// GTIDs: with both threads stopped it deletes them too, and asks the source again. When the source is dead that is a loss.

import type { NodeAddress } from '../protocol/node-control.js';
import type { Position } from '../protocol/position.js';
import { type ControlConnection, type Flavor, flavorOf } from './control-connection.js';
import { mysqlPositions } from './position.js';
import { type ReplicationStatus, readStatus, SHOW_STATUS } from './replication-status.js';

export type UseConnection = <T>(
  timeoutMs: number,
  work: (connection: ControlConnection) => Promise<T>,
) => Promise<T>;

const POLL_MS = 20;
/** A living source on the same network answers a new connection in a few milliseconds. */
const CONFIRM_MS = 2_000;

const WORDS = {
  mysql: { thing: 'REPLICA', executed: 'SELECT @@global.gtid_executed AS position' },
  mariadb: { thing: 'SLAVE', executed: 'SELECT @@global.gtid_slave_pos AS position' },
} as const;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const literal = (value: string): string => `'${value.replace(/[\\']/g, '\\$&')}'`;

/** One step on one connection, until its time is over. */
interface Step {
  readonly connection: ControlConnection;
  readonly flavor: Flavor;
  readonly endsAtMs: number;
  run(sql: string): Promise<void>;
  status(): Promise<ReplicationStatus>;
  applied(): Promise<Position>;
}

export class Promotion {
  readonly #use: UseConnection;
  /** What a step has changed for its own purpose, to be put back by a later one; null: nothing. */
  #delayBefore: number | null = null;
  /** MariaDB: its applier reads relay logs by file position, and GTIDs have to be turned on again by `follow`. */
  #withoutGtid = false;
  /** Whether its applier stood still by an operator's will, before a `follow` that did not get to its end; null: none. */
  #pausedBefore: boolean | null = null;

  constructor(use: UseConnection) {
    this.#use = use;
  }

  #step<T>(timeoutMs: number, work: (step: Step) => Promise<T>): Promise<T> {
    const endsAtMs = performance.now() + timeoutMs;
    return this.#use(timeoutMs, async (connection) => {
      const flavor = await flavorOf(connection);
      return work({
        connection,
        flavor,
        endsAtMs,
        run: async (sql) => {
          await connection.query(sql);
        },
        status: async () => {
          const status = readStatus(flavor, await connection.query(SHOW_STATUS[flavor]));
          if (status === null) throw new Error('the node is not a replica');
          return status;
        },
        applied: async () => {
          const row = (await connection.query(WORDS[flavor].executed))[0];
          return mysqlPositions.parse(String(row?.position ?? ''));
        },
      });
    });
  }

  /**
   * A frozen source leaves its replicas "running" for replica_net_timeout (60 s), and an idle one sends a heartbeat every 30 s:
   * the two look the same. A new connection tells them apart.
   */
  confirmReceiving(timeoutMs: number): Promise<boolean> {
    return this.#step(timeoutMs, async ({ run, status, flavor, endsAtMs }) => {
      const { thing } = WORDS[flavor];
      const before = await status();
      if (!before.receiving) return false;
      // MariaDB would throw away what a stopped applier has not applied; it is then taken at its word.
      if (flavor === 'mariadb' && !before.applying) return true;
      await run(`STOP ${thing} IO_THREAD`);
      await run(`START ${thing} IO_THREAD`);
      const until = Math.min(endsAtMs - POLL_MS, performance.now() + CONFIRM_MS);
      for (;;) {
        if ((await status()).receiving) return true;
        if (performance.now() >= until) return false;
        await sleep(POLL_MS);
      }
    });
  }

  stopReceiving(timeoutMs: number): Promise<Position> {
    return this.#step(timeoutMs, async (step) => {
      const { thing } = WORDS[step.flavor];
      const before = await step.status();
      if (step.flavor === 'mysql' && before.delaySeconds > 0) await this.#dropDelay(step, before);
      // MariaDB: an applier that stands still can only be started while the receiver runs, see above.
      if (step.flavor === 'mariadb' && !before.applying && before.receiverRuns && before.delaySeconds === 0)
        await step.run(`START ${thing} SQL_THREAD`);
      await step.run(`STOP ${thing} IO_THREAD`);
      const { received } = await step.status();
      return mysqlPositions.union(mysqlPositions.parse(received), await step.applied());
    });
  }

  /** MySQL changes the delay while the applier is stopped, and keeps the relay logs while the receiver is not. */
  async #dropDelay(step: Step, before: ReplicationStatus): Promise<void> {
    if (!before.receiverRuns) await step.run('START REPLICA IO_THREAD');
    await step.run('STOP REPLICA SQL_THREAD');
    await step.run('CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0');
    if (before.applying) await step.run('START REPLICA SQL_THREAD');
    this.#delayBefore ??= before.delaySeconds;
  }

  resumeReceiving(timeoutMs: number): Promise<void> {
    return this.#step(timeoutMs, async (step) => {
      // Only `follow` may turn GTIDs on again: it throws away relay logs that may be all there is.
      if (this.#withoutGtid)
        throw new Error('it goes on applying what it has received and follows as soon as there is a primary');
      const { thing } = WORDS[step.flavor];
      await step.run(`START ${thing} IO_THREAD`);
      if (this.#delayBefore === null || step.flavor === 'mariadb') return;
      const { applying } = await step.status();
      await step.run('STOP REPLICA SQL_THREAD');
      await step.run(`CHANGE REPLICATION SOURCE TO SOURCE_DELAY = ${this.#delayBefore}`);
      if (applying) await step.run('START REPLICA SQL_THREAD');
      this.#delayBefore = null;
    });
  }

  waitApplied(position: Position, timeoutMs: number): Promise<string | null> {
    // The poll ends by itself with what is missing; the connection gets a little longer than that.
    const endsAtMs = performance.now() + timeoutMs;
    return this.#step(timeoutMs + 5_000, async (step) => {
      let status = await step.status();
      if (!mysqlPositions.covers(await step.applied(), position)) {
        const why = await this.#letApplierRun(step, status);
        if (why !== null) return why;
      }
      for (;;) {
        const applied = await step.applied();
        if (mysqlPositions.covers(applied, position)) return null;
        const missing = mysqlPositions.distance(applied, position);
        status = await step.status();
        if (!status.applying && status.applierError !== null)
          return `the applier has stopped with ${missing} transactions to go: ${status.applierError}`;
        if (performance.now() >= endsAtMs)
          return `${missing} transactions are not applied after ${timeoutMs} ms`;
        await sleep(POLL_MS);
      }
    });
  }

  /** Why it cannot; null: it runs. */
  async #letApplierRun(step: Step, status: ReplicationStatus): Promise<string | null> {
    if (step.flavor === 'mysql') {
      if (!status.applying) await step.run('START REPLICA SQL_THREAD');
      return null;
    }
    if (status.applying && status.delaySeconds === 0) return null;
    // The delay only changes, and the applier only starts without losing its relay logs, by file position instead of GTID.
    await step.run('STOP SLAVE');
    const { relayLogFile, relayLogPos } = await step.status();
    const parallel = (await step.connection.query('SELECT @@global.slave_parallel_threads AS threads'))[0];
    if (Number(parallel?.threads) > 0)
      return 'slave_parallel_threads is on: its place in the relay log is not exact';
    this.#delayBefore ??= status.delaySeconds;
    this.#withoutGtid = true;
    await step.run(
      `CHANGE MASTER TO MASTER_USE_GTID = no, MASTER_DELAY = 0,
        RELAY_LOG_FILE = ${literal(relayLogFile)}, RELAY_LOG_POS = ${relayLogPos}`,
    );
    await step.run('START SLAVE SQL_THREAD');
    return null;
  }

  promote(timeoutMs: number): Promise<void> {
    return this.#step(timeoutMs, async ({ run, flavor, connection }) => {
      const { thing } = WORDS[flavor];
      await run(`STOP ${thing}`);
      await run(`RESET ${thing} ALL`);
      // In this order: super_read_only off leaves read_only on.
      if (flavor === 'mysql') await run('SET GLOBAL super_read_only = 0');
      await run('SET GLOBAL read_only = 0');
      const row = (await connection.query('SELECT @@global.read_only AS read_only'))[0];
      if (!['0', 'OFF'].includes(String(row?.read_only))) throw new Error('read_only cannot be turned off');
      this.#delayBefore = null;
      this.#withoutGtid = false;
    });
  }

  /** What is left in the relay logs is thrown away; the new primary, which has received the most, has all of it. */
  follow(primary: NodeAddress, timeoutMs: number): Promise<void> {
    return this.#step(timeoutMs, async (step) => {
      const { thing } = WORDS[step.flavor];
      const before = await step.status();
      // An operator's pause is not ended by this; MariaDB's applier must not be left behind an emptied relay log.
      this.#pausedBefore ??= !before.applying && before.applierError === null;
      const there = before.host === primary.host && before.port === primary.port && !this.#withoutGtid;
      if (!there) {
        await step.run(`STOP ${thing}`);
        await step.run(changeSource(step.flavor, primary, this.#delayBefore));
        this.#delayBefore = null;
        this.#withoutGtid = false;
      }
      await step.run(this.#pausedBefore ? `START ${thing} IO_THREAD` : `START ${thing}`);
      this.#pausedBefore = null;
    });
  }
}

/** User, password and TLS stay as they are when they are not named. */
function changeSource(flavor: Flavor, { host, port }: NodeAddress, delaySeconds: number | null): string {
  const delay =
    delaySeconds === null ? '' : `, ${flavor === 'mysql' ? 'SOURCE' : 'MASTER'}_DELAY = ${delaySeconds}`;
  if (flavor === 'mysql')
    return `CHANGE REPLICATION SOURCE TO SOURCE_HOST = ${literal(host)}, SOURCE_PORT = ${port}, SOURCE_AUTO_POSITION = 1${delay}`;
  return `CHANGE MASTER TO MASTER_HOST = ${literal(host)}, MASTER_PORT = ${port}, MASTER_USE_GTID = slave_pos${delay}`;
}
