// What is made of errors and notices about statements that were prepared for recurring unnamed ones.
// It knows steps and codes only; server-connection.ts asks it.

import { HeldText } from './auto-prepared.js';
import type { Run, Step } from './run.js';

/** Classes: connection exception, transaction rollback, insufficient resources, operator intervention. */
const HAPPENED: ReadonlySet<string> = new Set(['08', '40', '53', '57']);
const LOCK_NOT_AVAILABLE = '55P03';

/** The step that the server is at. */
function stepAt(steps: readonly Step[] | null, from: number): { index: number; step: Step | undefined } {
  let index = from;
  while (steps?.[index]?.verb === 'fake') index++;
  return { index, step: steps?.[index] };
}

/** The error at this step may be of the prepared statement alone, and the unit can run again without it. */
export function isHealable(run: Run, at: number, code: string): boolean {
  if (run.healUntil < 0) return false;
  const { index, step } = stepAt(run.steps, at);
  const isOfBind = step?.kind === 'bind' && step.text instanceof HeldText;
  if (index > run.healUntil || !(isOfBind || run.isStandIn)) return false;
  // Cancelled, timed out, deadlocked, out of something: that happens to a statement whatever its name.
  if (HAPPENED.has(code.slice(0, 2)) || code === LOCK_NOT_AVAILABLE) return false;
  if (isOfBind) (step.text as HeldText).isDoubtful = true;
  return true;
}

/** A NoticeResponse has come at this step. False: it is not for the client. */
export function hearNotice({ steps, isStandIn }: Run, at: number): boolean {
  const { step } = stepAt(steps, at);
  if (step?.kind !== 'parse') return true;
  // What Parse warns of it warns of each time.
  if (step.text instanceof HeldText) step.text.of.needsParse = true;
  // The client has heard it when it sent its own.
  return isStandIn || step.verb !== 'drop';
}
