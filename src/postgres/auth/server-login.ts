// The proxy's own login to a node as one user: says what to send for each message until the node is ready or refuses.
// It owns no socket and must not know why the connection is opened.
//
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP

import { assert } from '../../lib/assert.js';
import { ProxyError } from '../../lib/errors.js';
import type { Credential } from '../../protocol/credential.js';
import {
  type AuthenticationRequest,
  BACKEND,
  type BackendKey,
  parseAuthentication,
  parseBackendKeyData,
  parseErrorResponse,
  parseNegotiateProtocolVersion,
  parseParameterStatus,
  parseReadyForQuery,
  type ServerErrorFields,
} from '../wire/backend.js';
import { malformed } from '../wire/bytes.js';
import { buildPassword, buildSaslInitialResponse, buildSaslResponse } from '../wire/frontend.js';
import { buildStartupMessage } from '../wire/startup.js';
import { type LoginSecrets, processSecrets } from './login-secrets.js';
import { md5Answer, md5Hash } from './md5.js';
import { SCRAM_SHA_256 } from './scram.js';
import { ScramClient } from './scram-client.js';

/** PostgreSQL reports about 15; extensions may add theirs. */
const MAX_PARAMETERS = 1000;

export interface ServerLoginOptions {
  /** Name of the node, for errors. */
  readonly node: string;
  readonly user: string;
  readonly database: string;
  readonly credential: Credential;
  /** Further startup parameters (application_name, client_encoding ...), without user and database. */
  readonly parameters?: Iterable<readonly [string, string]>;
  /** 2 asks for protocol 3.2 (longer cancel keys); a node before PostgreSQL 18 negotiates down. Default 0. */
  readonly minor?: number;
  readonly secrets?: LoginSecrets;
}

/** What the node said until it was ready. */
export interface ServerSession {
  readonly parameters: Map<string, string>;
  /** Null for a server that cannot cancel. */
  readonly backendKey: BackendKey | null;
  /** Of the protocol that both speak: 3.`minor`. */
  readonly minor: number;
}

export type ServerLoginStep =
  /** `send` is null when only more messages are awaited. */
  | { readonly kind: 'continue'; readonly send: Buffer | null }
  | { readonly kind: 'ready'; readonly session: ServerSession }
  /** `serverError`: what the node said, when it was the node that refused. */
  | { readonly kind: 'failed'; readonly error: ProxyError; readonly serverError: ServerErrorFields | null };

type State = 'start' | 'request' | 'sasl-first' | 'sasl-final' | 'ok' | 'parameters' | 'ended';

const NEXT: Readonly<Record<State, readonly State[]>> = {
  start: ['request'],
  request: ['sasl-first', 'ok', 'parameters', 'ended'],
  'sasl-first': ['sasl-final', 'ended'],
  'sasl-final': ['ok', 'ended'],
  // Answered; AuthenticationOk or an error must come.
  ok: ['parameters', 'ended'],
  parameters: ['ended'],
  ended: [],
};

const WAIT: ServerLoginStep = { kind: 'continue', send: null };

export class ServerLogin {
  #state: State = 'start';
  readonly #options: ServerLoginOptions;
  readonly #parameters = new Map<string, string>();
  #backendKey: BackendKey | null = null;
  #minor: number;
  #scram: ScramClient | null = null;

  constructor(options: ServerLoginOptions) {
    this.#options = options;
    this.#minor = options.minor ?? 0;
  }

  /** The StartupMessage. */
  start(): Buffer {
    this.#transition('request');
    const { user, database, parameters } = this.#options;
    return buildStartupMessage([['user', user], ['database', database], ...(parameters ?? [])], this.#minor);
  }

  /** The node's next message, as the framer answered it. Throws nothing. */
  message(type: number, buffer: Buffer, start: number, end: number): ServerLoginStep {
    assert(
      this.#state !== 'start' && this.#state !== 'ended',
      `a message of a login in state ${this.#state}`,
    );
    try {
      return this.#answer(type, buffer, start, end);
    } catch (cause) {
      if (!(cause instanceof ProxyError)) throw cause;
      if (cause.code !== 'protocol-violation') return this.#failed(cause);
      // It was the node that broke the protocol, not the client.
      const detail = String(cause.details.detail ?? cause.message);
      return this.#failed(new ProxyError('server-garbage', { node: this.#options.node, detail }));
    }
  }

  #answer(type: number, buffer: Buffer, start: number, end: number): ServerLoginStep {
    switch (type) {
      case BACKEND.authentication:
        return this.#authentication(parseAuthentication(buffer, start, end));
      case BACKEND.errorResponse:
        return this.#refused(parseErrorResponse(buffer, start, end));
      case BACKEND.noticeResponse:
        return WAIT;
      case BACKEND.negotiateProtocolVersion:
        return this.#negotiated(parseNegotiateProtocolVersion(buffer, start, end).minor);
      default:
    }
    if (this.#state !== 'parameters')
      throw malformed(`message type ${type} before the end of the authentication`);
    switch (type) {
      case BACKEND.parameterStatus: {
        const { name, value } = parseParameterStatus(buffer, start, end);
        this.#parameters.set(name, value);
        if (this.#parameters.size > MAX_PARAMETERS) throw malformed('too many parameters');
        return WAIT;
      }
      case BACKEND.backendKeyData:
        this.#backendKey = parseBackendKeyData(buffer, start, end);
        return WAIT;
      case BACKEND.readyForQuery:
        return this.#ready(buffer, start, end);
      default:
        throw malformed(`message type ${type} before ReadyForQuery`);
    }
  }

  #ready(buffer: Buffer, start: number, end: number): ServerLoginStep {
    if (parseReadyForQuery(buffer, start, end) !== 'idle')
      throw malformed('a transaction is open after the login');
    this.#transition('ended');
    return {
      kind: 'ready',
      session: { parameters: this.#parameters, backendKey: this.#backendKey, minor: this.#minor },
    };
  }

  /** Comes before the authentication, when the node speaks less than was asked for. */
  #negotiated(minor: number): ServerLoginStep {
    if (this.#state !== 'request' || minor > this.#minor)
      throw malformed('NegotiateProtocolVersion out of turn');
    this.#minor = minor;
    return WAIT;
  }

  #authentication(request: AuthenticationRequest): ServerLoginStep {
    const { credential, user } = this.#options;
    switch (request.kind) {
      case 'ok':
        // In the middle of SCRAM the node would be let off its own proof.
        if (this.#state !== 'request' && this.#state !== 'ok')
          throw malformed('AuthenticationOk in the middle of SCRAM');
        this.#transition('parameters');
        return WAIT;
      case 'cleartext':
        this.#expect('request');
        if (credential.kind !== 'password') return this.#cannot('the cleartext password');
        return this.#send('ok', buildPassword(credential.password));
      case 'md5': {
        this.#expect('request');
        if (credential.kind === 'password') {
          return this.#send('ok', buildPassword(md5Answer(md5Hash(user, credential.password), request.salt)));
        }
        if (credential.kind === 'md5')
          return this.#send('ok', buildPassword(md5Answer(credential.hash, request.salt)));
        return this.#cannot('an MD5 password');
      }
      case 'sasl':
        return this.#sasl(request.mechanisms);
      case 'sasl-continue':
        this.#expect('sasl-first');
        return this.#send('sasl-final', buildSaslResponse(this.#exchange().final(request.data)));
      case 'sasl-final':
        this.#expect('sasl-final');
        if (!this.#exchange().verify(request.data)) {
          return this.#loginFailed('the node could not prove that it holds the verifier of this user');
        }
        this.#transition('ok');
        return WAIT;
      case 'unsupported':
        this.#expect('request');
        return this.#loginFailed(`the node asks for ${request.method}, which the proxy does not speak`);
    }
  }

  #sasl(mechanisms: readonly string[]): ServerLoginStep {
    this.#expect('request');
    // SCRAM-SHA-256-PLUS binds to a TLS channel; there is none.
    if (!mechanisms.includes(SCRAM_SHA_256))
      return this.#loginFailed(`the node offers ${mechanisms.join(', ')} only`);
    const { credential } = this.#options;
    if (credential.kind === 'password') {
      const derive = (this.#options.secrets ?? processSecrets).deriveKeys;
      this.#scram = new ScramClient({ kind: 'password', password: credential.password, derive });
    } else if (credential.kind === 'scram-keys') {
      this.#scram = new ScramClient(credential);
    } else {
      return this.#cannot('SCRAM-SHA-256');
    }
    return this.#send('sasl-first', buildSaslInitialResponse(SCRAM_SHA_256, this.#scram.first()));
  }

  #exchange(): ScramClient {
    assert(this.#scram !== null, 'a SCRAM message without an exchange');
    return this.#scram;
  }

  /** The node's own words, as the error that fits; the SQLSTATE is in the detail. */
  #refused(fields: ServerErrorFields): ServerLoginStep {
    const { node, user, database } = this.#options;
    const detail = `${fields.message} (SQLSTATE ${fields.code})`;
    if (fields.code === '3D000')
      return this.#failed(
        new ProxyError('unknown-database', { detail: `database "${database}" does not exist` }),
        fields,
      );
    if (isAboutLogin(fields)) {
      const said = { node, user, detail: fields.message, sqlState: fields.code };
      return this.#failed(new ProxyError('login-refused', said), fields);
    }
    // too_many_connections: the node is well, and will be asked again later.
    const code = fields.code === '53300' ? 'node-full' : 'connect-failed';
    return this.#failed(new ProxyError(code, { node, user, detail }), fields);
  }

  #cannot(asked: string): ServerLoginStep {
    const known = KNOWN[this.#options.credential.kind];
    return this.#loginFailed(`the node asks for ${asked}, but of this user only ${known}`);
  }

  #loginFailed(detail: string): ServerLoginStep {
    const { node, user } = this.#options;
    return this.#failed(new ProxyError('server-login-failed', { node, user, detail }));
  }

  #failed(error: ProxyError, serverError: ServerErrorFields | null = null): ServerLoginStep {
    this.#transition('ended');
    return { kind: 'failed', error, serverError };
  }

  #send(state: State, send: Buffer): ServerLoginStep {
    this.#transition(state);
    return { kind: 'continue', send };
  }

  #expect(state: State): void {
    if (this.#state !== state) throw malformed('authentication request out of turn');
  }

  #transition(next: State): void {
    assert(NEXT[this.#state].includes(next), `server login: ${this.#state} to ${next}`);
    this.#state = next;
  }
}

/**
 * 28: the user was refused. 42501: no CONNECT privilege. 55000: the database takes no connections. 53300: the limit of a role or a
 * database has been reached. All else is about the node: full, starting, shutting down.
 */
function isAboutLogin({ code, all }: ServerErrorFields): boolean {
  const routine = all.get('R');
  if (code === '53300') return routine === 'InitializeSessionUserId' || routine === 'CheckMyDatabase';
  return code.startsWith('28') || code === '42501' || (code === '55000' && routine === 'CheckMyDatabase');
}

const KNOWN: Readonly<Record<Credential['kind'], string>> = {
  password: 'the password is known',
  'scram-keys': 'SCRAM keys are known',
  md5: 'the MD5 hash is known',
  'native-stage1': 'a MySQL hash is known',
  none: 'the name is known',
};
