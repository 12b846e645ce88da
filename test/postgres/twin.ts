// Two clients that say the same, one through the proxy and one to the primary itself, and a comparison of every byte that
// comes back.

import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { serialize } from 'pg-protocol';
import { PostgresWire } from '../e2e/postgres-wire.js';
import type { ProxyUnderTest } from '../proxy/proxy-under-test.js';
import type { TestCluster } from '../servers/cluster.js';

const PARAMETER_STATUS = 'S';

/** A client on a bare socket that keeps what it is answered byte by byte. */
export class RawClient {
  readonly wire: PostgresWire;
  #bytes = Buffer.alloc(0);

  private constructor(wire: PostgresWire) {
    this.wire = wire;
    wire.socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
    });
  }

  static async open(
    t: TestContext,
    at: { host: string; port: number },
    database: string,
  ): Promise<RawClient> {
    return new RawClient(await PostgresWire.open(t, at, { user: 'app_trust', database }));
  }

  /** What comes up to ReadyForQuery: type and body of each message, without ParameterStatus. */
  async talk(...messages: readonly Buffer[]): Promise<string[]> {
    return this.talkUntil(countSyncs(Buffer.concat(messages)), ...messages);
  }

  /** The same up to so many of them: behind an error a server skips queries too. */
  async talkUntil(readies: number, ...messages: readonly Buffer[]): Promise<string[]> {
    this.#bytes = Buffer.alloc(0);
    this.wire.send(...messages);
    for (let i = 0; i < readies; i++) await this.wire.ready();
    const answers: string[] = [];
    for (let at = 0; at < this.#bytes.length; ) {
      const end = at + 1 + this.#bytes.readInt32BE(at + 1);
      const type = String.fromCharCode(this.#bytes[at]!);
      if (type !== PARAMETER_STATUS) answers.push(`${type} ${this.#bytes.toString('latin1', at + 5, end)}`);
      at = end;
    }
    return answers;
  }

  /** The only value of the only row. */
  async value(sql: string): Promise<string> {
    const row = (await this.wire.talk(serialize.query(sql))).find((line) => line.startsWith('DataRow '));
    assert.ok(row !== undefined, sql);
    return row.slice('DataRow '.length);
  }

  async do(sql: string): Promise<void> {
    const lines = await this.wire.talk(serialize.query(sql));
    assert.deepEqual(
      lines.filter((line) => line.startsWith('ErrorResponse')),
      [],
      sql,
    );
  }
}

/** Sync and Query: each is answered by one ReadyForQuery. */
function countSyncs(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1))
    if (bytes[at] === 0x53 || bytes[at] === 0x51) count++;
  return count;
}

export class Twin {
  readonly proxied: RawClient;
  readonly bare: RawClient;
  readonly #proxy: ProxyUnderTest;

  private constructor(proxied: RawClient, bare: RawClient, proxy: ProxyUnderTest) {
    this.proxied = proxied;
    this.bare = bare;
    this.#proxy = proxy;
  }

  static async open(t: TestContext, cluster: TestCluster, proxy: ProxyUnderTest): Promise<Twin> {
    const { database } = cluster.user;
    return new Twin(
      await RawClient.open(t, proxy, database),
      await RawClient.open(t, cluster.primary, database),
      proxy,
    );
  }

  /** Each in a schema of its own (`createApart`), so that what one writes the other does not see. */
  static async openApart(t: TestContext, cluster: TestCluster, proxy: ProxyUnderTest): Promise<Twin> {
    const two = await Twin.open(t, cluster, proxy);
    await two.proxied.do('SET search_path TO proxied');
    await two.bare.do('SET search_path TO bare');
    return two;
  }

  /** Two schemas with a table `w (id, v)` each. `owner`: who may create them. */
  static async createApart(owner: RawClient): Promise<void> {
    for (const side of ['proxied', 'bare'])
      await owner.do(`CREATE SCHEMA ${side}; CREATE TABLE ${side}.w (id int PRIMARY KEY, v int)`);
  }

  /** Both are answered alike; what they are answered. */
  async both(...messages: readonly Buffer[]): Promise<string[]> {
    const expected = await this.bare.talk(...messages);
    assert.deepEqual(await this.proxied.talk(...messages), expected);
    return expected;
  }

  async bothUntil(readies: number, ...messages: readonly Buffer[]): Promise<string[]> {
    const expected = await this.bare.talkUntil(readies, ...messages);
    assert.deepEqual(await this.proxied.talkUntil(readies, ...messages), expected);
    return expected;
  }

  async times(count: number, ...messages: readonly Buffer[]): Promise<void> {
    for (let i = 0; i < count; i++) await this.both(...messages);
  }

  /** Runs it on both sides. */
  async do(sql: string): Promise<void> {
    await this.both(serialize.query(sql));
  }

  get counts(): { hits: number; parses: number; takenOut: number } {
    return autoPrepareCounts(this.#proxy);
  }

  /** How many of the executions in `work` ran prepared. */
  async hitsOf(work: () => Promise<unknown>): Promise<number> {
    const { hits } = this.counts;
    await work();
    return this.counts.hits - hits;
  }
}

export function autoPrepareCounts(proxy: ProxyUnderTest): { hits: number; parses: number; takenOut: number } {
  return { ...proxy.proxy.counters().clusters.get('main')!.autoPrepare };
}

export const msg = {
  parse: (text: string, types: number[] = []) => serialize.parse({ text, types }),
  bind: (...values: unknown[]) =>
    serialize.bind({ values: values.map((v) => (v === null ? null : String(v))) }),
  describePortal: serialize.describe({ type: 'P' }),
  describeStatement: serialize.describe({ type: 'S' }),
  execute: serialize.execute(),
  sync: serialize.sync(),
  query: (sql: string) => serialize.query(sql),
};

/** As drivers send it. */
export function run(text: string, ...values: unknown[]): Buffer {
  return Buffer.concat([msg.parse(text), msg.bind(...values), msg.describePortal, msg.execute, msg.sync]);
}
