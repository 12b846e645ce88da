// The login of an application, behind its startup packet: says what to send for each message until its user is proven or not.
// It owns no socket and must not know where the user's secret comes from.
//
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import { randomBytes } from 'node:crypto';
import { assert } from '../../lib/assert.js';
import { ProxyError } from '../../lib/errors.js';
import type { UserLookup } from '../../protocol/client-connection.js';
import type { Credential } from '../../protocol/credential.js';
import {
  AUTHENTICATION_CLEARTEXT,
  AUTHENTICATION_OK,
  authenticationMd5,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../wire/backend-messages.js';
import { endOfString, malformed } from '../wire/bytes.js';
import { FRONTEND, parseSaslInitialResponse, passwordBody } from '../wire/frontend.js';
import { type LoginSecrets, processSecrets } from './login-secrets.js';
import { checkMd5Answer, isMd5Hash, MD5_SALT_BYTES, md5Hash } from './md5.js';
import { equalBytes, parseScramVerifier, SCRAM_SHA_256, type ScramVerifier, sha256 } from './scram.js';
import { ScramServer } from './scram-server.js';

/**
 * How a listener lets clients prove who they are. `auto` follows what is stored: md5 for an MD5 hash, SCRAM for all
 * else. `md5` does so too, and takes passwords of the configuration by MD5, for drivers without SCRAM.
 */
export type ClientLoginMethod = 'auto' | 'trust' | 'password' | 'md5' | 'scram-sha-256';

export interface ClientLoginOptions {
  readonly method: ClientLoginMethod;
  readonly user: string;
  readonly lookup: UserLookup;
  readonly secrets?: LoginSecrets;
}

export type ClientLoginStep =
  | { readonly kind: 'continue'; readonly send: Buffer }
  /** `send` ends with AuthenticationOk; parameters, key and ReadyForQuery are the caller's. */
  | { readonly kind: 'authenticated'; readonly send: Buffer; readonly credential: Credential }
  /** The error is for the client; `reason` is for the log only: it would tell whether the user exists. */
  | { readonly kind: 'failed'; readonly error: ProxyError; readonly reason: string };

/** What was found for the user, in the form that can be checked. */
type Secret =
  | { readonly kind: 'plaintext'; readonly password: string }
  | { readonly kind: 'scram'; readonly verifier: ScramVerifier }
  | { readonly kind: 'md5'; readonly hash: string }
  /** Nothing can be checked against it, and every login fails as with a wrong password. */
  | { readonly kind: 'nothing'; readonly reason: string };

type State = 'start' | 'password' | 'md5' | 'sasl-initial' | 'sasl-first' | 'sasl-final' | 'ended';

const NEXT: Readonly<Record<State, readonly State[]>> = {
  start: ['password', 'md5', 'sasl-initial', 'ended'],
  password: ['ended'],
  md5: ['ended'],
  'sasl-initial': ['sasl-first', 'sasl-final', 'ended'],
  'sasl-first': ['sasl-final', 'ended'],
  'sasl-final': ['ended'],
  ended: [],
};

export class ClientLogin {
  #state: State = 'start';
  readonly #method: ClientLoginMethod;
  readonly #user: string;
  readonly #secret: Secret;
  readonly #secrets: LoginSecrets;
  #md5Salt: Buffer | null = null;
  #scram: ScramServer | null = null;

  constructor(options: ClientLoginOptions) {
    this.#method = options.method;
    this.#user = options.user;
    this.#secret = secretOf(options.lookup);
    this.#secrets = options.secrets ?? processSecrets;
  }

  /** What is sent first, before any message of the client. */
  start(): ClientLoginStep {
    if (this.#method === 'trust') return this.#authenticated(this.#trustedCredential(), AUTHENTICATION_OK);
    if (this.#method === 'password') return this.#continue('password', AUTHENTICATION_CLEARTEXT);
    if (this.#asksMd5()) {
      this.#md5Salt = randomBytes(MD5_SALT_BYTES);
      return this.#continue('md5', authenticationMd5(this.#md5Salt));
    }
    return this.#continue('sasl-initial', authenticationSasl([SCRAM_SHA_256]));
  }

  /** The client's next message, as the framer answered it. Throws nothing. */
  message(type: number, buffer: Buffer, start: number, end: number): ClientLoginStep {
    assert(
      this.#state !== 'start' && this.#state !== 'ended',
      `a message of a login in state ${this.#state}`,
    );
    try {
      // Everything that a client may send here has this one type.
      if (type !== FRONTEND.password) throw malformed('expected the answer to an authentication request');
      return this.#answer(buffer, start, end);
    } catch (cause) {
      if (!(cause instanceof ProxyError)) throw cause;
      this.#transition('ended');
      return { kind: 'failed', error: cause, reason: cause.message };
    }
  }

  #answer(buffer: Buffer, start: number, end: number): ClientLoginStep {
    switch (this.#state) {
      case 'password':
        return this.#checkPassword(passwordText(buffer, start, end));
      case 'md5':
        return this.#checkMd5(passwordText(buffer, start, end));
      case 'sasl-initial': {
        const initial = parseSaslInitialResponse(buffer, start, end);
        if (initial.mechanism !== SCRAM_SHA_256) throw malformed('a SASL mechanism that was not offered');
        // RFC 4422, section 5: without an initial response the server sends an empty challenge.
        if (initial.response === null) return this.#continue('sasl-first', authenticationSaslContinue(''));
        return this.#scramFirst(initial.response);
      }
      case 'sasl-first':
        return this.#scramFirst(passwordBody(buffer, start, end));
      default:
        return this.#scramFinal(passwordBody(buffer, start, end));
    }
  }

  #asksMd5(): boolean {
    if (this.#secret.kind === 'md5') return this.#method !== 'scram-sha-256';
    return this.#method === 'md5' && this.#secret.kind !== 'scram';
  }

  #trustedCredential(): Credential {
    if (this.#secret.kind === 'plaintext') return { kind: 'password', password: this.#secret.password };
    if (this.#secret.kind === 'md5') return { kind: 'md5', hash: this.#secret.hash };
    return { kind: 'none' };
  }

  #checkPassword(password: string): ClientLoginStep {
    const credential: Credential = { kind: 'password', password };
    const secret = this.#secret;
    if (secret.kind === 'plaintext') {
      // Hashes have one length, so that the comparison does not tell the password's.
      const equal = equalBytes(sha256(Buffer.from(password)), sha256(Buffer.from(secret.password)));
      return equal && password !== ''
        ? this.#authenticated(credential, AUTHENTICATION_OK)
        : this.#wrong('wrong password');
    }
    if (secret.kind === 'md5') {
      const equal = equalBytes(Buffer.from(md5Hash(this.#user, password)), Buffer.from(secret.hash));
      return equal ? this.#authenticated(credential, AUTHENTICATION_OK) : this.#wrong('wrong password');
    }
    // A user that does not exist costs what one that does costs.
    const verifier = secret.kind === 'scram' ? secret.verifier : this.#secrets.mockVerifier(this.#user);
    const keys = this.#secrets.deriveKeys(password, verifier.salt, verifier.iterations);
    const equal = equalBytes(keys.serverKey, verifier.serverKey);
    if (secret.kind === 'nothing') return this.#wrong(secret.reason);
    return equal ? this.#authenticated(credential, AUTHENTICATION_OK) : this.#wrong('wrong password');
  }

  #checkMd5(answer: string): ClientLoginStep {
    const secret = this.#secret;
    const salt = this.#md5Salt;
    assert(salt !== null, 'an MD5 answer without a challenge');
    const hash = secret.kind === 'md5' ? secret.hash : md5Hash(this.#user, plaintextOf(secret));
    const equal = checkMd5Answer(hash, salt, answer);
    if (secret.kind === 'nothing') return this.#wrong(secret.reason);
    if (!equal) return this.#wrong('wrong password');
    return this.#authenticated(
      secret.kind === 'plaintext' ? { kind: 'password', password: secret.password } : { kind: 'md5', hash },
      AUTHENTICATION_OK,
    );
  }

  #scramFirst(clientFirst: Buffer): ClientLoginStep {
    const secret = this.#secret;
    let verifier: ScramVerifier;
    if (secret.kind === 'scram') verifier = secret.verifier;
    else if (secret.kind === 'plaintext') verifier = this.#secrets.verifierOf(this.#user, secret.password);
    else verifier = this.#secrets.mockVerifier(this.#user);
    this.#scram = new ScramServer(verifier, { doomed: secret.kind === 'nothing' || secret.kind === 'md5' });
    return this.#continue('sasl-final', authenticationSaslContinue(this.#scram.first(clientFirst)));
  }

  #scramFinal(clientFinal: Buffer): ClientLoginStep {
    const scram = this.#scram;
    assert(scram !== null, 'a SCRAM proof without an exchange');
    const { keys, serverFinal } = scram.final(clientFinal);
    const secret = this.#secret;
    if (secret.kind === 'nothing') return this.#wrong(secret.reason);
    if (secret.kind === 'md5') return this.#wrong('an MD5 hash is stored, and the listener demands SCRAM');
    if (keys === null) return this.#wrong('wrong password');
    return this.#authenticated(
      // The password answers whatever a node may ask; keys answer SCRAM only.
      secret.kind === 'plaintext'
        ? { kind: 'password', password: secret.password }
        : { kind: 'scram-keys', ...keys },
      Buffer.concat([authenticationSaslFinal(serverFinal), AUTHENTICATION_OK]),
    );
  }

  #continue(state: State, send: Buffer): ClientLoginStep {
    this.#transition(state);
    return { kind: 'continue', send };
  }

  #authenticated(credential: Credential, send: Buffer): ClientLoginStep {
    this.#transition('ended');
    return { kind: 'authenticated', send, credential };
  }

  #wrong(reason: string): ClientLoginStep {
    this.#transition('ended');
    return { kind: 'failed', error: new ProxyError('authentication-failed', { user: this.#user }), reason };
  }

  #transition(next: State): void {
    assert(NEXT[this.#state].includes(next), `client login: ${this.#state} to ${next}`);
    this.#state = next;
  }
}

function secretOf(lookup: UserLookup): Secret {
  if (lookup.kind === 'unknown') return { kind: 'nothing', reason: 'no such user' };
  // PostgreSQL stores no verifier for an empty password and lets nobody in with one.
  if (lookup.kind === 'password') {
    return lookup.password === ''
      ? { kind: 'nothing', reason: 'the password in the configuration is empty' }
      : { kind: 'plaintext', password: lookup.password };
  }
  const { method, secret } = lookup.verifier;
  const verifier = parseScramVerifier(secret);
  if (verifier !== null) return { kind: 'scram', verifier };
  if (isMd5Hash(secret)) return { kind: 'md5', hash: secret };
  return {
    kind: 'nothing',
    reason:
      method === 'none' ? 'no password is stored' : `a verifier of method "${method}" cannot be checked`,
  };
}

/** For a user that does not exist any text will do: the result is not used. */
function plaintextOf(secret: Secret): string {
  return secret.kind === 'plaintext' ? secret.password : '';
}

/** PasswordMessage: one string. */
function passwordText(buffer: Buffer, start: number, end: number): string {
  const textStart = start + 5;
  const textEnd = endOfString(buffer, textStart, end, 'PasswordMessage');
  if (textEnd !== end - 1) throw malformed('PasswordMessage with bytes behind its text');
  return buffer.toString('utf8', textStart, textEnd);
}
