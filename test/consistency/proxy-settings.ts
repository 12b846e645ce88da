// What the proxies of a run have in their configuration beside the nodes. It is written as a user would write it, and what
// the proxy does not know it refuses by itself.

import type { Address } from '../e2e/driver.js';
import type { ProxyChanges } from '../storm/proxy.js';
import type { Level } from './history.js';

/** Whose reads and writes belong together: those of a client connection, or those that name the same key in a comment. */
export type Scope = 'connection' | 'key';

export interface ProxySettings {
  readonly level: Level;
  readonly scope: Scope;
}

export function proxyChanges(
  { level, scope }: ProxySettings,
  index: number,
  redis: Address | null,
): ProxyChanges {
  return {
    cluster: {
      consistency: { level, ...(scope === 'connection' ? {} : { scope: 'comment' }) },
      routing: { readFunctions: ['node_port'] },
      // Two that decide would be one too many: the others see what the first has done.
      failover: index === 0 ? { mode: 'automatic', blockMs: 0 } : { mode: 'off' },
      ...(redis === null
        ? {}
        : { redis: { nodes: [{ host: redis.host, port: redis.port }], member: `proxy${index}` } }),
    },
  };
}
