// Challenges for logins; it knows no plugin.

import { randomBytes } from 'node:crypto';
import { SCRAMBLE_BYTES } from '../wire/greeting.js';

/** Twenty bytes of 1 to 127 without "$": some clients read them as text up to a zero. */
export function newChallenge(): Buffer {
  const challenge = randomBytes(SCRAMBLE_BYTES);
  for (let i = 0; i < challenge.length; i++) {
    const byte = challenge[i]! & 0x7f;
    challenge[i] = byte === 0 || byte === 0x24 ? byte + 1 : byte;
  }
  return challenge;
}
