// A client's unit as a run: what the client speaks, what may be kept from it, and what becomes of a preparation.
// It knows neither socket nor server connection.

import type { ExecuteOptions, Outcome } from '../protocol/unit.js';
import type { StatementClass } from '../sql/statement.js';
import type { ClientSession } from './client-session.js';
import { gateOf } from './gate.js';
import type { ReplySink, Run } from './run.js';
import type { MysqlUnit } from './unit.js';
import { showsTracking } from './visible-tracking.js';
import { sequenceAfter } from './wire/framer.js';

/** `status`: of the server connection, until the reply says another. `drop`: the reply is the proxy's business only. */
export function newRun(
  client: ReplySink & { readonly session: ClientSession },
  unit: MysqlUnit,
  status: number,
  options: ExecuteOptions,
  drop: boolean,
  done: (outcome: Outcome) => void,
): Run {
  const { session } = client;
  const isPlainRead = unit.statement.route === 'replica' && !session.isInTransaction;
  return {
    sink: client,
    reply: unit.reply,
    capabilities: session.capabilities,
    withhold: options.withholdRetryable && (options.onReplica || options.isShared),
    onReplica: options.onReplica,
    isShared: options.isShared,
    tracking: showsTracking(unit.statement, unit.shape) ? session.tracking : null,
    gate: gateOf(unit, options),
    verifyAfterError: !isPlainRead,
    runsProgram: runsProgram(unit.statement),
    drop,
    text: unit.kind === 'prepare' ? unit.prepared!.text : null,
    prepared: ({ parameters }) => {
      const { text } = unit.prepared!;
      text.parameters = parameters;
      return session.statements.add(text).id;
    },
    cancelled: false,
    options,
    sequence: sequenceAfter(unit.frame),
    cut: false,
    status,
    sawTransaction: false,
    insertId: null,
    unnamedChange: false,
    done,
  };
}

const PROGRAMS: ReadonlySet<string> = new Set([
  'CALL',
  'EXECUTE',
  'UNKNOWN',
  'IF',
  'DECLARE',
  'FOR',
  'LOOP',
  'WHILE',
]);

function runsProgram({ verb, statements, transaction }: StatementClass): boolean {
  return PROGRAMS.has(verb) || statements > 1 || (verb === 'BEGIN' && transaction === null);
}
