// What a pool may use, and what somebody who waits for a server connection of it is told.
// Types only.

import type { ProxyError } from '../lib/errors.js';
import type { Credential } from '../protocol/credential.js';
import type { NodeAddress } from '../protocol/node-control.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type { SharingLimits } from './shared-connections.js';

export interface PoolLimits {
  /** Server connections of this node, of all users and databases together. */
  maxServerConnections: number;
  /** Units waiting for one. */
  maxWaiting: number;
  /** Milliseconds a unit waits for one. */
  waitTimeoutMs: number;
  /** Milliseconds after which an unused one is closed. */
  idleTimeoutMs: number;
  /** Milliseconds after which one is closed when it comes back. */
  maxLifetimeMs: number;
  connectTimeoutMs: number;
  sharing: SharingLimits;
  /** Server connections of this node for single users. */
  maxByUser?: { get(user: string): number | undefined };
}

/** Where it is, by which name. */
export interface PoolNode extends NodeAddress {
  readonly name: string;
}

/** Somebody who wants a server connection, and then has it. */
export interface PoolWaiter {
  /** Exactly one of the two is called after `acquire` answered null, unless `withdraw` came first. */
  granted(server: ServerConnection): void;
  refused(error: ProxyError): void;
  /** It may ask its last connection about its last statement (`reclaim`): others leave that one to it while they can. */
  readonly asksBack?: boolean;
  /** It is one of those others. */
  readonly leavesAsked?: boolean;
  /**
   * It would also take a connection on which others' units are under way: how long its own usually is at the head there,
   * in milliseconds. Negative: it would not.
   */
  readonly sharedMs: number;
  /** In place of `granted`, when it would share: the connection is not its own. */
  grantedShared(server: ServerConnection): void;
  /** The server connection that it has ended by itself; it is no longer the waiter's. */
  lost(server: ServerConnection, reason: string): void;
  /** An error of ours: nothing more is to be hoped for. */
  terminate(error: ProxyError): void;
}

/** As whom a server connection is opened. */
export interface Login {
  readonly keyText: string;
  readonly key: PoolKey;
  readonly credential: Credential;
}

/** One who waits. */
export interface Wait extends Login {
  readonly waiter: PoolWaiter;
  readonly stateDigest: string;
  readonly sinceMs: number;
}
