// A prepared statement in place of a simple query: texts that differ only in integers that columns are compared with are one
// statement with parameters, which a server need not parse and plan each time. The client cannot tell: it gets what its query
// gives, and where anything goes wrong before a row has come, its query itself runs and says what is wrong.
// It sends nothing.

import type { PostgresClassifying } from '../sql/postgres/classifier.js';
import type { Classified } from '../sql/statement.js';
import type { AutoPrepareSession } from './auto-prepare-session.js';
import type { HeldText } from './auto-prepared.js';
import { isPlannedStatement } from './planned.js';
import type { RecurringText } from './recurring-texts.js';
import type { Step } from './run.js';
import { buildBind, buildDescribe, EXECUTE_UNNAMED, SYNC } from './wire/frontend.js';
import { parseAuto, type Written } from './written.js';

export interface StandIn {
  readonly text: RecurringText;
  /** Of its parameters, as text. */
  readonly values: readonly Buffer[];
}

/** A longer text is copied for nothing: it does not come again. */
const MAX_TEXT_BYTES = 16_384;
/** Behind the Bind. */
const DESCRIBE_AND_EXECUTE = Buffer.concat([buildDescribe('portal', ''), EXECUTE_UNNAMED]);
const DESCRIBED: Step = ownStep('describe-portal', 'forward');
const EXECUTED: Step = ownStep('execute', 'forward');

function ownStep(kind: Step['kind'], verb: Step['verb'], held: HeldText | null = null): Step {
  return { kind, verb, text: held, completed: null, alias: held?.alias ?? null, failed: null };
}

/** Of the text that has been classified last. Null: there is none, or it has not come often enough. `settings`: those that it is read under. */
export function standInFor(
  { classifier }: { readonly classifier: PostgresClassifying },
  auto: AutoPrepareSession,
  { statement }: Classified,
  sql: Buffer,
  settings: string,
): StandIn | null {
  if (statement.route !== 'replica' || statement.verb !== 'SELECT' || !auto.standsIn) return null;
  if (sql.length > MAX_TEXT_BYTES || !isPlannedStatement(statement)) return null;
  const filled = classifier.filled(sql);
  const text = filled === null ? null : auto.internQuery(filled.body, settings);
  return text === null ? null : { text, values: filled!.values };
}

/** Null: the query is written as it came. */
export function writeStandIn({ text, values }: StandIn, auto: AutoPrepareSession): Written | null {
  const held = auto.take(text);
  if (held === null) return null;
  const out: Written = { messages: [], steps: [] };
  if (!auto.isHit) parseAuto(auto, held, out, 'drop', null);
  out.messages.push(buildBind('', held.serverName, values), DESCRIBE_AND_EXECUTE, SYNC);
  auto.bound(out.steps.length);
  out.steps.push(ownStep('bind', 'drop', held), DESCRIBED, EXECUTED);
  return out;
}
