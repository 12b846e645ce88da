// What the mode of a node, as an operator sets it, means for where units may go.
// It knows no session and no freshness.

/** `drain` and `offline` differ in what becomes of the units that are there already. */
export type NodeMode = 'online' | 'offline' | 'drain' | 'standby-only';

/** Whether anything new may be sent to it; a node that was kept for this takes everything once it is the primary. */
export function takesUnits(mode: NodeMode, isPrimary: boolean): boolean {
  return mode === 'online' || (mode === 'standby-only' && isPrimary);
}
