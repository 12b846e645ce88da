// Whether a text would run as a prepared statement if it came once more, and why not: for an operator.
// It counts nothing, so that asking changes nothing.

import { monotonicMs } from '../lib/clock.js';
import type { Inspection } from '../protocol/inspection.js';
import type { StatementClass } from '../sql/statement.js';
import type { AutoPrepare } from './auto-prepare.js';
import { isPlannedStatement } from './planned.js';
import type { RecurringText } from './recurring-texts.js';

export type Foresight = NonNullable<Inspection['autoPrepare']>;

const no = (why: string): Foresight => ({ would: false, why });

/** `threshold`: Infinity: it is off; `settings`: the state that it is read under; `filled`: as it would be parsed for a simple query. */
export function foresee(
  auto: AutoPrepare,
  threshold: number,
  statement: StatementClass,
  sql: Buffer,
  settings: string,
  filled: Buffer | null,
): Foresight {
  if (!Number.isFinite(threshold)) return no('autoPrepare is off');
  if (!isPlannedStatement(statement))
    return no('it is not a statement that PostgreSQL plans, or it has effects');
  // As a Parse has it whose parameters have no types: the text, a zero, a count of 0 in two bytes.
  const { text, count } = auto.texts.look(Buffer.concat([sql, Buffer.alloc(3)]), settings);
  if (text?.needsParse === true)
    return no('what it means is settled when it is parsed (now, today, a backslash ...)');
  if (text?.watch.isOut(monotonicMs()) === true)
    return no('it was slower when prepared, and is left alone for a while');
  const recurs = (known: RecurringText | null): boolean =>
    known?.isAdmitted === true && known.comings >= threshold;
  if (recurs(text))
    return { would: true, why: 'it recurs: as an unnamed extended statement it runs prepared' };
  const { simpleQueries } = auto.config;
  const asQuery = filled === null || !simpleQueries ? null : auto.texts.look(filled, settings).text;
  if (recurs(asQuery) && asQuery?.needsParse === false)
    return { would: true, why: 'it recurs but for its integers: as a simple query it runs prepared' };
  return no(
    `as an unnamed extended statement it has come ${count} times lately, of ${threshold} that it takes`,
  );
}
