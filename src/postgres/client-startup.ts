// The beginning of a client connection: startup packet, authentication, and what the client is told before its first unit.
// It knows no unit; a cancel request ends here too.

import type { Socket } from 'node:net';
import type { ConsistencyLevel } from '../config/schema.js';
import { writeTogether } from '../lib/batched-writer.js';
import { copyOf } from '../lib/chunk-copies.js';
import { describeError, ProxyError } from '../lib/errors.js';
import type { SessionHost } from '../protocol/client-connection.js';
import type { Credential } from '../protocol/credential.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import { ClientLogin, type ClientLoginMethod, type ClientLoginStep } from './auth/client-login.js';
import { type CancelKey, secretBytes } from './cancel-keys.js';
import { CONNECTION_LOST } from './lost-expectations.js';
import { OWN_PREFIX, OwnSettings } from './own-settings.js';
import type { Parameters } from './parameters.js';
import type { PostgresRuntime } from './runtime.js';
import type { PostgresServerConnection } from './server-connection.js';
import { parseStartupOptions } from './startup-options.js';
import { setStatement, TrackedState } from './tracked-state.js';
import {
  backendKeyData,
  ENCRYPTION_REFUSED,
  errorResponse,
  negotiateProtocolVersion,
  parameterStatus,
  readyForQuery,
} from './wire/backend-messages.js';
import type { Framer } from './wire/framer.js';
import {
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR_LATEST,
  parseStartupPacket,
  type StartupMessage,
} from './wire/startup.js';

export interface LoggedIn {
  readonly database: string;
  /** The settings that the startup packet asks for. */
  readonly base: TrackedState;
  /** Null: it asks for none. */
  readonly consistency: ConsistencyLevel | null;
  readonly parameters: Parameters;
  /** 4 before protocol 3.2. */
  readonly cancelKeyBytes: number;
}

export interface StartupEvents {
  loggedIn(login: LoggedIn): void;
  failed(error: ProxyError): void;
  /** Nothing more comes, and nothing is to be said. */
  ended(reason: string): void;
}

/**
 * - `packet`: a startup packet is awaited
 * - `lookup`: the user is being looked up
 * - `authenticating`
 * - `login`: authenticated; a node is being asked
 * - `done`
 */
type Phase = 'packet' | 'lookup' | 'authenticating' | 'login' | 'done';

/** Between server connections that broke under the same login. */
const ASK_AGAIN_AFTER_MS = 5;
const MAX_ASK_AGAIN_AFTER_MS = 200;
/** 3.2 keys: as long as PostgreSQL 18 makes them. */
const LONG_KEY_BYTES = 32;
const SHORT_KEY_BYTES = 4;
/** Not run-time settings, or answered otherwise. */
const NO_SETTINGS = new Set(['user', 'database', 'options', 'replication']);

export class ClientStartup {
  readonly #socket: Socket;
  readonly #framer: Framer;
  readonly #settings: ListenerSettings;
  readonly #runtime: PostgresRuntime;
  readonly #host: SessionHost;
  readonly #events: StartupEvents;
  readonly #deadline: NodeJS.Timeout;
  #phase: Phase = 'packet';
  #message: StartupMessage | null = null;
  #login: ClientLogin | null = null;
  #askAgain: NodeJS.Timeout | undefined;
  #askAgainAfterMs = ASK_AGAIN_AFTER_MS;
  /** Settings for the proxy alone. */
  readonly #own = new Map<string, string>();

  constructor(
    socket: Socket,
    framer: Framer,
    settings: ListenerSettings,
    runtime: PostgresRuntime,
    host: SessionHost,
    events: StartupEvents,
  ) {
    this.#socket = socket;
    this.#framer = framer;
    this.#settings = settings;
    this.#runtime = runtime;
    this.#host = host;
    this.#events = events;
    this.#deadline = setTimeout(
      () => this.#fail(new ProxyError('login-timeout', { ms: settings.loginTimeoutMs })),
      settings.loginTimeoutMs,
    );
  }

  stop(): void {
    clearTimeout(this.#deadline);
    clearTimeout(this.#askAgain);
    this.#phase = 'done';
  }

  /** Bytes have come. */
  read(): void {
    while (this.#phase === 'packet' || this.#phase === 'authenticating') {
      const answer = this.#framer.next();
      if (answer === 'more') return;
      if (answer === 'stop')
        throw this.#framer.error ?? new ProxyError('protocol-violation', { detail: 'framing' });
      const { type, buffer, start, end } = this.#framer;
      if (this.#phase === 'packet') this.#onPacket(buffer, start, end);
      else this.#onStep(this.#login!.message(type, buffer, start, end));
    }
  }

  #onPacket(buffer: Buffer, start: number, end: number): void {
    const packet = parseStartupPacket(buffer, start, end);
    switch (packet.kind) {
      case 'ssl-request':
      case 'gssenc-request':
        // What came behind it came in the clear, from whomever: CVE-2021-23214.
        if (this.#framer.pendingBytes > 0)
          throw new ProxyError('protocol-violation', { detail: 'bytes behind an encryption request' });
        this.#socket.write(ENCRYPTION_REFUSED);
        return;
      case 'cancel':
        this.#onCancel(packet.processId, packet.secretKey);
        return;
      case 'startup':
        this.#onStartup(packet);
    }
  }

  /** The end of the connection tells the client that the cancel has been passed on. */
  #onCancel(processId: number, secretKey: Buffer): void {
    this.stop();
    const ended = (): void => this.#events.ended('a cancel request');
    const asked = this.#runtime.cancelKeys.cancel(processId, Buffer.from(secretKey));
    if (asked === null) ended();
    else void asked.then(ended);
  }

  #onStartup(message: StartupMessage): void {
    if (message.major !== PROTOCOL_MAJOR)
      throw new ProxyError('unsupported-protocol-version', { version: `${message.major}.${message.minor}` });
    if (message.replication !== '' && message.replication !== 'false')
      throw new ProxyError('unsupported-feature', { feature: 'a replication connection' });
    if (message.minor > PROTOCOL_MINOR_LATEST || message.extensions.length > 0)
      this.#socket.write(
        negotiateProtocolVersion(Math.min(message.minor, PROTOCOL_MINOR_LATEST), message.extensions),
      );
    if (this.#settings.full !== null)
      throw new ProxyError('too-many-clients', { limit: this.#settings.full });
    this.#message = message;
    this.#framer.expectMessages();
    this.#phase = 'lookup';
    this.#host.lookUpUser(message.user, message.database).then(
      (lookup) => {
        if (this.#phase !== 'lookup') return;
        this.#guard(() => {
          this.#phase = 'authenticating';
          const method = this.#settings.auth as ClientLoginMethod;
          this.#login = new ClientLogin({ method, user: message.user, lookup });
          this.#onStep(this.#login.start());
          this.read();
        });
      },
      (cause: unknown) => {
        if (this.#phase === 'done') return;
        const detail = describeError(cause);
        this.#fail(cause instanceof ProxyError ? cause : new ProxyError('internal-error', { detail }));
      },
    );
  }

  /** Outside the socket's callback nobody else catches: what a client sends must not take the process down. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (cause) {
      const detail = describeError(cause);
      this.#fail(cause instanceof ProxyError ? cause : new ProxyError('internal-error', { detail }));
    }
  }

  #onStep(step: ClientLoginStep): void {
    if (step.kind === 'failed') {
      this.#host.loginFailed();
      this.#runtime.log.info({ user: this.#message!.user, reason: step.reason }, 'a login failed');
      this.#fail(step.error);
      return;
    }
    this.#socket.write(step.send);
    if (step.kind === 'continue') return;
    this.#phase = 'login';
    this.#askNode(step.credential, this.#settingsOf(this.#message!));
  }

  /** A server connection that breaks under the question is no reason to refuse a client: another is asked, until the deadline. */
  #askNode(credential: Credential, base: TrackedState): void {
    const message = this.#message!;
    this.#host.login(
      {
        key: { user: message.user, database: message.database, variant: '' },
        credential,
        applicationName: message.parameters.get('application_name') ?? '',
        attributes: new Map([...message.parameters, ...this.#own]),
      },
      (loan, error) => {
        if (this.#phase !== 'login') loan?.release();
        else if (loan === null) this.#fail(error!);
        else {
          const again = (): void => {
            this.#askAgain = setTimeout(() => this.#askNode(credential, base), this.#askAgainAfterMs);
            this.#askAgainAfterMs = Math.min(2 * this.#askAgainAfterMs, MAX_ASK_AGAIN_AFTER_MS);
          };
          this.#takeParameters(loan.server as PostgresServerConnection, base, () => loan.release(), again);
        }
      },
    );
  }

  /** The node sets what the startup packet asks for, and so says what it makes of it. */
  #takeParameters(
    server: PostgresServerConnection,
    base: TrackedState,
    release: () => void,
    again: () => void,
  ): void {
    const take = (): void => {
      const { parameters } = server;
      release();
      if (this.#phase !== 'login') return;
      const { minor, database } = this.#message!;
      this.stop();
      const cancelKeyBytes = minor >= PROTOCOL_MINOR_LATEST ? LONG_KEY_BYTES : SHORT_KEY_BYTES;
      this.#guard(() =>
        this.#events.loggedIn({
          database,
          base,
          consistency: OwnSettings.levelOf(this.#own),
          parameters,
          cancelKeyBytes,
        }),
      );
    };
    const ready = server.bringTo(base, (error) => {
      if (error === null) {
        take();
        return;
      }
      release();
      if (this.#phase !== 'login') return;
      if (error.code === CONNECTION_LOST) {
        again();
        return;
      }
      this.#socket.write(errorResponse({ severity: 'FATAL', code: error.code, message: error.message }));
      this.stop();
      this.#events.ended(`a startup parameter was refused: ${error.message}`);
    });
    if (ready) take();
  }

  #settingsOf(message: StartupMessage): TrackedState {
    const settings = new Map<string, string>();
    for (const [name, value] of parseStartupOptions(message.options)) {
      if (name.startsWith(OWN_PREFIX)) this.#own.set(name, value);
      else settings.set(name, setStatement(name, value));
    }
    for (const [name, value] of message.parameters) {
      const folded = name.toLowerCase();
      if (folded.startsWith(OWN_PREFIX)) this.#own.set(folded, value);
      else if (!NO_SETTINGS.has(folded)) settings.set(folded, setStatement(folded, value));
    }
    OwnSettings.levelOf(this.#own);
    return TrackedState.shared(settings);
  }

  #fail(error: ProxyError): void {
    this.stop();
    this.#events.failed(error);
  }
}

/** Of parameters that many clients have: each is told the same. */
const statuses = new WeakMap<Parameters, Buffer>();

function statusesOf(parameters: Parameters): Buffer {
  const known = statuses.get(parameters);
  if (known !== undefined) return known;
  const messages = Buffer.concat([...parameters].map(([name, value]) => parameterStatus(name, value)));
  const kept = copyOf(messages);
  statuses.set(parameters, kept);
  return kept;
}

/** What a client is told before its first unit. */
export function greet(socket: Socket, parameters: Parameters, key: CancelKey): void {
  const keyData = backendKeyData(key.processId, secretBytes(key));
  writeTogether(socket, [statusesOf(parameters), keyData, readyForQuery('idle')]);
}
