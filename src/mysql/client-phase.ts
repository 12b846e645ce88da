// The phases of a client connection.
// Types only.

/**
 * - `startup`: before the login is complete
 * - `ready`: reads the next command
 * - `waiting`: a unit is with the session
 * - `infile`: the running unit takes a file from the client
 * - `proving`: COM_CHANGE_USER, until the new user is in
 * - `closed`
 */
export type Phase = 'startup' | 'ready' | 'waiting' | 'infile' | 'proving' | 'closed';
