// Where the answers about a session's last statement are to be had: SHOW WARNINGS, FOUND_ROWS(), ROW_COUNT().
// It knows no client.

import type { PoolWaiter } from '../pool/node-pool.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { Unit } from '../protocol/unit.js';

export class LastStatement {
  /** It was given back behind the last statement: the answers are there, if nobody has used it since. */
  server: ServerConnection | null = null;
  /** A read, which can be repeated on any server connection to be asked about there. */
  read: Unit | null = null;
  #isLost = false;
  /** What `read` was before its server connection was taken back. */
  #readThere: Unit | null = null;

  /** There was one, and neither of the two leads to it. */
  get isGone(): boolean {
    return this.#isLost || this.server !== null;
  }

  ran(unit: Unit, isRepeatable: boolean): void {
    if (unit.leavesLast) return;
    const before = this.read ?? this.#readThere;
    this.server = null;
    this.#readThere = null;
    if (isRepeatable) unit.keep?.();
    this.read = isRepeatable ? unit : unit.asksLast && unit.keepsLast === true ? before : null;
    this.#isLost = false;
  }

  givenBack(server: ServerConnection, unit: Unit): void {
    if (!unit.leavesLast) this.server = server;
  }

  /** The session has that server connection again, or the statement has had an answer of the proxy's own. */
  lost(): void {
    this.server = null;
    this.read = null;
    this.#readThere = null;
    this.#isLost = true;
  }

  /** The server connection that it ran on, for `owner` alone again; null: somebody else has had it. */
  takeBack(
    cluster: {
      pool(node: string): { reclaim(server: ServerConnection, owner: PoolWaiter): boolean } | null;
    },
    owner: PoolWaiter,
  ): ServerConnection | null {
    const { server } = this;
    if (server === null || server.closed) return null;
    if (cluster.pool(server.node)?.reclaim(server, owner) !== true) return null;
    const { read } = this;
    this.lost();
    this.#readThere = read;
    return server;
  }

  /** What has to be repeated for this unit, if anything. */
  repeatedFor(unit: Unit): Unit | null {
    const { route, transaction } = unit.statement;
    return route === 'last' && transaction === null ? this.read : null;
  }
}
