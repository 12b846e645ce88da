// Signals a server together with the processes that it has forked; it knows only process ids.

import { readdirSync, readFileSync } from 'node:fs';

interface Stat {
  readonly state: string;
  readonly parent: number;
}

function stat(pid: number | string): Stat | undefined {
  try {
    // proc(5): the second field is in parentheses and may hold anything, so count from the last one.
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', parent: Number(fields[1]) };
  } catch {
    return undefined;
  }
}

/** Whether the process is there and more than a zombie that waits to be reaped. */
export function isRunning(pid: number): boolean {
  const found = stat(pid);
  if (found !== undefined) return found.state !== 'Z' && found.state !== 'X';
  try {
    process.kill(pid, 0);
    return readdirOf('/proc').length === 0; // without /proc, signal 0 is all there is to ask
  } catch {
    return false;
  }
}

function readdirOf(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Children, grandchildren and so on; none where the system has no /proc. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirOf('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = stat(name)?.parent;
    if (parent === undefined) continue;
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [Number(name)]);
    else siblings.push(Number(name));
  }
  const found: number[] = [];
  const open = [pid];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const list = children.get(next) ?? [];
    found.push(...list);
    open.push(...list);
  }
  return found;
}

/** True when the signal could be delivered. */
export function signalOne(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/**
 * Freezes, thaws or kills a server as if its machine did it. Each PostgreSQL backend is the leader of its own
 * session, so a signal to the process group would miss them: the parent is stopped first, which makes the list of
 * its children final.
 */
export function signalTree(pid: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  if (signal === 'SIGCONT') {
    for (const child of descendants(pid).reverse()) signalOne(child, signal);
    signalOne(pid, signal);
    return;
  }
  signalOne(pid, 'SIGSTOP');
  for (const child of descendants(pid)) signalOne(child, signal);
  if (signal === 'SIGKILL') signalOne(pid, signal);
}
