// Which session changes a client asked to be told of: the proxy asks the server for more than that.
// It knows names only.

import type { SessionEffect, StatementClass } from '../sql/statement.js';
import { TRANSACTION_INFO } from './tracked-state.js';
import type { SessionChange } from './wire/session-track.js';

/** session_track_system_variables, as both servers come. */
const DEFAULT_VARIABLES: ReadonlySet<string> = new Set([
  'time_zone',
  'autocommit',
  'character_set_client',
  'character_set_results',
  'character_set_connection',
]);

interface TrackedServer {
  readonly isMariadb: boolean;
  /** Its values of these variables are not ours. */
  trackingLost: boolean;
  query(sql: string, done: () => void): void;
}

/** MySQL has `session_track_gtids` besides. */
const TRACKING_VARIABLES = [
  'session_track_system_variables',
  'session_track_schema',
  'session_track_state_change',
];

const GTIDS = 'session_track_gtids';

/** Not to be changed by who has it. */
export type ShownTracking = Pick<VisibleTracking, 'sees' | 'tellsChanges' | 'showOn'>;

export class VisibleTracking {
  #variables: ReadonlySet<string> | 'all' = DEFAULT_VARIABLES;
  #schema = true;
  #stateChange = false;
  #gtids = false;
  /** The SETs by which the client has said so, by variable; null: none. */
  #asked: Map<string, string> | null = null;

  /** What is written next finds these variables as the client has set them; but for one that MySQL changes in no transaction. */
  showOn(server: TrackedServer, inTransaction: boolean): void {
    const names = [...TRACKING_VARIABLES];
    if (!server.isMariadb && !inTransaction) names.push(GTIDS);
    const none = `SET SESSION ${names.map((name) => `${name}=DEFAULT`).join(', SESSION ')}`;
    const asked = [...(this.#asked ?? [])]
      .filter(([name]) => name !== GTIDS || !inTransaction)
      .map(([, sql]) => sql);
    for (const sql of [none, ...asked]) server.query(sql, () => {});
    server.trackingLost = true;
  }

  get tellsChanges(): boolean {
    return this.#stateChange;
  }

  sees(change: SessionChange): boolean {
    switch (change.kind) {
      case 'variable':
        return this.#variables === 'all' || this.#variables.has(change.name);
      case 'schema':
        return this.#schema;
      case 'state-change':
        return this.#stateChange;
      case 'gtids':
        return this.#gtids;
      case 'transaction-characteristics':
      case 'transaction-state':
        // The server has been asked by nobody else.
        return true;
      case 'unknown':
        return false;
    }
  }

  /** The client has set one of its session_track_* variables. */
  apply(effect: SessionEffect): void {
    if (effect.kind !== 'set') return;
    this.#asked ??= new Map();
    this.#asked.set(effect.name, effect.sql);
    const value = effect.value.trim().toLowerCase();
    const isOn = value !== 'off' && value !== '0' && value !== 'false' && value !== 'default';
    switch (effect.name) {
      case 'session_track_system_variables':
        if (value === '*') this.#variables = 'all';
        else if (value === 'default') this.#variables = DEFAULT_VARIABLES;
        else this.#variables = new Set(value.split(',').map((name) => name.trim()));
        return;
      case 'session_track_schema':
        this.#schema = isOn || value === 'default';
        return;
      case 'session_track_state_change':
        this.#stateChange = isOn;
        return;
      case 'session_track_gtids':
        this.#gtids = isOn;
    }
  }
}

/** Texts that tell the values of these variables. */
const SHOWING = /session_track_|\bsession_variables\b|\bvariables_by_thread\b|^show .*\bvariables\b/is;

/** Classes are cached by shape: so is this. */
const showing = new WeakMap<StatementClass, boolean>();

export function showsTracking(statement: StatementClass, shape: string): boolean {
  let shows = showing.get(statement);
  if (shows === undefined) {
    shows = SHOWING.test(shape);
    showing.set(statement, shows);
  }
  return shows;
}

/** Of what else it sets, the server does not tell everything. */
export function blindsTracking({ session, statements }: StatementClass): boolean {
  if (session.length === 0 || !session.some(isTrackingSetting)) return false;
  return statements > 1 || !session.every(isTrackingSetting);
}

export function isTrackingSetting(effect: SessionEffect): boolean {
  return (
    effect.kind === 'set' && effect.name.startsWith('session_track_') && effect.name !== TRANSACTION_INFO
  );
}
