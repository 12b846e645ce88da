// Lets an application's login and a login to a node talk to each other in memory, and writes down what each said.

import assert from 'node:assert/strict';
import {
  ClientLogin,
  type ClientLoginOptions,
  type ClientLoginStep,
} from '../../../src/postgres/auth/client-login.js';
import {
  ServerLogin,
  type ServerLoginOptions,
  type ServerLoginStep,
} from '../../../src/postgres/auth/server-login.js';
import { BACKEND, parseAuthentication, parseErrorResponse } from '../../../src/postgres/wire/backend.js';
import {
  backendKeyData,
  parameterStatus,
  proxyErrorResponse,
  readyForQuery,
} from '../../../src/postgres/wire/backend-messages.js';
import { backendLimits, Framer, loginFrontendLimits } from '../../../src/postgres/wire/framer.js';

export interface Talk {
  /** One line a message: `<` what the accepting side said, `>` what the other one answered. */
  readonly transcript: string[];
  /** The end of the side that faces an application. */
  readonly accepting: ClientLoginStep;
  /** The end of the side that faces a node. */
  readonly connecting: ServerLoginStep;
}

/** The accepting side plays a node: what it accepts goes on to ReadyForQuery. */
export function talk(
  accept: Omit<ClientLoginOptions, 'user'>,
  connect: Pick<ServerLoginOptions, 'credential'> & Partial<ServerLoginOptions>,
  user = 'app',
): Talk {
  const client = new ClientLogin({ user, ...accept });
  const server = new ServerLogin({ node: 'n1', user, database: 'ledger', ...connect });
  const fromClient = new Framer({ limits: loginFrontendLimits() });
  const fromServer = new Framer({ limits: backendLimits(100_000) });
  const transcript: string[] = [];
  server.start();

  let accepting = client.start();
  fromServer.push(sent(accepting));
  for (;;) {
    assert.equal(fromServer.next(), 'ready', 'the talk stalls');
    const { type, buffer, start, end } = fromServer;
    transcript.push(`< ${nameBackend(buffer, start, end)}`);
    const connecting = server.message(type, buffer, start, end);
    if (connecting.kind !== 'continue') return { transcript, accepting, connecting };
    if (connecting.send === null) continue;
    fromClient.push(connecting.send);
    assert.equal(fromClient.next(), 'ready');
    transcript.push(
      `> ${fromClient.end - fromClient.start} bytes of ${String.fromCharCode(fromClient.type)}`,
    );
    accepting = client.message(fromClient.type, fromClient.buffer, fromClient.start, fromClient.end);
    fromServer.push(sent(accepting));
  }
}

function sent(step: ClientLoginStep): Buffer {
  if (step.kind === 'continue') return step.send;
  if (step.kind === 'failed') return proxyErrorResponse(step.error);
  const parameters = [parameterStatus('server_version', '15.0'), backendKeyData(1, Buffer.alloc(32, 1))];
  return Buffer.concat([step.send, ...parameters, readyForQuery('idle')]);
}

function nameBackend(buffer: Buffer, start: number, end: number): string {
  switch (buffer[start]) {
    case BACKEND.authentication: {
      const request = parseAuthentication(buffer, start, end);
      return request.kind === 'sasl' ? `sasl ${request.mechanisms.join(' ')}` : request.kind;
    }
    case BACKEND.errorResponse: {
      const { severity, code, message } = parseErrorResponse(buffer, start, end);
      return `${severity} ${code} ${message}`;
    }
    default:
      return String.fromCharCode(buffer[start]!);
  }
}
