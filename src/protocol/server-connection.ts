// A connection of the proxy to a node, as the pool and the session see it; implemented by each protocol.
// Types only; the pool never looks into a protocol, and a server connection knows neither pool nor session.

import type { ProxyError } from '../lib/errors.js';
import type { Credential } from './credential.js';

/** What two clients must have in common to use the same server connection one after the other. */
export interface PoolKey {
  readonly user: string;
  readonly database: string;
  /** Protocol capabilities that change the answers; "" where there are none. */
  readonly variant: string;
  /** Absent: not known. */
  readonly standing?: Standing;
}

/**
 * What a server gives to a login of this user and database beside what it asks for: who that is, whether it may, and with which
 * settings it begins. A session that began with one may not be given a server connection that began with another.
 */
export interface Standing {
  /** Two are the same if and only if this is. */
  readonly text: string;
  /** Session variables with which a login begins, where they can be set on a server connection that began with others. */
  readonly variables: readonly (readonly [name: string, value: string])[];
}

export interface ServerConnection {
  /** Unique in the process. */
  readonly id: number;
  readonly node: string;
  /** Another one once a connection without a database (MySQL) has been given one. */
  readonly key: PoolKey;
  /** Digest of the tracked session state that it carries; `` is the state after login. */
  readonly stateDigest: string;
  /**
   * True when the next client may have it: no reply is expected, no transaction is open, nothing of the
   * last client is left that is not tracked.
   */
  readonly reusable: boolean;
  readonly closed: boolean;
  /** Milliseconds of the monotonic clock. */
  readonly openedAtMs: number;
  /** Since it was opened, for the metrics. */
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Stop and go on reading from the node, for a client that reads slowly. */
  pauseReading(): void;
  resumeReading(): void;
  /** Asks the node, on another connection, to cancel what runs here. Never rejects. */
  cancel(): Promise<void>;
  /** Ends it; safe to call again. `reason` goes to the log. */
  close(reason: string): void;
  /** Units under way on it, of whatever clients, with the proxy's own statements. */
  readonly depth: number;
  /** For how long the unit at the head has been there; 0 when nothing is under way. */
  headAgeMs(nowMs: number): number;
  /** The client of the unit at the head does not wait for it any more. */
  readonly headIsAbandoned: boolean;
  /** Another client's unit may be queued behind what is under way. */
  readonly acceptsMore: boolean;
  /**
   * Every run behind the head of which nothing has been forwarded ends as `moved`; what is still answered to it is
   * dropped.
   */
  evacuate(): void;
  /** Called whenever nothing is under way any more; set by the pool while it is shared. */
  onDrained: (() => void) | null;
  /**
   * Called once, when it has ended for whatever reason; set by the pool. `bug`: that is an error of ours, and who has it may never
   * be told otherwise.
   */
  onClosed: ((reason: string, bug: ProxyError | null) => void) | null;
}

export interface ConnectRequest {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly key: PoolKey;
  readonly credential: Credential;
  readonly timeoutMs: number;
}

/** Opens server connections and logs them in; rejects with ProxyError. */
export type Connect = (request: ConnectRequest) => Promise<ServerConnection>;
