// The phases of a client connection.
// Types only.

/**
 * - `startup`: before the login is complete
 * - `collecting`: reads messages of the next unit
 * - `waiting`: a unit is with the session
 * - `copying`: the running unit takes CopyData from the client
 * - `closed`
 */
export type Phase = 'startup' | 'collecting' | 'waiting' | 'copying' | 'closed';
