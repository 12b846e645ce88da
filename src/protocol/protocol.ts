// The one object by which the proxy knows a protocol; its members are capabilities, so that nobody asks which protocol it is.
// Types only; built by src/postgres/protocol.ts and src/mysql/protocol.ts, chosen in src/proxy/compose.ts.

import type { Socket } from 'node:net';
import type { AuthMethod, AutoPrepareConfig, RoutingConfig } from '../config/schema.js';
import type { ClassificationStats } from '../sql/statement.js';
import type { ReportBug } from '../telemetry/bug.js';
import type { Log } from '../telemetry/log.js';
import type { ClientConnection, SessionHost } from './client-connection.js';
import type { Inspection, InspectionContext } from './inspection.js';
import type { NodeAddress, NodeControl, NodeControlOptions } from './node-control.js';
import type { PositionFunctions } from './position.js';
import type { Connect } from './server-connection.js';

/** Limits and settings of a listener that the protocol has to keep by itself. */
export interface ListenerSettings {
  readonly name: string;
  /** Milliseconds from accept to the end of the login. */
  readonly loginTimeoutMs: number;
  /** Bytes of one unit, or of one message. */
  readonly maxUnitBytes: number;
  /** Above this a statement is not classified: it goes to the primary. */
  readonly maxStatementBytesClassified: number;
  /** Bytes waiting for a slow client before the server connection is paused. */
  readonly maxClientBufferBytes: number;
  readonly hints: boolean;
  readonly auth: AuthMethod;
  /** Null; or the limit that this client is over: it is told so instead of a login (too-many-clients). */
  readonly full: number | null;
}

/** What one worker asks of another about a client that is there: a cancel key, a connection id. Plain data. */
export type PeerRequest = Readonly<Record<string, string | number | Uint8Array>>;

/** The workers of this proxy, of which this process is one. */
export interface Peers {
  /** This one's: from 0 to `count - 1`. */
  readonly index: number;
  readonly count: number;
  /** What the runtime of the same cluster answers there; null: that worker is not there now. Never rejects. */
  ask(index: number, request: PeerRequest): Promise<string | null>;
}

/** What clients of one cluster share, made once for each cluster and process; opaque to everybody else. */
export interface ProtocolRuntime {
  readonly connect: Connect;
  /** Takes over an accepted socket. */
  accept(socket: Socket, settings: ListenerSettings, host: (client: ClientConnection) => SessionHost): void;
  /**
   * Reads the catalogs of the primary; called after the start, on a period, after DDL and when `catalogWanted`.
   * `open` gives a control connection to one database of the primary ("" for none in particular), to be closed.
   */
  refreshCatalog(open: (database: string) => NodeControl, timeoutMs: number): Promise<void>;
  /** The schema has changed: until the next refresh nothing is concluded from the catalog. */
  forgetCatalog(): void;
  /** What the configuration says of functions and tables, or of statements to prepare, has changed. */
  reconfigure(routing: RoutingConfig, autoPrepare: AutoPrepareConfig): void;
  /** What a text of nobody in particular would be. */
  inspect(sql: Buffer, context: InspectionContext): Inspection;
  /** Another worker asks about a client that may be here. */
  answerPeer(request: PeerRequest): string | Promise<string>;
  /** The version text that clients are told, from the primary's probe. */
  serverVersion: string;
  /** Null: the protocol prepares nothing by itself. */
  readonly autoPrepareStats: AutoPrepareStats | null;
  /** BEGIN inside of a transaction commits that one and begins another; else it changes nothing. */
  readonly beginCommits: boolean;
  readonly classificationStats: Readonly<ClassificationStats>;
}

/** Counts since the start. */
export interface AutoPrepareStats {
  /** Executions bound to a statement that was there already. */
  hits: number;
  parses: number;
  /** Texts that were slower prepared. */
  takenOut: number;
}

export interface RuntimeOptions {
  readonly cluster: string;
  readonly log: Log;
  readonly bug: ReportBug;
  /** A catalog that has not been read yet is needed. */
  readonly catalogWanted: () => void;
  readonly routing: RoutingConfig;
  readonly autoPrepare: AutoPrepareConfig;
  /** Null: this process is the only one. */
  readonly peers: Peers | null;
}

export interface Protocol {
  readonly name: 'postgres' | 'mysql';
  readonly positions: PositionFunctions;
  createControl(address: NodeAddress, options: NodeControlOptions): NodeControl;
  createRuntime(options: RuntimeOptions): ProtocolRuntime;
}
