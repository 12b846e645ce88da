// Where sessions get their connections: one of their own, or, where sessions are keys, any that is free, on any proxy.
// It knows nothing of what is asked.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Account, Address, Client, Driver } from '../e2e/driver.js';
import type { Random } from '../storm/random.js';

export interface Lent {
  readonly client: Client;
  /** Unique for each connection that was ever opened. */
  readonly number: number;
}

export interface Connections {
  /** Null when it is over. */
  take(): Promise<Lent | null>;
  /** Gives it back; with `broken`, it is thrown away. */
  put(lent: Lent, broken: boolean): void;
  close(): void;
}

export interface ConnectionOptions {
  readonly driver: Driver;
  readonly account: Account;
  readonly random: Random;
  /** For each new connection: which of the proxies can be reached changes. */
  readonly address: (random: Random) => Address;
  readonly isOver: () => boolean;
  readonly failed: (error: unknown) => void;
}

let connections = 0;

async function open({
  driver,
  account,
  random,
  address,
  isOver,
  failed,
}: ConnectionOptions): Promise<Lent | null> {
  while (!isOver()) {
    try {
      const client = await driver.connect(address(random), account);
      return { client, number: ++connections };
    } catch (error) {
      failed(error);
      await sleep(50);
    }
  }
  return null;
}

/** For one session at a time. */
export class OwnConnection implements Connections {
  readonly #options: ConnectionOptions;
  #lent: Lent | null = null;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  async take(): Promise<Lent | null> {
    this.#lent ??= await open(this.#options);
    return this.#lent;
  }

  put({ client }: Lent, broken: boolean): void {
    if (!broken && client.broken === null) return;
    client.kill();
    this.#lent = null;
  }

  close(): void {
    this.#lent?.client.kill();
    this.#lent = null;
  }
}

/** For all sessions; as an application's pool, but the one that was given back last is not preferred. */
export class SharedConnections implements Connections {
  readonly #options: ConnectionOptions;
  readonly #free: Lent[] = [];
  readonly #waiting: ((lent: Lent | null) => void)[] = [];
  readonly #all = new Set<Lent>();
  #room: number;

  constructor(options: ConnectionOptions, size: number) {
    this.#options = options;
    this.#room = size;
  }

  async take(): Promise<Lent | null> {
    if (this.#options.isOver()) return null;
    const free = this.#free;
    if (free.length > 0) return free.splice(this.#options.random.int(0, free.length - 1), 1)[0]!;
    if (this.#room === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#room--;
    const lent = await open(this.#options);
    if (lent === null) this.#room++;
    else this.#all.add(lent);
    return lent;
  }

  put(lent: Lent, broken: boolean): void {
    const next = this.#waiting.shift();
    if (broken || lent.client.broken !== null) {
      lent.client.kill();
      this.#all.delete(lent);
      this.#room++;
      if (next !== undefined) this.take().then(next, () => next(null));
    } else if (next === undefined) this.#free.push(lent);
    else next(lent);
  }

  close(): void {
    for (const waiting of this.#waiting.splice(0)) waiting(null);
    for (const { client } of this.#all) client.kill();
    this.#all.clear();
    this.#free.length = 0;
  }
}
