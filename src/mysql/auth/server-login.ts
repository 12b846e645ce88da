// Logs the proxy in to a node as the client's user: bytes in, bytes or "done" out. It owns no socket and opens nothing.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html

import { ProxyError } from '../../lib/errors.js';
import type { Credential } from '../../protocol/credential.js';
import {
  AUTH_MORE_BYTE,
  AUTH_SWITCH_BYTE,
  buildAuthResponse,
  parseAuthSwitchRequest,
} from '../wire/auth-packets.js';
import { type Capabilities, requestedCapabilities } from '../wire/capabilities.js';
import { type Greeting, parseGreeting } from '../wire/greeting.js';
import { buildHandshakeResponse } from '../wire/handshake-response.js';
import { ERR_BYTE, OK_BYTE, type OkPacket, parseErr, parseOk } from '../wire/ok.js';
import {
  CACHING_SHA2,
  encryptPassword,
  FAST_AUTH_SUCCESS,
  PERFORM_FULL_AUTHENTICATION,
  REQUEST_PUBLIC_KEY,
  sha2Scramble,
} from './caching-sha2.js';
import { NATIVE_PASSWORD, nativeScramble, nativeStage1 } from './native-password.js';

export interface ServerLoginOptions {
  /** For messages. */
  readonly node: string;
  readonly user: string;
  readonly credential: Credential;
  readonly database: string | null;
  /** Of the clients that will use it (keyedCapabilities). */
  readonly keyed: Capabilities;
  readonly collation: number;
  readonly attributes: ReadonlyMap<string, string>;
  readonly maxPacketBytes: number;
  /** The transport hides what is sent. */
  readonly secure: boolean;
}

export type ServerLoginStep =
  | { readonly kind: 'send'; readonly bytes: Buffer }
  /** The node has said a part of its answer; nothing to send. */
  | { readonly kind: 'wait' }
  | {
      readonly kind: 'done';
      readonly greeting: Greeting;
      readonly capabilities: Capabilities;
      readonly ok: OkPacket;
    };

type State = 'greeting' | 'proof' | 'public-key' | 'done' | 'failed';

const NOTHING = Buffer.alloc(0);
const ER_BAD_DB = 1049;

export class ServerLogin {
  readonly #options: ServerLoginOptions;
  #state: State = 'greeting';
  #greeting: Greeting | null = null;
  #capabilities: Capabilities = { flags: 0, mariadb: 0 };
  #challenge: Buffer = NOTHING;
  #plugin = NATIVE_PASSWORD;

  constructor(options: ServerLoginOptions) {
    this.#options = options;
  }

  /** One packet of the node. Throws ProxyError, upon which the connection ends. */
  receive(payload: Buffer, sequence: number): ServerLoginStep {
    try {
      return this.#receive(payload, sequence);
    } catch (error) {
      if (this.#state !== 'failed') this.#transition('failed');
      if (error instanceof ProxyError && error.code === 'protocol-violation')
        throw new ProxyError('server-garbage', {
          node: this.#options.node,
          detail: String(error.details.detail ?? ''),
        });
      throw error;
    }
  }

  #transition(to: State): void {
    if (this.#state === 'done' || this.#state === 'failed')
      throw new Error(`server login: ${this.#state} cannot become ${to}`);
    this.#state = to;
  }

  #receive(payload: Buffer, sequence: number): ServerLoginStep {
    if (payload[0] === ERR_BYTE) this.#refused(payload);
    if (this.#state === 'greeting') return this.#onGreeting(payload, sequence);
    const reply = (sequence + 1) & 0xff;
    switch (payload[0]) {
      case OK_BYTE: {
        const ok = parseOk(payload, this.#capabilities);
        this.#transition('done');
        return { kind: 'done', greeting: this.#greeting!, capabilities: this.#capabilities, ok };
      }
      case AUTH_SWITCH_BYTE: {
        const request = parseAuthSwitchRequest(payload);
        this.#plugin = request.plugin;
        this.#challenge = Buffer.from(request.scramble);
        this.#transition('proof');
        return { kind: 'send', bytes: buildAuthResponse(this.#answer(), reply) };
      }
      case AUTH_MORE_BYTE:
        return this.#onMoreData(payload.subarray(1), reply);
      default:
        throw new ProxyError('protocol-violation', {
          detail: `packet of type ${payload[0] ?? 'nothing'} in the login`,
        });
    }
  }

  #onGreeting(payload: Buffer, sequence: number): ServerLoginStep {
    // Kept for the life of the connection: the chunk that it came in is not.
    const greeting = parseGreeting(Buffer.from(payload));
    const { user, database, collation, attributes, maxPacketBytes, keyed } = this.#options;
    this.#greeting = greeting;
    this.#challenge = greeting.scramble;
    this.#plugin = this.#firstPlugin(greeting.plugin);
    this.#capabilities = requestedCapabilities(keyed, greeting.capabilities);
    this.#transition('proof');
    const response = {
      capabilities: this.#capabilities,
      maxPacketBytes,
      collation,
      user,
      authResponse: this.#answer(),
      database,
      plugin: this.#plugin,
      attributes,
    };
    return { kind: 'send', bytes: buildHandshakeResponse(response, (sequence + 1) & 0xff) };
  }

  /** What is tried before the node has said what the user needs. */
  #firstPlugin(offered: string): string {
    if (this.#options.credential.kind === 'native-stage1') return NATIVE_PASSWORD;
    return offered === CACHING_SHA2 ? CACHING_SHA2 : NATIVE_PASSWORD;
  }

  #answer(): Buffer {
    const { credential } = this.#options;
    if (credential.kind === 'none') return NOTHING;
    if (credential.kind === 'password' && credential.password === '') return NOTHING;
    if (this.#plugin === NATIVE_PASSWORD) {
      if (credential.kind === 'native-stage1') return nativeScramble(credential.stage1, this.#challenge);
      if (credential.kind === 'password')
        return nativeScramble(nativeStage1(credential.password), this.#challenge);
    }
    if (this.#plugin === CACHING_SHA2 && credential.kind === 'password')
      return sha2Scramble(credential.password, this.#challenge);
    throw this.#impossible();
  }

  #impossible(): ProxyError {
    const { node, user, credential } = this.#options;
    const what =
      this.#plugin === 'mysql_clear_password'
        ? 'it asks for the password in clear over a connection without TLS'
        : `it asks for plugin ${this.#plugin}, for which the proxy has no proof (it has ${credential.kind})`;
    return new ProxyError('server-login-failed', { node, user, detail: what });
  }

  #onMoreData(data: Buffer, reply: number): ServerLoginStep {
    const { credential } = this.#options;
    if (this.#plugin !== CACHING_SHA2 || credential.kind !== 'password') throw this.#impossible();
    if (this.#state === 'public-key') {
      this.#transition('proof');
      const encrypted = encryptPassword(credential.password, this.#challenge, data.toString('latin1'));
      return { kind: 'send', bytes: buildAuthResponse(encrypted, reply) };
    }
    if (data.length === 1 && data[0] === FAST_AUTH_SUCCESS) return { kind: 'wait' };
    if (data.length === 1 && data[0] === PERFORM_FULL_AUTHENTICATION) {
      if (this.#options.secure)
        return {
          kind: 'send',
          bytes: buildAuthResponse(Buffer.from(`${credential.password}\0`, 'utf8'), reply),
        };
      this.#transition('public-key');
      return { kind: 'send', bytes: buildAuthResponse(Buffer.of(REQUEST_PUBLIC_KEY), reply) };
    }
    throw new ProxyError('protocol-violation', {
      detail: `${data.length} bytes of AuthMoreData out of turn`,
    });
  }

  #refused(payload: Buffer): never {
    const { node, user } = this.#options;
    const { errno, sqlState, message } = parseErr(payload);
    const wasGreeted = this.#state !== 'greeting';
    this.#transition('failed');
    if (isFull(errno)) throw new ProxyError('node-full', { node, detail: `${errno}: ${message}` });
    // A server that shuts down or blocks this host says so instead of a greeting.
    if (!wasGreeted) throw new ProxyError('connect-failed', { node, detail: `${errno}: ${message}` });
    if (errno === ER_DBACCESS_DENIED) throw new ProxyError('database-denied', { detail: message });
    if (errno === ER_BAD_DB) throw new ProxyError('unknown-database', { detail: message, sqlState });
    if (errno === ER_SERVER_SHUTDOWN)
      throw new ProxyError('connect-failed', { node, detail: `${errno}: ${message}` });
    throw new ProxyError('login-refused', { node, user, detail: message, errno, sqlState });
  }
}

const ER_DBACCESS_DENIED = 1044;
const ER_SERVER_SHUTDOWN = 1053;

/** Too many connections, of all or of this user: the node is well, and the same login may succeed later. */
function isFull(errno: number): boolean {
  return errno === 1040 || errno === 1203 || errno === 1226;
}
