// What an operator may know of a session.
// Types only.

import type { ClientConnection } from '../protocol/client-connection.js';
import type { PoolKey, ServerConnection } from '../protocol/server-connection.js';
import type { TransactionStatus, Unit } from '../protocol/unit.js';
import type { PinReason } from '../sql/statement.js';
import type { Phase } from './session-phase.js';
import type { SessionListener } from './session-rules.js';

export interface SessionFacts {
  readonly key: PoolKey;
  readonly application: string;
  readonly listener: SessionListener;
  readonly client: ClientConnection;
  readonly phase: Phase;
  readonly transaction: TransactionStatus;
  readonly pins: readonly PinReason[];
  readonly unit: Unit | null;
  /** That it holds, or runs on. */
  readonly server: ServerConnection | null;
  readonly isShared: boolean;
  /** By a transaction or a pin, so that its next unit runs there too; null: not. */
  readonly held: { readonly node: string; readonly onReplica: boolean } | null;
}
