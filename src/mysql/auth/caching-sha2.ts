// caching_sha2_password, both sides: the fast scramble, and the RSA exchange of the full authentication.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html

import { constants, hash, publicEncrypt, timingSafeEqual } from 'node:crypto';
import { ProxyError } from '../../lib/errors.js';

export const CACHING_SHA2 = 'caching_sha2_password';

/** In AuthMoreData from the server. */
export const FAST_AUTH_SUCCESS = 3;
export const PERFORM_FULL_AUTHENTICATION = 4;
/** From the client, as a packet of this one byte. */
export const REQUEST_PUBLIC_KEY = 2;

const sha256 = (...parts: Uint8Array[]): Buffer =>
  hash('sha256', parts.length === 1 ? parts[0]! : Buffer.concat(parts), 'buffer');

/** SHA256(SHA256(password)): what the server's cache holds. */
export function sha2Stage2(password: string): Buffer {
  return sha256(sha256(Buffer.from(password, 'utf8')));
}

/** The answer to a challenge; empty for an empty password. */
export function sha2Scramble(password: string, challenge: Buffer): Buffer {
  if (password === '') return Buffer.alloc(0);
  const stage1 = sha256(Buffer.from(password, 'utf8'));
  const mask = sha256(sha256(stage1), challenge);
  for (let i = 0; i < mask.length; i++) mask[i]! ^= stage1[i]!;
  return mask;
}

/** The fast path: is this the answer of somebody whose password has this stage 2? */
export function checkSha2Scramble(answer: Buffer, challenge: Buffer, stage2: Buffer): boolean {
  if (answer.length !== 32) return false;
  const stage1 = sha256(stage2, challenge);
  for (let i = 0; i < stage1.length; i++) stage1[i]! ^= answer[i]!;
  return timingSafeEqual(sha256(stage1), stage2);
}

/** Password and closing zero, xor-ed with the challenge over and over, which is how both plugins wrap it for RSA. */
export function xorPassword(bytes: Buffer, challenge: Buffer): Buffer {
  const out = Buffer.from(bytes);
  for (let i = 0; i < out.length; i++) out[i]! ^= challenge[i % challenge.length]!;
  return out;
}

/** What a client sends in the full authentication without TLS. `publicKeyPem`: as the server sent it. */
export function encryptPassword(password: string, challenge: Buffer, publicKeyPem: string): Buffer {
  const wrapped = xorPassword(Buffer.from(`${password}\0`, 'utf8'), challenge);
  try {
    return publicEncrypt({ key: publicKeyPem, padding: constants.RSA_PKCS1_OAEP_PADDING }, wrapped);
  } catch {
    throw new ProxyError('protocol-violation', { detail: 'the public key in the login cannot be used' });
  }
}
