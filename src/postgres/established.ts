// What the login of a server connection leaves to it.
// Types only.

import type { Socket } from 'node:net';
import type { PoolKey } from '../protocol/server-connection.js';
import type { ReportBug } from '../telemetry/bug.js';
import type { BackendKey } from './wire/backend.js';
import type { Framer } from './wire/framer.js';

export interface Established {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly key: PoolKey;
  readonly socket: Socket;
  readonly framer: Framer;
  readonly parameters: ReadonlyMap<string, string>;
  readonly backendKey: BackendKey | null;
  readonly bug: ReportBug;
}
