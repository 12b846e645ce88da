// A listening socket: accepts clients up to its limit and hands each to the protocol with a session of its own.
// It knows no bytes; what is said to a client too many is the protocol's business.

import { createServer, type Server, type Socket } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import type { LimitsConfig, ListenerConfig } from '../config/schema.js';
import { describeError } from '../lib/errors.js';
import { socketClosed } from '../lib/socket-events.js';
import type { ListenerSettings } from '../protocol/protocol.js';
import type { PolicyLayer } from '../routing/policy.js';
import type { ListenerCounters } from '../telemetry/counters.js';
import type { ClusterRuntime } from './cluster-runtime.js';
import { ownLayer } from './policies.js';
import { Session } from './session.js';
import type { SessionListener } from './session-rules.js';
import type { LimitUser } from './workers/allowances.js';

/** Connections that the kernel keeps while the event loop is busy. */
const BACKLOG = 4096;

/** Where the limit of clients holds over several processes: how many of them may be here. */
export interface Places {
  allowed(): number;
  /** There is a client too many: more are wanted, `LimitUser.allowed` tells whether there are any. */
  short(): void;
  fewer(): void;
  adopt(user: LimitUser): void;
}

export class Listener {
  readonly name: string;
  readonly cluster: ClusterRuntime;
  readonly #server: Server;
  readonly #counters: ListenerCounters;
  readonly #sockets = new Set<Socket>();
  /** Null: the limit is this process's own. */
  readonly #places: Places | null;
  /** With places: those that have one, and those that wait to hear whether there is one. */
  readonly #placed = new Set<Socket>();
  readonly #waiting = new Set<Socket>();
  #config: ListenerConfig;
  /** One object for all clients of a configuration. */
  #welcome: ListenerSettings | null = null;
  /** One function for all sockets. */
  readonly #onClose: (this: Socket) => void;
  readonly #session: Omit<SessionListener, 'layer'> & { layer: PolicyLayer };
  #limits: LimitsConfig;
  /** Of clients that have left. */
  #endedBytesReceived = 0;
  #endedBytesSent = 0;

  constructor(
    config: ListenerConfig,
    limits: LimitsConfig,
    cluster: ClusterRuntime,
    counters: ListenerCounters,
    places: Places | null = null,
  ) {
    this.name = config.name;
    this.cluster = cluster;
    this.#config = config;
    this.#limits = limits;
    this.#counters = counters;
    const scope = config.consistency?.scope ?? null;
    this.#session = { name: config.name, counters, layer: ownLayer(config), scope };
    this.#places = places;
    places?.adopt({
      held: () => this.#placed.size,
      wanted: () => this.#placed.size + this.#waiting.size,
      allowed: (count, final) => this.#onAllowed(count, final),
    });
    const gone = (socket: Socket) => this.#onGone(socket);
    this.#onClose = function () {
      gone(this);
    };
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.#onConnection(socket));
  }

  /** Rejects when the address cannot be bound. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host: this.#config.host, port: this.#config.port, backlog: BACKLOG }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) =>
          this.cluster.log.error({ listener: this.name, error: describeError(error) }, 'a listener failed'),
        );
        resolve();
      });
    });
  }

  get host(): string {
    return this.#config.host;
  }

  /** The real one. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : this.#config.port;
  }

  get clients(): number {
    return this.#sockets.size;
  }

  get maxClients(): number {
    return this.#config.maxClients;
  }

  reconfigure(config: ListenerConfig, limits: LimitsConfig): void {
    this.#config = config;
    this.#limits = limits;
    this.#welcome = null;
    this.#session.layer = ownLayer(config);
  }

  /** Sums up what the sockets count by themselves. */
  collect(): void {
    let received = this.#endedBytesReceived;
    let sent = this.#endedBytesSent;
    for (const socket of this.#sockets) {
      received += socket.bytesRead;
      sent += socket.bytesWritten;
    }
    this.#counters.bytesReceived = received;
    this.#counters.bytesSent = sent;
  }

  /** Resolves once nobody new can come; clients stay. */
  stopAccepting(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#server.listening) resolve();
      else {
        this.#server.close(() => {});
        resolve();
      }
    });
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #onConnection(socket: Socket): void {
    this.#counters.clientsTotal++;
    this.#counters.clients++;
    this.#sockets.add(socket);
    socket.on('close', this.#onClose);
    if (this.#places === null) this.#accept(socket, this.#sockets.size > this.#config.maxClients);
    else if (this.#placed.size < this.#places.allowed()) this.#place(socket);
    else {
      // Nothing reads it yet, and nobody else would hear of its end.
      socket.on('error', () => {});
      this.#waiting.add(socket);
      this.#places.short();
    }
  }

  #onGone(socket: Socket): void {
    this.#counters.clients--;
    this.#endedBytesReceived += socket.bytesRead;
    this.#endedBytesSent += socket.bytesWritten;
    this.#sockets.delete(socket);
    this.#waiting.delete(socket);
    if (this.#placed.delete(socket)) this.#places?.fewer();
    socketClosed(socket);
  }

  #onAllowed(count: number, final: boolean): void {
    for (const socket of [...this.#waiting]) {
      if (this.#placed.size >= count && !final) return;
      this.#waiting.delete(socket);
      if (this.#placed.size < count) this.#place(socket);
      else this.#accept(socket, true);
    }
  }

  #place(socket: Socket): void {
    this.#placed.add(socket);
    this.#accept(socket, false);
  }

  #accept(socket: Socket, isTooMany: boolean): void {
    this.#welcome ??= this.#settings(false);
    const listener: SessionListener = this.#session;
    const address = addressOf(socket);
    this.cluster.protocol.accept(
      socket,
      isTooMany ? this.#settings(true) : this.#welcome,
      (client) => new Session(this.cluster, listener, client, address),
    );
  }

  #settings(isTooMany: boolean): ListenerSettings {
    const { name, loginTimeoutMs, hints, auth, maxClients } = this.#config;
    const { maxUnitBytes, maxStatementBytesClassified, maxClientBufferBytes } = this.#limits;
    return {
      name,
      loginTimeoutMs,
      maxUnitBytes,
      maxStatementBytesClassified,
      // Below the socket's own mark there is no "drain" to go on by.
      maxClientBufferBytes: Math.max(maxClientBufferBytes, getDefaultHighWaterMark(false)),
      hints,
      auth,
      full: isTooMany ? maxClients : null,
    };
  }
}

/** Node keeps what it has read of the peer, 80 bytes of an idle client; it reads it again when it is asked again. */
function addressOf(socket: Socket & { _peername?: unknown }): string {
  const address = socket.remoteAddress ?? '';
  socket._peername = null;
  return address;
}
