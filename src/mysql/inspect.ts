// A text as a MySQL client's connection would read it, for an operator. It sends nothing and counts nothing.

import type { Socket } from 'node:net';
import { hostPort } from '../lib/address.js';
import type { ClientFacts, Inspection, InspectionContext } from '../protocol/inspection.js';
import type { ClientSession } from './client-session.js';
import { classifyQuery, type TextContext } from './commands.js';
import type { MysqlRuntime } from './runtime.js';
import { TrackedState } from './tracked-state.js';
import { MysqlUnit } from './unit.js';
import { buildCommand, COM } from './wire/command.js';
import { STATUS } from './wire/ok.js';

const UTF8MB4_GENERAL_CI = 45;
/** They decide how a text reads, and whether a read is one by itself. */
const TOLD = [
  'sql_mode',
  'character_set_client',
  'transaction_isolation',
  'tx_isolation',
  'transaction_read_only',
  'tx_read_only',
];

export function inspectText(
  client: TextContext & { readonly isInTransaction?: boolean },
  sql: Buffer,
): Inspection {
  const classified = classifyQuery(client, sql);
  const unit = new MysqlUnit('query', 'query', classified, buildCommand(COM.QUERY, sql));
  unit.text = classified;
  if (client.isInTransaction === true) unit.begins();
  return { unit, autoPrepare: null, notes: [] };
}

/** As a client would have it that has just logged in, and changed nothing. */
export function inspectForNobody(
  runtime: MysqlRuntime,
  sql: Buffer,
  context: InspectionContext,
  hasCatalog: boolean,
): Inspection {
  const session = {
    status: STATUS.AUTOCOMMIT,
    state: TrackedState.empty,
    loginValues: new Map<string, string>(),
    collation: UTF8MB4_GENERAL_CI,
    lex: null,
  };
  const notes = hasCatalog ? [] : ['the catalog is not known yet: routines and views count as unknown'];
  return { ...inspectText({ runtime, settings: context, session }, sql), notes };
}

export function clientFacts(
  id: number,
  { remoteAddress, remotePort }: Socket,
  session: ClientSession,
): ClientFacts {
  const settings: Record<string, string> = {
    autocommit: (session.status & STATUS.AUTOCOMMIT) === 0 ? 'OFF' : 'ON',
  };
  for (const name of TOLD) {
    const value = session.state.variable(name) ?? session.loginValues.get(name);
    if (value !== undefined) settings[name] = value;
  }
  const { database } = session.state;
  if (database !== null) settings.database = database;
  const address = remoteAddress === undefined ? '' : hostPort(remoteAddress, remotePort ?? 0);
  return { id, address, settings, tracked: session.state.names().filter((name) => !TOLD.includes(name)) };
}
