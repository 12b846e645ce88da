// Tells who waits for a server connection what has become of that. What throws there is a bug in what he makes of it, and must not
// take the others' turn away. It knows no pool.

import type { ProxyError } from '../lib/errors.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { PoolWaiter } from './waiter.js';

/** It has thrown when it was told. */
export type Broke = (waiter: PoolWaiter, cause: unknown) => void;

export function grant(waiter: PoolWaiter, server: ServerConnection, broke: Broke): void {
  try {
    waiter.granted(server);
  } catch (cause) {
    broke(waiter, cause);
  }
}

export function grantShared(waiter: PoolWaiter, server: ServerConnection, broke: Broke): void {
  try {
    waiter.grantedShared(server);
  } catch (cause) {
    broke(waiter, cause);
  }
}

export function refuse(waiter: PoolWaiter, error: ProxyError, broke: Broke): void {
  try {
    waiter.refused(error);
  } catch (cause) {
    broke(waiter, cause);
  }
}
