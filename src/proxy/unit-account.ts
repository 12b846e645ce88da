// Books a unit that has ended on the record of its shape: how long it was where, what it brought, how it ended.
// It decides nothing and keeps nothing but the numbers.

import { monotonicMs } from '../lib/clock.js';
import type { Outcome, Unit } from '../protocol/unit.js';
import type { StatementRecord } from '../telemetry/statements.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import type { Phase } from './session-phase.js';
import { learnCost } from './shape-costs.js';

/** Of a unit that could not run at once. */
export interface Delays {
  waitMs: number;
  holdMs: number;
  sinceMs: number;
}

/** Called at each change of phase where one of the two is a wait; most units have none. */
export function delayed(delays: Delays | null, from: Phase, to: Phase): Delays | null {
  if (to === 'idle' || to === 'closed' || to === 'login') return delays;
  const now = monotonicMs();
  const sum = delays ?? { waitMs: 0, holdMs: 0, sinceMs: now };
  addDelay(sum, from, now);
  return sum;
}

function addDelay(delays: Delays, phase: Phase, now: number): void {
  if (phase === 'waiting') delays.waitMs += now - delays.sinceMs;
  else if (phase === 'held') delays.holdMs += now - delays.sinceMs;
  delays.sinceMs = now;
}

/** Shown in place of a shape: calls by number, texts too long to be looked at, batches without a statement. */
const NO_SHAPE = '(not classified)';

function recordOf(cluster: ClusterRuntime, unit: Unit): StatementRecord {
  return cluster.statements.obtain(unit.shape === '' ? NO_SHAPE : unit.shape);
}

export function bookAnswered(
  cluster: ClusterRuntime,
  unit: Unit,
  at: { readonly node: string; readonly onReplica: boolean; readonly submittedMs: number },
  delays: Delays | null,
  outcome: Extract<Outcome, { kind: 'answered' }>,
): void {
  const { serviceMs, replyBytes } = outcome;
  const record = recordOf(cluster, unit);
  // What one of several took nobody knows: a kind that has become slow would be taken for cheap among others that are.
  if (outcome.isShare === true) cluster.nodeCounters(at.node).groupedUnits++;
  else if (unit.shareable && (!unit.onlyPrepares || record.costMs < 0)) {
    cluster.noteService(at.node, serviceMs, record.costMs < 0 ? null : record.costMs);
    learnCost(record, serviceMs, replyBytes);
  }
  record.calls++;
  record.rows += outcome.rows;
  record.bytes += replyBytes;
  record.nodeMs += serviceMs;
  if (serviceMs > record.maxNodeMs) record.maxNodeMs = serviceMs;
  if (outcome.error !== null) record.errors++;
  cluster.statements.countNode(record, at.node, at.onReplica);
  bookProxyTime(record, monotonicMs() - at.submittedMs - serviceMs, delays);
}

/** The proxy itself has answered it, with an error. */
export function bookFailed(
  cluster: ClusterRuntime,
  unit: Unit,
  submittedMs: number,
  delays: Delays | null,
  phase: Phase,
): void {
  const now = monotonicMs();
  const record = recordOf(cluster, unit);
  record.calls++;
  record.errors++;
  // Cancelled while others waited behind it: what only ever ends so would be taken for short for ever.
  if (phase === 'running' && unit.shareable && now - submittedMs > record.costMs && record.costMs >= 0)
    learnCost(record, now - submittedMs, 0);
  if (delays !== null) addDelay(delays, phase, now);
  bookProxyTime(record, now - submittedMs, delays);
}

function bookProxyTime(record: StatementRecord, proxyMs: number, delays: Delays | null): void {
  let queueMs = proxyMs;
  if (delays !== null) {
    record.waitMs += delays.waitMs;
    record.holdMs += delays.holdMs;
    queueMs -= delays.waitMs + delays.holdMs;
  }
  if (queueMs > 0) record.queueMs += queueMs;
}
