// What a listener, a user or a rule says of preparing statements that recur, in place of its cluster.

/** Null, each: as the cluster. */
export interface AutoPrepareChoice {
  readonly enabled: boolean | null;
  /** How often a text must have come. */
  readonly threshold: number | null;
  /** On one server connection, of those who are bound by as many or fewer. */
  readonly maxStatements: number | null;
}
