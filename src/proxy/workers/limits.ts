// Which limits hold over all workers, by their keys in messages, and how high each is by the configuration.
// It shares nothing out.

import type { ClusterConfig, Config } from '../../config/schema.js';

export type LimitName =
  | { readonly of: 'clients'; readonly listener: string }
  /** Server connections to a node. */
  | { readonly of: 'node'; readonly cluster: string; readonly node: string }
  | { readonly of: 'user'; readonly cluster: string; readonly node: string; readonly user: string };

export function limitKey(name: LimitName): string {
  switch (name.of) {
    case 'clients':
      return JSON.stringify([name.of, name.listener]);
    case 'node':
      return JSON.stringify([name.of, name.cluster, name.node]);
    case 'user':
      return JSON.stringify([name.of, name.cluster, name.node, name.user]);
  }
}

/** Null: the configuration has no such limit (any more). */
export function limitOf(key: string, config: Config): number | null {
  const [of, first, node, user] = JSON.parse(key) as string[];
  if (of === 'clients') return config.listeners.find(({ name }) => name === first)?.maxClients ?? null;
  const cluster = config.clusters.find(({ name }) => name === first);
  if (cluster === undefined || !cluster.nodes.some(({ name }) => name === node)) return null;
  if (of === 'node') return cluster.pool.maxServerConnections;
  return limitsByUser(cluster).get(user ?? '') ?? null;
}

export function holdsClients(key: string): boolean {
  return (JSON.parse(key) as string[])[0] === 'clients';
}

export function limitsByUser(cluster: ClusterConfig): Map<string, number> {
  const limits = new Map<string, number>();
  for (const user of cluster.users ?? []) {
    if (user.maxServerConnections !== null) limits.set(user.name, user.maxServerConnections);
  }
  return limits;
}

/** Those that are shared out from the start; a user's is once somebody of that name comes. */
export function firstLimits(config: Config): string[] {
  const keys = config.listeners.map(({ name }) => limitKey({ of: 'clients', listener: name }));
  for (const { name: cluster, nodes } of config.clusters)
    for (const { name: node } of nodes) keys.push(limitKey({ of: 'node', cluster, node }));
  return keys;
}
