// How the tour checks what it says: a step that fails tells what was expected and what came. It knows no server.

import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '../../lib/clock.js';
import { describeError } from '../../lib/errors.js';

/** Generous: a busy machine is slow, and what cannot come any more mostly fails earlier by itself. */
export const DEADLINE_MS = 60_000;
const POLL_MS = 20;

export class StepFailed extends Error {
  override readonly name = 'StepFailed';
  readonly expected: string;
  readonly came: string;

  constructor(expected: string, came: string) {
    super(`expected ${expected}; came ${came}`);
    this.expected = expected;
    this.came = came;
  }
}

/** `came` is only looked at when `ok` is false. */
export function expect(ok: boolean, expected: string, came: unknown): void {
  if (!ok) throw new StepFailed(expected, typeof came === 'string' ? came : JSON.stringify(came));
}

/** Asks until the answer is true; any other answer, or an error, says why it is not so yet. */
export async function until(
  expected: string,
  signal: AbortSignal,
  ask: () => Promise<true | string> | true | string,
): Promise<void> {
  const deadline = monotonicMs() + DEADLINE_MS;
  for (;;) {
    signal.throwIfAborted();
    let answer: true | string;
    try {
      answer = await ask();
    } catch (error) {
      if (error instanceof StepFailed) throw error;
      answer = describeError(error);
    }
    if (answer === true) return;
    if (monotonicMs() > deadline) throw new StepFailed(expected, `${answer}, for ${DEADLINE_MS / 1000} s`);
    await sleep(POLL_MS, undefined, { signal });
  }
}
