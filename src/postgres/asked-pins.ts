// What pins a session of PostgreSQL and may be gone: what may have ended it, and how a server connection is asked.
// It knows no session; who asks keeps the server connection, and gives it back.

import type { PinsTold, SessionPins } from '../protocol/client-connection.js';
import type { PostgresClassifying } from '../sql/postgres/classifier.js';
import type { PinReason } from '../sql/statement.js';
import type { PostgresServerConnection } from './server-connection.js';
import type { PostgresUnit } from './unit.js';
import { onlyValue } from './wire/backend.js';
import { buildQuery } from './wire/frontend.js';

/** What is in this order in the question. */
const ASKED = [
  'session-lock',
  'listen',
  'cursor-with-hold',
  'sql-prepare',
  'temporary-table',
  'exported-snapshot',
] as const satisfies readonly PinReason[];

export const ASKED_PINS: ReadonlySet<PinReason> = new Set(ASKED);

const EQUALS = 'OPERATOR(pg_catalog.=)';

/**
 * One digit for each. Everything is qualified: a search_path may put others of these names first. What is in the temporary schema
 * depends on it, whatever it is, as DISCARD TEMP finds it. With no transaction open an exported snapshot is gone.
 */
const QUESTION = buildQuery(`SELECT pg_catalog.concat(
  (EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype ${EQUALS} 'advisory' AND pid ${EQUALS} pg_catalog.pg_backend_pid()))::pg_catalog.int4,
  (EXISTS (SELECT FROM pg_catalog.pg_listening_channels()))::pg_catalog.int4,
  (EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable))::pg_catalog.int4,
  (EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql))::pg_catalog.int4,
  (EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refobjid ${EQUALS} pg_catalog.pg_my_temp_schema()
    AND refclassid ${EQUALS} 'pg_catalog.pg_namespace'::pg_catalog.regclass))::pg_catalog.int4,
  0)`);

export function askPins(server: PostgresServerConnection, done: PinsTold): void {
  let still: ReadonlySet<PinReason> | null = null;
  const row = (buffer: Buffer, start: number, end: number): void => {
    const digits = onlyValue(buffer, start, end);
    if (digits.length === ASKED.length) still = new Set(ASKED.filter((_, i) => digits[i] === '1'));
  };
  server.ask(QUESTION, { row }, (error) => done(error === null ? still : null));
}

/** With these something may run unseen when a temporary table is written or read: a trigger, a rule, a default. */
const GROWS = /^(?:create (?!(?:unique )?index )|alter )/;
const ENDS = /\b(?:unlisten|close|deallocate|discard|drop|pg_advisory_unlock\w*)\b/;

/** Behind a unit. What a transaction may yet take back is asked for, not believed. */
export function notePins(
  unit: PostgresUnit,
  failed: boolean,
  classifier: Pick<PostgresClassifying, 'pinsOnce'>,
  pins: SessionPins,
): void {
  const { statement, shape } = unit;
  if (statement.pin !== null) {
    unit.pinsOnce = classifier.pinsOnce(statement, shape);
    pins.mayBeGone();
  }
  if (!pins.any) return;
  if (statement.pin === null && GROWS.test(shape)) pins.mayBeMore();
  if (failed) return;
  for (const effect of unit.effects.session) {
    if (effect.kind !== 'discard') continue;
    if (effect.what === 'all') pins.remove('all');
    else if (effect.what === 'sequences') pins.remove('sequence-state');
  }
  if (ENDS.test(shape)) pins.mayBeGone();
}
