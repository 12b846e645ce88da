// How a tracked state is told to a server connection, and what a server's report of changes makes of one.
// It owns no connection.

import type { PoolKey } from '../protocol/server-connection.js';
import type { TransactionStatus } from '../protocol/unit.js';
import type { Run } from './run.js';
import { isState, type StateCommand, type TrackedState } from './tracked-state.js';
import type { Capabilities } from './wire/capabilities.js';
import { buildCommand, buildInitDb, buildQuery, COM } from './wire/command.js';
import type { SessionChange } from './wire/session-track.js';

export function stateFrame(command: StateCommand, capabilities: Capabilities): Buffer {
  switch (command.kind) {
    case 'query':
      return buildQuery(command.sql, capabilities);
    case 'init-db':
      return buildInitDb(command.database);
    case 'set-option':
      return buildCommand(COM.SET_OPTION, Buffer.of(command.multiStatements ? 0 : 1, 0));
  }
}

export interface Learnt {
  readonly state: TrackedState;
  readonly position: string | null;
  /** SET NAMES ... COLLATE does not tell the collation. */
  readonly asksCollation: boolean;
  /** Something has changed, and the server does not say what. */
  readonly isUnnamed: boolean;
}

/** `login`: values after the login, where they are known. */
export function learnChanges(
  changes: readonly SessionChange[],
  before: TrackedState,
  login: ReadonlyMap<string, string>,
  loginDatabase: string,
  run: Pick<Run, 'ownVariables' | 'namesChanges'>,
): Learnt {
  let state = before;
  let position: string | null = null;
  let asksCollation = false;
  let named = false;
  let unnamed = false;
  for (const change of changes) {
    switch (change.kind) {
      case 'variable':
        named = true;
        if (run.ownVariables?.has(change.name) === true) break;
        if (change.name === 'character_set_connection') asksCollation = true;
        if (change.name === 'last_gtid') position = change.value;
        else if (isState(change.name))
          state = state.withVariable(change.name, change.value, login.get(change.name));
        break;
      case 'schema':
        named = true;
        state = state.withDatabase(change.name, loginDatabase);
        break;
      case 'gtids':
        position = change.gtids;
        break;
      case 'state-change':
        unnamed = true;
        break;
      default:
        break;
    }
  }
  // What a program has changed besides, a user variable say, is not named.
  return { state, position, asksCollation, isUnnamed: unnamed && !(named && run.namesChanges) };
}

/** Nothing leads back from a database to none: a connection that has been given one is as if it had logged in with it. */
export function settleDatabase(key: PoolKey, state: TrackedState): [PoolKey, TrackedState] {
  const { database } = state;
  if (key.database !== '' || database === null || database === '') return [key, state];
  return [{ ...key, database }, state.withDatabase(database, database)];
}

/** Of what makes a server connection report what we track. */
export const TRACKING_GTIDS = ', session_track_gtids=OWN_GTID';

/** MySQL does not take the one about GTIDs in a transaction, where it has been left as it was. */
export function trackingCommand(sql: string, transaction: TransactionStatus): StateCommand {
  return { kind: 'query', sql: transaction === 'idle' ? sql : sql.replace(TRACKING_GTIDS, '') };
}
