// What the failover is given: the picture, the nodes, and a way to change the picture.
// Types only.

import type { Clock } from '../lib/clock.js';
import type { NodeControl } from '../protocol/node-control.js';
import type { PositionFunctions } from '../protocol/position.js';
import type { Audit } from './audit.js';
import type { ClusterConfig } from './config.js';
import type { Log } from './log.js';
import type { ClusterEvent } from './reducer.js';
import type { ClusterSnapshot } from './snapshot.js';

export interface FailoverOptions {
  readonly cluster: string;
  readonly config: () => ClusterConfig;
  readonly snapshot: () => ClusterSnapshot;
  readonly control: (name: string) => NodeControl | null;
  readonly dispatch: (event: ClusterEvent) => void;
  /** All nodes are probed at once. */
  readonly urge: () => void;
  readonly positions: PositionFunctions;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: Audit;
  /** Resolves once everybody who could write to a node has acted on the present snapshot; absent: they do at once. */
  readonly settled?: () => Promise<void>;
}
