// Positions in a cluster's history, as the protocol-agnostic parts see them: opaque, compared only by their protocol's functions.
// Types only.

/**
 * A point in one cluster's history: PostgreSQL (timeline, LSN), MySQL GTID set, MariaDB GTID position.
 * Each protocol extends it with what it compares; `text` is for people, logs and the API.
 */
export interface Position {
  readonly text: string;
}

export interface PositionFunctions {
  /** From the text that a server gives; throws TypeError on anything else. */
  parse(text: string): Position;
  /** Does a node that has `have` see everything that `want` names? */
  covers(have: Position, want: Position): boolean;
  /**
   * Whether both lie on one history, as far as can be told: only then does a node at the one come to the other by going on.
   */
  related(a: Position, b: Position): boolean;
  /** The least position that covers both. */
  union(a: Position, b: Position): Position;
  /** How much of `want` is not in `have`: bytes of WAL (PostgreSQL) or transactions (MySQL, MariaDB); 0 when covered. */
  distance(have: Position, want: Position): number;
  /**
   * How much a node has that a primary whose position was read later cannot have given it (errant history); 0: none that
   * can be told. Not the same as `distance(primary, node)`: a standby that still is on the primary's former timeline is behind.
   */
  ahead(node: Position, primary: Position): number;
  readonly distanceUnit: 'bytes' | 'transactions';
}
