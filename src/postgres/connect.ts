// Opens a server connection to a PostgreSQL node and logs it in as one user.
// It knows no pool; every failure is a ProxyError that says at which node and why.

import { connect as connectSocket } from 'node:net';
import { connectFailure, describeError, ProxyError } from '../lib/errors.js';
import type { ConnectRequest } from '../protocol/server-connection.js';
import type { ReportBug } from '../telemetry/bug.js';
import { ServerLogin } from './auth/server-login.js';
import { PostgresServerConnection } from './server-connection.js';
import { backendLimits, Framer } from './wire/framer.js';

/** Messages that are assembled: errors, row descriptions. Rows and COPY data are streamed, however long. */
const MESSAGE_BYTES = 64 * 1024 * 1024;
const STREAM_ABOVE_BYTES = 65_536;

export function connectPostgres(request: ConnectRequest, bug: ReportBug): Promise<PostgresServerConnection> {
  return new Promise((resolve, reject) => {
    const { node, host, port, key } = request;
    const socket = connectSocket({ host, port, noDelay: true, keepAlive: true });
    const framer = new Framer({ limits: backendLimits(MESSAGE_BYTES), streamAboveBytes: STREAM_ABOVE_BYTES });
    const login = new ServerLogin({
      node,
      user: key.user,
      database: key.database,
      credential: request.credential,
      minor: 0,
    });
    const deadline = setTimeout(
      () =>
        fail(new ProxyError('connect-failed', { node, detail: `no login within ${request.timeoutMs} ms` })),
      request.timeoutMs,
    );
    const onError = (error: Error): void =>
      fail(new ProxyError('connect-failed', { node, detail: describeError(error) }));
    const onClose = (): void =>
      fail(
        new ProxyError('connect-failed', { node, detail: 'the node closed the connection during the login' }),
      );

    function settle(): void {
      clearTimeout(deadline);
      socket.off('data', onData).off('error', onError).off('close', onClose);
    }

    function fail(error: ProxyError): void {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    }

    function onData(chunk: Buffer): void {
      try {
        framer.push(chunk);
        for (;;) {
          const answer = framer.next();
          if (answer === 'more') return;
          if (answer === 'stop')
            throw new ProxyError('server-garbage', { node, detail: framer.error?.message ?? 'framing' });
          const step = login.message(framer.type, framer.buffer, framer.start, framer.end);
          if (step.kind === 'failed') throw step.error;
          if (step.kind === 'continue') {
            if (step.send !== null) socket.write(step.send);
            continue;
          }
          settle();
          const { parameters, backendKey } = step.session;
          const established = { node, host, port, key, socket, framer, parameters, backendKey, bug };
          resolve(new PostgresServerConnection(established));
          return;
        }
      } catch (cause) {
        fail(connectFailure(cause, node));
      }
    }

    socket.on('connect', () => socket.write(login.start()));
    socket.on('data', onData);
    socket.on('error', onError);
    socket.on('close', onClose);
  });
}
