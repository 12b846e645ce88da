// When the next part of a long stream is read: not as soon as some of it has come, but a moment later, so that one read brings
// much. A server that sends rows in pieces of 8 KiB has a proxy woken, read, write and sleep for each of them, 18,000 times
// a second, on processors that the server and the client could use: with the naps a COPY through the proxy is faster than without
// a proxy, for a third of the processor time (bench/README.md). It knows no protocol.

import type { Socket } from 'node:net';
import { monotonicMs } from './clock.js';

/** Node has no shorter timer. What comes meanwhile waits in the kernel, some hundred KiB at the most that one stream brings. */
const NAP_MS = 1;
/** Of a stream, before the first nap: of what is shorter a nap at its end would be seen. */
const STREAM_BYTES = 1024 * 1024;

/** A read that brings more is worth its price without a nap; PostgreSQL sends 8 KiB at a time, MySQL and MariaDB 16. */
const SMALL_BYTES = 32_768;

/**
 * - `reads`
 * - `naps`: until the timer, or `resume`
 * - `paused`: until `resume`; who waits for a client to keep up must not be woken by the timer
 */
type State = 'reads' | 'naps' | 'paused';

let napping: StreamReading[] = [];

function wakeAll(): void {
  const all = napping;
  napping = [];
  for (const each of all) each.wake();
}

export class StreamReading {
  readonly #socket: Socket;
  #state: State = 'reads';
  /** Bytes that came one after the other. */
  #streamed = 0;
  #waitsSinceMs = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Of a stream. `isGone`: all of it has been written to whom it is for. */
  passedOn(bytes: number, isGone: boolean): void {
    this.#streamed += bytes;
    if (this.#streamed <= STREAM_BYTES || this.#state !== 'reads') return;
    const nowMs = monotonicMs();
    // Where parts are rarer than naps, naps save nothing.
    const isDense = nowMs - this.#waitsSinceMs < NAP_MS;
    this.#waitsSinceMs = nowMs;
    if (!isGone || !isDense || bytes >= SMALL_BYTES) return;
    if (napping.length === 0) setTimeout(wakeAll, NAP_MS);
    napping.push(this);
    this.#transition('naps');
  }

  /** What has come is not, or not only, a part of a stream. */
  interrupted(): void {
    this.#streamed = 0;
  }

  wake(): void {
    if (this.#state !== 'naps') return;
    this.#waitsSinceMs = monotonicMs();
    this.#transition('reads');
  }

  get isPaused(): boolean {
    return this.#state === 'paused';
  }

  pause(): void {
    this.#transition('paused');
  }

  resume(): void {
    this.#transition('reads');
  }

  #transition(to: State): void {
    this.#state = to;
    if (to === 'reads') this.#socket.resume();
    else this.#socket.pause();
  }
}
