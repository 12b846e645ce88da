// What is written on a server connection for a batch, with the steps that its replies answer, and an unnamed statement as one that
// the server connection holds under a name. It knows no connection.

import type { AutoPrepareSession } from './auto-prepare-session.js';
import type { HeldText } from './auto-prepared.js';
import type { BatchMessage } from './extended-batch.js';
import { type PreparedText, parseOf } from './prepared-statements.js';
import type { Step } from './run.js';
import { buildClose, renameBind } from './wire/frontend.js';

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
  { bytes, fields }: BatchMessage & { kind: 'bind' },
  held: HeldText,
  out: Written,
): void {
  out.messages.push(renameBind(bytes, 0, bytes.length, fields, held.serverName));
  auto.bound(out.steps.length);
  const { alias } = held;
  out.steps.push({ kind: 'bind', verb: 'forward', text: held, completed: null, alias, failed: null });
}
