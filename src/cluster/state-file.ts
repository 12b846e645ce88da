// What must survive a restart of the proxy: epoch, primary, fenced nodes, an unfinished failover; written atomically.
// It decides nothing about what it holds.

import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** How far an attempt had come; from `promote` on it can only be completed. */
export type AttemptStep = 'stop-receiving' | 'apply' | 'promote';

export interface FailoverAttempt {
  readonly oldPrimary: string;
  readonly candidate: string | null;
  readonly step: AttemptStep;
  /** Nodes that were told to stop receiving. */
  readonly stopped: readonly string[];
}

export interface ClusterState {
  readonly cluster: string;
  readonly epoch: number;
  readonly primary: string | null;
  readonly fenced: readonly string[];
  /** Nodes that have not been pointed at the primary yet. */
  readonly pendingFollow: readonly string[];
  /** Milliseconds since 1970; null: never. */
  readonly lastFailoverAt: number | null;
  readonly attempt: FailoverAttempt | null;
}

const VERSION = 1;

/** Null when there is no file; rejects when there is one that cannot be read: guessing could give two primaries. */
export async function loadState(path: string, cluster: string): Promise<ClusterState | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`state file ${path} is not JSON`);
  }
  const state = value as Partial<ClusterState> & { version?: unknown };
  if (
    typeof value !== 'object' ||
    value === null ||
    state.version !== VERSION ||
    !Number.isSafeInteger(state.epoch) ||
    !Array.isArray(state.fenced) ||
    !Array.isArray(state.pendingFollow)
  )
    throw new Error(`state file ${path} has another form than this version writes`);
  if (state.cluster !== cluster)
    throw new Error(`state file ${path} belongs to cluster "${state.cluster}", not to "${cluster}"`);
  return {
    cluster,
    epoch: state.epoch!,
    primary: state.primary ?? null,
    fenced: state.fenced,
    pendingFollow: state.pendingFollow,
    lastFailoverAt: state.lastFailoverAt ?? null,
    attempt: state.attempt ?? null,
  };
}

/** Old or new, never half: written beside, flushed, renamed, and the folder flushed. */
export async function saveState(path: string, state: ClusterState): Promise<void> {
  const beside = `${path}.${process.pid}.new`;
  const file = await open(beside, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify({ version: VERSION, ...state }, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
