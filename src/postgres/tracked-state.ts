// The session settings of a client that are tracked and replayed: an immutable map from name to the SET that makes it so.
// It knows no connection; two sessions whose digests are equal may use each other's server connections as they are.

import { quoteLiteral } from '../sql/postgres/quote.js';
import type { SessionEffect } from '../sql/statement.js';
import { DATE_STYLE, dateStyleBehind } from './date-style.js';

const ISOLATION = 'default_transaction_isolation';

/** Name of the setting to the statement that sets it; in the order in which they were set. */
export class TrackedState {
  static readonly empty = new TrackedState(new Map());

  readonly #settings: ReadonlyMap<string, string>;
  readonly digest: string;
  /** Of transactions that say nothing else; null: role, database or configuration decides. */
  readonly isSerializable: boolean | null;

  private constructor(settings: ReadonlyMap<string, string>) {
    this.#settings = settings;
    this.digest = [...settings.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, sql]) => `${name}\0${sql}`)
      .join('\0\0');
    const isolation = settings.get(ISOLATION);
    this.isSerializable = isolation === undefined ? null : /serializable/i.test(isolation);
  }

  static of(settings: ReadonlyMap<string, string>): TrackedState {
    return settings.size === 0 ? TrackedState.empty : new TrackedState(new Map(settings));
  }

  /** What many clients start with is one object. */
  static shared(settings: ReadonlyMap<string, string>): TrackedState {
    if (settings.size === 0) return TrackedState.empty;
    let key = '';
    for (const [name, sql] of settings) key += `${name}\0${sql}\0`;
    const same = shared.get(key);
    if (same !== undefined) return same;
    if (shared.size >= MAX_SHARED) shared.clear();
    const state = TrackedState.of(settings);
    shared.set(key, state);
    return state;
  }

  get size(): number {
    return this.#settings.size;
  }

  get(name: string): string | undefined {
    return this.#settings.get(name);
  }

  names(): IterableIterator<string> {
    return this.#settings.keys();
  }

  /**
   * The state behind these statements. `base`: what RESET goes back to: for a client its startup parameters, for a
   * server connection nothing.
   */
  apply(effects: readonly SessionEffect[], base: TrackedState): TrackedState {
    let settings: Map<string, string> | null = null;
    for (const effect of effects) {
      switch (effect.kind) {
        case 'set':
          if (effect.local) break;
          settings ??= new Map(this.#settings);
          // SET SESSION AUTHORIZATION also puts the role back.
          if (effect.name === 'session_authorization') settings.delete('role');
          setIn(settings, effect);
          break;
        case 'reset':
          settings ??= new Map(this.#settings);
          if (effect.name === 'session_authorization') settings.delete('role');
          restore(settings, effect.name, base);
          break;
        case 'reset-all':
        case 'discard':
          if (effect.kind === 'discard' && effect.what !== 'all') break;
          settings = resetAll(settings ?? this.#settings, base, effect.kind === 'discard');
          break;
        case 'use':
          break;
      }
    }
    return settings === null ? this : TrackedState.of(settings);
  }

  /** One text that brings a server connection from `from` to this state; "" when nothing differs. */
  statementsFrom(from: TrackedState): string {
    if (from === this || from.digest === this.digest) return '';
    const statements: string[] = [];
    // Whose rights we have decides what may be set: identity is given up first and taken on last.
    for (const name of IDENTITY) {
      if (from.#settings.has(name) && from.#settings.get(name) !== this.#settings.get(name))
        statements.push(resetStatement(name));
    }
    for (const name of from.#settings.keys()) {
      if (!this.#settings.has(name) && !IDENTITY.includes(name)) statements.push(resetStatement(name));
    }
    for (const [name, sql] of this.#settings) {
      if (from.#settings.get(name) !== sql && !IDENTITY.includes(name)) statements.push(sql);
    }
    for (const name of IDENTITY) {
      const sql = this.#settings.get(name);
      const identityMoved = IDENTITY.some((each) => from.#settings.get(each) !== this.#settings.get(each));
      if (sql !== undefined && identityMoved) statements.push(sql);
    }
    return statements.join('; ');
  }
}

/** SERIALIZABLE: what a read has been answered can turn out to be wrong at the end of its transaction. */
export function mayFailAtCommit(state: TrackedState): boolean {
  return state.size > 0 && state.get(ISOLATION) !== undefined;
}

/** Beyond, they are forgotten: their clients keep them. */
const MAX_SHARED = 1000;
const shared = new Map<string, TrackedState>();

/** In the order in which they are taken on. */
const IDENTITY: readonly string[] = ['session_authorization', 'role'];

/** To `TrackedState.empty`, with whatever rights: unlike RESET of one setting, that of all asks for none (ResetAllOptions, guc.c). */
export const RESET_EVERYTHING = 'RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL';

function resetStatement(name: string): string {
  if (name === 'session_authorization') return 'RESET SESSION AUTHORIZATION';
  if (name === 'role') return 'RESET ROLE';
  return `RESET ${quoteSettingName(name)}`;
}

/** Settings of extensions have dots; each part is an identifier. */
export function quoteSettingName(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}

/** For a startup parameter: its value is taken as a whole, lists too, where SET would make one quoted element of it. */
export function setStatement(name: string, value: string): string {
  const sql = `SELECT pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`;
  return name === DATE_STYLE ? dateStyleBehind(undefined, value, sql) : sql;
}

/** Behind all that was set before: in the order in which it is repeated. */
function setIn(settings: Map<string, string>, { name, value, sql }: SessionEffect & { kind: 'set' }): void {
  const repeated = name === DATE_STYLE ? dateStyleBehind(settings.get(name), value, sql) : sql;
  settings.delete(name);
  settings.set(name, repeated);
}

function restore(settings: Map<string, string>, name: string, base: TrackedState): void {
  const sql = base.get(name);
  settings.delete(name);
  if (sql !== undefined) settings.set(name, sql);
}

/** RESET ALL leaves role and session authorization alone; DISCARD ALL does not (manual, DISCARD). */
function resetAll(
  from: ReadonlyMap<string, string>,
  base: TrackedState,
  identityToo: boolean,
): Map<string, string> {
  const settings = new Map<string, string>();
  for (const name of new Set([...from.keys(), ...base.names()])) {
    const kept = !identityToo && IDENTITY.includes(name) ? from.get(name) : undefined;
    if (kept !== undefined) settings.set(name, kept);
    else restore(settings, name, base);
  }
  return settings;
}
