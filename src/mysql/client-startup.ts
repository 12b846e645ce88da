// The beginning of a client connection: greeting, proof, and the node that confirms that the user may come in.
// It knows no command.

import type { Socket } from 'node:net';
import { asProxyError, ProxyError } from '../lib/errors.js';
import type { SessionHost } from '../protocol/client-connection.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import { ClientLogin, type LoginStep } from './auth/client-login.js';
import type { MysqlRuntime } from './runtime.js';
import type { MysqlServerConnection } from './server-connection.js';
import { variantText } from './variant.js';
import { CAPABILITY, type Capabilities, hasCapability, keyedCapabilities } from './wire/capabilities.js';
import { type PacketFramer, payloadOf } from './wire/framer.js';
import { buildEarlyError, buildLoginError, buildOk, buildProxyError, STATUS } from './wire/ok.js';
import { buildSessionChanges } from './wire/session-track.js';

export interface LoggedIn {
  readonly user: string;
  readonly database: string;
  readonly collation: number;
  readonly capabilities: Capabilities;
  /** What its proofs answer to, as latin1. */
  readonly challenge: string;
  /** Variables after the login, as far as the proxy asks for them. */
  readonly loginValues: ReadonlyMap<string, string>;
  readonly status: number;
}

export interface StartupEvents {
  loggedIn(login: LoggedIn): void;
  /** The client has been told, if it could be. */
  ended(reason: string): void;
}

/** Before its login a client has this much to say. */
export const LOGIN_LIMIT_BYTES = 16_384;

/**
 * - `proof`: a packet of the client is awaited
 * - `checking`: it is being looked at
 * - `login`: authenticated; a node is being asked
 * - `done`
 */
type Phase = 'proof' | 'checking' | 'login' | 'done';

export class ClientStartup {
  readonly #socket: Socket;
  readonly #framer: PacketFramer;
  readonly #host: SessionHost;
  readonly #runtime: MysqlRuntime;
  readonly #events: StartupEvents;
  readonly #login: ClientLogin;
  readonly #deadline: NodeJS.Timeout;
  #phase: Phase = 'proof';

  constructor(
    socket: Socket,
    framer: PacketFramer,
    settings: ListenerSettings,
    runtime: MysqlRuntime,
    host: SessionHost,
    connectionId: number,
    events: StartupEvents,
  ) {
    this.#socket = socket;
    this.#framer = framer;
    this.#host = host;
    this.#runtime = runtime;
    this.#events = events;
    this.#login = new ClientLogin(runtime.greeting(connectionId), runtime.loginContext(host, settings));
    this.#deadline = setTimeout(
      () => this.fail(new ProxyError('login-timeout', { ms: settings.loginTimeoutMs })),
      settings.loginTimeoutMs,
    );
    if (settings.full !== null) {
      const error = new ProxyError('too-many-clients', { limit: settings.full });
      this.#end(buildEarlyError(error), error.message);
      return;
    }
    socket.write(this.#login.greeting());
  }

  stop(): void {
    clearTimeout(this.#deadline);
    this.#phase = 'done';
  }

  /** Bytes have come. */
  read(): void {
    while (this.#phase === 'proof') {
      const verb = this.#framer.next();
      if (verb === 'more') return;
      if (verb === 'stop')
        throw this.#framer.failure ?? new ProxyError('protocol-violation', { detail: 'framing' });
      const frame = this.#framer.take();
      if (frame === null) continue;
      this.#phase = 'checking';
      this.#login.receive(payloadOf(frame), frame[3]!).then(
        (step) => this.#guarded(() => this.#onStep(step)),
        (cause: unknown) => this.fail(asProxyError(cause, this.#runtime.bug)),
      );
    }
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (cause) {
      this.fail(asProxyError(cause, this.#runtime.bug));
    }
  }

  #onStep(step: LoginStep): void {
    if (this.#phase !== 'checking') return;
    if (step.kind === 'send') {
      this.#socket.write(step.bytes);
      this.#phase = 'proof';
      this.read();
      return;
    }
    if (step.bytes !== null) this.#socket.write(step.bytes);
    this.#phase = 'login';
    const { response, capabilities, credential, sequence } = step;
    const keyed = keyedCapabilities(capabilities);
    const database = response.database ?? '';
    this.#host.login(
      {
        key: {
          user: response.user,
          database,
          variant: variantText({ keyed, collation: response.collation }),
        },
        credential,
        applicationName: response.attributes.get('program_name') ?? '',
        attributes: response.attributes,
      },
      (loan, error) => {
        if (this.#phase !== 'login') {
          loan?.release();
          return;
        }
        if (loan === null) {
          this.#end(buildProxyError(error!, sequence), error!.message);
          return;
        }
        const server = loan.server as MysqlServerConnection;
        const { loginValues } = server;
        const status = statusAtLogin(loginValues, server.isMariadb);
        this.#runtime.learn(server);
        loan.release();
        this.stop();
        this.#socket.write(loginOk(status, database, capabilities, sequence));
        const { user, collation } = response;
        const challenge = this.#login.challenge.toString('latin1');
        this.#events.loggedIn({ user, database, collation, capabilities, challenge, loginValues, status });
      },
    );
  }

  fail(error: ProxyError): void {
    if (this.#phase === 'done') return;
    if (error.code === 'authentication-failed') {
      this.#host.loginFailed();
      this.#runtime.log.info({ user: this.#login.user, reason: error.message }, 'a login failed');
    }
    this.#end(buildLoginError(error, this.#login.errorSequence, this.#socket.remoteAddress), error.message);
  }

  #end(bytes: Buffer, reason: string): void {
    this.stop();
    if (this.#socket.writable) this.#socket.write(bytes);
    // The socket may be on its way into our owner's hands still.
    queueMicrotask(() => this.#events.ended(reason));
  }
}

const NOTHING = Buffer.alloc(0);

/** Not those that the server connection has now: it may be as the client before left it, and by these clients escape strings. */
function statusAtLogin(loginValues: ReadonlyMap<string, string>, mariadb: boolean): number {
  const modes = (loginValues.get('sql_mode') ?? '').split(',');
  const backslash = modes.includes('NO_BACKSLASH_ESCAPES') ? STATUS.NO_BACKSLASH_ESCAPES : 0;
  const quotes = mariadb && modes.includes('ANSI_QUOTES') ? STATUS.ANSI_QUOTES : 0;
  const autocommit = loginValues.get('autocommit') === 'OFF' ? 0 : STATUS.AUTOCOMMIT;
  return autocommit | backslash | quotes;
}

/** A server tells the database of the login as a change of session state. */
export function loginOk(
  status: number,
  database: string,
  capabilities: Capabilities,
  sequence: number,
): Buffer {
  const tells = database !== '' && hasCapability(capabilities, CAPABILITY.SESSION_TRACK);
  return buildOk(
    {
      header: 0,
      counts: Buffer.from([0, 0]),
      status,
      warnings: 0,
      info: NOTHING,
      changes: tells ? buildSessionChanges([{ kind: 'schema', name: database }]) : null,
    },
    capabilities,
    sequence,
  );
}
