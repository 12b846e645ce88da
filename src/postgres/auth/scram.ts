// SCRAM-SHA-256 (RFC 5802, RFC 7677): keys, proofs, messages' attributes and the verifier as pg_authid holds it.
// It must not know who speaks: the two sides of the exchange are scram-server.ts and scram-client.ts.

import { createHmac, hash, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { malformed } from '../wire/bytes.js';
import { preparePassword } from './saslprep.js';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
/** What PostgreSQL uses unless scram_iterations says otherwise; RFC 7677 asks for at least this. */
export const SCRAM_ITERATIONS = 4096;
/** A peer that announces more would keep the process busy: about 0.3 s on one core. */
export const SCRAM_ITERATIONS_MAX = 1_000_000;
export const SCRAM_KEY_BYTES = 32;
export const SCRAM_SALT_BYTES = 16;
const NONCE_BYTES = 18;

export interface ScramKeys {
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
}

export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

const VERIFIER = /^SCRAM-SHA-256\$(\d{1,10}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/;

/** Reads `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`; null when it is not that. */
export function parseScramVerifier(text: string): ScramVerifier | null {
  const match = VERIFIER.exec(text);
  if (match === null) return null;
  const iterations = Number(match[1]);
  const salt = decodeBase64(match[2]!);
  const storedKey = decodeBase64(match[3]!);
  const serverKey = decodeBase64(match[4]!);
  if (salt === null || storedKey?.length !== SCRAM_KEY_BYTES || serverKey?.length !== SCRAM_KEY_BYTES)
    return null;
  if (iterations < 1 || salt.length === 0) return null;
  return { iterations, salt, storedKey, serverKey };
}

export function formatScramVerifier(verifier: ScramVerifier): string {
  const { iterations, salt, storedKey, serverKey } = verifier;
  const base64 = (bytes: Buffer): string => bytes.toString('base64');
  return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`;
}

export function buildScramVerifier(
  password: string,
  salt: Buffer = randomBytes(SCRAM_SALT_BYTES),
  iterations: number = SCRAM_ITERATIONS,
): ScramVerifier {
  return verifierOf(deriveScramKeys(password, salt, iterations), salt, iterations);
}

export function verifierOf(keys: ScramKeys, salt: Buffer, iterations: number): ScramVerifier {
  return { iterations, salt, storedKey: sha256(keys.clientKey), serverKey: keys.serverKey };
}

/** RFC 5802, section 3. Takes about a millisecond for 4,096 iterations: login-secrets.ts remembers the result. */
export function deriveScramKeys(password: string, salt: Buffer, iterations: number): ScramKeys {
  const salted = pbkdf2Sync(preparePassword(password), salt, iterations, SCRAM_KEY_BYTES, 'sha256');
  return { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') };
}

export function scramNonce(): string {
  return randomBytes(NONCE_BYTES).toString('base64');
}

export function sha256(bytes: Buffer): Buffer {
  return hash('sha256', bytes, 'buffer');
}

export function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** Of two buffers of 32 bytes. */
export function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.allocUnsafe(left.length);
  for (let index = 0; index < left.length; index++) result[index] = left[index]! ^ right[index]!;
  return result;
}

/** Constant time for equal lengths; a length is no secret. */
export function equalBytes(left: Buffer, right: Buffer): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

/** Canonical base64 only: a proof must have one spelling. Null for anything else. */
export function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/**
 * The value of the attribute at the head of `text` and what is behind its comma (null: nothing).
 * https://www.rfc-editor.org/rfc/rfc5802#section-7
 */
export function takeAttribute(text: string | null, letter: string): { value: string; rest: string | null } {
  if (text === null || text[0] !== letter || text[1] !== '=') {
    throw malformed(`SCRAM message without the attribute "${letter}"`);
  }
  const comma = text.indexOf(',');
  if (comma < 0) return { value: text.slice(2), rest: null };
  return { value: text.slice(2, comma), rest: text.slice(comma + 1) };
}

/** RFC 5802: printable ASCII without comma. */
export function isNonce(text: string): boolean {
  return /^[\x21-\x2b\x2d-\x7e]+$/.test(text);
}

/** A SCRAM message is UTF-8 text without zero bytes. */
export function messageText(message: Buffer): string {
  if (message.length === 0 || message.includes(0))
    throw malformed('SCRAM message that is empty or has a zero byte');
  return message.toString('utf8');
}
