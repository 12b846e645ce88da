// mysql_native_password, both sides: scrambles, and the SHA1(password) that a client's answer gives away to who has the hash.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_native_password_authentication.html

import { hash, timingSafeEqual } from 'node:crypto';

export const NATIVE_PASSWORD = 'mysql_native_password';

const sha1 = (...parts: Uint8Array[]): Buffer =>
  hash('sha1', parts.length === 1 ? parts[0]! : Buffer.concat(parts), 'buffer');

function xor(a: Buffer, b: Buffer): Buffer {
  const out = Buffer.allocUnsafe(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i]! ^ b[i]!;
  return out;
}

/** SHA1(password): as good as the password with this plugin. */
export function nativeStage1(password: string): Buffer {
  return sha1(Buffer.from(password, 'utf8'));
}

/** "*" and 40 hex digits, as mysql.user has it; "" for no password. */
export function nativeVerifier(password: string): string {
  return password === '' ? '' : `*${sha1(nativeStage1(password)).toString('hex').toUpperCase()}`;
}

/** The answer to a challenge of 20 bytes. */
export function nativeScramble(stage1: Buffer, challenge: Buffer): Buffer {
  return xor(stage1, sha1(challenge, sha1(stage1)));
}

/**
 * Checks an answer against the stored "*..." and recovers SHA1(password) from it; null when it is wrong.
 * An empty answer is right only where no password is set, and gives an empty buffer.
 */
export function checkNativeScramble(answer: Buffer, challenge: Buffer, stored: string): Buffer | null {
  if (stored === '') return answer.length === 0 ? Buffer.alloc(0) : null;
  if (answer.length !== 20 || !/^\*[0-9A-Fa-f]{40}$/.test(stored)) return null;
  const stage2 = Buffer.from(stored.slice(1), 'hex');
  const stage1 = xor(answer, sha1(challenge, stage2));
  return timingSafeEqual(sha1(stage1), stage2) ? stage1 : null;
}
