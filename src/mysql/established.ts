// What the login of a server connection leaves to it.
// Types only.

import type { Socket } from 'node:net';
import type { PoolKey } from '../protocol/server-connection.js';
import type { ReportBug } from '../telemetry/bug.js';
import type { Capabilities } from './wire/capabilities.js';
import type { PacketFramer } from './wire/framer.js';
import type { Greeting } from './wire/greeting.js';

export interface Established {
  readonly node: string;
  readonly key: PoolKey;
  readonly socket: Socket;
  readonly framer: PacketFramer;
  readonly greeting: Greeting;
  readonly capabilities: Capabilities;
  readonly status: number;
  /** Ends what runs here from another connection. */
  readonly kill: (threadId: number) => Promise<void>;
  readonly bug: ReportBug;
}
