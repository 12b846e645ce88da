// What keeps a session's server connection with it: for which reasons, and whether they are gone, as the server connection says.
// It takes and gives back none; the log, the metrics and the status hear of each change.

import type { ClientConnection, SessionPins } from '../protocol/client-connection.js';
import type { ServerConnection } from '../protocol/server-connection.js';
import type { PinReason } from '../sql/statement.js';
import { countOne } from '../telemetry/counters.js';
import type { ClusterRuntime } from './cluster-runtime.js';

type PinsAsker = Pick<ClientConnection, 'askedPins' | 'askPins' | 'asksPinsAtOnce'>;
type Held = ReadonlyMap<PinReason, boolean>;

/** Most sessions have none. */
const NOTHING: Held = new Map();

export class Pins implements SessionPins {
  readonly #cluster: Pick<ClusterRuntime, 'counters' | 'log'>;
  /** True: whatever it stands for, and nothing else, is gone once somebody says so. */
  #held: Held = NOTHING;
  /** Its client has gone: nobody counts it any more. */
  #isLeft = false;
  /** Something may have ended one since the server connection was asked last. */
  #isDue = false;

  constructor(cluster: Pick<ClusterRuntime, 'counters' | 'log'>) {
    this.#cluster = cluster;
  }

  get any(): boolean {
    return this.#held.size > 0;
  }

  get reasons(): PinReason[] {
    return [...this.#held.keys()];
  }

  add(reason: PinReason, goes = true): void {
    const before = this.#held.get(reason);
    this.#held = new Map(this.#held).set(reason, goes && before !== false);
    if (before !== undefined || this.#isLeft) return;
    const { counters, log } = this.#cluster;
    const isFirst = counters.pins[reason] === undefined;
    countOne(counters.pins, reason);
    countOne(counters.pinned, reason);
    // Some applications would have a line for each of their transactions.
    if (isFirst)
      log.info({ reason }, 'a session keeps its server connection; more for this reason are logged at debug');
    else log.debug({ reason }, 'a session keeps its server connection');
  }

  remove(reason: PinReason | 'all'): void {
    if (reason === 'all') for (const each of this.reasons) this.#remove(each);
    else if (this.#held.get(reason) === true) this.#remove(reason);
  }

  #remove(reason: PinReason): void {
    const left = new Map(this.#held);
    left.delete(reason);
    this.#held = left.size === 0 ? NOTHING : left;
    if (this.#isLeft) return;
    this.#uncount(reason);
    this.#cluster.log.debug({ reason }, 'what kept a server connection is gone');
  }

  #uncount(reason: PinReason): void {
    const { pinned } = this.#cluster.counters;
    pinned[reason] = (pinned[reason] ?? 1) - 1;
  }

  /** The server connection is lost, and all of it. */
  lose(): readonly PinReason[] {
    const had = this.reasons;
    this.remove('all');
    return had;
  }

  /** The client is gone; what it has left in its server connection is there all the same. */
  leave(): void {
    if (!this.#isLeft) for (const reason of this.reasons) this.#uncount(reason);
    this.#isLeft = true;
  }

  mayBeMore(): void {
    for (const reason of this.reasons) this.add(reason, false);
  }

  mayBeGone(): void {
    this.#isDue = true;
  }

  /**
   * Asks the server connection, where it can tell of each of them, and may have something new to tell. What the client has begun there
   * since comes behind: its outcome is told later. `freed`: nothing keeps it any more.
   */
  ask(client: PinsAsker, server: ServerConnection, isInside: boolean, freed: () => void): void {
    const isDue = this.#isDue && this.any;
    if (client.asksPinsAtOnce === true) this.#isDue = false;
    else if (isInside) return;
    if (!isDue || client.askedPins === undefined) return;
    for (const [reason, goes] of this.#held) if (!goes || !client.askedPins.has(reason)) return;
    this.#isDue = false;
    client.askPins?.(server, (still) => {
      if (still === null) return;
      for (const reason of this.reasons) if (!still.has(reason)) this.#remove(reason);
      for (const reason of still) if (!this.#held.has(reason)) this.add(reason);
      if (!this.any) freed();
    });
  }
}
