// SHA-256-crypt with a chosen number of rounds, as caching_sha2_password stores passwords; nothing else of crypt(3).
// Algorithm: https://www.akkadia.org/drepper/SHA-crypt.txt; MySQL: salt of 20 bytes, rounds in thousands as three hex digits.

import { hash, timingSafeEqual } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';

/** Between two turns of the event loop: about a millisecond of work. */
const ROUNDS_PER_TURN = 500;
const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Three digest bytes make four characters, in this order. */
const ORDER = [
  [0, 10, 20],
  [21, 1, 11],
  [12, 22, 2],
  [3, 13, 23],
  [24, 4, 14],
  [15, 25, 5],
  [6, 16, 26],
  [27, 7, 17],
  [18, 28, 8],
  [9, 19, 29],
] as const;

/** At once: thousands of hashes that wait for the collector of garbage would be megabytes. */
const sha256 = (parts: readonly Uint8Array[]): Buffer => hash('sha256', Buffer.concat(parts), 'buffer');

/** `digest` over and over, to `length` bytes. */
function stretch(digest: Buffer, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let at = 0; at < length; at += digest.length)
    digest.copy(out, at, 0, Math.min(digest.length, length - at));
  return out;
}

/** The 43 characters behind the salt. Gives way to the event loop every millisecond or so. */
export async function sha256Crypt(password: Buffer, salt: Buffer, rounds: number): Promise<string> {
  const b = sha256([password, salt, password]);
  const a: Uint8Array[] = [password, salt, stretch(b, password.length)];
  for (let n = password.length; n > 0; n >>= 1) a.push((n & 1) !== 0 ? b : password);
  let digest = sha256(a);
  const p = stretch(sha256(new Array<Buffer>(password.length).fill(password)), password.length);
  const s = stretch(sha256(new Array<Buffer>(16 + digest[0]!).fill(salt)), salt.length);
  for (let i = 0; i < rounds; i++) {
    const parts: Uint8Array[] = [(i & 1) !== 0 ? p : digest];
    if (i % 3 !== 0) parts.push(s);
    if (i % 7 !== 0) parts.push(p);
    parts.push((i & 1) !== 0 ? digest : p);
    digest = sha256(parts);
    if (i % ROUNDS_PER_TURN === ROUNDS_PER_TURN - 1) await turn();
  }
  return encode(digest);
}

function encode(digest: Buffer): string {
  let out = '';
  const put = (value: number, characters: number): void => {
    for (let rest = value, i = 0; i < characters; i++, rest >>= 6) out += ALPHABET[rest & 63];
  };
  for (const [x, y, z] of ORDER) put((digest[x]! << 16) | (digest[y]! << 8) | digest[z]!, 4);
  put((digest[31]! << 8) | digest[30]!, 3);
  return out;
}

export interface Sha256CryptVerifier {
  readonly rounds: number;
  readonly salt: Buffer;
  readonly digest: string;
}

/** "$A$005$", 20 bytes of salt, 43 characters; null for anything else. */
export function parseSha256CryptVerifier(stored: string): Sha256CryptVerifier | null {
  const match = /^\$A\$([0-9A-Fa-f]{3})\$([\s\S]{20})([./0-9A-Za-z]{43})$/.exec(stored);
  if (match === null) return null;
  const rounds = Number.parseInt(match[1]!, 16) * 1000;
  return rounds === 0 ? null : { rounds, salt: Buffer.from(match[2]!, 'latin1'), digest: match[3]! };
}

export async function checkSha256Crypt(password: Buffer, verifier: Sha256CryptVerifier): Promise<boolean> {
  const digest = await sha256Crypt(password, verifier.salt, verifier.rounds);
  return timingSafeEqual(Buffer.from(digest, 'latin1'), Buffer.from(verifier.digest, 'latin1'));
}
