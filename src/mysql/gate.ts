// The position query that stands before units in one server connection's queue, and what it says about those behind it.
// It holds no socket and judges nothing but positions: what has been applied when it answers, every unit behind it sees.

import { currentTurn } from '../lib/batched-writer.js';
import type { Position } from '../protocol/position.js';
import type { ExecuteOptions } from '../protocol/unit.js';
import type { OwnResult } from './expectation.js';
import { mysqlPositions } from './position.js';
import type { MysqlUnit } from './unit.js';
import { PacketReader } from './wire/bytes.js';

/** Global variables: nothing of the session that the client could ask for is changed by reading them. */
export const GATE_SQL = {
  mysql: 'SELECT @@global.gtid_executed',
  mariadb: 'SELECT @@global.gtid_slave_pos',
} as const;

export class GateQuery {
  /** Null: not answered yet, or answered with nothing that can be compared. */
  have: Position | null = null;
  #isAnswered = false;
  readonly #turn = currentTurn();

  /** It leaves with what is written now, so that nothing asked later could say more. */
  get servesNow(): boolean {
    return !this.#isAnswered && this.#turn === currentTurn();
  }

  answered({ error, rows }: OwnResult): void {
    this.#isAnswered = true;
    const row = rows[0];
    if (error !== null || row === undefined) return;
    try {
      this.have = mysqlPositions.parse(new PacketReader(row).lenencText());
    } catch {
      // In a character set of more than one byte, or NULL: not told.
    }
  }
}

/** A unit that counts only when the query before it shows at least `want`. */
export class Gate {
  readonly want: Position;
  /** It begins a transaction, which is rolled back where its answer does not count. */
  readonly begins: boolean;
  /** From the time when the unit is written. */
  query: GateQuery | null = null;

  constructor(want: Position, begins: boolean) {
    this.want = want;
    this.begins = begins;
  }

  get passes(): boolean {
    const have = this.query?.have ?? null;
    return have !== null && mysqlPositions.covers(have, this.want);
  }
}

export function gateOf(unit: MysqlUnit, { gate }: ExecuteOptions): Gate | null {
  return gate === null ? null : new Gate(gate, unit.statement.transaction?.kind === 'begin');
}
