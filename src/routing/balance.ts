// How reads are spread over the nodes that may take them: from the configuration's words to a policy.
// It knows no session and no statement; load, latency and time come in as functions.

import { Latencies } from './balance/latency.js';
import { LeastOutstanding, PeakEwma } from './balance/least-cost.js';
import type { Policy } from './balance/policy.js';
import { type PreferenceSettings, Preferences } from './balance/preferences.js';
import { Smooth } from './balance/smooth.js';

export { ByTurns } from './balance/by-turns.js';
export { Latencies } from './balance/latency.js';
export type { BalanceNode, Balancer, Policy } from './balance/policy.js';

export type BalancePolicy = 'round-robin' | 'weighted' | 'least-outstanding' | 'peak-ewma';

export interface BalanceOptions extends PreferenceSettings {
  /** What `peak-ewma` goes by. */
  readonly latencies: Latencies;
}

/** Everything as near and as warm as anything else. */
const PLAIN: BalanceOptions = {
  locality: null,
  slowStartMs: 0,
  nowMs: () => 0,
  latencies: new Latencies(1),
};

/** `outstanding`: units that the node has under way or waiting. */
export function createBalancer(
  policy: BalancePolicy,
  outstanding: (node: string) => number,
  options: BalanceOptions = PLAIN,
): Policy {
  return new Preferences(createPolicy(policy, outstanding, options), options);
}

function createPolicy(
  policy: BalancePolicy,
  outstanding: (node: string) => number,
  { latencies, nowMs }: BalanceOptions,
): Policy {
  switch (policy) {
    case 'round-robin':
      return new Smooth(() => 1);
    case 'weighted':
      return new Smooth(({ weight }) => Math.max(weight, 1));
    case 'least-outstanding':
      return new LeastOutstanding(outstanding);
    case 'peak-ewma':
      return new PeakEwma(outstanding, latencies, nowMs);
  }
}
