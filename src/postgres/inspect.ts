// A text as a PostgreSQL client's connection would read it, for an operator: its class, and whether it would be prepared.
// It sends nothing and counts nothing.

import type { Socket } from 'node:net';
import { hostPort } from '../lib/address.js';
import type { ClientFacts, Inspection } from '../protocol/inspection.js';
import type { Classified, PostgresLexSettings } from '../sql/statement.js';
import type { HeldBegin } from './held-begin.js';
import type { Parameters } from './parameters.js';
import type { DatabaseClassifier } from './runtime.js';
import type { TrackedState } from './tracked-state.js';
import { SimpleUnit, UNCLASSIFIED } from './unit.js';

/** Told with their values; reported by the server, or tracked. */
const TOLD = ['standard_conforming_strings', 'client_encoding', 'default_transaction_read_only'];
const TRACKED = ['search_path', 'role', 'session_authorization', 'default_transaction_isolation'];

/** In front of the text of a Query message; behind it stands a zero. */
const QUERY_BYTES = 6;

export function classifyText(
  database: Pick<DatabaseClassifier, 'classifier'>,
  limits: { readonly hints: boolean; readonly maxStatementBytesClassified: number },
  sql: Buffer,
  settings: PostgresLexSettings,
  recurs = false,
): Classified {
  if (sql.length > limits.maxStatementBytesClassified) return UNCLASSIFIED;
  const classified = database.classifier.classify(sql, settings, recurs);
  return limits.hints || classified.hint === null ? classified : { ...classified, hint: null };
}

/** As a simple query: what is sent as one may as well be sent as an unnamed extended statement. */
export function inspectText(
  classified: Classified,
  sql: Buffer,
  autoPrepare: Inspection['autoPrepare'],
  begin: HeldBegin | null,
  notes: readonly string[] = [],
): Inspection {
  const unit = new SimpleUnit(classified, Buffer.alloc(sql.length + QUERY_BYTES), begin);
  const held = 'its BEGIN has been answered, but not sent yet: it leaves with the next statement';
  return { unit, autoPrepare, notes: begin === null ? notes : [...notes, held] };
}

export function clientFacts(
  id: number,
  { remoteAddress, remotePort }: Socket,
  told: Parameters,
  state: TrackedState,
): ClientFacts {
  const settings: Record<string, string> = {};
  for (const name of TOLD) {
    const value = told.get(name);
    if (value !== undefined) settings[name] = value;
  }
  for (const name of TRACKED) {
    const sql = state.get(name);
    if (sql !== undefined) settings[name] = sql;
  }
  const tracked = [...state.names()].filter((name) => !TOLD.includes(name) && !TRACKED.includes(name));
  const address = remoteAddress === undefined ? '' : hostPort(remoteAddress, remotePort ?? 0);
  return { id, address, settings, tracked };
}
