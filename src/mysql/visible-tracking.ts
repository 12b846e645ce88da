// Which session changes a client asked to be told of: the proxy asks the server for more than that.
// It knows names only.

import type { SessionEffect } from '../sql/statement.js';
import type { SessionChange } from './wire/session-track.js';

/** session_track_system_variables, as both servers come. */
const DEFAULT_VARIABLES: ReadonlySet<string> = new Set([
  'time_zone',
  'autocommit',
  'character_set_client',
  'character_set_results',
  'character_set_connection',
]);

export class VisibleTracking {
  #variables: ReadonlySet<string> | 'all' = DEFAULT_VARIABLES;
  #schema = true;
  #stateChange = false;
  #gtids = false;
  #transaction = false;

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
        return this.#transaction;
      case 'unknown':
        return false;
    }
  }

  /** The client has set one of its session_track_* variables. */
  apply(effect: SessionEffect): void {
    if (effect.kind !== 'set') return;
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
        return;
      case 'session_track_transaction_info':
        this.#transaction = isOn;
    }
  }
}

export function isTrackingSetting(effect: SessionEffect): boolean {
  return effect.kind === 'set' && effect.name.startsWith('session_track_');
}
