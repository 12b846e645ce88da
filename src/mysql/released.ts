// What statements of MySQL and MariaDB give back of what keeps a session on its server connection, and how that is asked which
// user-level locks it still holds.
// It knows no session.

import type { PinsTold, SessionPins } from '../protocol/client-connection.js';
import type { PinReason } from '../sql/statement.js';
import type { MysqlServerConnection } from './server-connection.js';
import type { MysqlUnit } from './unit.js';
import type { Capabilities } from './wire/capabilities.js';
import { COM, queryTextOffset } from './wire/command.js';
import { payloadOf } from './wire/framer.js';

export const ASKED_PINS: ReadonlySet<PinReason> = new Set(['session-lock']);

const RELEASES: Readonly<Partial<Record<string, PinReason>>> = {
  UNLOCK: 'lock-tables',
  'UNLOCK INSTANCE': 'instance-lock',
  // While one of its own is open a session can end no other.
  'XA COMMIT': 'xa',
  'XA ROLLBACK': 'xa',
};

/** A literal of ASCII without a backslash means the same in every mode and character set. */
const NAME = String.raw`'((?:[\x20-\x26\x28-\x5b\x5d-\x7e])*)'`;
const END = String.raw`(?:\s+as\s+\w+)?\s*;?\s*$`;
const TAKES = new RegExp(
  String.raw`^\s*(?:select|do)\s+get_lock\s*\(\s*${NAME}\s*,\s*-?[\d.]+\s*\)${END}`,
  'i',
);
const GIVES = new RegExp(
  String.raw`^\s*select\s+release_(?:lock\s*\(\s*${NAME}|all_locks\s*\()\s*\)${END}`,
  'i',
);
/** Bytes of a statement. */
const MOST = 400;
const MOST_NAMES = 50;

/** Whose user-level locks these are. */
export interface LockHolder {
  readonly capabilities: Capabilities;
  /** Names of those that it may hold; null: none. */
  lockNames: Set<string> | null;
}

/** Of a COM_QUERY that is short enough to be looked at; else "". */
function textOf(frame: Buffer, capabilities: Capabilities): string {
  const payload = payloadOf(frame);
  if (payload[0] !== COM.QUERY || payload.length > MOST) return '';
  return payload.toString('latin1', queryTextOffset(payload, capabilities));
}

/** Behind each unit, before it pins. One that was ended at its last moment may have got its lock all the same. */
export function noteReleased(holder: LockHolder, unit: MysqlUnit, failed: boolean, pins: SessionPins): void {
  const { pin, pinsMore, statements, verb } = unit.statement;
  unit.pinsOnce = pin !== null && statements === 1 && pinsMore !== true;
  if (pin === 'session-lock') {
    const text = textOf(unit.frame, holder.capabilities);
    const name = TAKES.exec(text)?.[1];
    // Only of these it is known that they leave nothing more.
    unit.pinsOnce &&= name !== undefined || GIVES.test(text);
    // What has failed may be asked why, and of DO there are no rows.
    if (!failed && verb === 'SELECT') pins.mayBeGone();
    if (name === undefined || holder.lockNames?.size === MOST_NAMES) return;
    holder.lockNames ??= new Set();
    holder.lockNames.add(name);
    return;
  }
  if (!pins.any || failed) return;
  const released = RELEASES[verb];
  if (released !== undefined) pins.remove(released);
  else if (verb === 'SELECT' && GIVES.test(textOf(unit.frame, holder.capabilities))) pins.mayBeGone();
}

/** It is one row without a warning, as what was run before: FOUND_ROWS() and its like are the same behind it. */
export function askPins(holder: LockHolder, server: MysqlServerConnection, done: PinsTold): void {
  if (holder.lockNames?.size === MOST_NAMES) {
    done(null);
    return;
  }
  const held = [...(holder.lockNames ?? [])].map((name) => `IS_USED_LOCK('${name}') <=> CONNECTION_ID()`);
  server.query(`SELECT ${held.join(' OR ') || '0'}`, ({ error, rows }) => {
    const value = rows[0]?.toString('latin1', 1);
    if (error !== null || (value !== '0' && value !== '1')) done(null);
    else if (value === '1') done(ASKED_PINS);
    else {
      holder.lockNames = null;
      done(new Set());
    }
  });
}
