// What is written of an extended batch, and the steps by which its replies are told apart: those that any batch has, and the
// proxy's own. It knows no batch.

import type { AutoPrepareSession } from './auto-prepare-session.js';
import type { HeldText } from './auto-prepared.js';
import { type PreparedText, parseOf, SERVER_NAME_PREFIX } from './prepared-statements.js';
import type { Step } from './run.js';
import type { PostgresServerConnection } from './server-connection.js';
import { type BindFields, buildClose, renameBind } from './wire/frontend.js';

export interface Written {
  readonly messages: Buffer[];
  readonly steps: Step[];
}

export function step(
  kind: Step['kind'],
  verb: Step['verb'],
  text: PreparedText | null,
  completed: (() => void) | null = null,
): Step {
  return { kind, verb, text, completed, alias: null, failed: null };
}

export const EXECUTED = step('execute', 'forward', null);
export const PORTAL_DESCRIBED = step('describe-portal', 'forward', null);
const CLOSE_NOTHING = buildClose('statement', `${SERVER_NAME_PREFIX}none`);
const NOTHING_CLOSED = step('close', 'drop', null);
/** The client's unnamed statement is that one already. */
export const KNOWN_ALREADY = step('parse', 'fake', null);

/** The answer says that all before it has been answered; there is no such statement. */
export function askNothing(out: Written): void {
  out.messages.push(CLOSE_NOTHING);
  out.steps.push(NOTHING_CLOSED);
}

/** The client has none: another client's that is still there must not be taken for it. */
export function closeUnnamed(server: PostgresServerConnection, out: Written): void {
  server.unnamed = null;
  out.messages.push(buildClose('statement', ''));
  out.steps.push(step('close', 'drop', null));
}

/** Parses it under its name, and closes what has to make room for it. */
export function parseAuto(
  auto: AutoPrepareSession,
  held: HeldText,
  out: Written,
  verb: Step['verb'],
  completed: (() => void) | null,
  failed: (() => void) | null = null,
): void {
  for (const surplus of auto.closes) {
    out.messages.push(buildClose('statement', surplus.serverName));
    out.steps.push(step('close', 'drop', surplus));
  }
  out.messages.push(parseOf(held));
  out.steps.push({ kind: 'parse', verb, text: held, completed, alias: held.alias, failed });
}

export function writeAutoBind(
  auto: AutoPrepareSession,
  { bytes, fields }: { readonly bytes: Buffer; readonly fields: BindFields },
  held: HeldText,
  out: Written,
): void {
  out.messages.push(renameBind(bytes, 0, bytes.length, fields, held.serverName));
  auto.bound(out.steps.length);
  const { alias } = held;
  out.steps.push({ kind: 'bind', verb: 'forward', text: held, completed: null, alias, failed: null });
}
