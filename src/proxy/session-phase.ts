// The phases of a session, and which may follow which.
// Types and one table.

/**
 * - `login`: no unit yet
 * - `idle`: waits for the client
 * - `waiting`: a unit waits for a server connection
 * - `held`: a unit waits for a node that may take it
 * - `running`: a unit runs
 * - `settling`: a unit has its answer, and others must know what it has shown before its client does
 * - `closed`: the client is gone
 */
export type Phase = 'login' | 'idle' | 'waiting' | 'held' | 'running' | 'settling' | 'closed';

const MOVES: Record<Phase, readonly Phase[]> = {
  login: ['idle', 'closed'],
  idle: ['waiting', 'held', 'running', 'idle', 'closed'],
  waiting: ['running', 'held', 'idle', 'waiting', 'closed'],
  held: ['waiting', 'running', 'idle', 'held', 'closed'],
  running: ['idle', 'waiting', 'held', 'running', 'settling', 'closed'],
  settling: ['idle', 'closed'],
  closed: [],
};

export function mayMove(from: Phase, to: Phase): boolean {
  return MOVES[from].includes(to);
}
