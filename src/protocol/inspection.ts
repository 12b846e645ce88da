// What an operator may know of a client connection, and of a text as this protocol reads it; it changes nothing.
// Types only.

import type { Unit } from './unit.js';

export interface ClientFacts {
  /** By which its own driver knows it: the process id of the cancel key, the connection id; 0 before there is one. */
  readonly id: number;
  /** `host:port` of the client; "" when it has gone. */
  readonly address: string;
  /** Settings of its session that decide how its texts are read and where they go. */
  readonly settings: Readonly<Record<string, string>>;
  /** Names of further settings that are repeated on each server connection; their values may be anything, and are not told. */
  readonly tracked: readonly string[];
}

export interface Inspection {
  readonly unit: Unit;
  /** Whether the same text, recurring without a name, is prepared by the proxy; null: this protocol prepares nothing by itself. */
  readonly autoPrepare: { readonly would: boolean; readonly why: string } | null;
  /** What the reader should know of how this was found out. */
  readonly notes: readonly string[];
}

/** For a text of nobody in particular. */
export interface InspectionContext {
  /** Null: not said. */
  readonly database: string | null;
  readonly hints: boolean;
  readonly maxStatementBytesClassified: number;
}
