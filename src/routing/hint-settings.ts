// What a statement's leading hint changes of the settings by which it is routed.
// A hint narrows or widens where a read may go; it never makes a read of anything else.

import type { Hint } from '../sql/statement.js';
import type { ConsistencyLevel } from './decide.js';

export interface RoutingSettings {
  readonly consistency: ConsistencyLevel;
  readonly maxLagMs: number;
  readonly splitReads: boolean;
}

const LEVELS: ReadonlySet<string> = new Set<ConsistencyLevel>(['eventual', 'session', 'primary']);

/**
 * `route=primary`, `consistency=eventual|session|primary`, `maxLagMs=<ms>`; anything else, and any value that cannot be
 * read, leaves the settings as they are: a comment must not break a statement.
 */
export function applyHint<Settings extends RoutingSettings>(settings: Settings, hint: Hint | null): Settings {
  if (hint === null) return settings;
  let { consistency, maxLagMs } = settings;
  const level = hint.get('consistency');
  if (level !== undefined && LEVELS.has(level)) consistency = level as ConsistencyLevel;
  const limit = hint.get('maxlagms');
  if (limit !== undefined && /^\d{1,9}$/.test(limit)) maxLagMs = Number(limit);
  if (hint.get('route') === 'primary') consistency = 'primary';
  return { ...settings, consistency, maxLagMs };
}
