// The run of a unit, as its client wants it to be answered.
// It opens no socket.

import type { ExecuteOptions } from '../protocol/unit.js';
import type { Gate } from './gate.js';
import type { HeldBegin } from './held-begin.js';
import type { ReplySink, Run } from './run.js';
import type { PostgresUnit } from './unit.js';
import type { WrittenUnit } from './write-unit.js';

/** `begin`: goes in front of it. `isApart`: it does not leave with others, whatever it is. */
export function newRun(
  sink: ReplySink,
  unit: PostgresUnit,
  options: ExecuteOptions,
  { steps, isStandIn, healUntil }: WrittenUnit,
  begin: HeldBegin | null,
  gate: Gate | null,
  isApart: boolean,
  { heal, done }: Pick<Run, 'heal' | 'done'>,
): Run {
  return {
    sink,
    steps,
    beginLength: begin !== null && unit.kind === 'simple' ? begin.length : 0,
    isBehindBegin: begin !== null,
    withhold: options.withholdRetryable && !unit.open,
    onReplica: options.onReplica,
    isShared: options.isShared,
    maxGroup:
      !isApart && options.withholdRetryable && (isStandIn || mayBeGrouped(unit)) ? options.maxGroup : 1,
    gate,
    isSimple: unit.kind === 'simple' && !isStandIn,
    isStandIn,
    isOpen: unit.open,
    options,
    healUntil,
    heal,
    serviceMs: 0,
    done,
  };
}

/** It uses no portal but those that it binds: others' would be there too. */
function mayBeGrouped(unit: PostgresUnit): boolean {
  return unit.kind === 'batch' && unit.shareable && unit.batch.bindsWhatItRuns;
}
