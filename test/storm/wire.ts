// What a storm's client needs of a bare socket in either protocol: whole replies as lines, slow reading, sudden death.
// It does not know what was asked; the order of replies is the order in which they came.

import { Socket } from 'node:net';
import type { Address } from '../e2e/driver.js';

/** No reply for so long is a hang. */
export const HANG_MS = 60_000;
/** The line that stands for the end of the connection. */
export const END = 'END';
export const HANG = 'HANG';

export abstract class Wire {
  readonly socket = new Socket();
  /** Lines of the reply that comes. */
  protected lines: string[] = [];
  readonly #replies: string[][] = [];
  #wake: (() => void) | null = null;
  #pending: Buffer | null = null;
  #ended = false;
  #slowMs = 0;

  constructor() {
    this.socket.setNoDelay(true);
    this.socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    const ended = () => {
      this.#ended = true;
      this.#wake?.();
    };
    this.socket.on('error', ended);
    this.socket.on('close', ended);
  }

  /** Takes whole messages from the front; returns how many bytes it took. */
  protected abstract take(bytes: Buffer): number;

  protected dial(at: Address): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.once('error', reject);
      this.socket.connect(at.port, at.host, () => {
        this.socket.off('error', reject);
        resolve();
      });
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Replies that nobody has asked for yet, or a part of one: there must be none when nothing is awaited. */
  get surplus(): readonly string[] {
    return this.#replies[0] ?? this.lines;
  }

  /** After the next chunk, nothing is read for so long. */
  readSlowly(milliseconds: number): void {
    this.#slowMs = milliseconds;
  }

  die(): void {
    this.socket.destroy();
    this.#ended = true;
    this.#wake?.();
  }

  /** The next whole reply. It ends with END if the connection did, with HANG if nothing came in time. */
  async reply(deadlineMs = HANG_MS): Promise<string[]> {
    if (this.#replies.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadlineMs);
        this.#wake = () => {
          if (this.#replies.length === 0 && !this.#ended) return;
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    return this.#replies.shift() ?? [...this.lines, this.#ended ? END : HANG];
  }

  protected replyEnds(): void {
    this.#replies.push(this.lines);
    this.lines = [];
    this.#wake?.();
  }

  #onData(chunk: Buffer): void {
    if (this.#slowMs > 0) {
      this.socket.pause();
      setTimeout(() => this.socket.resume(), this.#slowMs);
      this.#slowMs = 0;
    }
    const bytes = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    const taken = this.take(bytes);
    this.#pending = taken === bytes.length ? null : bytes.subarray(taken);
  }
}
