// What processes that serve the same keys tell each other of them: the contract between sessions and whatever carries it.
// Types only. Without a store, the watermarks of one process (keyed-watermarks.ts) are all there is.

/**
 * A position as it stands in a store. `primary`: the node that was the primary then; where it is another one now, the position may
 * name what was lost, and what the primary has now takes its place.
 */
export interface SharedPosition {
  readonly primary: string;
  readonly text: string;
}

/** A position that could not be asked for: no node has this name, so whoever reads it owes one of its own. */
export const UNKNOWN_POSITION: SharedPosition = { primary: '', text: '' };

export type FloorAnswer =
  /** All that other processes have let the key see; none: the key is known, and only this process has used it. */
  | { readonly kind: 'floor'; readonly positions: readonly SharedPosition[] }
  /** The key is not known: all that the primary has now is owed. */
  | { readonly kind: 'unknown' }
  /** What is there cannot be trusted, or was not told in time: the primary. */
  | { readonly kind: 'doubt'; readonly why: string };

export interface WatermarkStore {
  /** Before a read of the key is routed. Calls back exactly once, within a bound of the store's own. */
  read(key: string, callback: (answer: FloorAnswer) => void): void;
  /**
   * `position` covers all that this process has let the key see. Once `settled` has been called, and not before, the client
   * may be told: every process that is asked for the key later knows of it, or is in doubt. Exactly once, within a bound.
   * Called back with the store's incarnation that has it; null: none has.
   */
  write(key: string, position: SharedPosition, settled: (incarnation: string | null) => void): void;
  /** Changes when what has been written may be lost: it has to be written again. */
  readonly incarnation: string;
}
