// Builds events and snapshots for the table tests: a cluster in a few words.

import type { ClusterNodeConfig } from '../../src/cluster/config.js';
import { type ClusterEvent, emptySnapshot, reduce } from '../../src/cluster/reducer.js';
import type { ClusterSnapshot } from '../../src/cluster/snapshot.js';
import { postgresPosition } from '../../src/postgres/position.js';
import type { ProbeFailureKind, ProbeReading } from '../../src/protocol/node-control.js';

export const rules = { downAfterProbes: 3 };

export const nodeConfig = (name: string, extra: Partial<ClusterNodeConfig> = {}): ClusterNodeConfig => ({
  name,
  host: name,
  port: 5432,
  weight: 1,
  tags: {},
  mode: 'online',
  ...extra,
});

export interface Says {
  readonly timeline?: number;
  readonly writable?: boolean;
  /** Node name that it replicates from; any other text is a host that is no node. */
  readonly from?: string;
  readonly receiving?: boolean;
  readonly at?: string;
  readonly message?: string;
  readonly serverId?: string;
}

function reading(role: 'primary' | 'replica', says: Says, nowMs: number): ProbeReading {
  const timeline = says.timeline ?? 1;
  const position = postgresPosition(says.at ?? '0/100', timeline);
  return {
    sentAtMs: nowMs,
    answeredAtMs: nowMs,
    role,
    writable: says.writable ?? role === 'primary',
    applied: position,
    received: position,
    upstream:
      role === 'primary'
        ? null
        : {
            address: says.from === undefined ? null : { host: says.from, port: 5432 },
            receiving: says.receiving ?? says.from !== undefined,
            applying: true,
            lastError: null,
            secondsBehind: null,
            lastMessage: says.message ?? null,
          },
    timeline,
    serverId: says.serverId ?? 'system',
    version: '18.0',
  };
}

/** Folds events; each comes one millisecond after the one before. */
export class Picture {
  snapshot: ClusterSnapshot;
  nowMs = 1_000;

  constructor(nodes: readonly ClusterNodeConfig[]) {
    this.snapshot = emptySnapshot('test', this.nowMs);
    this.configure(nodes);
  }

  configure(nodes: readonly ClusterNodeConfig[]): this {
    return this.event((nowMs) => ({ type: 'configured', nodes, nowMs }));
  }

  event(make: (nowMs: number) => ClusterEvent): this {
    this.snapshot = reduce(this.snapshot, make(++this.nowMs), rules);
    return this;
  }

  primary(node: string, says: Says = {}): this {
    return this.answer(node, 'primary', says);
  }

  replica(node: string, says: Says = {}): this {
    return this.answer(node, 'replica', says);
  }

  answer(node: string, role: 'primary' | 'replica', says: Says): this {
    return this.event((nowMs) => ({
      type: 'answered',
      node,
      reading: reading(role, says, nowMs),
      lagMs: 0,
      lagDistance: 0,
      nowMs,
    }));
  }

  fails(node: string, kind: ProbeFailureKind = 'refused', times = 1): this {
    for (let i = 0; i < times; i++)
      this.event((nowMs) => ({ type: 'failed', node, kind, message: kind, sentAtMs: nowMs, nowMs }));
    return this;
  }

  later(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  node(name: string) {
    const node = this.snapshot.nodes.find((candidate) => candidate.name === name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }
}

/** a is the primary, b and c follow it. */
export const healthy = (): Picture =>
  new Picture([nodeConfig('a'), nodeConfig('b'), nodeConfig('c')])
    .primary('a')
    .replica('b', { from: 'a' })
    .replica('c', { from: 'a' });
