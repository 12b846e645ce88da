// The position query that stands before units in one server connection's queue, and what it says about those behind it.
// It holds no socket and judges nothing but positions: what has been replayed when it answers, every unit behind it sees.

import { currentTurn } from '../lib/batched-writer.js';
import type { Position } from '../protocol/position.js';
import { postgresPosition, postgresPositions } from './position.js';
import { onlyValue } from './wire/backend.js';
import { buildQuery } from './wire/frontend.js';

/** Qualified: a search_path may put another function of that name before it. NULL on a node that never was a standby. */
export const GATE_QUERY = buildQuery('SELECT pg_catalog.pg_last_wal_replay_lsn()');

export class GateQuery {
  /** Null: not answered yet, or answered with nothing that can be compared. */
  have: Position | null = null;
  #isAnswered = false;
  readonly #turn = currentTurn();

  /** It leaves with what is written now, so that nothing asked later could say more. */
  get servesNow(): boolean {
    return !this.#isAnswered && this.#turn === currentTurn();
  }

  /** A DataRow; what it holds counts once the query has ended well. */
  row(buffer: Buffer, start: number, end: number): void {
    try {
      this.have = postgresPosition(onlyValue(buffer, start, end), 0);
    } catch {
      this.have = null;
    }
  }

  ended(failed: boolean): void {
    this.#isAnswered = true;
    if (failed) this.have = null;
  }
}

/** A unit that counts only when the query before it shows at least `want`. */
export interface Gate {
  readonly query: GateQuery;
  readonly want: Position;
  /** It begins a transaction, which is rolled back where its answer does not count. */
  readonly begins: boolean;
}

export function passes({ query, want }: Gate): boolean {
  return query.have !== null && postgresPositions.covers(query.have, want);
}
