// Logs an application in: greeting, plugin, challenge, proof; bytes in, bytes or a credential out. It owns no socket and no user list.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html

import { randomBytes } from 'node:crypto';
import { ProxyError } from '../../lib/errors.js';
import type { UserLookup } from '../../protocol/client-connection.js';
import type { Credential } from '../../protocol/credential.js';
import { buildAuthMoreData, buildAuthSwitchRequest } from '../wire/auth-packets.js';
import { CAPABILITY, type Capabilities, commonCapabilities, hasCapability } from '../wire/capabilities.js';
import type { ChangeUser } from '../wire/command.js';
import { buildGreeting, type Greeting } from '../wire/greeting.js';
import { type HandshakeResponse, parseHandshakeResponse } from '../wire/handshake-response.js';
import {
  CACHING_SHA2,
  checkSha2Scramble,
  FAST_AUTH_SUCCESS,
  PERFORM_FULL_AUTHENTICATION,
  REQUEST_PUBLIC_KEY,
  sha2Stage2,
  xorPassword,
} from './caching-sha2.js';
import { newChallenge } from './challenge.js';
import { checkNativeScramble, NATIVE_PASSWORD, nativeVerifier } from './native-password.js';
import type { PasswordCache } from './password-cache.js';
import type { RsaKey } from './rsa-key.js';
import { checkSha256Crypt, parseSha256CryptVerifier } from './sha256-crypt.js';

export interface LoginContext {
  /** Rejects with ProxyError `authentication-unavailable` when the primary cannot be asked. */
  lookUpUser(user: string, database: string): Promise<UserLookup>;
  readonly rsa: RsaKey;
  readonly passwords: PasswordCache;
  /** The plugin of users that nobody knows, and of those whose password is known and whose client has none of ours. */
  readonly defaultPlugin: string;
  /** Nobody is asked for a password. */
  readonly trust: boolean;
  /** The transport hides what is sent: a clear password may come over it. */
  readonly secure: boolean;
}

export type ProofStep =
  /** Send this and give the client's next packet to `receive`. */
  | { readonly kind: 'send'; readonly bytes: Buffer }
  /** Send `bytes`, if any; the login's OK or ERR then has this sequence id. */
  | {
      readonly kind: 'done';
      readonly bytes: Buffer | null;
      readonly sequence: number;
      readonly credential: Credential;
    };

type ProofState = 'new' | 'switched' | 'full' | 'encrypted' | 'done' | 'failed';

/** One user's proof, for a login and for COM_CHANGE_USER alike. Calls must not overlap; everything may reject with ProxyError. */
export class UserProof {
  readonly user: string;
  /** The sequence id that the next packet to the client has. */
  sequence: number;
  #state: ProofState = 'new';
  readonly #context: LoginContext;
  readonly #database: string;
  readonly #usesPlugins: boolean;
  readonly #challenge: Buffer;
  #lookup: UserLookup = { kind: 'unknown' };
  #plugin: string;
  #hasPassword = false;

  /** `database`: with which it comes; null: none. `challenge`: the connection's only one (ClientLogin). */
  constructor(
    user: string,
    database: string | null,
    challenge: Buffer,
    usesPlugins: boolean,
    sequence: number,
    context: LoginContext,
  ) {
    this.user = user;
    this.#database = database ?? '';
    this.sequence = sequence;
    this.#challenge = challenge;
    this.#usesPlugins = usesPlugins;
    this.#context = context;
    this.#plugin = context.defaultPlugin;
  }

  /** `answer`: to `challenge` by `plugin`; null where the client has not been asked yet. */
  async start(plugin: string, answer: Buffer | null): Promise<ProofStep> {
    this.#lookup = await this.#context.lookUpUser(this.user, this.#database);
    if (this.#context.trust) {
      const credential: Credential =
        this.#lookup.kind === 'password'
          ? { kind: 'password', password: this.#lookup.password }
          : { kind: 'none' };
      return this.#done(null, credential);
    }
    this.#plugin = this.#choosePlugin(plugin);
    if (plugin === this.#plugin && answer !== null) return this.#check(answer);
    if (!this.#usesPlugins) {
      if (this.#plugin === NATIVE_PASSWORD && answer !== null) return this.#check(answer);
      this.#transition('failed');
      throw new ProxyError('unsupported-protocol-version', {
        version: `without pluggable authentication, which user "${this.user}" needs`,
      });
    }
    this.#transition('switched');
    const request = { plugin: this.#plugin, scramble: this.#challenge };
    return { kind: 'send', bytes: buildAuthSwitchRequest(request, this.#next()) };
  }

  /** `sequence`: of the client's packet. */
  async receive(payload: Buffer, sequence: number): Promise<ProofStep> {
    if (sequence !== this.sequence) {
      this.#transition('failed');
      throw new ProxyError('protocol-violation', {
        detail: `packet ${sequence} instead of ${this.sequence} in the login`,
      });
    }
    this.#next();
    switch (this.#state) {
      case 'switched':
        return this.#check(payload);
      case 'full':
        if (this.#context.secure) return this.#checkClear(payload);
        if (payload.length === 1 && payload[0] === REQUEST_PUBLIC_KEY) {
          this.#transition('encrypted');
          const pem = await this.#context.rsa.publicPem();
          return { kind: 'send', bytes: buildAuthMoreData(Buffer.from(pem, 'latin1'), this.#next()) };
        }
        return this.#checkEncrypted(payload);
      case 'encrypted':
        return this.#checkEncrypted(payload);
      default:
        throw new Error(`login: packet while ${this.#state}`);
    }
  }

  #transition(to: ProofState): void {
    if (this.#state === 'done' || this.#state === 'failed')
      throw new Error(`login: ${this.#state} cannot become ${to}`);
    this.#state = to;
  }

  #next(): number {
    const sequence = this.sequence;
    this.sequence = (sequence + 1) & 0xff;
    return sequence;
  }

  #choosePlugin(offered: string): string {
    const lookup = this.#lookup;
    if (lookup.kind === 'unknown') return this.#context.defaultPlugin;
    if (lookup.kind === 'password') {
      if (offered === NATIVE_PASSWORD || offered === CACHING_SHA2) return offered;
      return this.#context.defaultPlugin;
    }
    const { method } = lookup.verifier;
    if (method === NATIVE_PASSWORD || method === CACHING_SHA2) return method;
    this.#transition('failed');
    throw new ProxyError('authentication-unavailable', {
      user: this.user,
      detail: `its plugin ${method} is not one that the proxy can check; name its password in the configuration`,
    });
  }

  #check(answer: Buffer): ProofStep {
    this.#hasPassword = answer.length > 1 || (answer.length === 1 && answer[0] !== 0);
    return this.#plugin === NATIVE_PASSWORD ? this.#checkNative(answer) : this.#checkSha2(answer);
  }

  #checkNative(answer: Buffer): ProofStep {
    const lookup = this.#lookup;
    if (lookup.kind === 'password') {
      const stage1 = checkNativeScramble(answer, this.#challenge, nativeVerifier(lookup.password));
      return stage1 === null ? this.#fail() : this.#done(null, lookup);
    }
    // The same work for a user who is not there.
    const stored =
      lookup.kind === 'verifier' ? lookup.verifier.secret : `*${randomBytes(20).toString('hex')}`;
    const stage1 = checkNativeScramble(answer, this.#challenge, stored);
    if (stage1 === null) return this.#fail();
    if (stage1.length === 0) return this.#done(null, { kind: 'password', password: '' });
    return this.#done(null, { kind: 'native-stage1', stage1: Buffer.from(stage1) });
  }

  #checkSha2(answer: Buffer): ProofStep {
    const lookup = this.#lookup;
    const stored = lookup.kind === 'verifier' ? lookup.verifier.secret : null;
    if (answer.length === 0 || (answer.length === 1 && answer[0] === 0)) {
      const isEmpty = lookup.kind === 'password' ? lookup.password === '' : stored === '';
      return isEmpty ? this.#done(null, { kind: 'password', password: '' }) : this.#fail();
    }
    if (lookup.kind === 'password') {
      if (!checkSha2Scramble(answer, this.#challenge, sha2Stage2(lookup.password))) return this.#fail();
      return this.#fastSuccess(lookup.password);
    }
    if (stored !== null) {
      const cached = this.#context.passwords.get(this.user, stored);
      if (cached !== null && checkSha2Scramble(answer, this.#challenge, cached.stage2))
        return this.#fastSuccess(cached.password);
    }
    this.#transition('full');
    return { kind: 'send', bytes: buildAuthMoreData(Buffer.of(PERFORM_FULL_AUTHENTICATION), this.#next()) };
  }

  #fastSuccess(password: string): ProofStep {
    const bytes = buildAuthMoreData(Buffer.of(FAST_AUTH_SUCCESS), this.#next());
    return this.#done(bytes, { kind: 'password', password });
  }

  async #checkEncrypted(payload: Buffer): Promise<ProofStep> {
    const decrypted = await this.#context.rsa.decrypt(payload);
    return decrypted === null ? this.#fail() : this.#checkClear(xorPassword(decrypted, this.#challenge));
  }

  async #checkClear(withZero: Buffer): Promise<ProofStep> {
    const zero = withZero.indexOf(0);
    if (zero < 0 || zero !== withZero.length - 1) return this.#fail();
    const password = withZero.subarray(0, zero);
    const stored = this.#lookup.kind === 'verifier' ? this.#lookup.verifier.secret : '';
    const verifier = parseSha256CryptVerifier(stored);
    if (verifier === null) {
      await checkSha256Crypt(password, DECOY);
      return this.#fail();
    }
    const text = password.toString('utf8');
    const check = (): Promise<boolean> => checkSha256Crypt(password, verifier);
    if (!(await this.#context.passwords.check(this.user, stored, text, check))) return this.#fail();
    return this.#done(null, { kind: 'password', password: text });
  }

  #done(bytes: Buffer | null, credential: Credential): ProofStep {
    this.#transition('done');
    return { kind: 'done', bytes, sequence: this.sequence, credential };
  }

  #fail(): never {
    this.#transition('failed');
    throw new ProxyError('authentication-failed', {
      user: this.user,
      password: this.#hasPassword ? 'YES' : 'NO',
    });
  }
}

/** Costs an unknown user as much time as a known one. */
const DECOY = { rounds: 5000, salt: Buffer.alloc(20, 'x'), digest: '.'.repeat(43) };

export type LoginStep =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  | {
      readonly kind: 'done';
      readonly bytes: Buffer | null;
      readonly sequence: number;
      readonly credential: Credential;
      readonly response: HandshakeResponse;
      /** What both sides speak from here on. */
      readonly capabilities: Capabilities;
    };

/** A new client connection, from the greeting on. */
export class ClientLogin {
  readonly #greeting: Greeting;
  readonly #context: LoginContext;
  #response: HandshakeResponse | null = null;
  #capabilities: Capabilities = { flags: 0, mariadb: 0 };
  #proof: UserProof | null = null;

  constructor(greeting: Omit<Greeting, 'scramble' | 'plugin'>, context: LoginContext) {
    this.#greeting = { ...greeting, scramble: newChallenge(), plugin: context.defaultPlugin };
    this.#context = context;
  }

  /**
   * The only one for as long as the client is connected: MariaDB's client library answers whatever it is asked later, by a change
   * of user, as if it were the one that it has seen first; the servers ask no other one (native_password_authenticate).
   */
  get challenge(): Buffer {
    return this.#greeting.scramble;
  }

  greeting(): Buffer {
    return buildGreeting(this.#greeting);
  }

  /** The user, once the client has said it. */
  get user(): string | null {
    return this.#response?.user ?? null;
  }

  /** The sequence id of an error that ends the login now. */
  get errorSequence(): number {
    return this.#proof?.sequence ?? 2;
  }

  /** One packet of the client; calls must not overlap. Rejects with ProxyError, upon which the connection ends. */
  async receive(payload: Buffer, sequence: number): Promise<LoginStep> {
    const step = await (this.#proof === null
      ? this.#receiveResponse(payload, sequence)
      : this.#proof.receive(payload, sequence));
    if (step.kind === 'send') return step;
    return { ...step, response: this.#response!, capabilities: this.#capabilities };
  }

  #receiveResponse(payload: Buffer, sequence: number): Promise<ProofStep> {
    if (sequence !== 1)
      throw new ProxyError('protocol-violation', { detail: `handshake response is packet ${sequence}` });
    // Kept beyond this turn: the chunk that it came in is not.
    const response = parseHandshakeResponse(Buffer.from(payload));
    this.#response = response;
    this.#capabilities = commonCapabilities(this.#greeting.capabilities, response.capabilities);
    const usesPlugins = hasCapability(this.#capabilities, CAPABILITY.PLUGIN_AUTH);
    const { user, database } = response;
    this.#proof = new UserProof(user, database, this.#greeting.scramble, usesPlugins, 2, this.#context);
    const plugin = usesPlugins ? (response.plugin ?? this.#greeting.plugin) : NATIVE_PASSWORD;
    return this.#proof.start(plugin, response.authResponse);
  }
}

/** The proof behind a COM_CHANGE_USER. The client is always asked, as the servers do. `start('', null)` comes first. */
export function proofForChangeUser(
  change: ChangeUser,
  capabilities: Capabilities,
  challenge: Buffer,
  context: LoginContext,
): UserProof {
  const usesPlugins = hasCapability(capabilities, CAPABILITY.PLUGIN_AUTH);
  return new UserProof(change.user, change.database, challenge, usesPlugins, 1, context);
}
