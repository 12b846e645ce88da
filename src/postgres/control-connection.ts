// One control connection of the monitor to a PostgreSQL node through `pg`, and what its errors mean.
// It knows neither probes nor promotion.

// In front of pg.
import '../lib/user-agent.js';
import { Socket } from 'node:net';
import pg from 'pg';
import { describeError } from '../lib/errors.js';
import { SpareConnections, type SpareSizes } from '../lib/spare-connections.js';
import {
  type NodeAddress,
  type NodeControlOptions,
  ProbeFailure,
  type ProbeFailureKind,
} from '../protocol/node-control.js';

export interface ControlConnection {
  readonly client: pg.Client;
  readonly socket: Socket;
}

/** PostgreSQL manual, appendix A; network errors as Node names them. */
export function failureKind(error: unknown): ProbeFailureKind {
  if (error instanceof ProbeFailure) return error.kind;
  if (error instanceof AggregateError && error.errors.length > 0) return failureKind(error.errors[0]);
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return 'lost';
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'timeout';
    case '53300':
      return 'too-many-connections';
    case '53100':
      return 'disk-full';
    case '57P03':
      return 'starting-up';
    // Shutdown, crash of another backend: this connection is gone, the next one tells what is the matter.
    case '57P01':
    case '57P02':
      return 'lost';
    default:
      if (/^28/.test(code)) return 'login-refused';
      return isSqlState(code) ? 'other' : 'lost';
  }
}

const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code);

export function toProbeFailure(error: unknown): ProbeFailure {
  if (error instanceof ProbeFailure) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const label = typeof code === 'string' ? ` (${code})` : '';
  return new ProbeFailure(failureKind(error), `${describeError(error)}${label}`, error);
}

/** invalid_catalog_name, of a login. */
export function isUnknownDatabase(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown } | null };
  return error instanceof ProbeFailure && cause?.code === '3D000';
}

/** An error in a statement leaves the session usable; the FATAL ones above, and any without SQLSTATE, do not. */
function survives(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR';
}

/**
 * The queries of a catalog look expensive to the planner and run once: compiling them took 2.4 s of PostgreSQL 15, running
 * them without that 0.07 s (https://www.postgresql.org/docs/current/jit-decision.html).
 */
const CONTROL_SETTINGS = '-c jit=off';

export function controlConnections(
  address: NodeAddress,
  options: NodeControlOptions,
  sizes: SpareSizes,
): SpareConnections<ControlConnection> {
  const spare: SpareConnections<ControlConnection> = new SpareConnections({
    ...sizes,
    survives,
    open: () => {
      // The socket is kept so that a call whose time is over can cut it, whatever the driver is waiting for.
      const socket = new Socket();
      const client = new pg.Client({
        host: address.host,
        port: address.port,
        user: options.user,
        password: options.password,
        database: options.database,
        application_name: options.applicationName,
        options: CONTROL_SETTINGS,
        ssl: false,
        stream: () => socket,
      });
      const connection = { client, socket };
      // A server that shuts down tells its idle connections; without a listener that would be an uncaught exception.
      client.on('error', () => spare.forget(connection));
      client.on('end', () => spare.forget(connection));
      const ready = client.connect().then(() => undefined);
      ready.catch(() => {});
      return { connection, ready };
    },
    destroy: ({ socket }) => {
      socket.destroy();
    },
    timedOut: (ms) =>
      new ProbeFailure('timeout', `${address.host}:${address.port} did not answer within ${ms} ms`),
  });
  return spare;
}
