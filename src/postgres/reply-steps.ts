// Which step of a run a reply answers, and what the client gets of those that the server was not asked.
// It knows no socket.

import { completes, type Expectation, FAKES } from './expectation.js';
import type { PreparedOnServer } from './prepared-statements.js';
import type { ReplySlices } from './reply-slices.js';
import type { Step } from './run.js';
import { malformed } from './wire/bytes.js';

/** Finds what this reply answers, and gives the client the fakes that stand before it. */
export function advance(
  head: Expectation,
  steps: readonly Step[],
  type: number,
  isLast: boolean,
  slices: ReplySlices,
  prepared: PreparedOnServer,
): 'forward' | 'drop' {
  giveFakes(head, steps, slices);
  const step = steps[head.step];
  if (step === undefined) throw malformed(`message ${String.fromCharCode(type)} behind the last step`);
  if (isLast && completes(step.kind, type)) {
    head.step++;
    if (step.kind === 'parse' && step.text !== null) prepared.came(step.text);
    if (!head.muted) step.completed?.();
  }
  return step.verb === 'drop' ? 'drop' : 'forward';
}

export function giveFakes(
  head: Expectation,
  steps: readonly Step[],
  slices: ReplySlices,
  before: number | null = null,
): void {
  for (;;) {
    const step = steps[head.step];
    if (head.step === before || step === undefined || step.verb !== 'fake') return;
    head.step++;
    if (head.muted) continue;
    slices.push(FAKES[step.kind]!);
    step.completed?.();
  }
}
