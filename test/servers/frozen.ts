// When a server that has been sent SIGSTOP has stopped: its threads do so one after the other, and may still answer.

import { readdirSync, readFileSync } from 'node:fs';
import { until } from './poll.js';

/** proc_pid_stat(5): the state stands behind the name, which is in brackets. */
function isStopped(stat: string): boolean {
  return /^T/.test(stat.slice(stat.lastIndexOf(')') + 2));
}

/** Resolves at once where there is no /proc, or no such process any more. */
export async function untilFrozen(pid: number | undefined): Promise<void> {
  const threads = `/proc/${pid}/task`;
  await until(`process ${pid} to have stopped`, () => {
    try {
      return readdirSync(threads).every((id) => isStopped(readFileSync(`${threads}/${id}/stat`, 'utf8')));
    } catch {
      return true;
    }
  });
}
