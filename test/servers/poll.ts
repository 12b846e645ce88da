// Waits for a condition of the real world with a deadline that a busy machine does not break.

import { setTimeout as sleep } from 'node:timers/promises';

/** Calls `condition` until it is true; an error counts as "not yet" and is told when the time is up. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  deadlineMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`not within ${deadlineMs} ms: ${what}`, last === undefined ? {} : { cause: last });
    }
    await sleep(20);
  }
}
