// Clients that read all the time beside a step, each on a connection of its own. They know no step and no server.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../lib/errors.js';
import type { Application, Connection } from './application.js';
import { expect } from './expect.js';

/** Between two reads of one client: they show what happens, they are no load test. */
const PAUSE_MS = 5;

export class Readers {
  readonly #connections: readonly Connection[];
  readonly #loops: Promise<void>[];
  readonly #counts = new Map<string, number>();
  readonly #errors: string[] = [];
  #stopped = false;

  private constructor(connections: readonly Connection[]) {
    this.#connections = connections;
    this.#loops = connections.map((connection) => this.#loop(connection));
  }

  static async start(application: Application, count: number): Promise<Readers> {
    return new Readers(await application.connectMany(count));
  }

  get size(): number {
    return this.#connections.length;
  }

  /** Answered so far, by all nodes or by one. */
  answered(node?: string): number {
    if (node !== undefined) return this.#counts.get(node) ?? 0;
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  get errors(): readonly string[] {
    return this.#errors;
  }

  expectNoErrors(): void {
    expect(this.#errors.length === 0, 'no read fails', `${this.#errors.length} failed: ${this.#errors[0]}`);
  }

  async #loop(connection: Connection): Promise<void> {
    while (!this.#stopped) {
      try {
        const { node } = await connection.read();
        this.#counts.set(node, (this.#counts.get(node) ?? 0) + 1);
      } catch (error) {
        // Its end, when the demo drops its connections, is no failure.
        if (this.#stopped) return;
        this.#errors.push(describeError(error));
        if (this.#errors.length > 100) return;
      }
      await sleep(PAUSE_MS);
    }
  }

  /** Resolves when all are quiet and gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    await Promise.all(this.#connections.map((connection) => connection.close().catch(() => {})));
  }
}
