// A pool key as one text, by which connections and waiters are compared.
// It knows neither.

import type { PoolKey } from '../protocol/server-connection.js';

const keyTextCache = new WeakMap<PoolKey, string>();

export function keyTextOf(key: PoolKey): string {
  let text = keyTextCache.get(key);
  if (text === undefined) {
    text = JSON.stringify([key.user, key.database, key.variant, key.standing?.text ?? '']);
    keyTextCache.set(key, text);
  }
  return text;
}
