// The tables that a history is made on, and the statements about them: registers that count their writes, and lists of values.
// It opens no connection. Lists are filled up to a length and then left for new ones, so that reading them stays cheap.

import type { Kind } from '../servers/available.js';
import type { Row } from '../servers/cluster.js';
import type { ListRead, RegisterRead } from './history.js';

export const LIST_LENGTH = 30;
/** Of a list's number: its slot times this, plus how many lists of the slot were filled before. */
const GENERATIONS = 1_000_000;

export function tables(kind: Kind, registers: number): string[] {
  const rows = Array.from({ length: registers }, (_, i) => `(${i + 1}, 0, '')`).join();
  const text = kind === 'postgres' ? 'text' : 'varchar(4000)';
  return [
    `CREATE TABLE registers (id int PRIMARY KEY, version int NOT NULL, value varchar(40) NOT NULL)`,
    `INSERT INTO registers VALUES ${rows}`,
    `CREATE TABLE lists (id int PRIMARY KEY, items ${text} NOT NULL)`,
    // Where a statement ran is the server's own answer.
    kind === 'postgres'
      ? `CREATE FUNCTION node_port() RETURNS int STABLE LANGUAGE sql AS 'SELECT inet_server_port()'`
      : 'CREATE FUNCTION node_port() RETURNS INT NOT DETERMINISTIC NO SQL RETURN @@port',
    ...(kind === 'postgres' ? ['GRANT ALL ON registers, lists TO PUBLIC'] : []),
  ];
}

/** `?` stands for a value. */
export interface Statements {
  readonly readRegister: string;
  readonly readList: string;
  readonly write: string;
  /** The same, which answers the depth that it has made; null where the server cannot. */
  readonly writeTelling: string | null;
  readonly append: string;
  readonly beginReadOnly: string;
}

export function statementsOf(kind: Kind): Statements {
  const write = 'UPDATE registers SET version = version + 1, value = ? WHERE id = ?';
  const isPostgres = kind === 'postgres';
  return {
    readRegister: 'SELECT version, value, node_port() AS port FROM registers WHERE id = ?',
    readList: 'SELECT items, node_port() AS port FROM lists WHERE id = ?',
    write,
    writeTelling: isPostgres ? `${write} RETURNING version` : null,
    append: isPostgres
      ? "INSERT INTO lists VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET items = lists.items || ',' || EXCLUDED.items"
      : "INSERT INTO lists VALUES (?, ?) ON DUPLICATE KEY UPDATE items = CONCAT(items, ',', VALUES(items))",
    beginReadOnly: isPostgres ? 'BEGIN READ ONLY' : 'START TRANSACTION READ ONLY',
  };
}

export const ALL_REGISTERS = 'SELECT id, version, value FROM registers';
export const ALL_LISTS = 'SELECT id, items FROM lists';

export function registerStep(id: number, row: Row | undefined): RegisterRead {
  const value = String(row?.value ?? '');
  return ['r', `r${id}`, Number(row?.version ?? 0), value === '' ? null : value];
}

export function listStep(id: number, row: Row | undefined): ListRead {
  return ['l', `l${id}`, String(row?.items ?? '')];
}

/** Which list of a slot is being filled; shared by all sessions. */
export class ListSlots {
  readonly #generations: number[];

  constructor(slots: number) {
    this.#generations = Array.from({ length: slots }, () => 0);
  }

  id(slot: number): number {
    return (slot + 1) * GENERATIONS + this.#generations[slot]!;
  }

  /** Somebody has read that many values in it. */
  filled(id: number, length: number): void {
    const slot = Math.floor(id / GENERATIONS) - 1;
    if (length >= LIST_LENGTH && this.id(slot) === id) this.#generations[slot]!++;
  }

  get count(): number {
    return this.#generations.length;
  }
}
