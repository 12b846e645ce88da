// What is sent to a server connection for a unit from its beginning, and which replies come.
// It sends nothing by itself.

import type { AutoPrepareSession } from './auto-prepare-session.js';
import type { HeldBegin } from './held-begin.js';
import type { Run } from './run.js';
import type { PostgresServerConnection } from './server-connection.js';
import { writeStandIn } from './stand-in.js';
import type { PostgresUnit } from './unit.js';

export interface WrittenUnit {
  /** The last one of what may be grouped is its Sync. */
  readonly messages: readonly Buffer[];
  /** Null: a simple query, whose replies are all the client's. */
  readonly steps: Run['steps'];
  readonly isStandIn: boolean;
  readonly healUntil: number;
}

/** `begin`: goes in front of it. */
export function writeUnit(
  unit: PostgresUnit,
  server: PostgresServerConnection,
  auto: AutoPrepareSession | null,
  begin: HeldBegin | null,
): WrittenUnit {
  // BEGIN takes the place of the unnamed statement.
  if (begin !== null) server.unnamed = null;
  if (unit.kind === 'batch') {
    const { messages, steps } = unit.batch.writeFor(server, 0, auto);
    const healUntil = auto?.healUntil ?? -1;
    if (begin === null) return { messages, steps, isStandIn: false, healUntil };
    return {
      messages: [begin.batch, ...messages],
      steps: [...begin.steps, ...steps],
      isStandIn: false,
      healUntil,
    };
  }
  const stand = unit.standIn === null || auto === null ? null : writeStandIn(unit.standIn, auto);
  // Until a row has come, any error is the query's own to tell.
  if (stand !== null) return { ...stand, isStandIn: true, healUntil: stand.steps.length - 1 };
  const message = begin === null ? unit.message : begin.query(unit.message);
  return { messages: [message], steps: null, isStandIn: false, healUntil: -1 };
}
