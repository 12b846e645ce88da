// MD5 passwords: the stored hash, the answer to a challenge and its check.
// It must not know who asks.
//
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP (AuthenticationMD5Password)

import { createHash } from 'node:crypto';
import { equalBytes } from './scram.js';

export const MD5_SALT_BYTES = 4;
const STORED = /^md5[0-9a-f]{32}$/;

export function isMd5Hash(text: string): boolean {
  return STORED.test(text);
}

/** As pg_authid has it: "md5" and the hash of password and user name. */
export function md5Hash(user: string, password: string): string {
  return `md5${md5(Buffer.from(password + user))}`;
}

/** What a client sends for a challenge: the hash without its prefix, hashed again with the salt. */
export function md5Answer(hash: string, salt: Buffer): string {
  return `md5${md5(Buffer.concat([Buffer.from(hash.slice(3)), salt]))}`;
}

export function checkMd5Answer(hash: string, salt: Buffer, answer: string): boolean {
  return equalBytes(Buffer.from(md5Answer(hash, salt)), Buffer.from(answer));
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
